"""Collections through the kernel's worker, on a real Postgres, from a shop that the sandbox plays."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from commerce.collection_sync.tasks import collection_products_sync, collection_sync
from tests.integration.harness import House
from tests.played import NOON, a_collection, a_product
from tradewind.tasks.message import Source, message_from
from tradewind.tasks.task import Task
from tradewind.tasks.worker import Dead, Done

LATER = NOON + timedelta(hours=1)
RULES = [
    {"column": "tag", "relation": "tagged_with", "condition": "summer"},
    {"column": "variant_price", "relation": "greater_than", "condition": "20"},
    {"column": "variant_inventory", "relation": "less_than", "condition": "5"},
]


def work_off(house: House, *tasks: Task) -> list[Any]:
    """Work everything that was sent, in order; the results."""
    known, results = {task.id: task for task in tasks}, []
    while house.queues.sent:
        message = message_from(json.loads(house.queues.sent.pop(0).body))
        end = house.worker(known[message.task]).work(message, house.deadline())
        assert isinstance(end, Done), end
        results.append(end.result)
    return results


def members(house: House) -> dict[int, list[int]]:
    rows = house.query("SELECT * FROM product_collections ORDER BY shopify_collection_id, position")
    found: dict[int, list[int]] = {}
    for row in rows:
        found.setdefault(row["shopify_collection_id"], []).append(row["shopify_product_id"])
    return found


def sync(house: House, body: dict[str, Any]) -> Any:
    end = house.run(collection_sync, body)
    assert isinstance(end, Done), end
    return end.result


def test_smart_collection_is_saved_with_its_rules_and_its_products_in_order(house: House) -> None:
    house.shop.put("products", *(a_product(number) for number in (1, 2, 3)))
    house.shop.put(
        "collections", a_collection(8, [3, 1], rules=RULES, disjunctive=True, body_html="<p>Hot</p>")
    )
    assert sync(house, a_collection(8, [])) == {"collections": 1, "written": 1, "deleted": 0}
    [row] = house.query("SELECT * FROM collections")
    assert (row["title"], row["sort_order"], row["description_html"], row["products_count"]) == (
        "Collection 8",
        "manual",
        "<p>Hot</p>",
        2,
    )
    assert row["rules"] == [
        {
            "inclusion": {
                "match": "any",
                "conditions": [
                    {"kind": "ProductTag", "relation": "tagged_with", "match": "any", "values": ["summer"]},
                    {"kind": "VariantPrice", "relation": "greater_than", "values": ["20.00"]},
                    {"kind": "VariantInventory", "relation": "less_than", "values": ["5"]},
                ],
            }
        }
    ]
    assert work_off(house, collection_products_sync) == [
        {"collection_id": 8, "products": 2, "change": {"added": 2, "removed": 0, "moved": 0}}
    ]
    assert members(house) == {8: [3, 1]}


def test_membership_is_compared_and_only_the_difference_is_written(house: House) -> None:
    house.shop.put("products", *(a_product(number) for number in range(1, 6)))
    house.shop.put("collections", a_collection(8, [1, 2, 3, 4]))
    house.run(collection_products_sync, {"collection_id": 8})
    house.shop.put("collections", a_collection(8, [1, 3, 2, 5]))
    end = house.run(collection_products_sync, {"collection_id": 8})
    assert end == Done({"collection_id": 8, "products": 4, "change": {"added": 1, "removed": 1, "moved": 2}})
    assert members(house) == {8: [1, 3, 2, 5]}
    again = house.run(collection_products_sync, {"collection_id": 8})
    assert isinstance(again, Done)
    assert again.result["change"] == {"added": 0, "removed": 0, "moved": 0}
    assert house.query("SELECT * FROM seen") == []


def test_collection_of_several_pages_is_read_whole(house: House) -> None:
    house.shop.put("products", *(a_product(number, variants=1) for number in range(1, 601)))
    house.shop.put("collections", a_collection(8, range(600, 0, -1)))
    end = house.run(collection_products_sync, {"collection_id": 8})
    assert isinstance(end, Done)
    assert end.result["products"] == 600
    assert members(house) == {8: list(range(600, 0, -1))}
    assert house.shop.operations() == ["ListCollectionProducts"] * 3


def test_deleted_collection_is_marked_and_emptied(house: House) -> None:
    house.shop.put("products", a_product(1))
    house.shop.put("collections", a_collection(8, [1]))
    sync(house, {"collection_id": 8})
    work_off(house, collection_products_sync)
    house.shop.delete("collections", 8)
    gone = {"id": 8, "published_scope": "web", "admin_graphql_api_id": "gid://shopify/Collection/8"}
    assert sync(house, gone) == {"collections": 0, "written": 0, "deleted": 1}
    assert (members(house), house.queues.sent) == ({}, [])
    assert sync(house, gone) == {"collections": 0, "written": 0, "deleted": 0}


def test_older_state_is_not_written_and_an_equal_one_is_not_asked_for(house: House) -> None:
    house.shop.put("collections", a_collection(8, [], at=LATER, title="New"))
    sync(house, {"collection_id": 8})
    house.shop.forget_calls()
    sync(house, a_collection(8, [], at=LATER))
    assert house.shop.operations() == []
    house.shop.put("collections", a_collection(8, [], title="Old"))
    assert sync(house, {"collection_id": 8})["written"] == 0
    assert house.query("SELECT title FROM collections") == [{"title": "New"}]


def test_all_collections_are_read_and_what_shopify_has_no_more_is_marked_at_the_end(house: House) -> None:
    house.shop.put("products", a_product(1))
    house.shop.put("collections", *(a_collection(number, [1]) for number in range(1, 31)))
    house.run(collection_sync, {})
    work_off(house, collection_sync, collection_products_sync)
    assert len(members(house)) == 30
    house.shop.delete("collections", 30)
    house.shop.delete("collections", 1)
    house.run(collection_sync, {})
    assert house.query("SELECT * FROM collections WHERE deleted_at IS NOT NULL") == []
    work_off(house, collection_sync, collection_products_sync)
    marked = house.query(
        "SELECT shopify_collection_id AS id FROM collections WHERE deleted_at IS NOT NULL ORDER BY 1"
    )
    assert marked == [{"id": 1}, {"id": 30}]
    assert sorted(members(house)) == list(range(2, 30))


def test_schedule_does_nothing_for_a_tenant_without_the_feature(house: House) -> None:
    house.shop.put("collections", a_collection(8, []))
    end = house.run(collection_sync, {}, source=Source.SCHEDULE)
    assert (end, house.shop.operations()) == (Done({"feature": "products"}), [])


@pytest.mark.parametrize("body", [{"id": 0}, {"id": "8"}, {"id": 8, "updated_at": "soon"}], ids=str)
def test_impossible_reference_is_a_dead_letter_and_nothing_is_asked(
    house: House, body: dict[str, Any]
) -> None:
    end = house.run(collection_sync, body)
    assert isinstance(end, Dead)
    assert type(end.error).__name__ == "InvalidPayloadError"
    assert house.shop.operations() == []
