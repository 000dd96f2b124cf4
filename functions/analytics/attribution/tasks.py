"""Attribution: what follows once an order has become a conversion."""

from __future__ import annotations

from dataclasses import dataclass

from analytics.attribution.repository import Conversions, StoredConversion
from tradewind.contracts.orders import OrderConverted
from tradewind.errors import NotFoundError
from tradewind.tasks.retry import Retry, exponential
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
)
def process_attribution(payload: OrderConverted, db: TenantDb) -> ProcessedConversion:
    """Find a new conversion with its credits. Raises NotFoundError for an order that is none."""
    with db.begin() as tx:
        conversion = Conversions(tx).find(payload.order_id)
    if conversion is None:
        raise NotFoundError("conversion", payload.order_id)
    return ProcessedConversion.of(conversion)
