"""Metrics of hours, days and weeks against values by hand, on a real Postgres."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from analytics.metrics.tasks import aggregate_daily_metrics, hourly_metrics_rollup, weekly_metrics_summary
from commerce.order_sync.tasks import sync_order
from tests.fakes import a_refund, an_order
from tests.integration.harness import House
from tradewind.ports import ShopifyCustomer, ShopifyOrder, ShopifyVisit
from tradewind.tasks.message import Source
from tradewind.tasks.worker import Dead, Done, End, to_plain

BERLIN = "Europe/Berlin"
LONG_DAY = date(2026, 10, 25)
"""25 hours in Berlin: from 22:00 UTC of the day before to 23:00."""


def customer(number: int) -> ShopifyCustomer:
    return ShopifyCustomer(number, f"c{number}@example.com", "C", None, None, None)


def visit(source: str, at: datetime) -> ShopifyVisit:
    return ShopifyVisit(
        at, f"/?utm_source={source}&utm_medium=email", None, {"source": source, "medium": "email"}
    )


def order(number: int, placed: datetime, buyer: int, **about: Any) -> ShopifyOrder:
    """100.00 gross, 10.00 discount, and what the fake order has of shipping and tax."""
    return an_order(
        number,
        placed_at=placed,
        updated_at=about.pop("updated_at", placed),
        customer=customer(buyer),
        attributes={"visitor_id": f"visitor-{buyer}"},
        visit=visit(about.pop("source", "newsletter"), placed - timedelta(minutes=5)),
        **about,
    )


@pytest.fixture
def shop(house: House) -> House:
    """Berlin's long day with three orders of two customers, and what does not count beside them."""
    set_zone(house, BERLIN)
    first = datetime(2026, 10, 24, 22, tzinfo=UTC)
    last = datetime(2026, 10, 25, 22, 59, 59, tzinfo=UTC)
    take(
        house,
        order(1, first - timedelta(seconds=1), 1, source="search"),  # the day before: customer 1 is not new
        order(2, first, 1),
        order(
            3, first + timedelta(hours=5), 2, refunds=(a_refund(31, 2_500, 2_000, last, 31),), updated_at=last
        ),
        order(4, last, 2, source="search"),
        order(5, last + timedelta(seconds=1), 3),  # the day after
        order(6, first, 4, cancelled_at=first),
        order(7, first, 5, test=True),
        order(8, first, 6, financial_status="voided"),
        order(9, first, 7, currency="GBP"),
    )
    return house


def set_zone(house: House, zone: str) -> None:
    house.write("UPDATE tenants SET zone = %s", zone)


def take(house: House, *orders: ShopifyOrder) -> None:
    house.shopify.put(*orders)
    for each in orders:
        assert isinstance(house.run(sync_order, {"order_id": each.id}), Done)


def count_day(house: House, day: date = LONG_DAY, **about: Any) -> dict[str, Any]:
    end = house.run(
        aggregate_daily_metrics, {"last_day": day.isoformat(), "days": 1}, source=Source.MANUAL, **about
    )
    assert isinstance(end, Done), end
    [row] = house.query("SELECT * FROM analytics_metrics WHERE period = 'day' AND starts_on = %s", day)
    return row


def test_a_day_of_25_hours_holds_what_was_placed_in_it(shop: House) -> None:
    row = count_day(shop)
    sample = shop.shopify.orders[2]
    assert row["closes_at"] - row["opened_at"] == timedelta(hours=25)
    assert (row["orders"], row["other_currency_orders"]) == (3, 1)
    assert (row["gross_cents"], row["discount_cents"]) == (3 * sample.gross_cents, 3 * sample.discount_cents)
    assert (row["returns_cents"], row["refunded_cents"]) == (2_000, 2_500)
    assert row["net_sales_cents"] == 3 * (sample.gross_cents - sample.discount_cents) - 2_000
    assert row["average_order_cents"] == sample.gross_cents - sample.discount_cents
    assert (row["shipping_cents"], row["tax_cents"]) == (3 * sample.shipping_cents, 3 * sample.tax_cents)
    assert row["total_cents"] == 3 * sample.total_cents
    assert row["units"] == 3 * sum(line.quantity for line in sample.lines)
    assert (row["customers"], row["new_customers"]) == (3, 2)


def test_sources_are_told_by_what_is_attributed_to_them(shop: House) -> None:
    row = count_day(shop)
    credited = shop.query(
        "SELECT coalesce(sum(revenue_cents), 0)::bigint AS n FROM attribution_conversions"
        " WHERE shopify_order_id IN (2, 3, 4) AND status = 'attributed'"
    )
    assert row["attributed_cents"] == credited[0]["n"]
    by_source = {each["source"]: each for each in row["sources"]}
    assert sum(each["attributed_cents"] for each in row["sources"]) == row["attributed_cents"]
    assert set(by_source) == {"newsletter", "search"}
    assert by_source["newsletter"]["attributed_cents"] > by_source["search"]["attributed_cents"]


