"""Compliance requests and the removal of a tenant, through webhooks, queues, functions, grants and the bucket."""

from __future__ import annotations

import json
from typing import Any

import psycopg

from tests.e2e.cloud import Cloud, Row, Tenant
from tests.e2e.orders import make_order, new_id, recently

LARGE = 1_500_000


def bucket(cloud: Cloud) -> str:
    return f"tradewind-local-payloads-{cloud.state.account}-{cloud.state.region}"


def objects(cloud: Cloud, tenant: Tenant) -> list[str]:
    listed = cloud.client("s3").list_objects_v2(Bucket=bucket(cloud), Prefix=f"tenants/{tenant.id}/")
    return [each["Key"] for each in listed.get("Contents", [])]


def an_order_of(tenant: Tenant, email: str) -> Row:
    order = make_order(new_id(), recently(), email=email)
    tenant.put(order)
    assert tenant.deliver("orders/create", order | {"note": "n" * LARGE}).status_code == 200
    tenant.wait_for("the order", lambda: tenant.rows("orders", "shopify_order_id = %s", order["id"]))
    tenant.wait_for("the end of its run", lambda: not tenant.rows("outbox", "state <> 'done'"))
    return order


def request(tenant: Tenant, topic: str, body: dict[str, Any]) -> Row:
    assert tenant.deliver(topic, {"shop_id": 1, "shop_domain": tenant.shop, **body}).status_code == 200
    (done,) = tenant.wait_for(
        f"the end of {topic}", lambda: tenant.rows("privacy_requests", "kind = %s AND state <> 'open'", topic)
    )
    return dict(done)


def test_customer_is_exported_and_redacted(cloud: Cloud, tenant: Tenant) -> None:
    email = f"ann-{new_id()}@example.com"
    order = an_order_of(tenant, email)
    customer = {"id": None, "email": email, "phone": None}

    exported = request(
        tenant, "customers/data_request", {"customer": customer, "orders_requested": [order["id"]]}
    )
    body = cloud.client("s3").get_object(Bucket=bucket(cloud), Key=exported["claim"])["Body"].read()
    document = json.loads(body)
    assert [row["shopify_order_id"] for row in document["tables"]["orders"]] == [order["id"]]
    assert len(document["objects"]) == 1

    request(tenant, "customers/redact", {"customer": customer, "orders_to_redact": [order["id"]]})
    (kept,) = tenant.rows("orders")
    assert (kept["email"], kept["total_cents"] > 0) == (None, True)
    assert exported["claim"] not in objects(cloud, tenant)
    for key in objects(cloud, tenant):
        assert (
            email.encode() not in cloud.client("s3").get_object(Bucket=bucket(cloud), Key=key)["Body"].read()
        )


def test_removed_tenant_leaves_no_row_and_no_object(cloud: Cloud, tenant: Tenant) -> None:
    an_order_of(tenant, f"bob-{new_id()}@example.com")
    assert objects(cloud, tenant)

    refused = cloud.operate("remove-tenant", "--tenant", tenant.slug, "--confirm", "other", "--reason", "r")
    assert (refused.returncode, "repeat the slug" in refused.stderr) == (1, True)
    removed = cloud.operate(
        "remove-tenant", "--tenant", tenant.slug, "--confirm", tenant.slug, "--reason", "r"
    )
    assert removed.returncode == 0, removed.stderr

    assert tenant.rows("privacy_requests") == []
    with psycopg.connect(cloud.state.platform_database_url) as connection:
        connection.execute("UPDATE outbox SET due_at = now() WHERE tenant_id = %s", (tenant.id,))
    cloud.invoke("ingress-relay", {})

    tenant.wait_for("the end of the removal", lambda: tenant.rows("privacy_requests", "state = 'done'"))
    assert objects(cloud, tenant) == []
    for table in (
        "orders",
        "customers",
        "webhook_inbox",
        "outbox",
        "credentials",
        "shopify_app_installations",
    ):
        assert tenant.rows(table) == [], table
    assert tenant.deliver("orders/create", make_order(new_id(), recently())).status_code in (202, 401)


def test_paused_task_waits_and_goes_on(cloud: Cloud, tenant: Tenant) -> None:
    paused = cloud.operate("pause", "--tenant", tenant.slug, "--reason", "a look at it")
    assert paused.returncode == 0, paused.stderr
    order = make_order(new_id(), recently())
    tenant.put(order)
    assert tenant.deliver("orders/create", order).status_code == 200
    drained = cloud.operate("drain", "--tenant", tenant.slug)
    state = json.loads(drained.stdout)
    assert (state["in_flight"], state["held"], state["drained"]) == (0, 1, True)
    assert tenant.runs() == []
    listed = json.loads(cloud.operate("pauses").stdout)["pauses"]
    assert ("tenant", tenant.slug, "a look at it") in {(p["kind"], p["tenant"], p["reason"]) for p in listed}

    assert cloud.operate("resume", "--tenant", tenant.slug).returncode == 0
    tenant.wait_for("the order", lambda: tenant.rows("orders", "shopify_order_id = %s", order["id"]))
    found = json.loads(cloud.operate("runs", "--tenant", tenant.slug, "--entity", str(order["id"])).stdout)
    assert "commerce-order-created" in {run["task"] for run in found["runs"]}
