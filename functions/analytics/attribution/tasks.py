"""Attribution: what follows once an order has become a conversion."""

from __future__ import annotations

from dataclasses import dataclass

from analytics.ad_platforms.payloads import OrderToTell, TikTokEvent
from analytics.ad_platforms.tasks import send_ga4_purchase, send_meta_purchase, send_tiktok_event
from analytics.attribution.repository import Conversions, StoredConversion
from tradewind.advertising import Destination
from tradewind.contracts.orders import OrderConverted
from tradewind.errors import NotFoundError
from tradewind.tasks.retry import Retry, exponential
from tradewind.tasks.run import Outbox
from tradewind.tasks.task import task
from tradewind.tasks.triggers import Event
from tradewind.tenancy.database import TenantDb

ATTRIBUTION = Retry(attempts=3, backoff=exponential(5, 60))


@dataclass(frozen=True, slots=True)
class ProcessedConversion:
    """A conversion whose credits stand. ``revenue_cents`` is what is left of the order after refunds."""

    order_id: int
    revenue_cents: int
    touchpoints: int

    @classmethod
    def of(cls, conversion: StoredConversion) -> ProcessedConversion:
        return cls(conversion.order_id, conversion.revenue_cents, conversion.touchpoints)


@task(
    "analytics-process-attribution",
    on=Event("order.converted"),
    retry=ATTRIBUTION,
    entity="order_id",
    starts=("analytics-send-ga4-purchase", "analytics-send-meta-purchase", "analytics-send-tiktok-event"),
)
def process_attribution(payload: OrderConverted, db: TenantDb, outbox: Outbox) -> ProcessedConversion:
    """Find a new conversion with its credits, and have the tenant's ad platforms told of it.

    Raises NotFoundError for an order that is none.
    """
    with db.begin() as tx:
        conversion = Conversions(tx).find(payload.order_id)
        platforms = Conversions(tx).pick_platforms()
    if conversion is None:
        raise NotFoundError("conversion", payload.order_id)
    tell_platforms(outbox, payload.order_id, platforms)
    return ProcessedConversion.of(conversion)


def tell_platforms(outbox: Outbox, order_id: int, platforms: frozenset[Destination]) -> None:
    """Have each platform told of a purchase by a task of its own: one that is down holds up no other."""
    if Destination.GA4 in platforms:
        outbox.start(send_ga4_purchase, OrderToTell(order_id=order_id))
    if Destination.META in platforms:
        outbox.start(send_meta_purchase, OrderToTell(order_id=order_id))
    if Destination.TIKTOK in platforms:
        outbox.start(send_tiktok_event, TikTokEvent(order_id=order_id))
