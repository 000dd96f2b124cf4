"""What follows from a conversion, and from its being given back."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from psycopg.types.json import Jsonb

from analytics.attribution.tasks import attribution_refund_adjust, process_attribution
from commerce.order_sync.tasks import sync_order
from operations.touchpoints.tasks import touchpoint_ingest
from tests.fakes import NOON, a_refund, an_order
from tests.integration.harness import House
from tradewind.tasks.message import Source
from tradewind.tasks.worker import Dead, Done, End

BODY = {"id": 1001, "updated_at": "2026-11-20T12:00:00Z"}
RULES = ["first_touch", "last_touch", "linear", "time_decay", "position_based", "last_non_direct"]
CREDITS = (
    "SELECT window_days, position, channel, revenue_cents AS cents, credit::float AS credit"
    " FROM attribution_results WHERE model = %s ORDER BY 1, 2"
)


def touch(house: House, days: float, medium: str, **about: Any) -> None:
    at = NOON - timedelta(days=days)
    told = {"occurred_at": at.isoformat(), "visitor_id": "visitor-1", "utm": {"medium": medium}, **about}
    assert isinstance(house.run(touchpoint_ingest, told, source=Source.EVENT), Done)


def process(house: House) -> End:
    return house.run(process_attribution, {"order_id": 1001}, source=Source.EVENT)


def test_conversion_gets_every_model_in_every_window_and_again_the_same(house: House) -> None:
    house.shopify.put(an_order())
    touch(house, 20, "cpc")
    touch(house, 3, "email")
    house.run(sync_order, BODY)
    [order] = house.query("SELECT touchpoints FROM attribution_conversions")
    chain = house.query("SELECT * FROM attribution_credits ORDER BY window_days")
    house.write("DELETE FROM attribution_conversions")
    end = process(house)
    assert isinstance(end, Done)
    assert end.result == {
        "order_id": 1001,
        "revenue_cents": 10_200,
        "touchpoints": order["touchpoints"],
        "models": RULES,
        "windows": [1, 7, 14, 28, 30],
    }
    assert house.query("SELECT * FROM attribution_credits ORDER BY window_days") == chain
    before = house.query("SELECT xmin, ctid FROM attribution_credits")
    process(house)
    assert house.query("SELECT xmin, ctid FROM attribution_credits") == before
    sums = house.query(
        "SELECT DISTINCT sum(revenue_cents)::int AS n FROM attribution_results GROUP BY model, window_days"
    )
    assert sums == [{"n": 10_200}]


def test_views_and_results_show_each_touch_under_each_model(house: House) -> None:
    house.shopify.put(an_order(visit=None))
    touch(house, 20, "cpc")
    touch(house, 3, "email")
    house.run(sync_order, BODY)
    assert [tuple(row.values()) for row in house.query(CREDITS, "position_based")] == [
        (7, 1, "email", 10_200, 1.0),
        (14, 1, "email", 10_200, 1.0),
        (28, 1, "paid", 5_100, 0.5),
        (28, 2, "email", 5_100, 0.5),
        (30, 1, "paid", 5_100, 0.5),
        (30, 2, "email", 5_100, 0.5),
    ]
    [view] = house.query("SELECT attribution_first, attribution_last_non_direct FROM conversion_attribution")
    assert view == {
        "attribution_first": {"paid": 10_200, "email": 0},
        "attribution_last_non_direct": {"paid": 0, "email": 10_200},
    }


def test_views_do_not_count_where_the_tenant_wants_clicks_only(house: House) -> None:
    house.shopify.put(an_order(visit=None))
    touch(house, 3, "email", type="view")
    house.run(sync_order, BODY)
    assert len(house.query("SELECT 1 AS x FROM attribution_credits")) == 4
    own = {"attribution": {"mode": "clicks_only"}}
    house.write("UPDATE tenants SET settings = %s", Jsonb(own))
    process(house)
    assert house.query("SELECT 1 AS x FROM attribution_credits") == []
    assert house.query("SELECT status, touchpoints FROM attribution_conversions") == [
        {"status": "unattributed", "touchpoints": 0}
    ]


def test_what_training_has_learnt_of_enough_conversions_is_a_model_of_its_own(house: House) -> None:
    house.shopify.put(an_order(visit=None))
    touch(house, 20, "cpc")
    touch(house, 3, "email")
    house.run(sync_order, BODY)
    house.write(
        "INSERT INTO attribution_weights (channel, weight, conversions)"
        " VALUES ('paid', 0.25, 299), ('email', 0.75, 299)"
    )
    process(house)
    assert house.query(CREDITS, "data_driven") == []
    house.write("UPDATE attribution_weights SET conversions = 300")
    process(house)
    assert [(row["window_days"], row["channel"], row["cents"]) for row in house.query(CREDITS, "data_driven")] == [
        (7, "email", 10_200), (14, "email", 10_200), (28, "paid", 2_550), (28, "email", 7_650),
        (30, "paid", 2_550), (30, "email", 7_650),
    ]  # fmt: skip


def test_order_that_is_no_conversion_ends_as_a_dead_letter(house: House) -> None:
    assert isinstance(process(house), Dead)
    assert house.query("SELECT error_class FROM dead_letter") == [{"error_class": "NotFoundError"}]


def test_refund_scales_what_is_attributed_once_it_is_stored(house: House) -> None:
    house.shopify.put(an_order())
    touch(house, 3, "email")
    house.run(sync_order, BODY)
    refund = {"id": 31, "order_id": 1001, "created_at": "2026-11-20T12:30:00Z", "note": None}
    early = house.run(attribution_refund_adjust, refund)
    assert isinstance(early, Done)
    assert early.result == {"order_id": 1001, "adjusted": False, "revenue_cents": None}
    at = NOON + timedelta(minutes=30)
    house.shopify.put(an_order(updated_at=at, refunds=(a_refund(31, 2_550, 2_250, at, 1),)))
    house.run(sync_order, {"id": 1001, "updated_at": at.isoformat()})
    house.write(
        "UPDATE attribution_credits SET cents = ARRAY[[1, 1], [1, 1], [1, 1], [1, 1], [1, 1], [1, 1], [1, 1]]"
    )
    late = house.run(attribution_refund_adjust, refund, cause="again")
    assert isinstance(late, Done)
    assert late.result == {"order_id": 1001, "adjusted": True, "revenue_cents": 7_650}
    sums = house.query(
        "SELECT DISTINCT sum(revenue_cents)::int AS n FROM attribution_results GROUP BY model, window_days"
    )
    assert sums == [{"n": 7_650}]
