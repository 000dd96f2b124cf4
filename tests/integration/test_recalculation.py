"""Recalculating conversions over arrays, against the order chain's own results, on a real Postgres."""

from __future__ import annotations

from datetime import timedelta
from random import Random
from typing import Any

import pytest

from analytics.attribution.recalculating import Progress, Range, fetch_chunk, recalculate, write_chunk
from analytics.attribution.recalculation_tasks import attribution_recalculate_recent
from commerce.order_sync.tasks import sync_order
from operations.touchpoints.tasks import touchpoint_ingest
from tests.fakes import NOON, a_refund, an_order
from tests.integration.harness import House
from tradewind.ports import ShopifyCustomer
from tradewind.tasks.message import Source
from tradewind.tasks.worker import Done
from tradewind.tenancy.database import Session, TenantDb

EVERYTHING = {
    "since": (NOON - timedelta(days=90)).isoformat(),
    "until": (NOON + timedelta(days=90)).isoformat(),
}
CREDITS = "SELECT * FROM attribution_credits ORDER BY shopify_order_id, window_days"
CONVERSIONS = "SELECT shopify_order_id, touchpoints, status FROM attribution_conversions ORDER BY 1"
ORDERS = 24


@pytest.fixture
def shop(house: House) -> House:
    """Orders with touches of many kinds: of visitors, of customers alone, refunded ones, ones without a touch."""
    chance = Random(5)
    for number in range(80):
        at = NOON - timedelta(hours=chance.randint(0, 900), seconds=number)
        visitor = f"visitor-{number % 9}" if number % 5 else None
        told = {
            "occurred_at": at.isoformat(),
            "touch_id": f"t-{number}",
            "type": chance.choice(["click", "view"]),
            "utm": {"medium": chance.choice(["cpc", "email", "social", "affiliate"])},
            **({"visitor_id": visitor} if visitor else {"customer_id": 500 + number % 4}),
        }
        assert isinstance(house.run(touchpoint_ingest, told, source=Source.EVENT), Done)
    house.write(
        "INSERT INTO attribution_identities (visitor_id, shopify_customer_id) VALUES ('visitor-8', 501)"
    )
    for number in range(ORDERS):
        placed = NOON - timedelta(hours=chance.randint(0, 300), seconds=number)
        changes: dict[str, Any] = {} if number % 3 else {"visit": None}
        if number % 6 == 0:
            changes["refunds"] = (a_refund(9000 + number, 3_333, 3_000, placed, 10 * number + 1),)
        house.shopify.put(
            an_order(
                2000 + number,
                placed_at=placed,
                updated_at=placed,
                total_cents=10_200 + number,
                attributes={"visitor_id": f"visitor-{number % 11}"} if number % 4 else {},
                customer=ShopifyCustomer(500 + number % 4, "c@example.com", "C", None, None, None),
                **changes,
            )
        )
        assert isinstance(house.run(sync_order, {"order_id": 2000 + number}), Done)
    return house


def recalculate_all(house: House, **payload: Any) -> dict[str, Any]:
    end = house.run(attribution_recalculate_recent, {**EVERYTHING, **payload}, source=Source.MANUAL)
    assert isinstance(end, Done)
    found: dict[str, Any] = end.result
    return found


def test_everything_stands_as_the_chain_has_computed_it(shop: House) -> None:
    chain = shop.query(CREDITS)
    assert len({row["shopify_order_id"] for row in chain}) > ORDERS / 2
    assert recalculate_all(shop) == {"conversions": ORDERS, "changed": 0}
    assert shop.query(CREDITS) == chain


def test_what_is_lost_or_wrong_is_written_again_and_then_nothing(shop: House) -> None:
    stood, conversions = shop.query(CREDITS), shop.query(CONVERSIONS)
    wrong = len(shop.query("SELECT 1 AS x FROM attribution_credits WHERE window_days = 7"))
    lost = len(shop.query("SELECT 1 AS x FROM attribution_credits WHERE window_days = 30"))
    shop.write("UPDATE attribution_credits SET channels = channels || 8::smallint WHERE window_days = 7")
    shop.write("DELETE FROM attribution_credits WHERE window_days = 30")
    shop.write("UPDATE attribution_conversions SET touchpoints = 77")
    assert recalculate_all(shop) == {"conversions": ORDERS, "changed": wrong + lost + ORDERS}
    assert (shop.query(CREDITS), shop.query(CONVERSIONS)) == (stood, conversions)
    assert recalculate_all(shop) == {"conversions": ORDERS, "changed": 0}


def test_touch_that_came_late_counts(shop: House) -> None:
    [order] = shop.query(
        "SELECT shopify_order_id, placed_at FROM orders WHERE visitor_id = 'visitor-10' LIMIT 1"
    )
    at = order["placed_at"] - timedelta(hours=1)
    shop.run(
        touchpoint_ingest,
        {"occurred_at": at.isoformat(), "visitor_id": "visitor-10", "utm": {"medium": "affiliate"}},
        source=Source.EVENT,
    )
    before = shop.query(CREDITS)
    assert recalculate_all(shop)["changed"] > 0
    late = [row for row in shop.query(CREDITS) if row not in before]
    assert {6} <= {code for row in late for code in row["channels"]}


def test_only_the_ranges_conversions_are_computed(shop: House) -> None:
    shop.write("DELETE FROM attribution_credits")
    [found] = shop.query(
        "SELECT count(*)::int AS n FROM orders WHERE placed_at >= %s", NOON - timedelta(days=3)
    )
    done = recalculate_all(shop, since=(NOON - timedelta(days=3)).isoformat())
    assert done["conversions"] == found["n"]
    written = shop.query("SELECT DISTINCT shopify_order_id FROM attribution_credits")
    recent = shop.query("SELECT shopify_order_id FROM orders WHERE placed_at >= %s", NOON - timedelta(days=3))
    assert {row["shopify_order_id"] for row in written} <= {row["shopify_order_id"] for row in recent}


