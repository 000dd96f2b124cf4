"""Stock through the kernel's worker, on a real Postgres, from a shop that the sandbox plays."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from commerce.inventory_sync.model import Difference, StoredLevel, compare
from commerce.inventory_sync.tasks import handle_inventory_sync, inventory_batch_sync, inventory_update
from tests.integration.harness import House
from tests.played import NOON, a_level
from tradewind.catalogue import InventoryLevel
from tradewind.tasks.message import Source
from tradewind.tasks.worker import Dead, Done, TryAgain

LATER = NOON + timedelta(hours=1)


def levels(house: House) -> dict[tuple[int, int], int]:
    rows = house.query("SELECT * FROM inventory_levels ORDER BY 2, 3")
    return {(row["shopify_inventory_item_id"], row["shopify_location_id"]): row["available"] for row in rows}


def told(house: House) -> list[dict[str, Any]]:
    rows = house.query(
        "SELECT convert_from(body, 'UTF8')::jsonb AS body FROM webhook_inbox"
        " WHERE topic = 'inventory.low' ORDER BY event_id"
    )
    return [row["body"] for row in rows]


def update(house: House, available: int, minutes: int, item: int = 7) -> str:
    end = house.run(inventory_update, a_level(item, 1, available, NOON + timedelta(minutes=minutes)))
    assert isinstance(end, Done), end
    return str(end.result["state"])


def test_webhook_tells_a_level_whole_and_nobody_is_asked(house: House) -> None:
    assert update(house, 40, 0) == "written"
    assert levels(house) == {(7, 1): 40}
    assert house.shop.operations() == []


def test_low_stock_is_told_once_for_each_fall(house: House) -> None:
    for minutes, available in enumerate([40, 10, 9, 3, 0, 12, 9, 9]):
        update(house, available, minutes)
    assert [(body["available"], body["threshold"]) for body in told(house)] == [(9, 10), (9, 10)]
    assert [body["at"] for body in told(house)] == ["2026-11-20T12:02:00Z", "2026-11-20T12:06:00Z"]


def test_tenants_threshold_counts_and_a_level_not_known_before_has_not_fallen(house: House) -> None:
    house.write("UPDATE tenants SET settings = '{\"low_stock_threshold\": 3}'")
    update(house, 2, 0, item=7)
    update(house, 5, 0, item=8)
    update(house, 2, 1, item=8)
    assert [(body["inventory_item_id"], body["available"]) for body in told(house)] == [(8, 2)]


def test_older_level_never_overwrites_a_newer_and_the_same_again_is_no_change(house: House) -> None:
    assert [update(house, 40, 5), update(house, 1, 4), update(house, 40, 5)] == [
        "written",
        "outdated",
        "unchanged",
    ]
    assert (levels(house), told(house), house.shop.operations()) == ({(7, 1): 40}, [], [])


def test_of_two_levels_of_one_instant_shopify_is_asked(house: House) -> None:
    update(house, 40, 0)
    house.shop.put("locations", {"id": 1, "name": "Shop"})
    house.shop.put("levels", a_level(7, 1, 38))
    assert update(house, 39, 0) == "written"
    assert levels(house) == {(7, 1): 38}
    assert house.shop.operations() == ["FindInventoryLevel"]


def test_level_that_shopify_does_not_have_goes(house: House) -> None:
    update(house, 40, 0)
    end = house.run(inventory_update, {"inventory_item_id": 7, "location_id": 1})
    assert end == Done({"inventory_item_id": 7, "location_id": 1, "state": "gone", "became_low": False})
    assert levels(house) == {}


@pytest.mark.parametrize(
    "body",
    [
        {"inventory_item_id": 7},
        {"inventory_item_id": 0, "location_id": 1},
        {"inventory_item_id": 7, "location_id": "1"},
        {"inventory_item_id": 7, "location_id": 1, "available": "5"},
        {"inventory_item_id": 7, "location_id": 1, "available": 2**31},
        {"inventory_item_id": 7, "location_id": 1, "available": 1, "updated_at": "now"},
    ],
    ids=str,
)
def test_impossible_level_is_a_dead_letter_and_nothing_is_written(house: House, body: dict[str, Any]) -> None:
    end = house.run(inventory_update, body)
    assert isinstance(end, Dead)
    assert type(end.error).__name__ == "InvalidPayloadError"
    assert (levels(house), house.shop.operations()) == ({}, [])


def test_rounded_number_is_read_from_the_global_id(house: House) -> None:
    body = a_level(271878346596884015, 24826418, 10)
    end = house.run(inventory_update, body | {"inventory_item_id": 271878346596884000})
    assert isinstance(end, Done)
    assert levels(house) == {(271878346596884015, 24826418): 10}


def fill(house: House, items: int) -> None:
    house.shop.put("locations", {"id": 1, "name": "Shop"}, {"id": 2, "name": "Store", "active": False})
    house.shop.put("levels", *(a_level(item, 1, 20) for item in range(1, items + 1)), a_level(1, 2, 5))


def test_first_comparison_reads_everything_and_reports_what_was_missing(house: House) -> None:
    fill(house, 300)
    end = house.run(inventory_batch_sync, {})
    assert end == Done(
        {
            "locations": 2,
            "levels": 301,
            "missing": 301,
            "outdated": 0,
            "different": 0,
            "gone": 0,
            "became_low": 0,
            "full": True,
        }
    )
    assert len(levels(house)) == 301
    locations = house.query("SELECT shopify_location_id AS id, name, active FROM locations ORDER BY 1")
    assert [tuple(row.values()) for row in locations] == [(1, "Shop", True), (2, "Store", False)]
    assert house.query("SELECT * FROM seen") == []


def test_next_comparison_asks_for_what_has_changed_and_tells_of_low_stock(house: House) -> None:
    fill(house, 3)
    house.run(inventory_batch_sync, {})
    house.write("UPDATE sync_marks SET complete_until = %s", NOON + timedelta(minutes=20))
    house.shop.put("levels", a_level(2, 1, 4, LATER))
    end = house.run(inventory_batch_sync, {})
    assert isinstance(end, Done)
    counted = {name: end.result[name] for name in ("levels", "missing", "outdated", "became_low", "full")}
    assert counted == {"levels": 1, "missing": 0, "outdated": 1, "became_low": 1, "full": False}
    assert [body["inventory_item_id"] for body in told(house)] == [2]
    report = house.query("SELECT kind, ours, theirs FROM inventory_discrepancies WHERE kind <> 'missing'")
    assert [tuple(row.values()) for row in report] == [("outdated", 20, 4)]


def test_full_comparison_repairs_what_differs_and_removes_what_is_gone(house: House) -> None:
    fill(house, 3)
    house.run(inventory_batch_sync, {})
    house.write("UPDATE inventory_levels SET available = 99 WHERE shopify_inventory_item_id = 2")
    house.write(
        "INSERT INTO inventory_levels (shopify_inventory_item_id, shopify_location_id, available,"
        " shopify_updated_at, synced_at) VALUES (9, 1, 1, %s, now() - interval '1 day')",
        NOON,
    )
    house.shop.put("levels", a_level(4, 1, 8, LATER))
    end = house.run(inventory_batch_sync, {"full": True})
    assert isinstance(end, Done)
    counted = {name: end.result[name] for name in ("missing", "different", "gone", "became_low")}
    assert counted == {"missing": 1, "different": 1, "gone": 1, "became_low": 0}
    assert levels(house) == {(1, 1): 20, (1, 2): 5, (2, 1): 20, (3, 1): 20, (4, 1): 8}


def test_rate_limit_resumes_at_the_last_page(house: House) -> None:
    fill(house, 600)
    message = house.message(inventory_batch_sync, {})
    house.shop.limiter.passing, house.shop.limiter.refusals = 3, 1
    assert isinstance(house.worker(inventory_batch_sync).work(message, house.deadline()), TryAgain)
    end = house.worker(inventory_batch_sync).work(message, house.deadline())
    assert isinstance(end, Done)
    assert (end.result["levels"], len(levels(house))) == (601, 601)
    assert house.shop.operations() == ["ListLocations"] + ["ListInventoryLevels"] * 4


def test_schedule_does_nothing_for_a_tenant_without_the_feature(house: House) -> None:
    fill(house, 3)
    end = house.run(inventory_batch_sync, {}, source=Source.SCHEDULE)
    assert (end, house.shop.operations()) == (Done({"feature": "inventory"}), [])
    house.write('UPDATE tenants SET settings = \'{"features": {"inventory": true}}\'')
    assert isinstance(house.run(inventory_batch_sync, {}, source=Source.SCHEDULE), Done)
    assert len(levels(house)) == 4


@pytest.mark.parametrize(
    ("asked", "to", "queue"),
    [
        ({"inventory_item_id": 7, "location_id": 1}, "single", "inventory-update"),
        ({"full": False}, "batch", "inventory-batch-sync"),
        ({"full": True}, "batch", "inventory-batch-sync"),
    ],
    ids=str,
)
def test_request_is_routed(house: House, asked: dict[str, Any], to: str, queue: str) -> None:
    assert house.run(handle_inventory_sync, asked, source=Source.EVENT) == Done(
        {"to": to, "known": False if to == "single" else None}
    )
    [entry] = house.queues.sent
    assert entry.queue == f"tradewind-test-commerce-{queue}.fifo"
    assert json.loads(entry.body)["payload"].items() >= asked.items()


@pytest.mark.parametrize(
    ("theirs", "stored", "found"),
    [
        ((5, NOON), None, Difference(7, 1, "missing", None, 5)),
        ((5, LATER), (5, NOON), Difference(7, 1, "outdated", 5, 5)),
        ((5, NOON), (6, NOON), Difference(7, 1, "different", 6, 5)),
        ((5, NOON), (5, NOON), None),
        ((5, NOON), (6, LATER), None),
    ],
)
def test_comparison(theirs: Any, stored: Any, found: Difference | None) -> None:
    ours = {} if stored is None else {(7, 1): StoredLevel(*stored)}
    assert compare([InventoryLevel(7, 1, *theirs)], ours) == ([] if found is None else [found])
