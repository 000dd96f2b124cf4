"""Orders as conversions: those that no page told of, and what refunds and cancellations leave of them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import psycopg
import pytest
from psycopg.rows import dict_row

import commerce.ab_testing.order_tasks as orders
from commerce.ab_conversions.repository import Lifetime, Outcomes
from commerce.ab_testing.course import HORIZONS
from commerce.order_events.tasks import handle_order_cancelled, handle_refund_created
from commerce.order_sync.tasks import sync_order, sync_order_batch
from infra.local import ValkeyServer
from infra.local.postgres import DatabaseUrls
from tests.fakes import a_refund, an_order
from tests.integration.harness import House
from tests.integration.storefront import Storefront, an_event, decisions, lifecycle, metrics
from tradewind.ratelimit import connect
from tradewind.tasks.worker import Done
from tradewind.tenancy.database import Transaction

PLACED = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
"""After every visit, however late this module's tests are run."""


@pytest.fixture
def page(database: DatabaseUrls, house: House, valkey: ValkeyServer) -> Iterator[Storefront]:
    store = connect(valkey.url)
    store.flushall(target_nodes="all")
    built = Storefront(database, house, store)
    built.start()
    yield built
    built.close()
    store.close()


def visit(page: Storefront, visitor: str, **about: Any) -> None:
    page.ask("POST /ab/assignments", {"visitor_id": visitor, **about})


def order(page: Storefront, order_id: int = 1001, **changes: Any) -> None:
    """An order of 102.00 that is saved."""
    placed = {
        "placed_at": PLACED + timedelta(minutes=1),
        "updated_at": PLACED + timedelta(minutes=1),
        **changes,
    }
    page.house.shopify.put(an_order(order_id, **placed))
    assert isinstance(page.house.run(sync_order, {"order_id": order_id}, cause=f"sync-{order_id}"), Done)


def conversions(page: Storefront) -> list[tuple[Any, ...]]:
    rows = page.house.query(
        "SELECT visitor_id, source, matched_by, ordered_cents::int, revenue_cents::int, removed"
        " FROM ab_test_conversions ORDER BY shopify_order_id"
    )
    return [tuple(row.values()) for row in rows]


@pytest.mark.parametrize(
    ("visitor", "attributes", "matched_by"),
    [
        ({"visitor_id": "visitor-1"}, {"visitor_id": "visitor-1"}, "visitor"),
        ({"visitor_id": "other", "session_id": "s-1"}, {"session_id": "s-1"}, "session"),
        ({"visitor_id": "other", "customer_id": 501}, {}, "customer"),
    ],
)
def test_order_that_no_page_told_of_is_matched(
    page: Storefront, visitor: dict[str, Any], attributes: dict[str, str], matched_by: str
) -> None:
    visit(page, visitor.pop("visitor_id"), **visitor)
    order(page, attributes=attributes)
    done = page.run(orders.order_reconciliation)
    assert done["tests"] == ["hero"]
    [found] = conversions(page)
    assert found[1:] == ("reconciliation", matched_by, 10_200, 10_200, False)
    page.run(orders.order_reconciliation)
    assert len(conversions(page)) == 1
    assert [row[5:] for row in page.metrics() if row[5]] == [(1, 10_200)]


def test_order_before_the_visit_or_outside_the_test_is_none_of_its(page: Storefront) -> None:
    visit(page, "visitor-1")
    early = PLACED - timedelta(hours=9)
    order(page, 1001, placed_at=early)
    order(page, 1002, test=True)
    page.run(decisions.handle_test_ended, {"test_id": "hero", "ended_at": early.isoformat()})
    order(page, 1003)
    page.run(orders.order_reconciliation)
    assert conversions(page) == []


def test_order_itself_replaces_what_the_page_said_it_was_worth(page: Storefront) -> None:
    page.post(an_event(1, "visitor-1", "purchase", order_id=1001, value_cents=1))
    order(page)
    page.run(orders.order_reconciliation)
    assert conversions(page) == [("visitor-1", "event", "visitor", 10_200, 10_200, False)]


