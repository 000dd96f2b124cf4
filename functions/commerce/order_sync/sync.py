"""Taking an order's present state and saving it: what every order task begins with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeGuard

from pydantic import ValidationError

from commerce.order_sync.model import ESTIMATED_TRANSIT, OrderState, is_contained, is_same, newest, visit_of
from commerce.order_sync.payloads import OrderBody, is_whole
from commerce.order_sync.repository import Orders
from commerce.order_sync.settlement import Attributed, settle_all
from tradewind.clock import Clock
from tradewind.errors import InvalidPayloadError, NotFoundError
from tradewind.ports import Shopify, ShopifyOrder
from tradewind.tasks.message import Source
from tradewind.tasks.run import Run
from tradewind.tenancy.database import TenantDb, Transaction
from tradewind.tenancy.tenant import Tenant


def find_stored(db: TenantDb, order_id: int) -> OrderState | None:
    with db.begin() as tx:
        return Orders(tx).find(order_id)


def contains(stored: OrderState | None, event_at: datetime | None) -> TypeGuard[OrderState]:
    """Whether the stored order certainly contains the event already: then nothing is asked and nothing changes."""
    return stored is not None and is_contained(stored.updated_at, event_at)


def take_delivered(run: Run, stored: OrderState, order_id: int) -> ShopifyOrder | None:
    """What the webhook delivered, where that is as good as Shopify's answer: whole, and without parcels and refunds,
    whose times and amounts only the API tells exactly. The visit that led to the order is told by the API alone, some
    time after the order: once fetched it stays.
    """
    body = run.message.payload
    if stored.visited_at is None or not body or not is_whole(body):
        return None
    delivered = read_delivered(body, order_id)
    return None if delivered is None else replace(delivered, visit=visit_of(stored))


def fetch_present(shopify: Shopify, run: Run, order_id: int, event_at: datetime | None) -> ShopifyOrder:
    """The order's present state: Shopify's answer, or what the webhook delivered where that is newer or all there is.

    Raises InvalidPayloadError for a delivered order that cannot be, and NotFoundError where neither knows the order.
    """
    delivered = read_delivered(run.message.payload, order_id)
    with run.step("fetch"):
        fetched = shopify.find_order(order_id)
        behind = fetched is None or (event_at is not None and fetched.updated_at < event_at)
        if behind and delivered is None:
            delivered = read_delivered(run.webhook_body(), order_id)
        order = newest(fetched, delivered)
    if order is None:
        raise NotFoundError("order at Shopify", order_id)
    return order


def read_delivered(body: Mapping[str, Any] | None, order_id: int) -> ShopifyOrder | None:
    """The order that a webhook's body holds, where it is an order and this one."""
    if not body or "total_price" not in body:
        return None
    try:
        order = OrderBody.model_validate(body).to_order()
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise InvalidPayloadError(".".join(map(str, first["loc"])), first["msg"]) from error
    except ValueError as error:
        raise InvalidPayloadError("order", str(error)) from error
    return order if order.id == order_id else None


def save(run: Run, tx: Transaction, tenant: Tenant, order: ShopifyOrder) -> OrderState:
    """Write the order and return it as it stands, locked."""
    with run.step("save"):
        orders = Orders(tx)
        orders.save([order], transit_of(tenant))
        return _locked(orders, order.id)


def save_delivered(run: Run, tx: Transaction, tenant: Tenant, order: ShopifyOrder) -> OrderState | None:
    """The same for what a webhook delivered. None where another state of the same instant came first: which of the two
    is the present one, only Shopify can tell.
    """
    with run.step("save"):
        orders = Orders(tx)
        written = orders.save([order], transit_of(tenant), only_newer=True)
        state = _locked(orders, order.id)
    return state if written or state.updated_at > order.updated_at else None


def _locked(orders: Orders, order_id: int) -> OrderState:
    locked = orders.lock([order_id])
    if not locked:
        raise NotFoundError("order", order_id)
    return locked[0]


def transit_of(tenant: Tenant) -> timedelta:
    days = tenant.settings.get("estimated_transit_days")
    return ESTIMATED_TRANSIT if days is None else timedelta(days=days)


def sync_and_settle(
    run: Run,
    tenant: Tenant,
    db: TenantDb,
    shopify: Shopify,
    clock: Clock,
    order_id: int,
    event_at: datetime | None,
) -> tuple[OrderState, Attributed | None]:
    """Bring an order and all that follows from it up to date. Returns it, and None where the stored state already
    contained the event, else how it was attributed.
    """
    stored = find_stored(db, order_id)
    if contains(stored, event_at):
        return stored, None
    backfill = run.source is Source.BACKFILL
    settle = partial(settle_all, backfill=backfill, correlation_id=run.correlation_id)
    delivered = None if stored is None else take_delivered(run, stored, order_id)
    if stored is not None and delivered is not None:
        if is_same(stored, delivered):
            return stored, None
        if delivered.updated_at > stored.updated_at:
            with db.begin() as tx:
                present = save_delivered(run, tx, tenant, delivered)
                if present is not None:
                    [settled] = settle(tx, [present], tenant.settings, clock.now())
                    return present, settled
    order = fetch_present(shopify, run, order_id, event_at)
    with db.begin() as tx:
        state = save(run, tx, tenant, order)
        [settled] = settle(tx, [state], tenant.settings, clock.now())
        return state, settled


def lock_stored(tx: Transaction, order_id: int) -> OrderState:
    """The stored order, locked. Raises NotFoundError: sync it first."""
    return _locked(Orders(tx), order_id)