def test_chunks_of_any_size_end_alike_and_go_on_from_where_they_were(shop: House) -> None:
    stood = shop.query(CREDITS)
    shop.write("DELETE FROM attribution_credits")
    session = Session(shop.connections)
    db, progress, done = TenantDb(session, shop.tenant_id), Progress(), []
    asked = Range(NOON - timedelta(days=90), NOON + timedelta(days=90), {}, size=5)
    while (further := next(recalculate(db, asked, progress), None)) is not None:
        session.settle()
        progress = Progress.of(further.checkpoint())
        done.append(progress.conversions)
    session.close()
    # Six chunks of four; of the twenty that are left four of five, of fifteen four of four and less, and so on.
    assert done == [4, 9, 13, 16, 20, 22, 23, 24]
    assert shop.query(CREDITS) == stood


def test_chunks_are_of_equal_size_and_as_many_as_keep_both_sides_at_work(shop: House) -> None:
    stood = shop.query(CREDITS)
    shop.write("DELETE FROM attribution_credits")
    session = Session(shop.connections)
    asked = Range(NOON - timedelta(days=90), NOON + timedelta(days=90), {}, size=5)
    steps = list(recalculate(TenantDb(session, shop.tenant_id), asked, Progress()))
    session.settle()
    session.close()
    assert [step.conversions for step in steps] == [4, 8, 12, 16, 20, 24]
    assert steps[-1].changed == len(stood)
    assert shop.query(CREDITS) == stood


def test_conversions_of_one_instant_stay_in_one_chunk(shop: House) -> None:
    """Where all but the first have one instant, they are more than a chunk may have."""
    shop.write("UPDATE attribution_conversions SET converted_at = %s WHERE shopify_order_id > 2000", NOON)
    shop.write("DELETE FROM attribution_credits")
    session = Session(shop.connections)
    asked = Range(NOON - timedelta(days=90), NOON + timedelta(days=90), {}, size=5)
    steps = list(recalculate(TenantDb(session, shop.tenant_id), asked, Progress()))
    session.settle()
    session.close()
    assert [step.conversions for step in steps] == [1, 24]


def test_what_somebody_else_has_computed_meanwhile_is_left(shop: House) -> None:
    shop.write("DELETE FROM attribution_credits")
    shop.write("UPDATE attribution_conversions SET touchpoints = 77")
    session = Session(shop.connections)
    db = TenantDb(session, shop.tenant_id)
    fetched = fetch_chunk(db, {}, NOON - timedelta(days=90), NOON + timedelta(days=90))
    session.settle()
    newer = "UPDATE attribution_conversions SET calculated_at = calculated_at + interval '1 microsecond'"
    shop.write(f"{newer} WHERE shopify_order_id <> 2001")
    computed, changed = write_chunk(db, fetched)
    session.settle()
    session.close()
    assert computed == 1
    written = shop.query("SELECT DISTINCT shopify_order_id FROM attribution_credits")
    assert {row["shopify_order_id"] for row in written} <= {2001}
    counted = shop.query("SELECT shopify_order_id FROM attribution_conversions WHERE touchpoints <> 77")
    assert counted == [{"shopify_order_id": 2001}]
    assert changed == 1 + len(shop.query(CREDITS))


def test_credits_that_came_since_none_stood_are_written_over(shop: House) -> None:
    stood = shop.query(CREDITS)
    shop.write("DELETE FROM attribution_credits")
    session = Session(shop.connections)
    db = TenantDb(session, shop.tenant_id)
    fetched = fetch_chunk(db, {}, NOON - timedelta(days=90), NOON + timedelta(days=90))
    session.settle()
    one = stood[0]
    shop.write(
        "INSERT INTO attribution_credits (shopify_order_id, window_days, touchpoint_ids, channels, credits, cents)"
        " VALUES (%s, %s, %s, %s, %s, %s)",
        *(one["shopify_order_id"], one["window_days"], one["touchpoint_ids"], one["channels"]),
        *(one["credits"], [[1 if cents else cents for cents in model] for model in one["cents"]]),
    )
    _, changed = write_chunk(db, fetched)
    session.settle()
    session.close()
    assert changed == len(stood)
    assert shop.query(CREDITS) == stood


def test_credits_go_with_their_conversion_and_with_their_order(shop: House) -> None:
    """No foreign key does it."""
    stood = {row["shopify_order_id"] for row in shop.query(CREDITS)}
    first, second, *_ = sorted(stood)
    shop.write("DELETE FROM attribution_conversions WHERE shopify_order_id = %s", first)
    assert {row["shopify_order_id"] for row in shop.query(CREDITS)} == stood - {first}
    shop.write("DELETE FROM orders WHERE shopify_order_id = %s", second)
    assert {row["shopify_order_id"] for row in shop.query(CREDITS)} == stood - {first, second}


def test_window_that_is_empty_now_loses_its_row(shop: House) -> None:
    stood = shop.query(CREDITS)
    shop.write(
        "INSERT INTO attribution_credits (shopify_order_id, window_days, touchpoint_ids, channels, credits, cents)"
        " SELECT shopify_order_id, 90, touchpoint_ids, channels, credits, cents FROM attribution_credits"
        " WHERE window_days = 30"
    )
    surplus = len([row for row in stood if row["window_days"] == 30])
    assert recalculate_all(shop) == {"conversions": ORDERS, "changed": surplus}
    assert shop.query(CREDITS) == stood
