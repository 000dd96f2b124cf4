"""Orders as conversions: those that no page told of, and what refunds and cancellations leave of them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

import commerce.ab_testing.order_tasks as orders
from commerce.order_events.tasks import handle_order_cancelled, handle_refund_created
from commerce.order_sync.tasks import sync_order, sync_order_batch
from infra.local import ValkeyServer
from infra.local.postgres import DatabaseUrls
from tests.fakes import a_refund, an_order
from tests.integration.harness import House
from tests.integration.storefront import Storefront, an_event, decisions, lifecycle, metrics
from tradewind.ratelimit import connect
from tradewind.tasks.worker import Done

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
