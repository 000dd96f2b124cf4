"""What a person is told about a running local cloud: its addresses and how to send a first webhook."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from infra.local.state import State

SHOP = "acme.myshopify.com"
SLUG = "acme"
SECRETS = {"app_secret": "shpss_acme", "access_token": "shpat_acme", "refresh_token": "shprt_acme"}


def addresses(state: State) -> str:
    """A table of what can be opened or connected to."""
    rows = {
        "webhooks": f"{state.webhook_url}/webhooks/shopify",
        "AWS endpoint": f"{state.aws_endpoint_url}   (region {state.region}, any credentials)",
        "console": state.console_url,
        "sandbox": state.sandbox_url,
        "database": state.database_url,
        "Valkey": state.redis_url,
    }
    return "\n".join(f"  {name:<13}{value}" for name, value in rows.items())


def first_webhook(state: State, now: datetime | None = None) -> str:
    """Two commands for a shell: register a tenant, and send it one signed order."""
    body = json.dumps(_order(now or datetime.now(UTC)), separators=(",", ":"))
    secrets = json.dumps(SECRETS, separators=(",", ":"))
    return f"""\
echo '{secrets}' | make tenant SLUG={SLUG} SHOP={SHOP}

body='{body}'
hmac=$(printf %s "$body" | openssl dgst -sha256 -hmac {SECRETS["app_secret"]} -binary | openssl base64 -A)
curl -i '{state.webhook_url}/webhooks/shopify' \\
  -H 'Content-Type: application/json' -H 'X-Shopify-Topic: orders/create' \\
  -H 'X-Shopify-Shop-Domain: {SHOP}' -H 'X-Shopify-API-Version: 2026-07' \\
  -H "X-Shopify-Webhook-Id: first-$(date +%s)" -H "X-Shopify-Event-Id: first-$(date +%s)" \\
  -H "X-Shopify-Hmac-Sha256: $hmac" --data-binary "$body"
"""


def _order(now: datetime) -> dict[str, object]:
    """An order as Shopify's `orders/create` brings it, with what the order tasks read."""
    at = now.replace(microsecond=0).isoformat()
    number = int(now.timestamp())
    return {
        "id": number,
        "admin_graphql_api_id": f"gid://shopify/Order/{number}",
        "name": "#1001",
        "order_number": 1001,
        "created_at": at,
        "processed_at": at,
        "updated_at": at,
        "test": False,
        "currency": "USD",
        "financial_status": "paid",
        "total_price": "59.90",
        "total_line_items_price": "59.90",
        "subtotal_price": "59.90",
        "total_tax": "0.00",
        "total_discounts": "0.00",
        "email": "ada@example.com",
        "customer": {"id": 7001, "email": "ada@example.com", "first_name": "Ada", "last_name": "L"},
        "landing_site": "/?utm_source=newsletter&utm_medium=email",
        "line_items": [
            {
                "id": 9001,
                "product_id": 8001,
                "variant_id": 8101,
                "title": "Mug",
                "quantity": 2,
                "price": "29.95",
            }
        ],
        "discount_codes": [],
    }
