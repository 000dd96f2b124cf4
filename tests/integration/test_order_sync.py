from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from commerce.order_events.tasks import handle_order_cancelled, handle_refund_created, order_created
from commerce.order_sync.tasks import order_commission, sync_order
from commerce.review_email.tasks import review_email_awaiting_delivery
from tests.fakes import NOON, a_fulfillment, a_refund, an_order
from tests.integration.harness import House
from tradewind.tasks.message import Source
from tradewind.tasks.worker import Dead, Done


def body(order_id: int = 1001, at: str = "2026-11-20T12:00:00Z") -> dict[str, object]:
    return {"id": order_id, "updated_at": at}


def test_new_order_runs_through_the_chain(house: House) -> None:
    house.shopify.put(an_order())
    end = house.run(order_created, body(), cause="hook-1")
    assert isinstance(end, Done)
    assert list(end.result["steps"]) == [
        "commerce-sync-order",
        "commerce-order-attribution",
        "commerce-order-review-email",
    ]
    [order] = house.query("SELECT * FROM orders")
    assert (order["net_cents"], order["total_cents"], order["status"], order["email"]) == (
        9_000,
        10_200,
        "open",
        "ann@example.com",
    )
    assert [row["quantity"] for row in house.query("SELECT * FROM order_line_items ORDER BY 3")] == [3, 1]
    results = house.query(
        "SELECT model, window_days, sum(revenue_cents)::int AS cents FROM attribution_results GROUP BY 1, 2"
    )
    models = ("first_touch", "last_touch", "linear", "time_decay", "position_based", "last_non_direct")
    assert {(row["model"], row["window_days"]): row["cents"] for row in results} == {
        (model, days): 10_200 for model in models for days in (1, 7, 14, 28, 30)
    }
    [email] = house.query("SELECT state, sequence FROM review_email_queue")
    assert email == {"state": "pending", "sequence": 1}
    runs = house.query("SELECT task, state, cause FROM task_run ORDER BY task")
    assert [(run["task"], run["state"]) for run in runs] == [
        ("commerce-order-attribution", "succeeded"),
        ("commerce-order-created", "succeeded"),
        ("commerce-order-review-email", "succeeded"),
        ("commerce-sync-order", "succeeded"),
    ]


CONVERTED = (
    "SELECT event_id, correlation_id, convert_from(body, 'UTF8')::jsonb AS body FROM webhook_inbox"
    " WHERE topic = 'order.converted'"
)


def test_conversion_is_told_once_whatever_tells_of_its_order(house: House) -> None:
    house.shopify.put(an_order())
    house.run(order_created, body(), cause="hook-1")
    house.shopify.put(an_order(updated_at=NOON + timedelta(minutes=1), tags=("vip",)))
    house.run(sync_order, body(at="2026-11-20T12:01:00Z"), cause="hook-2")
    assert house.query(CONVERTED) == [
        {"event_id": "order.converted:1001", "correlation_id": "hook-1", "body": {"order_id": 1001}}
    ]


def test_test_order_is_saved_and_converts_nobody_and_earns_nobody_anything(house: House) -> None:
    house.write("INSERT INTO creators (name, code, rate_basis_points) VALUES ('Ava', 'AVA10', 1000)")
    house.shopify.put(an_order(discount_codes=("ava10",), test=True))
    assert isinstance(house.run(order_created, body(), cause="hook-1"), Done)
    assert house.query("SELECT test, total_cents FROM orders") == [{"test": True, "total_cents": 10_200}]
    for table in ("attribution_conversions", "attribution_results", "commissions"):
        assert house.query(f"SELECT * FROM {table}") == []
    assert house.query(CONVERTED) == []


def test_backfilled_order_is_told_to_nobody(house: House) -> None:
    house.shopify.put(an_order())
    house.run(sync_order, body(), source=Source.BACKFILL)
    assert house.query("SELECT shopify_order_id FROM attribution_conversions") == [{"shopify_order_id": 1001}]
    assert house.query(CONVERTED) == []


def test_backfilled_order_is_told_with_its_first_webhook(house: House) -> None:
    house.shopify.put(an_order())
    house.run(sync_order, body(), source=Source.BACKFILL)
    house.shopify.put(an_order(updated_at=NOON + timedelta(minutes=1), tags=("vip",)))
    house.run(sync_order, body(at="2026-11-20T12:01:00Z"), cause="hook-2")
    assert [row["correlation_id"] for row in house.query(CONVERTED)] == ["hook-2"]


