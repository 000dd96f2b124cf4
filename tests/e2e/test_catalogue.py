"""A shop's catalogue through the deployed app: a webhook of a product becomes its rows."""

from __future__ import annotations

from tests.e2e.cloud import Cloud
from tests.e2e.orders import new_id, recently
from tests.played import a_product
from tradewind.contracts.shopify import topics_for

PRODUCTS = {"features": {"products": True}}


def test_updated_product_is_fetched_and_saved_with_its_variants(cloud: Cloud) -> None:
    tenant = cloud.register(settings=PRODUCTS)
    number = new_id()
    product = a_product(number, at=recently(), variants=3)
    cloud.sandbox.put(f"/shopify/{tenant.shop}/products", json={"products": [product]})

    tenant.send("products/update", product, "commerce-product-sync")

    (row,) = tenant.rows("products")
    assert (row["shopify_product_id"], row["title"], row["min_price_cents"]) == (
        number,
        f"Shirt {number}",
        2090,
    )
    rows = tenant.rows("variants", order="position")
    assert [(each["shopify_product_id"], each["price_cents"]) for each in rows] == [
        (number, 2090),
        (number, 2190),
        (number, 2290),
    ]
    subscriptions = cloud.sandbox.get(f"/shopify/{tenant.shop}/subscriptions").json()["subscriptions"]
    assert len(subscriptions) == len(topics_for(PRODUCTS))

    tenant.send("products/delete", {"id": number}, "commerce-handle-product-deleted")
    (row,) = tenant.rows("products")
    assert (row["status"], row["deleted_at"] is None) == ("archived", False)


def test_whole_shop_is_loaded_by_a_bulk_operation_whose_end_its_webhook_tells(cloud: Cloud) -> None:
    tenant = cloud.register(settings=PRODUCTS)
    number = new_id()
    products = [a_product(number + at, at=recently(), variants=4) for at in range(30)]
    cloud.sandbox.put(f"/shopify/{tenant.shop}/products", json={"products": products})
    cloud.sandbox.put(f"/shopify/{tenant.shop}/bulk", json={"looks": 1000})

    cloud.invoke(
        "commerce-handle-product-sync", {"tenant": str(tenant.id), "payload": {"full": True}, "cause": "all"}
    )
    (operation,) = cloud.wait_for("a bulk operation", lambda: tenant.rows("bulk_operations"))
    bulk = f"/shopify/{tenant.shop}/bulk/{operation['operation_id']}/finish"
    cloud.wait_for("a run that waits", lambda: tenant.rows("outbox", "state = 'held' AND due_at > now()"))
    tenant.send("bulk_operations/finish", cloud.sandbox.post(bulk).json(), "commerce-handle-product-sync")

    def loaded() -> list[dict[str, object]]:
        cloud.invoke("ingress-relay", {})
        return tenant.rows("task_run", "task = 'commerce-product-batch-sync' AND state = 'succeeded'")

    (run,) = cloud.wait_for("the whole load", loaded)
    assert run["result"] == {
        "kind": "products",
        "parents": 30,
        "children": 150,
        "refused": 0,
        "archived": 0,
        "complete": True,
    }
    assert (len(tenant.rows("products")), len(tenant.rows("variants"))) == (30, 120)
