"""What lies in the intake queue goes the receiver's way: through the deployed queue, mapping, function and grants."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from tests.e2e.cloud import Cloud, Tenant, sign
from tests.e2e.orders import make_order, new_id, recently

LARGE = 2_000_000


def put(
    cloud: Cloud, tenant: Tenant, order: dict[str, Any], event_id: str, secret: str, claim: str | None
) -> None:
    """What the receiver puts there when Postgres does not answer and it has nothing of the shop."""
    raw = json.dumps(order).encode()
    message = {
        "version": 1,
        "provider": "shopify",
        "app": "default",
        "headers": {
            "x-shopify-topic": "orders/create",
            "x-shopify-shop-domain": tenant.shop,
            "x-shopify-api-version": "2026-07",
            "x-shopify-webhook-id": event_id,
            "x-shopify-hmac-sha256": sign(raw, secret),
        },
        "received_at": datetime.now(UTC).isoformat(),
        "verified": False,
        "body": None if claim else base64.b64encode(raw).decode(),
        "claim": claim,
    }
    if claim:
        cloud.client("s3").put_object(Bucket=bucket(cloud), Key=claim, Body=raw)
    cloud.client("sqs").send_message(QueueUrl=cloud.queue_url("intake"), MessageBody=json.dumps(message))


def bucket(cloud: Cloud) -> str:
    return f"tradewind-local-payloads-{cloud.state.account}-{cloud.state.region}"


def test_set_aside_webhooks_are_taken_in_once_and_only_if_their_signature_fits(
    cloud: Cloud, tenant: Tenant
) -> None:
    small, forged = make_order(new_id(), recently()), make_order(new_id(), recently())
    large = make_order(new_id(), recently()) | {"note": "n" * LARGE}
    claim = f"tenants/{UUID(int=0)}/intake/{uuid4()}"
    for order in (small, large):
        tenant.put({name: value for name, value in order.items() if name != "note"})

    put(cloud, tenant, forged, "forged", "guess", None)
    for _ in range(2):
        put(cloud, tenant, small, "small", tenant.secret, None)
    put(cloud, tenant, large, "large", tenant.secret, claim)

    wanted = {small["id"], large["id"]}
    cloud.wait_for(
        "both orders",
        lambda: {row["shopify_order_id"] for row in tenant.rows("orders")} == wanted,
        tenant_id=tenant.id,
    )
    assert {row["event_id"] for row in tenant.received()} == {"small", "large"}

    def gone() -> bool:
        listed = cloud.client("s3").list_objects_v2(Bucket=bucket(cloud), Prefix=claim)
        return bool(listed["KeyCount"] == 0)

    cloud.wait_for("the end of the set-aside body", gone, tenant_id=tenant.id)
