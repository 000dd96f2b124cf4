"""Whatever order an order's events arrive in, and however often, the tables end the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from commerce.order_events.tasks import (
    handle_order_cancelled,
    handle_order_fulfilled,
    handle_refund_created,
    order_created,
)
from commerce.order_sync.tasks import order_attribution, sync_order
from infra.local import PostgresServer
from tests.fakes import NOON, FakeShopify, a_fulfillment, a_refund, an_order, body_of
from tests.integration.harness import House, add_tenant, local_settings
from tradewind.ports import ShopifyOrder
from tradewind.tasks.task import Task
from tradewind.tasks.worker import Done

TABLES = {
    "orders": "synced_at",
    "order_line_items": "",
    "customers": "synced_at",
    "fulfillments": "",
    "refunds": "",
    "refund_line_items": "",
    "attribution_touchpoints": "",
    "attribution_conversions": "calculated_at",
    "attribution_credits": "",
    "commissions": "updated_at",
    "review_email_queue": "created_at updated_at",
}
Event = tuple[Task, int, ShopifyOrder]


@pytest.fixture(scope="module")
def pair(postgres: PostgresServer, migrated: str) -> Iterator[tuple[House, House]]:
    """Two tenants with the same creator: one hears everything in order, the other shuffled."""
    urls = postgres.create_database("arrival", template=migrated)
    houses = [House(urls, local_settings(urls), add_tenant(urls, slug)) for slug in ("ordered", "shuffled")]
    for house in houses:
        house.write(
            "INSERT INTO creators (creator_id, name, code) "
            "VALUES ('7b1c2f2e-0000-4000-8000-000000000001', 'Bo', 'BO')"
        )
    yield houses[0], houses[1]
    for house in houses:
        house.close()
    postgres.drop_database("arrival")


def life_of(order_id: int, ending: str, start_hours: int) -> list[Event]:
    """One order's life: each event with the order's state at that moment."""
    placed = NOON - timedelta(days=3) + timedelta(hours=start_hours)
    state = an_order(
        order_id,
        placed_at=placed,
        updated_at=placed,
        discount_codes=("BO",),
        visit=replace(an_order().visit, occurred_at=placed - timedelta(minutes=5)),  # type: ignore[type-var]
    )
    events: list[Event] = [(order_created, order_id, state)]

    def step(task: Task, **changes: Any) -> None:
        nonlocal state
        state = replace(state, updated_at=state.updated_at + timedelta(minutes=17), **changes)
        events.append((task, order_id, state))

    step(order_attribution, financial_status="paid")
    step(sync_order, tags=("vip",))
    sent = state.updated_at
    step(
        handle_order_fulfilled,
        fulfillments=(a_fulfillment(order_id + 1, sent),),
        fulfillment_status="fulfilled",
    )
    if ending == "delivered":
        step(handle_order_fulfilled, fulfillments=(a_fulfillment(order_id + 1, sent, state.updated_at),))
    if ending in ("part_refund", "full_refund"):
        part = a_refund(order_id + 2, 3_333, 3_000, state.updated_at, order_id * 10 + 1)
        step(handle_refund_created, refunds=(part,))
    if ending == "full_refund":
        rest = a_refund(order_id + 3, 6_867, 6_000, state.updated_at, order_id * 10 + 2)
        step(handle_refund_created, refunds=(*state.refunds, rest), financial_status="refunded")
    if ending == "cancelled":
        step(handle_order_cancelled, cancelled_at=state.updated_at, cancel_reason="customer")
    return events


def deliver(house: House, events: list[Event]) -> None:
    """Deliver events; Shopify's present state of an order is the newest that was told of so far."""
    shop: FakeShopify = house.shopify
    for task, order_id, state in events:
        known = shop.orders.get(order_id)
        if known is None or known.updated_at < state.updated_at:
            shop.put(state)
        payload: dict[str, Any] = body_of(state)
        if task is handle_order_fulfilled:
            payload = {"id": order_id + 1, "order_id": order_id, "updated_at": state.updated_at.isoformat()}
        if task is handle_refund_created:
            payload = {"id": 1, "order_id": order_id, "created_at": state.updated_at.isoformat()}
        end = house.run(task, payload)
        assert isinstance(end, Done), end


def tables_of(house: House) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for table, ignored in TABLES.items():
        rows = house.query(f"SELECT * FROM {table} WHERE tenant_id = %s", house.tenant_id)
        hidden = {"tenant_id", *ignored.split()}
        found[table] = sorted(
            ({name: value for name, value in row.items() if name not in hidden} for row in rows), key=str
        )
    return found


@settings(
    max_examples=20,
    deadline=None,
    phases=(
        Phase.explicit,
        Phase.reuse,
        Phase.generate,
    ),  # a failure is small already; shrinking it takes minutes
    suppress_health_check=list(HealthCheck),
)
@given(data=st.data())
def test_any_order_of_arrival_ends_in_the_same_tables(pair: tuple[House, House], data: st.DataObject) -> None:
    ordered, shuffled = pair
    endings = data.draw(
        st.lists(
            st.sampled_from(["open", "delivered", "part_refund", "full_refund", "cancelled"]),
            min_size=1,
            max_size=3,
        )
    )
    for house in pair:
        house.shopify.orders.clear()
        for table in reversed(TABLES):
            house.write(f"DELETE FROM {table}")
    lives = [life_of(2000 + at * 100, ending, at * 5) for at, ending in enumerate(endings)]
    events = [event for life in lives for event in life]
    again = data.draw(st.lists(st.sampled_from(range(len(events))), max_size=4))
    order = data.draw(st.permutations([*range(len(events)), *again]))
    if data.draw(st.booleans(), label="one whole life after the other"):
        turn = data.draw(st.permutations(range(len(lives))))
        order.sort(key=lambda at: turn.index(next(n for n, life in enumerate(lives) if events[at] in life)))
    deliver(ordered, events)
    deliver(shuffled, [events[at] for at in order])
    expected, found = tables_of(ordered), tables_of(shuffled)
    for table in TABLES:
        assert found[table] == expected[table], table
    assert len(expected["commissions"]) == len(endings)