def test_commission_matches_code_whatever_its_case_and_shrinks_with_refunds(house: House) -> None:
    house.write("INSERT INTO creators (name, code) VALUES ('Bo', 'BoKnows')")
    house.shopify.put(an_order(discount_codes=("nobody", "BOKNOWS")))
    house.run(order_created, body(), cause="hook-1")
    [row] = house.query("SELECT * FROM commissions")
    assert (
        row["net_sales_cents"],
        row["rate_basis_points"],
        row["earned_cents"],
        row["commission_cents"],
    ) == (
        9_000,
        1_000,
        900,
        900,
    )
    later = NOON + timedelta(hours=1)
    house.shopify.put(
        an_order(discount_codes=("BOKNOWS",), updated_at=later, refunds=(a_refund(7, 3_400, 3_000, later),))
    )
    house.run(handle_refund_created, {"id": 7, "order_id": 1001, "created_at": later.isoformat()})
    [row] = house.query("SELECT commission_cents, earned_cents, state FROM commissions")
    assert row == {"commission_cents": 600, "earned_cents": 900, "state": "pending"}
    [conversion] = house.query("SELECT revenue_cents, gross_revenue_cents FROM attribution_conversions")
    assert conversion == {"revenue_cents": 6_800, "gross_revenue_cents": 10_200}


def test_cancellation_reverses_everything(house: House) -> None:
    house.write("INSERT INTO creators (name, code) VALUES ('Bo', 'BO')")
    later = NOON + timedelta(hours=1)
    house.shopify.put(an_order(discount_codes=("BO",), cancelled_at=later, updated_at=later))
    end = house.run(handle_order_cancelled, body(at=later.isoformat()))
    assert isinstance(end, Done)
    assert house.query("SELECT commission_cents, state FROM commissions") == [
        {"commission_cents": 0, "state": "reversed"}
    ]
    assert house.query("SELECT revenue_cents FROM attribution_conversions") == [{"revenue_cents": 0}]
    assert house.query("SELECT state, skip_reason FROM review_email_queue") == [
        {"state": "skipped", "skip_reason": "cancelled"}
    ]


def test_parcel_waited_for_long_enough_is_not_waited_for_again(house: House) -> None:
    sent = NOON - timedelta(days=20)
    order = an_order(placed_at=sent, updated_at=sent, fulfillments=(a_fulfillment(1, sent),))
    house.shopify.put(order)
    standing = "SELECT state, scheduled_at FROM review_email_queue"
    house.run(sync_order, body(at=sent.isoformat()))
    assert house.query(standing) == [{"state": "awaiting_delivery", "scheduled_at": None}]
    house.run(review_email_awaiting_delivery, {})
    due = house.query(standing)
    assert [row["state"] for row in due] == ["scheduled"]

    noted = sent + timedelta(days=1)
    house.shopify.put(replace(order, updated_at=noted))
    house.run(sync_order, body(at=noted.isoformat()))
    assert house.query(standing) == due

    arrived = NOON - timedelta(days=1)
    house.shopify.put(replace(order, updated_at=arrived, fulfillments=(a_fulfillment(1, sent, arrived),)))
    house.run(sync_order, body(at=arrived.isoformat()))
    assert house.query(standing) == [{"state": "scheduled", "scheduled_at": arrived + timedelta(days=7)}]


def test_older_event_is_not_fetched_again(house: House) -> None:
    later = NOON + timedelta(hours=1)
    house.shopify.put(an_order(updated_at=later))
    house.run(sync_order, body(at=later.isoformat()))
    end = house.run(sync_order, body(at=NOON.isoformat()))
    assert isinstance(end, Done)
    assert end.result["fetched"] is False
    assert house.shopify.calls == ["find_order 1001"]


def test_unknown_order_without_a_body_is_a_dead_letter(house: House) -> None:
    end = house.run(sync_order, body(404))
    assert isinstance(end, Dead)
    [letter] = house.query("SELECT task, error_class, error_message, attempts, state FROM dead_letter")
    assert letter == {
        "task": "commerce-sync-order",
        "error_class": "NotFoundError",
        "error_message": "no order at Shopify with id 404",
        "attempts": 1,
        "state": "open",
    }


def test_commission_of_an_order_that_was_never_saved_is_refused(house: House) -> None:
    end = house.run(order_commission, {"order_id": 5})
    assert isinstance(end, Dead)
    assert house.query("SELECT * FROM commissions") == []