@pytest.mark.parametrize(
    ("changes", "handler", "left", "purchases"),
    [
        ({"cancelled_at": PLACED + timedelta(hours=1)}, handle_order_cancelled, (10_200, 0, True), (0, 0)),
        (
            {"refunds": (a_refund(1, 2_200, 2_000, PLACED + timedelta(hours=1)),)},
            handle_refund_created,
            (10_200, 8_000, False),
            (1, 8_000),
        ),
        (
            {"refunds": (a_refund(1, 10_200, 10_000, PLACED + timedelta(hours=1)),)},
            sync_order,
            (10_200, 0, False),
            (1, 0),
        ),
    ],
)
def test_refund_and_cancellation_take_back_what_an_order_was_worth(
    page: Storefront, changes: dict[str, Any], handler: Any, left: tuple[Any, ...], purchases: tuple[int, int]
) -> None:
    page.post(an_event(1, "visitor-1", "purchase", order_id=1001, value_cents=10_200))
    order(page)
    changed = PLACED + timedelta(hours=1)
    page.house.shopify.put(an_order(1001, **{"placed_at": PLACED, "updated_at": changed, **changes}))
    ref = {"order_id": 1001, "changed_at": changed.isoformat()}
    assert isinstance(page.house.run(handler, ref, cause="changed"), Done)
    [found] = conversions(page)
    assert found[3:] == left
    page.run(metrics.hourly_metrics_aggregation)
    assert [row[5:] for row in page.metrics()] in ([purchases], [purchases, (0, 0)], [(0, 0), purchases], [])


def test_orders_of_a_page_are_settled_together_and_nobody_elses(page: Storefront) -> None:
    for number in (1001, 1002, 1003):
        page.post(an_event(number, f"visitor-{number}", "purchase", order_id=number, value_cents=1))
    page.house.shopify.put(an_order(1001, placed_at=PLACED, updated_at=PLACED))
    page.house.shopify.put(an_order(1002, placed_at=PLACED, updated_at=PLACED, cancelled_at=PLACED))
    assert isinstance(page.house.run(sync_order_batch, {"order_ids": [1001, 1002]}), Done)
    assert [row[3:] for row in conversions(page)] == [
        (10_200, 10_200, False),
        (10_200, 0, True),
        (1, 1, False),
    ]


def test_purchase_told_after_its_order_is_worth_what_is_left_of_it(page: Storefront) -> None:
    refund = a_refund(1, 2_200, 2_000, PLACED + timedelta(hours=1))
    order(page, updated_at=PLACED + timedelta(hours=1), refunds=(refund,))
    page.post(an_event(1, "visitor-1", "purchase", order_id=1001, value_cents=10_200))
    assert conversions(page) == [("visitor-1", "event", "visitor", 10_200, 8_000, False)]


@pytest.mark.parametrize("told_first", [True, False])
def test_test_order_is_nobodys_conversion_whoever_tells_of_it(page: Storefront, *, told_first: bool) -> None:
    """Neither a page nor the order itself makes it one, in whatever order they come."""
    event = an_event(1, "visitor-1", "purchase", order_id=1001, value_cents=10_200)
    if told_first:
        page.post(event)
    order(page, test=True)
    if not told_first:
        page.post(event)
    order(page, test=True, updated_at=PLACED + timedelta(hours=2))
    assert conversions(page) == [("visitor-1", "event", "visitor", 10_200, 0, True)]
    page.run(decisions.handle_test_ended, {"test_id": "hero"})
    assert page.metrics() == []


def test_end_of_a_test_counts_what_is_left_of_its_orders(page: Storefront) -> None:
    page.post(an_event(1, "visitor-1", "purchase", order_id=1001, value_cents=1))
    order(page)
    page.house.write("UPDATE ab_test_conversions SET revenue_cents = 1, ordered_cents = 1")
    page.run(decisions.handle_test_ended, {"test_id": "hero"})
    assert conversions(page) == [("visitor-1", "event", "visitor", 10_200, 10_200, False)]
    assert [row[5:] for row in page.metrics()] == [(1, 10_200)]


