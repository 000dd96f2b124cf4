"""What Shopify tells of an order: created, fulfilled, cancelled, refunded. Each takes the order's present state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from commerce.order_sync.model import OrderState
from commerce.order_sync.payloads import OrderRef
from commerce.order_sync.sync import read_delivered, sync_and_settle
from tradewind.clock import Clock
from tradewind.ports import MachineStarter, Shopify
from tradewind.tasks.retry import Retry, exponential
from tradewind.tasks.run import Run
from tradewind.tasks.task import task
from tradewind.tasks.triggers import Webhook
from tradewind.tenancy.database import TenantDb
from tradewind.tenancy.tenant import Tenant

ORDER_EVENT = Retry(attempts=5, backoff=exponential(2, 30))


@dataclass(frozen=True, slots=True)
class ChainEnded:
    """The order-sync workflow's end: each step's result by task."""

    order_id: int
    steps: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class OrderSettled:
    """An order after an event. ``fetched`` is false where the stored state already contained it. Money in cents."""

    order_id: int
    status: str
    remaining_cents: int
    fetched: bool

    @classmethod
    def of(cls, order: OrderState, *, fetched: bool) -> OrderSettled:
        return cls(order.order_id, order.status, order.remaining_cents, fetched)


@task(
    "commerce-order-created",
    webhook=Webhook("shopify", "orders/create"),
    retry=ORDER_EVENT,
    entity="order_id",
    starts_workflow="order-sync",
)
def order_created(payload: OrderRef, run: Run, tenant: Tenant, machines: MachineStarter) -> ChainEnded:
    """Bring a new order in: start the order-sync workflow and wait for its end.

    Waiting keeps the order's message group closed until the whole chain is done. Steps that have ended are not
    repeated when the chain is: each has its own run under this one's cause.
    """
    read_delivered(run.message.payload, payload.order_id)
    steps = machines.run(
        "order-sync",
        f"{run.id}-{run.fence}",
        {
            "tenant": str(tenant.id),
            "cause": run.cause,
            "correlation_id": run.correlation_id,
            "accepted_at": run.accepted_at.isoformat(),
            "payload": payload.model_dump(mode="json"),
        },
    )
    return ChainEnded(payload.order_id, steps)


@task(
    "commerce-handle-order-fulfilled",
    webhook=(
        Webhook("shopify", "orders/fulfilled"),
        Webhook("shopify", "fulfillments/create"),
        Webhook("shopify", "fulfillments/update"),
    ),
    retry=ORDER_EVENT,
    entity="order_id",
)
def handle_order_fulfilled(
    payload: OrderRef, run: Run, tenant: Tenant, db: TenantDb, shopify: Shopify, clock: Clock
) -> OrderSettled:
    """Store parcels with carrier, tracking and expected arrival, and move the review request along with them."""
    order, settled = sync_and_settle(run, tenant, db, shopify, clock, payload.order_id, payload.changed_at)
    return OrderSettled.of(order, fetched=settled is not None)


@task(
    "commerce-handle-order-cancelled",
    webhook=Webhook("shopify", "orders/cancelled"),
    retry=ORDER_EVENT,
    entity="order_id",
)
def handle_order_cancelled(
    payload: OrderRef, run: Run, tenant: Tenant, db: TenantDb, shopify: Shopify, clock: Clock
) -> OrderSettled:
    """Mark an order cancelled: its commission is reversed, its revenue taken back, its review request dropped.

    It is no conversion of an A/B test any more.
    """
    order, settled = sync_and_settle(run, tenant, db, shopify, clock, payload.order_id, payload.changed_at)
    return OrderSettled.of(order, fetched=settled is not None)


@task(
    "commerce-handle-refund-created",
    webhook=Webhook("shopify", "refunds/create"),
    retry=ORDER_EVENT,
    entity="order_id",
)
def handle_refund_created(
    payload: OrderRef, run: Run, tenant: Tenant, db: TenantDb, shopify: Shopify, clock: Clock
) -> OrderSettled:
    """Store a refund with its lines; commission and attributed revenue shrink in proportion.

    A conversion of an A/B test is worth what is left.
    """
    order, settled = sync_and_settle(run, tenant, db, shopify, clock, payload.order_id, payload.changed_at)
    return OrderSettled.of(order, fetched=settled is not None)
