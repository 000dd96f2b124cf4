"""The demo's expectations, against sums done by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from infra.local.demo.expectations import ExpectedCommission, ExpectedTenant, expect
from infra.local.demo.journeys import Touchpoint
from infra.local.demo.orders import Story, StoryEvent, tell_stories

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
PLACED = NOW - timedelta(days=10)


def touch(at: datetime, visitor: str | None = "v", customer: int = 1) -> Touchpoint:
    return Touchpoint(f"t-{at}", visitor, "s", customer, None, None, None, {}, "/", None, at)


def story(
    number: int = 1, *, slug: str = "alder", touchpoints: tuple[Touchpoint, ...] = (), **more: Any
) -> Story:
    placed = more.pop("placed", PLACED)
    visitor = more.pop("visitor", "v")
    state: dict[str, Any] = {
        "created_at": placed.isoformat(),
        "cancelled_at": None,
        "email": "a@example.com",
        "customer": {"id": 1, "email": "a@example.com"},
        "note_attributes": [{"name": "visitor_id", "value": visitor}] if visitor else [],
        "landing_site": None,
        "referring_site": None,
        "line_items": [{"price": "30.00", "quantity": 3}, {"price": "10.01", "quantity": 1}],
        "total_line_items_price": "100.01",
        "total_discounts": "10.00",
        "total_price": "102.16",
        "discount_codes": [],
        "fulfillments": [],
        "refunds": [],
        **more,
    }
    return Story(
        slug,
        f"{slug}.myshopify.com",
        number,
        (StoryEvent("orders/create", state, state, placed),),
        touchpoints,
    )


def refund(amount: str, *subtotals: float) -> dict[str, Any]:
    return {
        "transactions": [{"amount": amount}],
        "refund_line_items": [{"subtotal": value} for value in subtotals],
    }


def parcel(status: str = "delivered", at: datetime = PLACED) -> dict[str, Any]:
    return {"status": "success", "shipment_status": status, "updated_at": at.isoformat()}


def test_sums_of_a_plain_order() -> None:
    found = expect([story(touchpoints=(touch(PLACED),))], NOW)
    order = found.orders[1]
    assert (order.lines, order.units, order.gross_cents, order.net_cents) == (2, 4, 10_001, 9_001)
    assert (order.total_cents, order.remaining_cents, order.attributed_cents) == (10_216, 10_216, 10_216)
    assert (order.status, order.touches, order.commission) == ("open", 1, None)
    expected = ExpectedTenant(
        orders=1, lines=2, units=4, gross_cents=10_001, discount_cents=1_000, total_cents=10_216,
        remaining_cents=10_216, conversions=1, attributed=1, attributed_cents=10_216, touchpoints=1,
    )  # fmt: skip
    expected.reviews["pending"] = 1
    assert found.tenants["alder"] == expected
    assert found.tenants["birch"] == ExpectedTenant()


@pytest.mark.parametrize(
    ("more", "status", "remaining"),
    [
        ({"refunds": [refund("20.16", 18.0)]}, "open", 8_200),
        ({"refunds": [refund("100.00", 90.01), refund("2.16")]}, "refunded", 0),
        ({"cancelled_at": NOW.isoformat()}, "cancelled", 0),
        ({"cancelled_at": NOW.isoformat(), "refunds": [refund("102.16", 90.01)]}, "cancelled", 0),
    ],
)
def test_what_remains(more: dict[str, Any], status: str, remaining: int) -> None:
    order = expect([story(touchpoints=(touch(PLACED),), **more)], NOW).orders[1]
    assert (order.status, order.remaining_cents, order.attributed_cents) == (status, remaining, remaining)


@pytest.mark.parametrize(
    ("at", "counts"),
    [
        (PLACED, 1),
        (PLACED + timedelta(seconds=1), 0),
        (PLACED - timedelta(days=30), 1),
        (PLACED - timedelta(days=30, seconds=1), 0),
    ],
)
def test_window_includes_both_ends(at: datetime, counts: int) -> None:
    found = expect([story(touchpoints=(touch(at),))], NOW)
    assert found.orders[1].touches == counts
    assert (found.tenants["alder"].attributed, found.tenants["alder"].unattributed) == (counts, 1 - counts)


def test_own_visit_is_a_touch_also_of_the_visitors_next_order() -> None:
    first = story(1, landing_site="/", placed=PLACED - timedelta(days=29))
    second = story(2)
    late = story(3, placed=PLACED + timedelta(days=2))
    found = expect([first, second, late], NOW)
    assert [found.orders[number].touches for number in (1, 2, 3)] == [1, 1, 0]


def test_order_without_visitor_has_its_customers_touches() -> None:
    nameless = story(visitor=None, touchpoints=(touch(PLACED, None),))
    stranger = story(2, visitor=None, customer={"id": 2, "email": None}, email=None)
    found = expect([nameless, stranger], NOW)
    assert (found.orders[1].touches, found.orders[2].touches) == (1, 0)


def test_visitor_of_another_tenant_is_another() -> None:
    found = expect([story(1, touchpoints=(touch(PLACED),)), story(2, slug="birch")], NOW)
    assert (found.orders[1].touches, found.orders[2].touches) == (1, 0)


def test_order_of_nothing_converts_nobody() -> None:
    order = expect([story(total_price="0.00", touchpoints=(touch(PLACED),))], NOW).orders[1]
    assert (order.is_conversion, order.touches, order.attributed_cents) == (False, 0, 0)


def test_first_code_that_an_active_creator_owns_earns() -> None:
    codes = [{"code": code} for code in ("WELCOME5", "rexwas", "aVa10", "LEOFINDS")]
    found = expect([story(discount_codes=codes)], NOW).orders[1].commission
    # 10 % of 90.01
    assert found == ExpectedCommission("AVA10", "bronze", 10, 900, 900)


def test_own_rate_beats_the_tier_and_refunds_leave_their_share() -> None:
    order = story(discount_codes=[{"code": "leofinds"}], refunds=[refund("33.00", 30.0)])
    # 14 % of 90.01 is 12.60 (12.6014); 60.01 of 90.01 of it is left: 8.4005...
    assert expect([order], NOW).orders[1].commission == ExpectedCommission(
        "LEOFINDS", "bronze", 14, 1_260, 840
    )


def test_half_a_cent_is_rounded_up() -> None:
    order = story(discount_codes=[{"code": "AVA10"}], total_line_items_price="10.05", total_discounts="0.00")
    commission = expect([order], NOW).orders[1].commission
    assert commission is not None
    assert commission.earned_cents == 101


def test_cancelled_order_leaves_no_commission_but_its_row() -> None:
    found = expect([story(discount_codes=[{"code": "AVA10"}], cancelled_at=NOW.isoformat())], NOW)
    assert found.orders[1].commission == ExpectedCommission("AVA10", "bronze", 10, 900, 0)
    tenant = found.tenants["alder"]
    assert (tenant.commissions, tenant.commission_earned_cents, tenant.commission_cents) == (1, 900, 0)


def test_tier_follows_earlier_sales_by_the_orders_own_time() -> None:
    big: dict[str, Any] = {
        "total_line_items_price": "1000.00",
        "total_discounts": "0.00",
        "discount_codes": [{"code": "AVA10"}],
    }
    later = story(1, **big, placed=PLACED + timedelta(hours=1))
    earlier = story(2, **big, placed=PLACED)
    found = expect([later, earlier], NOW)
    assert found.orders[2].commission == ExpectedCommission("AVA10", "bronze", 10, 10_000, 10_000)
    assert found.orders[1].commission == ExpectedCommission("AVA10", "silver", 12, 12_000, 12_000)


@pytest.mark.parametrize(
    ("more", "state", "due"),
    [
        ({}, "pending", None),
        ({"fulfillments": [parcel("in_transit")]}, "awaiting_delivery", None),
        ({"fulfillments": [parcel(), parcel("in_transit")]}, "awaiting_delivery", None),
        ({"fulfillments": [parcel(at=PLACED + timedelta(days=2))]}, "scheduled", PLACED + timedelta(days=9)),
        ({"cancelled_at": NOW.isoformat()}, "skipped", None),
        ({"refunds": [refund("102.16", 90.01)]}, "skipped", None),
        ({"email": None, "customer": {"id": 1, "email": None}}, "skipped", None),
        ({"email": None}, "pending", None),
        ({"placed": NOW - timedelta(days=60)}, "pending", None),
        ({"placed": NOW - timedelta(days=60, seconds=1)}, None, None),
    ],
)
def test_review_request(more: dict[str, Any], state: str | None, due: datetime | None) -> None:
    order = expect([story(**more)], NOW).orders[1]
    assert (order.review_state, order.review_at) == (state, due)


def test_the_demos_own_stories_show_every_case() -> None:
    found = expect(tell_stories(7, NOW), NOW)
    assert sum(tenant.orders for tenant in found.tenants.values()) == 1_200
    for tenant in found.tenants.values():
        assert tenant.attributed + tenant.unattributed == tenant.conversions
        assert tenant.unattributed > 0
        assert tenant.remaining_cents >= tenant.attributed_cents > 0
        assert 0 < tenant.commission_cents < tenant.commission_earned_cents
        assert set(tenant.reviews) == {"pending", "awaiting_delivery", "scheduled", "skipped"}
    tiers = {order.commission.tier for order in found.orders.values() if order.commission}
    assert tiers == {"bronze", "silver"}