def test_report_of_one_order_says_by_what_it_was_matched(page: Storefront) -> None:
    visit(page, "visitor-1")
    order(page)
    report = page.run(orders.order_reconciliation_manual, {"order_id": 1001})
    assert (report["before"], report["status"]) == ([], "open")
    assert (report["has_visitor"], report["has_session"], report["has_customer"]) == (True, False, True)
    [after] = report["after"]
    assert (after["test_id"], after["matched_by"], after["revenue_cents"]) == ("hero", "visitor", 10_200)
    assert page.run(lifecycle.handle_test_started, {"test_id": "hero"})["changed"] is False


def test_end_takes_out_what_visitors_bought_in_the_four_weeks_before(page: Storefront) -> None:
    """The adjusted change, by regression over the six visitors' own figures."""
    for number, (visitor, variant) in enumerate(zip("abcdef", ["control", "bold"] * 3, strict=True)):
        page.post(an_event(number, visitor, variant_id=variant))
    before = {"a": (10, 10_200), "b": (9, 8_000), "e": (20, 10_200), "f": (40, 0)}
    for number, (visitor, (days, _)) in enumerate(before.items()):
        at = PLACED - timedelta(days=days)
        refunds = (a_refund(1, 2_200, 2_000, at + timedelta(hours=1)),) if visitor == "b" else ()
        about = {"placed_at": at, "updated_at": at, "attributes": {"visitor_id": visitor}}
        order(page, 1 + number, **about, refunds=refunds)
    spent = {"a": 5_000, "b": 7_000, "c": 1_000, "e": 9_000}
    for number, (visitor, cents) in enumerate(spent.items()):
        bought = {"order_id": 9_001 + number, "value_cents": cents}
        page.post(an_event(100 + number, visitor, "purchase", **bought))
    page.next_hour()
    report = page.run(decisions.handle_test_ended, {"test_id": "hero"})["report"]
    y = np.array([spent.get(each, 0) for each in "abcdef"], dtype=float)
    x = np.array([before.get(each, (0, 0))[1] for each in "abcdef"], dtype=float)
    cleared = y - np.polyfit(x, y, 1)[0] * x
    expected = (cleared[1::2].mean() - cleared[::2].mean()) / y[::2].mean()
    [bold] = report["variants"]
    assert bold["with_past"]["uplift"] == pytest.approx(expected, rel=1e-9)
    assert 0 < bold["with_past"]["noise_left"] < 1
    assert bold["course"]["days"] == 1
    said = page.house.messenger.posted["ab-ended:hero"].sections[0]
    assert "taken into account (CUPED)" in said


SEEN = datetime(2026, 6, 1, 12, tzinfo=UTC)
PEOPLE = [
    # visitor, variant, days ago at which it was seen first
    ("a", "control", 70),
    ("b", "bold", 70),
    ("c", "control", 40),
    ("d", "bold", 10),
    ("e", "bold", 65),
]
BOUGHT: list[tuple[str | None, int | None, int, int, int, dict[str, Any]]] = [
    # visitor, customer, days after SEEN, cents, refunded, more
    ("a", 70, 5, 1_000, 0, {}),
    (None, 70, 45, 500, 0, {}),
    ("a", 70, -1, 9_999, 0, {}),
    ("b", 77, 29, 2_000, 500, {}),
    ("b", 77, 3, 4_000, 0, {"status": "cancelled"}),
    ("b", 77, 3, 4_000, 0, {"test": True}),
    (None, 77, 33, 700, 0, {}),
    ("e", 77, 6, 300, 0, {}),
    ("c", None, 61, 800, 0, {}),
    ("d", 79, 61, 5_000, 0, {}),
    (None, 99, 10, 6_000, 0, {}),
]


