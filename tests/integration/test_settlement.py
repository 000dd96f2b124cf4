"""A set of orders settles as each of them alone would, in whatever order and company."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from commerce.order_sync.model import ESTIMATED_TRANSIT
from commerce.order_sync.repository import Orders
from commerce.order_sync.settlement import settle_all
from infra.local import PostgresServer
from tests.fakes import NOON, a_fulfillment, a_refund, an_order
from tests.integration.harness import House, add_tenant, local_settings
from tests.integration.test_arrival_order import TABLES, tables_of
from tradewind.ports import ShopifyCustomer, ShopifyOrder
from tradewind.tenancy.database import Session

TIERS = {
    "commission_tiers": [
        {"name": name, "from_cents": cents, "rate_basis_points": rate}
        for name, cents, rate in (("one", 0, 1000), ("two", 15_000, 1500), ("three", 30_000, 2000))
    ]
}


@pytest.fixture(scope="module")
def pair(postgres: PostgresServer, migrated: str) -> Iterator[tuple[House, House]]:
    """Two tenants with the same two creators: one settles order by order, the other in sets."""
    urls = postgres.create_database("settlement", template=migrated)
    houses = [
        House(urls, local_settings(urls), add_tenant(urls, slug, TIERS)) for slug in ("singly", "in-sets")
    ]
    for house in houses:
        for number, code in enumerate(("BO", "KIM")):
            house.write(
                "INSERT INTO creators (creator_id, name, code) VALUES (%s, %s, %s)",
                f"7b1c2f2e-0000-4000-8000-00000000000{number}",
                code,
                code,
            )
    yield houses[0], houses[1]
    for house in houses:
        house.close()
    postgres.drop_database("settlement")


@st.composite
def orders(draw: st.DrawFn) -> list[ShopifyOrder]:
    """Up to seven orders of few customers, visitors and codes within three weeks, so that they change each other."""
    drawn = []
    for number in range(draw(st.integers(2, 7))):
        placed = NOON - timedelta(hours=draw(st.integers(0, 500)))
        ending = draw(st.sampled_from(["open", "open", "sent", "part_refund", "cancelled", "free"]))
        changes: dict[str, Any] = {}
        if ending == "sent":
            changes["fulfillments"] = (a_fulfillment(9000 + number, placed),)
        if ending == "part_refund":
            changes["refunds"] = (a_refund(9500 + number, 3_333, 3_000, placed, 10 * number + 1),)
        if ending == "cancelled":
            changes["cancelled_at"] = placed
        if ending == "free":
            changes["total_cents"] = 0
        visitor = draw(st.sampled_from([None, "v1", "v2"]))
        customer = draw(st.sampled_from([1, 2]))
        drawn.append(
            an_order(
                4000 + number,
                placed_at=placed,
                updated_at=placed,
                discount_codes=draw(st.sampled_from([(), ("BO",), ("kim", "BO"), ("NOBODY",)])),
                attributes={} if visitor is None else {"visitor_id": visitor},
                customer=ShopifyCustomer(customer, f"c{customer}@example.com", "C", None, None, None),
                **changes,
            )
        )
    return drawn


def settle(house: House, batch: Sequence[ShopifyOrder]) -> None:
    """What a page of a backfill does, in a transaction of its own; only that it may ask for reviews."""
    session = Session(house.connections)
    with session.transaction(house.tenant_id) as tx:
        stored = Orders(tx)
        stored.save(batch, ESTIMATED_TRANSIT)
        settle_all(tx, stored.lock([order.id for order in batch]), TIERS, NOON)
    session.settle()
    session.close()


@settings(
    max_examples=40,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
@given(data=st.data())
def test_any_division_into_sets_ends_in_the_same_tables(
    pair: tuple[House, House], data: st.DataObject
) -> None:
    singly, in_sets = pair
    for house in pair:
        for table in reversed(TABLES):
            house.write(f"DELETE FROM {table}")
    told = data.draw(orders())
    for order in data.draw(st.permutations(told)):
        settle(singly, [order])
    shuffled = data.draw(st.permutations(told))
    cut = data.draw(st.integers(0, len(told) - 1))
    for batch in filter(None, (shuffled[:cut], shuffled[cut:])):
        settle(in_sets, batch)
    expected, found = tables_of(singly), tables_of(in_sets)
    for table in TABLES:
        assert found[table] == expected[table], table
    assert len(expected["orders"]) == len(told)
