"""Order sync: bring one order, a range of them, or those whose webhook never came, up to date."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from commerce.order_sync.model import OrderState
from commerce.order_sync.payloads import OrderBatch, OrderRef, Reconciliation
from commerce.order_sync.reconcile import Reconciled, find_discrepancies, restore_subscriptions
from commerce.order_sync.repository import Orders
from commerce.order_sync.settlement import (
    Attributed,
    Commissioned,
    Scheduled,
    settle_all,
    settle_attribution,
    settle_commission,
    settle_review_email,
)
from commerce.order_sync.sync import (
    contains,
    fetch_present,
    find_stored,
    lock_stored,
    save,
    sync_and_settle,
    transit_of,
)
from tradewind.clock import Clock
from tradewind.ports import OrderPage, Shopify
from tradewind.tasks.message import Source
from tradewind.tasks.retry import Retry, exponential
from tradewind.tasks.run import Continuation, Outbox, Run
from tradewind.tasks.task import task
from tradewind.tasks.triggers import Cron, Webhook
from tradewind.tenancy.database import TenantDb
from tradewind.tenancy.tenant import Tenant

ORDER_EVENT = Retry(attempts=5, backoff=exponential(2, 30))
BATCH = Retry(attempts=3, backoff=exponential(5, 120))
ATTRIBUTION = Retry(attempts=5, backoff=exponential(5, 60))
LONG = timedelta(minutes=4)
IDS_A_PAGE = 25
"""Orders fetched by id cost whole orders at once: a standard shop's bucket pays for some thirty."""


@dataclass(frozen=True, slots=True)
class SyncedOrder:
    """What a sync has done. ``fetched`` is false where the stored state already contained the event."""

    order_id: int
    fetched: bool
    has_discount_code: bool
    status: str

    @classmethod
    def of(cls, order: OrderState, *, fetched: bool) -> SyncedOrder:
        return cls(order.order_id, fetched, bool(order.discount_codes), order.status)


@dataclass(frozen=True, slots=True)
class BackfilledOrders:
    """A backfill's end: how many orders it saw, and how many of them it wrote."""

    orders: int
    written: int


@task(
    "commerce-sync-order", webhook=Webhook("shopify", "orders/updated"), retry=ORDER_EVENT, entity="order_id"
)
def sync_order(
    payload: OrderRef, run: Run, tenant: Tenant, db: TenantDb, shopify: Shopify, clock: Clock
) -> SyncedOrder:
    """Fetch one order from Shopify and save it with its lines, customer, parcels and refunds.

    Started by the workflow it only saves, and the workflow's next steps do the rest. Started alone it brings
    attribution, commission and the review e-mail up to date in the same transaction.
    """
    if run.source is not Source.WORKFLOW:
        order, settled = sync_and_settle(
            run, tenant, db, shopify, clock, payload.order_id, payload.changed_at
        )
        return SyncedOrder.of(order, fetched=settled is not None)
    stored = find_stored(db, payload.order_id)
    if contains(stored, payload.changed_at):
        return SyncedOrder.of(stored, fetched=False)
    present = fetch_present(shopify, run, payload.order_id, payload.changed_at)
    with db.begin() as tx:
        return SyncedOrder.of(save(run, tx, tenant, present), fetched=True)


@task(
    "commerce-order-attribution",
    webhook=Webhook("shopify", "orders/paid"),
    retry=ATTRIBUTION,
    entity="order_id",
)
def order_attribution(
    payload: OrderRef, run: Run, tenant: Tenant, db: TenantDb, shopify: Shopify, clock: Clock
) -> Attributed:
    """Credit an order's revenue to the touches before it, under five models.

    A payment may be told of before the order itself: then the order is fetched and saved first.
    """
    if run.source is Source.WEBHOOK:
        _, settled = sync_and_settle(run, tenant, db, shopify, clock, payload.order_id, payload.changed_at)
        if settled is not None:
            return settled
    with db.begin() as tx:
        order = lock_stored(tx, payload.order_id)
        told_under = None if run.source is Source.BACKFILL else run.correlation_id
        [settled] = settle_attribution(tx, [order], tenant.settings, told_under)
        return settled


