"""What the webhook endpoint answers, through the API, and that a refusal changes nothing."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from tests.e2e.cloud import Cloud, Tenant, sign
from tests.e2e.orders import make_order, new_id, recently

LIMIT = 4 * 1024 * 1024
PLATFORM = UUID(int=0)


def some_order() -> dict[str, Any]:
    return make_order(new_id(), recently())


def assert_nothing_kept(tenant: Tenant) -> None:
    for table in ("webhook_inbox", "outbox", "task_run", "dead_letter", "orders"):
        assert tenant.rows(table) == [], table


@pytest.mark.parametrize(
    "signature",
    [None, "", "bm90IGEgc2lnbmF0dXJl", "not base64 at all", sign(b"another body", "shpss")],
    ids=["missing", "empty", "of another length", "unreadable", "of another body"],
)
def test_what_is_not_signed_is_refused(tenant: Tenant, signature: str | None) -> None:
    answer = tenant.deliver("orders/create", some_order(), X_Shopify_Hmac_Sha256=signature)

    assert (answer.status_code, answer.json()) == (401, {"error": "signature does not fit the body"})
    assert_nothing_kept(tenant)


def test_an_unknown_shop_is_told_nothing_without_a_signature(tenant: Tenant) -> None:
    answer = tenant.deliver("orders/create", some_order(), shop="stranger.myshopify.com", secret="guess")

    assert (answer.status_code, answer.json()) == (401, {"error": "signature does not fit the body"})


@pytest.mark.parametrize(
    ("topic", "shop", "reason"),
    [
        ("orders/create", "stranger.myshopify.com", "unknown shop"),
        ("themes/update", None, "unknown topic"),
    ],
)
def test_what_nobody_waits_for_is_ignored(tenant: Tenant, topic: str, shop: str | None, reason: str) -> None:
    answer = tenant.deliver(topic, some_order(), shop=shop)

    assert (answer.status_code, answer.json()) == (202, {"status": "ignored", "reason": reason})
    assert_nothing_kept(tenant)


def test_an_uninstalled_shop_is_heard_again_as_soon_as_it_is_installed(cloud: Cloud, tenant: Tenant) -> None:
    with psycopg.connect(cloud.state.platform_database_url) as connection:
        connection.execute(
            "UPDATE shopify_app_installations SET status = 'uninstalled' WHERE tenant_id = %s", (tenant.id,)
        )
    # Twice, so that the receiver has it in its directory.
    for _ in range(2):
        answer = tenant.deliver("orders/create", some_order())
        assert (answer.status_code, answer.json()) == (202, {"status": "ignored", "reason": "uninstalled"})
    assert_nothing_kept(tenant)

    with psycopg.connect(cloud.state.platform_database_url) as connection:
        connection.execute(
            "UPDATE shopify_app_installations SET status = 'installed' WHERE tenant_id = %s", (tenant.id,)
        )

    assert tenant.deliver("orders/create", some_order()).status_code == 200


def test_a_compliance_request_of_an_unknown_shop_is_kept(cloud: Cloud, tenant: Tenant) -> None:
    event = uuid4().hex
    body = {"shop_id": new_id(), "shop_domain": "stranger.myshopify.com"}

    answer = tenant.deliver("shop/redact", body, shop="stranger.myshopify.com", event=event)

    assert answer.status_code == 200
    kept = cloud.query("SELECT tenant_id, topic, shop FROM webhook_inbox WHERE event_id = %s", event)
    assert kept == [{"tenant_id": PLATFORM, "topic": "shop/redact", "shop": "stranger.myshopify.com"}]


def test_a_body_over_the_limit_is_refused_before_its_signature_is_looked_at(tenant: Tenant) -> None:
    answer = tenant.deliver("orders/create", b"x" * (LIMIT + 1), X_Shopify_Hmac_Sha256=None)

    assert (answer.status_code, answer.json()) == (413, {"error": f"body is larger than {LIMIT} bytes"})
    assert_nothing_kept(tenant)


def test_a_provider_that_is_not_known_is_not_found(cloud: Cloud) -> None:
    answer = cloud.http.post(f"{cloud.state.webhook_url}/webhooks/fax", content=b"{}")

    assert answer.status_code == 404
    assert "no provider 'fax'" in answer.json()["error"]


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b'{"id": 1', "body: is not JSON"),
        (b"[]", "body: is a list; an object is expected"),
        (b'{"id": NaN}', "NaN is no JSON number"),
        (b'{"id": -5}', "id: is '-5'"),
        (b'{"id": "7"}', "id: is text"),
    ],
)
def test_what_is_signed_and_unusable_is_kept_as_a_dead_letter(
    tenant: Tenant, body: bytes, error: str
) -> None:
    answer = tenant.deliver("orders/create", body, event="unusable")
    again = tenant.deliver("orders/create", body, event="unusable")

    assert (answer.status_code, answer.json()["status"]) == (200, "dead_letter")
    assert again.status_code == 200
    (letter,) = tenant.rows("dead_letter")
    assert error in letter["error_message"]
    assert bytes(letter["body"]) == body
    assert (letter["task"], letter["cause"]) == ("ingress-shopify", "unusable")
    assert "x-shopify-hmac-sha256" in letter["headers"]
    assert tenant.rows("webhook_inbox") == []
    assert tenant.runs() == []


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("currency", "XYZ", "currency"),
        ("total_price", "a lot", "a lot"),
        ("created_at", "1887-01-01T00:00:00Z", "created_at"),
        ("updated_at", "2987-01-01T00:00:00Z", "changed_at"),
        ("email", "jo\x00@example.com", "email"),
        ("email", "jo\ud800@example.com", "email"),
        ("note_attributes", [{"name": "gift", "value": "\ud800"}], "note_attributes.0.value"),
    ],
)
def test_an_order_that_cannot_be_becomes_a_dead_letter_of_its_task(
    tenant: Tenant, field: str, value: Any, error: str
) -> None:
    body = some_order() | {field: value}

    answer = tenant.deliver("orders/create", body, event="impossible")

    assert answer.status_code == 200
    tenant.finished("commerce-order-created", "impossible", state="failed")
    (letter,) = tenant.rows("dead_letter")
    assert letter["error_kind"] == "TerminalError"
    assert error in letter["error_message"]
    assert tenant.rows("orders") == []


def test_a_body_that_is_no_text_is_kept_as_it_came(tenant: Tenant) -> None:
    # The API hands a body on in base64 where its type is not one of text.
    answer = tenant.deliver("orders/create", b"\xff\xfe{}", Content_Type="application/octet-stream")

    assert (answer.status_code, answer.json()["status"]) == (200, "dead_letter")
    (letter,) = tenant.rows("dead_letter")
    assert "body: is not UTF-8" in letter["error_message"]
    assert bytes(letter["body"]) == b"\xff\xfe{}"


def test_a_copy_enqueues_nothing(tenant: Tenant) -> None:
    order = some_order()
    event = tenant.send("orders/create", order, "commerce-order-created")
    before = tenant.runs()

    copies = [tenant.deliver("orders/create", order, event=event) for _ in range(3)]

    assert [(copy.status_code, copy.json()["status"]) for copy in copies] == [(200, "duplicate")] * 3
    (kept,) = tenant.received()
    assert kept["deliveries"] == 4
    (row,) = tenant.rows("outbox", "task = 'commerce-order-created'")
    assert (row["state"], row["delivery"]) == ("done", 1)
    assert tenant.runs() == before
