"""A signed webhook becomes an order and all that follows from it, through the deployed app."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.e2e.cloud import Cloud, Tenant
from tests.e2e.orders import at, make_order, new_id, parcel, recently, towel_refund
from tradewind.contracts.shopify import SUBSCRIBED_TOPICS

CHAIN = {
    "commerce-order-created",
    "commerce-sync-order",
    "commerce-order-attribution",
    "commerce-order-commission",
    "commerce-order-review-email",
}
MODELS = {"first_touch", "last_touch", "last_non_direct", "linear", "time_decay", "position_based"}


def add_touch(tenant: Tenant, visitor: str, channel: str, occurred: Any) -> None:
    tenant.write(
        "INSERT INTO attribution_touchpoints (dedupe_hash, visitor_id, channel, occurred_at)"
        " VALUES (%s, %s, %s, %s)",
        f"{visitor}-{channel}",
        visitor,
        channel,
        occurred,
    )


def add_creator(tenant: Tenant, code: str) -> None:
    tenant.write("INSERT INTO creators (name, code) VALUES ('Ava', %s)", code)


def sums(tenant: Tenant, order_id: int) -> dict[str, int]:
    return {model: sum(by.values()) for model, by in tenant.attribution(order_id).items()}


def columns(rows: list[dict[str, Any]], *names: str) -> list[tuple[Any, ...]]:
    return [tuple(row[name] for name in names) for row in rows]


def test_a_created_order_runs_the_whole_chain(tenant: Tenant) -> None:
    placed, order_id = recently(), new_id()
    order = make_order(order_id, placed, code="ava10")
    add_creator(tenant, "AVA10")
    add_touch(tenant, f"visitor-{order_id}", "email", placed - timedelta(days=14))
    add_touch(tenant, f"visitor-{order_id}", "social", placed - timedelta(days=7))
    add_touch(tenant, f"visitor-{order_id}", "paid", placed - timedelta(days=31))
    tenant.put(order)

    event = tenant.send("orders/create", order, "commerce-order-created")

    stored = tenant.order(order_id)
    money = {name: stored[f"{name}_cents"] for name in ("gross", "discount", "net", "shipping", "tax")}
    assert money == {"gross": 6050, "discount": 605, "net": 5445, "shipping": 500, "tax": 300}
    assert (stored["total_cents"], stored["status"], stored["email"]) == (6245, "open", "jo@example.com")
    assert stored["placed_at"] == placed
    lines = tenant.rows("order_line_items", "shopify_order_id = %s", order_id, order="shopify_line_id")
    assert columns(lines, "title", "quantity", "unit_price_cents", "discount_cents") == [
        ("Mug", 2, 2400, 605),
        ("Towel", 1, 1250, 0),
    ]
    assert columns(tenant.rows("customers"), "shopify_customer_id", "first_name", "email") == [
        (order_id + 1, "Jo", "jo@example.com")
    ]

    by_model = tenant.attribution(order_id)
    assert by_model.keys() == MODELS
    assert by_model["first_touch"] == {"email": 6245, "social": 0, "organic": 0}
    assert by_model["last_touch"] == {"email": 0, "social": 0, "organic": 6245}
    assert by_model["last_non_direct"] == by_model["last_touch"]
    assert sorted(by_model["linear"].values()) == [2081, 2082, 2082]
    assert by_model["time_decay"] == {"email": 892, "social": 1784, "organic": 3569}
    assert by_model["position_based"] == {"email": 2498, "social": 1249, "organic": 2498}
    assert set(sums(tenant, order_id).values()) == {6245}

    commission = columns(tenant.rows("commissions"), "shopify_order_id", "code", "tier", "commission_cents")
    assert commission == [(order_id, "AVA10", "bronze", 545)]
    email = columns(tenant.rows("review_email_queue"), "shopify_order_id", "state", "sequence", "email")
    assert email == [(order_id, "pending", 1, "jo@example.com")]

    runs = tenant.runs()
    assert {run["task"] for run in runs} == CHAIN
    assert len(runs) == len(CHAIN)
    assert {(run["state"], run["correlation_id"], run["attempt"]) for run in runs} == {
        ("succeeded", event, 1)
    }
    (created,) = (run for run in runs if run["task"] == "commerce-order-created")
    assert created["finished_at"] - created["accepted_at"] < timedelta(seconds=30)
    assert tenant.rows("dead_letter") == []


def test_updates_a_parcel_a_refund_and_a_cancellation_settle_everything_again(tenant: Tenant) -> None:
    placed, order_id = recently(), new_id()
    add_creator(tenant, "AVA10")
    order = make_order(order_id, placed, code="AVA10")
    tenant.put(order)
    tenant.send("orders/create", order, "commerce-order-created")

    order |= {"tags": "web, gift", "updated_at": at(placed, 1)}
    tenant.put(order)
    tenant.send("orders/updated", order, "commerce-sync-order")
    assert tenant.order(order_id)["tags"] == ["web", "gift"]

    sent = parcel(order_id, at(placed, 2))
    order |= {"fulfillments": [sent], "fulfillment_status": "fulfilled", "updated_at": at(placed, 2)}
    tenant.put(order)
    tenant.send("fulfillments/create", sent, "commerce-handle-order-fulfilled")
    (shipped,) = tenant.rows("fulfillments")
    assert (shipped["tracking_company"], shipped["tracking_number"]) == ("UPS", "1Z1")
    assert shipped["estimated_delivery_at"] == placed + timedelta(minutes=2, days=5)
    (email,) = tenant.rows("review_email_queue")
    assert (email["state"], email["awaiting_since"]) == ("awaiting_delivery", placed + timedelta(minutes=2))

    refund = towel_refund(order_id, at(placed, 3))
    order |= {"refunds": [refund], "financial_status": "partially_refunded", "updated_at": at(placed, 3)}
    tenant.put(order)
    tenant.send("refunds/create", refund, "commerce-handle-refund-created")
    assert columns(tenant.rows("refunds"), "amount_cents", "net_cents", "reason") == [
        (1312, 1250, "too small")
    ]
    assert columns(tenant.rows("refund_line_items"), "shopify_line_id", "quantity", "subtotal_cents") == [
        (order_id + 3, 1, 1250)
    ]
    assert sums(tenant, order_id) == dict.fromkeys(MODELS, 4933)
    # 5.45 earned, of which 41.95 of 54.45 remain.
    assert columns(tenant.rows("commissions"), "earned_cents", "commission_cents", "state") == [
        (545, 420, "pending")
    ]

    order |= {"cancelled_at": at(placed, 4), "cancel_reason": "customer", "updated_at": at(placed, 4)}
    tenant.put(order)
    tenant.send("orders/cancelled", order, "commerce-handle-order-cancelled")
    stored = tenant.order(order_id)
    assert (stored["status"], stored["total_cents"], stored["refunded_cents"]) == ("cancelled", 6245, 1312)
    assert sums(tenant, order_id) == dict.fromkeys(MODELS, 0)
    assert columns(tenant.rows("commissions"), "earned_cents", "commission_cents", "state") == [
        (545, 0, "reversed")
    ]
    (email,) = tenant.rows("review_email_queue")
    assert (email["state"], email["skip_reason"]) == ("skipped", "cancelled")
    assert len(tenant.rows("orders")) == 1
    assert tenant.rows("dead_letter") == []


def test_an_order_that_shopify_does_not_answer_for_is_synced_from_the_webhook(tenant: Tenant) -> None:
    order_id = new_id()

    tenant.send("orders/create", make_order(order_id, recently()), "commerce-order-created")

    assert tenant.order(order_id)["total_cents"] == 6850
    assert sums(tenant, order_id) == dict.fromkeys(MODELS, 6850)
    assert columns(tenant.rows("review_email_queue"), "state") == [("pending",)]


def test_a_body_beyond_the_queues_limit_travels_by_claim_check(cloud: Cloud, tenant: Tenant) -> None:
    order_id = new_id()
    order = make_order(order_id, recently(), note="x" * 1_500_000)

    tenant.send("orders/create", order, "commerce-order-created")

    assert tenant.order(order_id)["total_cents"] == 6850
    (kept,) = tenant.received()
    assert kept["body"] is None
    bucket = f"tradewind-local-payloads-{cloud.state.account}-{cloud.state.region}"
    body = cloud.client("s3").get_object(Bucket=bucket, Key=kept["claim"])["Body"].read()
    assert kept["claim"].startswith(f"tenants/{tenant.id}/")
    assert json.loads(body) == order


def test_a_second_app_has_an_address_and_a_secret_of_its_own(cloud: Cloud, tenant: Tenant) -> None:
    loyalty = replace(tenant, app="loyalty", secret="shpss_of_the_second_app")
    registered = cloud.operate(
        "tenant",
        "--slug",
        tenant.slug,
        "--shop",
        tenant.shop,
        "--app",
        "loyalty",
        stdin=json.dumps(loyalty.secrets),
    )
    assert registered.returncode == 0, registered.stderr
    endpoint = f"{cloud.state.webhook_url}/webhooks/shopify"
    subscribed = cloud.sandbox.get(f"/shopify/{tenant.shop}/subscriptions").json()["subscriptions"]
    assert Counter(item["uri"] for item in subscribed) == {
        endpoint: len(SUBSCRIBED_TOPICS),
        f"{endpoint}/loyalty": len(SUBSCRIBED_TOPICS),
    }

    for app, other in ((tenant, loyalty), (loyalty, tenant)):
        order = make_order(new_id(), recently())
        app.put(order)
        assert app.deliver("orders/create", order, secret=other.secret).status_code == 401
        app.send("orders/create", order, "commerce-order-created")
        assert app.order(order["id"])["total_cents"] == 6850

    assert sorted(row["app"] for row in tenant.received()) == ["default", "loyalty"]


def test_tenants_see_nothing_of_each_other(cloud: Cloud) -> None:
    acme, bolt = cloud.register("acme"), cloud.register("bolt")
    order_id = new_id()
    ours = make_order(order_id, recently())
    theirs = make_order(order_id, recently(), total_price="70.50", total_tax="5.00")

    assert acme.deliver("orders/create", ours, secret=bolt.secret).status_code == 401
    acme.put(ours)
    bolt.put(theirs)
    acme.send("orders/create", ours, "commerce-order-created")
    bolt.send("orders/create", theirs, "commerce-order-created")

    assert acme.order(order_id)["total_cents"] == 6850
    assert bolt.order(order_id)["total_cents"] == 7050
    assert [len(each.runs()) for each in (acme, bolt)] == [4, 4]
    assert [len(each.received()) for each in (acme, bolt)] == [1, 1]
    for table in ("orders", "customers", "attribution_conversions"):
        counts = cloud.query(
            f"SELECT tenant_id, count(*)::integer AS rows FROM {table} WHERE tenant_id = ANY (%s) GROUP BY 1",
            [acme.id, bolt.id],
        )
        assert {row["tenant_id"]: row["rows"] for row in counts} == {acme.id: 1, bolt.id: 1}
    assert {call["shop"] for call in cloud.calls(acme.shop)} == {acme.shop}


@pytest.mark.parametrize(
    ("kind", "calls", "error"),
    [
        ("500", 2, "ProviderUnavailableError"),
        ("429", 1, "RateLimitedError"),
        ("timeout", 1, "ProviderUnavailableError"),
    ],
)
def test_an_order_outlives_the_faults_of_its_provider(
    cloud: Cloud, tenant: Tenant, kind: str, calls: int, error: str
) -> None:
    order = make_order(new_id(), recently())
    tenant.put(order)
    cloud.fail_calls(tenant.shop, kind, calls)

    event = tenant.send("orders/create", order, "commerce-order-created")

    assert tenant.order(order["id"])["total_cents"] == 6850
    synced = tenant.finished("commerce-sync-order", event)
    failed = tenant.rows("task_attempt", "run_id = %s", synced["run_id"])
    assert [attempt["error_class"] for attempt in failed] == [error] * calls
    faults = [call["fault"] for call in cloud.calls(tenant.shop) if call["fault"]]
    assert faults == [kind] * calls
    assert tenant.rows("dead_letter") == []


def test_an_expired_token_is_renewed_once_for_all_functions(cloud: Cloud, tenant: Tenant) -> None:
    book = f"/shopify/{tenant.shop}/tokens"
    known = {**tenant.secrets, "client_id": "default", "client_secret": tenant.secret}
    known.pop("app_secret")
    assert cloud.sandbox.post(book, json=known).status_code == 200
    first, later = make_order(new_id(), recently()), make_order(new_id(), recently())
    tenant.put(first)
    tenant.put(later)
    # Two functions, each of which keeps the token it has read.
    tenant.send("orders/create", first, "commerce-order-created")
    tenant.send("orders/fulfilled", later, "commerce-handle-order-fulfilled")
    assert cloud.sandbox.post(book, json={"expire": True}).status_code == 200

    # Sent orders are fetched: their webhooks do not tell all.
    for order in (first, later):
        order |= {"updated_at": at(recently(), 1), "fulfillments": [parcel(order["id"], at(recently(), 1))]}
        tenant.put(order)
    tenant.send("orders/updated", first, "commerce-sync-order")
    tenant.send("orders/fulfilled", later, "commerce-handle-order-fulfilled")

    calls = cloud.calls(tenant.shop)
    assert [call["operation"] for call in calls].count("oauth/access_token") == 1
    assert [call["status"] for call in calls].count(401) == 2
    versions = {
        row["name"]: row["version"]
        for row in tenant.rows("credentials", "name IN ('access_token', 'refresh_token')")
    }
    assert versions == {"access_token": 2, "refresh_token": 2}
    (renewed,) = tenant.rows("credentials", "name = 'access_token'")
    assert renewed["expires_at"] > recently(minutes=0) + timedelta(minutes=55)
    assert tenant.rows("dead_letter") == []