def test_lifetime_counts_what_a_visitor_buys_afterwards_wherever_it_buys(page: Storefront) -> None:
    """By hand. After 30 days a has come to 10.00, c to nothing (its order is of day 31), b to 15.00, e to 3.00; d was
    not seen as long ago. After 60 days a has 15.00 and b 22.00: what customers buy without a visitor's name is the
    first visitor's, so that e has no part in 7.00.
    """
    for visitor, variant, ago in PEOPLE:
        seen = SEEN + timedelta(days=70 - ago)
        page.house.write(
            "INSERT INTO ab_test_assignments (test_id, visitor_id, variant_id, seen_on, seen_at) VALUES"
            f" ('hero', '{visitor}', '{variant}', '{seen:%Y-%m-%d}', '{seen.isoformat()}')"
        )
    for number, (who, customer, days, cents, refunded, more) in enumerate(BOUGHT):
        about: dict[str, Any] = {"status": "open", "test": False, **more}
        page.house.write(
            "INSERT INTO orders (shopify_order_id, order_number, currency, gross_cents, discount_cents, net_cents,"
            " shipping_cents, tax_cents, total_cents, refunded_cents, financial_status, status, test, placed_at,"
            " shopify_updated_at, visitor_id, shopify_customer_id) VALUES (%s, %s, 'USD', %s, 0, %s, 0, 0, %s, %s,"
            " 'paid', %s, %s, %s, now(), %s, %s)",
            *(number, f"#{number}", cents, cents, cents, refunded, about["status"], about["test"]),
            *(SEEN + timedelta(days=days), who, customer),
        )
    with psycopg.connect(page.urls.app, row_factory=dict_row) as connection:
        connection.execute("SELECT set_config('app.tenant_id', %s, true)", (str(page.house.tenant_id),))
        until = SEEN + timedelta(days=70)
        found = Outcomes(Transaction(connection)).list_lifetimes("hero", HORIZONS, until)
    assert [tuple(getattr(each, name) for name in Lifetime.__slots__) for each in found] == [
        (30, "bold", 2, 1_800, 1_500**2 + 300**2),
        (30, "control", 2, 1_000, 1_000**2),
        (60, "bold", 2, 2_500, 2_200**2 + 300**2),
        (60, "control", 1, 1_500, 1_500**2),
    ]


def test_report_says_what_visitors_have_come_to_be_worth(page: Storefront) -> None:
    """Two visitors a variant, 31 days ago: the control's came to 10.00 and 20.00, the others to 40.00 and 20.00."""
    seen = PLACED - timedelta(days=40)
    for number, (visitor, cents) in enumerate({"a": 1_000, "b": 4_000, "c": 2_000, "d": 2_000}.items()):
        page.post(an_event(number, visitor, variant_id=["control", "bold"][number % 2]))
        page.post(an_event(10 + number, visitor, "purchase", order_id=1 + number, value_cents=cents))
        order(page, 1 + number, attributes={"visitor_id": visitor})
        page.house.write("UPDATE orders SET total_cents = %s WHERE shopify_order_id = %s", cents, 1 + number)
    page.house.write("UPDATE ab_test_assignments SET seen_at = %s", seen)
    page.house.write("UPDATE orders SET placed_at = %s", seen + timedelta(days=2))
    report = page.run(decisions.handle_test_ended, {"test_id": "hero"})["report"]
    [bold] = report["variants"]
    [horizon] = bold["horizons"]
    assert (horizon["days"], horizon["control"], horizon["variant"]) == (30, 1_500, 3_000)
    assert horizon["change"] == pytest.approx(1.0)
    low, high = bold["drawn_again"]
    assert (low, high) == (0.0, 3.0), "the best and the worst draw: 20.00 against 20.00, 40.00 against 10.00"
    said = page.house.messenger.posted["ab-ended:hero"].sections[0]
    assert "After 30 days a visitor has come to 30.00 USD instead of 15.00 USD: +100.0%" in said
    assert "(bootstrap), say +0.0% to +300.0%." in said
