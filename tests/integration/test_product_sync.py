"""Products through the kernel's worker, on a real Postgres, from a shop that the sandbox plays."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from commerce.product_sync.tasks import (
    handle_product_deleted,
    handle_product_sync,
    product_batch_sync,
    product_sync,
)
from tests.integration.harness import House
from tests.played import NOON, a_product
from tradewind.tasks.message import Lane, Source, message_from
from tradewind.tasks.task import Task
from tradewind.tasks.worker import Dead, Done, TryAgain

LATER = NOON + timedelta(hours=1)


def work_off(house: House, task: Task) -> int:
    """Work what was sent to the task until there is nothing more; how many messages that were."""
    worked = 0
    for entry in (queue := house.queues.sent):
        if task.id in entry.queue:
            end = house.worker(task).work(message_from(json.loads(entry.body)), house.deadline())
            assert isinstance(end, Done), end
            worked += 1
    queue.clear()
    return worked


def products(house: House) -> dict[int, tuple[str, str]]:
    rows = house.query("SELECT shopify_product_id AS id, title, status FROM products ORDER BY 1")
    return {row["id"]: (row["title"], row["status"]) for row in rows}


def variants(house: House, *, deleted: bool = False) -> list[int]:
    rows = house.query(
        "SELECT shopify_variant_id AS id FROM variants WHERE (deleted_at IS NOT NULL) = %s ORDER BY 1",
        deleted,
    )
    return [row["id"] for row in rows]


def test_webhook_of_a_product_saves_it_with_variants_images_options_and_seo(house: House) -> None:
    house.shop.put("products", a_product(seo_title="Shirts for all"))
    end = house.run(product_sync, a_product())
    assert end == Done({"product_id": 71, "state": "written", "variants": 2})
    [row] = house.query("SELECT * FROM products")
    told = {
        "title": "Shirt 71",
        "handle": "shirt-71",
        "status": "active",
        "vendor": "Acme",
        "product_type": "Shirts",
        "tags": ["mens", "summer"],
        "description_html": "<p>Cotton</p>",
        "seo_title": "Shirts for all",
        "options": [{"name": "Size", "values": ["S1", "S2"]}],
        "currency": "USD",
        "min_price_cents": 2090,
        "max_price_cents": 2190,
        "inventory_quantity": 30,
        "variants_count": 2,
        "published_at": None,
        "shopify_updated_at": NOON,
        "deleted_at": None,
    }
    assert {name: row[name] for name in told} == told
    columns = (
        "shopify_variant_id, title, price_cents, sku, options, shopify_inventory_item_id, inventory_quantity"
    )
    rows = house.query(f"SELECT {columns} FROM variants ORDER BY 1")
    assert [tuple(row.values()) for row in rows] == [
        (710001, "S1", 2090, "SKU-710001", [{"name": "Size", "value": "S1"}], 715001, 10),
        (710002, "S2", 2190, "SKU-710002", [{"name": "Size", "value": "S2"}], 715002, 20),
    ]
    images = house.query("SELECT shopify_media_id, position, url, alt FROM product_images")
    assert [tuple(row.values()) for row in images] == [(711, 1, "https://cdn.example/71.png", "front")]


def test_what_is_stored_already_is_not_asked_for(house: House) -> None:
    house.shop.put("products", a_product())
    house.run(product_sync, a_product())
    house.shop.forget_calls()
    end = house.run(product_sync, a_product())
    assert end == Done({"product_id": 71, "state": "unchanged", "variants": 0})
    assert house.shop.operations() == []


def test_an_older_answer_never_overwrites_a_newer(house: House) -> None:
    house.shop.put("products", a_product(at=LATER, title="New"))
    house.run(product_sync, {"product_id": 71})
    house.shop.put("products", a_product(title="Old", variants=3))
    end = house.run(product_sync, {"product_id": 71})
    assert end == Done({"product_id": 71, "state": "outdated", "variants": 3})
    assert products(house) == {71: ("New", "active")}
    prices = house.query("SELECT shopify_updated_at FROM variants WHERE shopify_variant_id = 710001")
    assert prices == [{"shopify_updated_at": LATER}]


def test_variant_that_shopify_no_longer_lists_is_marked_and_comes_back_when_it_does(house: House) -> None:
    house.shop.put("products", a_product(variants=3))
    house.run(product_sync, {"product_id": 71})
    house.shop.put("products", a_product(variants=2, at=LATER))
    house.run(product_sync, {"product_id": 71})
    assert (variants(house), variants(house, deleted=True)) == ([710001, 710002], [710003])
    house.shop.put("products", a_product(variants=3, at=LATER + timedelta(hours=1)))
    house.run(product_sync, {"product_id": 71})
    assert variants(house) == [710001, 710002, 710003]


def test_product_of_two_thousand_variants_is_read_page_by_page(house: House) -> None:
    house.shop.put("products", a_product(variants=2048))
    house.run(product_sync, {"product_id": 71})
    assert house.shop.operations() == ["FindProduct"] + ["ProductVariants"] * 8
    assert len(variants(house)) == 2048
    house.shop.put("products", a_product(variants=2000, at=LATER))
    end = house.run(product_sync, {"product_id": 71})
    assert end == Done({"product_id": 71, "state": "written", "variants": 2000})
    assert len(variants(house)) == 2000
    assert variants(house, deleted=True) == list(range(712001, 712049))
    assert house.query("SELECT * FROM seen") == []


def test_rate_limit_in_the_middle_of_a_product_resumes_at_its_page(house: House) -> None:
    house.shop.put("products", a_product(variants=800))
    message = house.message(product_sync, {"product_id": 71})
    house.shop.limiter.passing, house.shop.limiter.refusals = 2, 1
    assert isinstance(house.worker(product_sync).work(message, house.deadline()), TryAgain)
    end = house.worker(product_sync).work(message, house.deadline())
    assert end == Done({"product_id": 71, "state": "written", "variants": 800})
    assert house.shop.operations() == ["FindProduct"] + ["ProductVariants"] * 3


def test_product_that_shopify_does_not_have_is_archived_and_told_of_once(house: House) -> None:
    house.shop.put("products", a_product())
    house.run(product_sync, {"product_id": 71})
    house.shop.delete("products", 71)
    end = house.run(product_sync, a_product(at=LATER))
    assert end == Done({"product_id": 71, "state": "deleted", "variants": 0})
    assert products(house) == {71: ("Shirt 71", "archived")}
    assert house.run(handle_product_deleted, {"id": 71}) == Done({"product_id": 71, "new": False})
    told = house.query("SELECT topic, state, convert_from(body, 'UTF8')::jsonb AS body FROM webhook_inbox")
    assert [(row["topic"], row["state"], row["body"]["product_id"]) for row in told] == [
        ("product.deleted", "unrouted", 71)
    ]


def test_deleted_product_leaves_its_collections_and_an_answer_from_before_does_not_bring_it_back(
    house: House,
) -> None:
    house.shop.put("products", a_product())
    house.run(product_sync, {"product_id": 71})
    house.write(
        "INSERT INTO product_collections VALUES (current_tenant(), 1, 71, 1), (current_tenant(), 1, 72, 2)"
    )
    assert house.run(handle_product_deleted, {"id": 71}) == Done({"product_id": 71, "new": True})
    assert (variants(house), variants(house, deleted=True)) == ([], [710001, 710002])
    assert house.query("SELECT shopify_product_id AS id FROM product_collections") == [{"id": 72}]
    house.write("UPDATE products SET deleted_at = now() + interval '1 hour'")
    house.shop.put("products", a_product(at=LATER))
    end = house.run(product_sync, {"product_id": 71})
    assert end == Done({"product_id": 71, "state": "outdated", "variants": 2})
    assert products(house) == {71: ("Shirt 71", "archived")}


def test_deletion_of_a_product_that_was_never_here_changes_nothing(house: House) -> None:
    assert house.run(handle_product_deleted, {"id": 9}) == Done({"product_id": 9, "new": False})
    assert (products(house), house.query("SELECT * FROM webhook_inbox")) == ({}, [])


def test_page_of_250_products_is_a_handful_of_statements_and_large_ones_go_on_by_themselves(
    house: House,
) -> None:
    house.shop.put("products", *(a_product(number, variants=3) for number in range(100, 360)))
    house.shop.put("products", a_product(900, variants=11))
    end = house.run(
        product_batch_sync,
        {"updated_since": "2026-01-01T00:00:00Z"},
        lane=Lane.BACKFILL,
        source=Source.BACKFILL,
    )
    assert end == Done(None)
    assert len(products(house)) == 250
    assert work_off(house, product_batch_sync) == 1
    [run] = house.query("SELECT result FROM task_run WHERE task = 'commerce-product-batch-sync'")
    assert run["result"] == {"products": 261, "written": 261, "large": 1}
    assert len(variants(house)) == 260 * 3 + 10


def test_large_product_of_a_page_is_synced_whole(house: House) -> None:
    house.shop.put("products", a_product(900, variants=11))
    assert isinstance(house.run(product_batch_sync, {"product_ids": [900, 901]}), Done)
    assert work_off(house, product_sync) == 1
    assert len(variants(house)) == 11


def test_batch_of_a_collection_takes_its_products(house: House) -> None:
    house.shop.put("products", *(a_product(number) for number in (1, 2, 3)))
    house.shop.put(
        "collections", {"id": 8, "title": "C", "updated_at": NOON.isoformat(), "product_ids": [3, 1]}
    )
    end = house.run(product_batch_sync, {"collection_id": 8})
    assert end == Done({"products": 2, "written": 2, "large": 0})
    assert sorted(products(house)) == [1, 3]


def test_sync_without_a_product_takes_all_in_pages_of_fifty(house: House) -> None:
    house.shop.put("products", *(a_product(number) for number in range(1, 121)))
    assert house.run(product_sync, {}) == Done(None)
    assert len(products(house)) == 50
    work_off(house, product_sync)
    assert len(products(house)) == 120


@pytest.mark.parametrize(
    ("asked", "to", "queue", "payload"),
    [
        ({"product_ids": [71]}, "single", "product-sync", {"product_id": 71}),
        ({"product_ids": [71, 72]}, "batch", "product-batch-sync", {"product_ids": [71, 72]}),
        ({"collection_id": 5}, "batch", "product-batch-sync", {"collection_id": 5}),
        ({"full": True}, "batch", "product-batch-sync", {"full": True}),
    ],
)
def test_request_is_routed(
    house: House, asked: dict[str, object], to: str, queue: str, payload: dict[str, object]
) -> None:
    assert house.run(handle_product_sync, asked, source=Source.EVENT) == Done({"to": to, "started": 1})
    [entry] = house.queues.sent
    assert entry.queue == f"tradewind-test-commerce-{queue}.fifo"
    assert json.loads(entry.body)["payload"].items() >= payload.items()


def test_end_of_a_bulk_operation_that_nobody_waits_for_wakes_nobody(house: House) -> None:
    body = {"admin_graphql_api_id": "gid://shopify/BulkOperation/147595010", "status": "completed"}
    assert house.run(handle_product_sync, body) == Done({"to": "waiting run", "started": 0})


@pytest.mark.parametrize(
    "body",
    [
        {"id": 0},
        {"id": "71"},
        {"id": 1.5},
        {"id": 2**63},
        {"id": 71, "updated_at": "yesterday"},
        {"id": 71, "updated_at": "2026-11-20T12:00:00"},
        {"product_id": 71, "page_size": 51},
        {"product_id": True},
    ],
    ids=str,
)
def test_impossible_reference_is_a_dead_letter_and_nothing_is_asked(
    house: House, body: dict[str, object]
) -> None:
    end = house.run(product_sync, body)
    assert isinstance(end, Dead)
    assert type(end.error).__name__ == "InvalidPayloadError"
    assert (products(house), house.shop.operations()) == ({}, [])


def test_impossible_price_is_a_dead_letter_that_names_the_product(house: House) -> None:
    house.shop.put("products", a_product())
    house.shop.state().nodes["gid://shopify/ProductVariant/710001"]["price"] = "12.345"
    end = house.run(product_sync, {"product_id": 71})
    assert isinstance(end, Dead)
    assert "product 71" in str(end.error)
    assert products(house) == {}
