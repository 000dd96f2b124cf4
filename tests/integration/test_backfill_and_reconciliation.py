from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from commerce.order_sync.tasks import order_reconciliation, sync_order, sync_order_batch
from tests.fakes import NOON, an_order
from tests.integration.harness import House
from tradewind.contracts.shopify import SUBSCRIBED_TOPICS
from tradewind.errors import ProviderUnavailableError
from tradewind.ports import WebhookSubscription
from tradewind.tasks.message import Lane, Source, message_from
from tradewind.tasks.worker import Done, TryAgain


def fill(house: House, number: int) -> None:
    for at in range(number):
        moment = NOON - timedelta(minutes=number - at)
        house.shopify.put(an_order(3000 + at, placed_at=moment, updated_at=moment, discount_codes=("BO",)))
    house.write("INSERT INTO creators (name, code) VALUES ('Bo', 'BO')")


def work_off(house: House) -> int:
    """Work the backfill's continuation messages until there are none; returns how many there were."""
    worked = 0
    while worked < len(house.queues.sent):
        entry = house.queues.sent[worked]
        assert entry.queue == "tradewind-test-commerce-sync-order-batch-backfill.fifo"
        message = message_from(json.loads(entry.body))
        end = house.worker(sync_order_batch).work(message, house.deadline())
        assert isinstance(end, Done)
        worked += 1
    return worked


def test_backfill_by_range_goes_page_by_page_and_asks_nobody_for_a_review(house: House) -> None:
    fill(house, 250)
    end = house.run(sync_order_batch, {"limit": 100}, lane=Lane.BACKFILL, source=Source.BACKFILL)
    assert end == Done(None)
    assert work_off(house) == 2
    [run] = house.query("SELECT state, result, hops FROM task_run")
    assert run == {"state": "succeeded", "result": {"orders": 250, "written": 250}, "hops": 2}
    assert house.query("SELECT count(*)::int AS n FROM orders") == [{"n": 250}]
    assert house.query("SELECT count(*)::int AS n FROM commissions") == [{"n": 250}]
    assert house.query("SELECT count(*)::int AS n FROM attribution_conversions") == [{"n": 250}]
    assert house.query("SELECT * FROM review_email_queue") == []


def test_backfill_by_ids_skips_what_shopify_does_not_have(house: House) -> None:
    fill(house, 40)
    house.run(
        sync_order_batch, {"order_ids": [*range(3000, 3040), 9]}, lane=Lane.BACKFILL, source=Source.BACKFILL
    )
    assert work_off(house) == 1
    assert house.query("SELECT result FROM task_run") == [{"result": {"orders": 40, "written": 40}}]


def test_backfill_resumes_at_its_cursor_after_a_fault(house: House) -> None:
    fill(house, 150)
    message = house.message(sync_order_batch, {}, lane=Lane.BACKFILL, source=Source.BACKFILL)
    house.worker(sync_order_batch).work(message, house.deadline())
    again = message_from(json.loads(house.queues.sent[0].body))
    house.shopify.failures = [ProviderUnavailableError("shopify", "503")]
    assert isinstance(house.worker(sync_order_batch).work(again, house.deadline()), TryAgain)
    end = house.worker(sync_order_batch).work(again, house.deadline())
    assert end == Done({"orders": 150, "written": 150})
    assert house.shopify.calls.count("list_orders") == 3


def test_backfill_never_overwrites_a_newer_state(house: House) -> None:
    fill(house, 1)
    stale = house.shopify.orders[3000]
    house.shopify.put(replace(stale, updated_at=NOON + timedelta(hours=1), total_cents=1))
    house.run(sync_order, {"order_id": 3000})
    house.shopify.put(stale)
    end = house.run(sync_order_batch, {"order_ids": [3000]}, lane=Lane.BACKFILL, source=Source.BACKFILL)
    assert end == Done({"orders": 1, "written": 0})
    assert house.query("SELECT total_cents FROM orders") == [{"total_cents": 1}]


def test_reconciliation_finds_missing_and_outdated_orders_and_syncs_them(house: House) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    for order_id, age in {1: 5, 2: 10, 3: 20, 4: 60 * 5}.items():
        at = now - timedelta(minutes=age)
        house.shopify.put(an_order(order_id, placed_at=at, updated_at=at))
    house.run(sync_order, {"order_id": 1})
    house.run(sync_order, {"order_id": 2})
    house.shopify.put(replace(house.shopify.orders[2], updated_at=now - timedelta(minutes=1)))
    end = house.run(order_reconciliation, {"look_back_hours": 2, "limit": 500})
    assert end == Done({"compared": 3, "missing": 1, "outdated": 1, "subscriptions_restored": None})
    found = house.query("SELECT shopify_order_id AS id, kind FROM order_discrepancies ORDER BY 1")
    assert found == [{"id": 2, "kind": "outdated"}, {"id": 3, "kind": "missing"}]
    assert [json.loads(entry.body)["source"] for entry in house.queues.sent] == ["reconciliation"] * 2
    for entry in house.queues.sent:
        house.worker(sync_order).work(message_from(json.loads(entry.body)), house.deadline())
    assert house.query("SELECT shopify_order_id AS id FROM orders ORDER BY 1") == [
        {"id": 1},
        {"id": 2},
        {"id": 3},
    ]
    again = house.run(order_reconciliation, {})
    assert isinstance(again, Done)
    assert (again.result["missing"], again.result["outdated"]) == (0, 0)


def test_reconciliation_restores_subscriptions_that_shopify_dropped(house: House) -> None:
    base = "https://hooks.example.com"
    house.write("UPDATE tenants SET settings = jsonb_build_object('webhook_url', %s::text)", base)
    uri = f"{base}/webhooks/shopify"
    house.shopify.subscriptions = [
        WebhookSubscription("gid://shopify/WebhookSubscription/1", "orders/create", uri),
        WebhookSubscription(
            "gid://shopify/WebhookSubscription/2", "orders/paid", "https://elsewhere.example.com"
        ),
    ]
    end = house.run(order_reconciliation, {})
    assert isinstance(end, Done)
    assert end.result["subscriptions_restored"] == len(SUBSCRIBED_TOPICS) - 1
    rows = house.query("SELECT topic, uri FROM webhook_registrations")
    assert {row["topic"] for row in rows} == set(SUBSCRIBED_TOPICS)
    assert {row["uri"] for row in rows} == {uri}
    again = house.run(order_reconciliation, {})
    assert isinstance(again, Done)
    assert again.result["subscriptions_restored"] == 0