def test_counting_again_overwrites_and_takes_in_what_came_late(shop: House) -> None:
    before = count_day(shop)
    assert count_day(shop)["net_sales_cents"] == before["net_sales_cents"]
    late = datetime(2026, 10, 25, 12, tzinfo=UTC)
    take(shop, order(10, late, 8))
    after = count_day(shop)
    assert (after["orders"], after["new_customers"]) == (before["orders"] + 1, before["new_customers"] + 1)
    assert len(shop.query("SELECT * FROM analytics_metrics")) == 1


def test_scheduled_run_closes_three_local_days_of_its_slot_however_late_it_runs(shop: House) -> None:
    slot = datetime(2026, 10, 26, 2, tzinfo=UTC)
    end = shop.run(aggregate_daily_metrics, {}, source=Source.SCHEDULE, accepted_at=slot)
    assert isinstance(end, Done)
    told = to_plain(end.result)["periods"]
    assert [each["starts_on"] for each in told] == ["2026-10-23", "2026-10-24", "2026-10-25"]
    assert [each["orders"] for each in told] == [0, 1, 3]


def test_hours_add_up_to_the_day(shop: House) -> None:
    slot = datetime(2026, 10, 25, 23, 5, tzinfo=UTC)
    end = shop.run(hourly_metrics_rollup, {"hours": 25}, source=Source.SCHEDULE, accepted_at=slot)
    assert isinstance(end, Done)
    day = count_day(shop)
    names = (
        "orders",
        "gross_cents",
        "returns_cents",
        "total_cents",
        "units",
        "touchpoints",
        "attributed_cents",
    )
    [hours] = shop.query(
        f"SELECT {', '.join(f'sum({name})::bigint AS {name}' for name in names)} FROM analytics_metrics"
        " WHERE period = 'hour' AND starts_on = %s",
        LONG_DAY,
    )
    assert hours == {name: day[name] for name in names}
    assert day["orders"] == 3


def weekly(house: House, slot: datetime) -> End:
    return house.run(weekly_metrics_summary, {}, source=Source.SCHEDULE, accepted_at=slot)


def test_week_is_told_beside_the_week_before(shop: House) -> None:
    take(shop, order(11, datetime(2026, 10, 13, 12, tzinfo=UTC), 9))
    end = weekly(shop, datetime(2026, 10, 26, 8, tzinfo=UTC))
    assert isinstance(end, Done)
    told = to_plain(end.result)
    assert (told["week_on"], told["orders"], told["customers"]) == ("2026-10-19", 4, 3)
    assert told["orders_change_percent"] == 300
    assert shop.query("SELECT starts_on, orders FROM analytics_metrics WHERE period = 'week' ORDER BY 1") == [
        {"starts_on": date(2026, 10, 12), "orders": 1},
        {"starts_on": date(2026, 10, 19), "orders": 4},
    ]


def test_week_that_still_lasts_in_the_west_is_summed_up_at_its_end(house: House) -> None:
    """In Honolulu Sunday ends ten hours after UTC's: the summary is due ten minutes after that."""
    set_zone(house, "Pacific/Honolulu")
    monday = (datetime.now(UTC) + timedelta(days=7)).date()
    slot = datetime(monday.year, monday.month, monday.day, 8, tzinfo=UTC) - timedelta(days=monday.weekday())
    end = weekly(house, slot)
    assert isinstance(end, Done)
    due = datetime(slot.year, slot.month, slot.day, 10, 10, tzinfo=UTC)
    assert to_plain(end.result)["due_at"] == str(due)
    [row] = house.query("SELECT task, due_at, state, payload FROM outbox")
    assert (row["task"], row["due_at"]) == ("analytics-weekly-metrics-summary", due)
    assert row["payload"] == {"week_on": (slot.date() - timedelta(days=7)).isoformat()}
    assert house.query("SELECT * FROM analytics_metrics") == []


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        ({"week_on": "2026-10-20"}, "week_on"),
        ({"week_on": "2999-12-30"}, "week_on"),
        ({"week_on": "soon"}, "week_on"),
        ({"week": "2026-10-19"}, "week"),
    ],
)
def test_week_that_cannot_be_is_refused_by_its_field(
    house: House, payload: dict[str, Any], field: str
) -> None:
    end = house.run(weekly_metrics_summary, payload, source=Source.MANUAL)
    assert isinstance(end, Dead)
    assert field in str(end.error)
    assert house.query("SELECT * FROM analytics_metrics") == []


@pytest.mark.parametrize(
    ("payload", "field"),
    [({"days": 0}, "days"), ({"days": 93}, "days"), ({"last_day": "2999-01-01"}, "last_day")],
)
def test_days_that_cannot_be_are_refused_by_their_field(
    house: House, payload: dict[str, Any], field: str
) -> None:
    end = house.run(aggregate_daily_metrics, payload, source=Source.MANUAL)
    assert isinstance(end, Dead)
    assert field in str(end.error)
