"""Attribution: what follows once an order has become a conversion, and once it is given back."""

from __future__ import annotations

from dataclasses import dataclass

from analytics.ad_platforms.payloads import OrderToTell, TikTokEvent
from analytics.ad_platforms.tasks import send_ga4_purchase, send_meta_purchase, send_tiktok_event
from analytics.attribution.payloads import RefundOf
from analytics.attribution.repository import Conversions
from analytics.attribution.settling import settle
from tradewind.advertising import Destination
from tradewind.contracts.attribution import Conversion
from tradewind.contracts.orders import OrderConverted
from tradewind.errors import NotFoundError
from tradewind.tasks.retry import Retry, exponential
from tradewind.tasks.run import Outbox, Run
from tradewind.tasks.task import task
from tradewind.tasks.triggers import Event, Webhook
from tradewind.tenancy.database import TenantDb
from tradewind.tenancy.tenant import Tenant

ATTRIBUTION = Retry(attempts=3, backoff=exponential(5, 60))


@dataclass(frozen=True, slots=True)
class ProcessedConversion:
    """A conversion whose credits stand: ``revenue_cents`` (what refunds leave) of each model in each of ``windows``."""

    order_id: int
    revenue_cents: int
    touchpoints: int
    models: list[str]
    windows: list[int]

    @classmethod
    def of(cls, conversion: Conversion) -> ProcessedConversion:
        order, windows = conversion.order, conversion.windows
        models = [str(model) for model in windows[-1].shares] if windows else []
        days = [window.days for window in windows]
        return cls(order.order_id, order.remaining_cents, conversion.touches, models, days)


@dataclass(frozen=True, slots=True)
class AdjustedForRefund:
    """``adjusted`` is false where the refund is not stored yet: whoever stores it settles attribution with it."""

    order_id: int
    adjusted: bool
    revenue_cents: int | None


@task(
    "analytics-process-attribution",
    on=Event("order.converted"),
    retry=ATTRIBUTION,
    entity="order_id",
    starts=("analytics-send-ga4-purchase", "analytics-send-meta-purchase", "analytics-send-tiktok-event"),
)
def process_attribution(
    payload: OrderConverted, run: Run, tenant: Tenant, db: TenantDb, outbox: Outbox
) -> ProcessedConversion:
    """Write a conversion with the credits of every model in every window, and have the ad platforms told of it.

    Raises NotFoundError for an order that is none.
    """
    with db.begin() as tx:
        settled = settle(run, tx, [payload.order_id], tenant.settings)
        platforms = Conversions(tx).pick_platforms()
    if not settled:
        raise NotFoundError("conversion", payload.order_id)
    tell_platforms(outbox, payload.order_id, platforms)
    return ProcessedConversion.of(settled[0])


def tell_platforms(outbox: Outbox, order_id: int, platforms: frozenset[Destination]) -> None:
    """Have each platform told of a purchase by a task of its own: one that is down holds up no other."""
    if Destination.GA4 in platforms:
        outbox.start(send_ga4_purchase, OrderToTell(order_id=order_id))
    if Destination.META in platforms:
        outbox.start(send_meta_purchase, OrderToTell(order_id=order_id))
    if Destination.TIKTOK in platforms:
        outbox.start(send_tiktok_event, TikTokEvent(order_id=order_id))


@task(
    "analytics-attribution-refund-adjust",
    webhook=Webhook("shopify", "refunds/create"),
    retry=ATTRIBUTION,
    entity="order_id",
)
def attribution_refund_adjust(payload: RefundOf, run: Run, tenant: Tenant, db: TenantDb) -> AdjustedForRefund:
    """Scale the attributed revenue of all models to what a refund leaves; each model still sums to it."""
    with db.begin() as tx:
        stored = Conversions(tx).has_refund(payload.refund_id)
        settled = settle(run, tx, [payload.order_id], tenant.settings) if stored else []
    left = settled[0].order.remaining_cents if settled else None
    return AdjustedForRefund(payload.order_id, stored, left)