@task("commerce-order-commission", retry=ORDER_EVENT, entity="order_id")
def order_commission(payload: OrderRef, tenant: Tenant, db: TenantDb) -> Commissioned:
    """Book the commission of the creator whose code an order used, less what was refunded or cancelled."""
    with db.begin() as tx:
        [settled] = settle_commission(tx, [lock_stored(tx, payload.order_id)], tenant.settings)
        return settled


@task("commerce-order-review-email", retry=ORDER_EVENT, entity="order_id")
def order_review_email(payload: OrderRef, run: Run, tenant: Tenant, db: TenantDb, clock: Clock) -> Scheduled:
    """Queue an order's review request, due by the tenant's trigger and delay."""
    with db.begin() as tx:
        order = lock_stored(tx, payload.order_id)
        backfill = run.source is Source.BACKFILL
        [settled] = settle_review_email(tx, [order], tenant.settings, clock.now(), backfill=backfill)
        return settled


@task(
    "commerce-sync-order-batch", retry=BATCH, timeout=LONG, cap=1, concurrency=10, memory=512, backfill=True
)
def sync_order_batch(
    payload: OrderBatch, run: Run, tenant: Tenant, db: TenantDb, shopify: Shopify, clock: Clock
) -> BackfilledOrders | Continuation:
    """Backfill orders by ids or by a range of update times, a page of at most 100 a message, on a lane of its own.

    Writes data, attribution and commission; asks nobody for a review. A crash resumes at the last page's cursor.
    """
    before = run.checkpoint or {"cursor": None, "orders": 0, "written": 0}
    page = _fetch_page(payload, shopify, before["cursor"])
    with db.begin() as tx:
        orders = Orders(tx)
        written = orders.save(page.orders, transit_of(tenant))
        present = orders.lock([order.id for order in page.orders])
        settle_all(tx, present, tenant.settings, clock.now(), backfill=True)
    after = {
        "cursor": page.next_cursor,
        "orders": before["orders"] + len(page.orders),
        "written": before["written"] + len(written),
    }
    return (
        run.continue_with(after) if page.next_cursor else BackfilledOrders(after["orders"], after["written"])
    )


def _fetch_page(payload: OrderBatch, shopify: Shopify, cursor: str | None) -> OrderPage:
    """The next page; by ids the cursor is the place in the list."""
    if not payload.order_ids:
        return shopify.list_orders(
            updated_from=payload.updated_from,
            updated_to=payload.updated_to,
            cursor=cursor,
            limit=payload.limit,
        )
    start = int(cursor or 0)
    end = start + min(payload.limit, IDS_A_PAGE)
    orders = shopify.list_orders_by_id(payload.order_ids[start:end])
    return OrderPage(orders, str(end) if end < len(payload.order_ids) else None)


@task(
    "commerce-order-reconciliation",
    schedule=Cron(
        "30 * * * *",
        name="commerce-order-reconciliation-scheduled",
        payload={"look_back_hours": 2, "limit": 500},
    ),
    each_tenant=True,
    retry=BATCH,
    timeout=LONG,
    cap=1,
    concurrency=10,
    memory=512,
    starts=("commerce-sync-order",),
)
def order_reconciliation(
    payload: Reconciliation,
    run: Run,
    tenant: Tenant,
    db: TenantDb,
    shopify: Shopify,
    clock: Clock,
    outbox: Outbox,
) -> Reconciled:
    """Find orders that Shopify changed and we did not hear of, sync them, and restore lost webhook subscriptions."""
    since = run.moment(clock)
    found, compared = find_discrepancies(shopify, db, since, payload)
    for update, _ in found:
        ref = OrderRef(order_id=update.id, changed_at=update.updated_at)
        outbox.start(sync_order, ref, key=f"{update.id}@{update.updated_at}", source=Source.RECONCILIATION)
    restored = restore_subscriptions(shopify, db, tenant)
    if found:
        with db.begin() as tx:
            Orders(tx).save_discrepancies(found)
    kinds = [kind for _, kind in found]
    return Reconciled(compared, kinds.count("missing"), kinds.count("outdated"), restored)
