"""A throw-away shop in the sandbox: its tenant, its orders, its signed webhooks, its tables."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
from psycopg.rows import dict_row

from infra.local import State
from infra.operate import Stage
from infra.smoke.seen import SmokeError

Order = dict[str, Any]


@dataclass(slots=True)
class Shop:
    """Shopify on behalf of one new tenant."""

    state: State
    slug: str
    secret: str
    http: httpx.Client

    @property
    def domain(self) -> str:
        return f"{self.slug}.myshopify.com"

    def put(self, order: Order) -> None:
        """Set an order's present state at Shopify."""
        url = f"{self.state.sandbox_url}/_sandbox/shopify/{self.domain}/orders/{order['id']}"
        answer = self.http.put(url, json=order)
        if answer.status_code != httpx.codes.OK:
            raise SmokeError(f"the sandbox refuses an order: {answer.text[:200]}")

    def deliver(self, topic: str, body: Order) -> str:
        """Post a signed webhook; its id."""
        raw, event = json.dumps(body).encode(), uuid4().hex
        signature = base64.b64encode(hmac.digest(self.secret.encode(), raw, hashlib.sha256)).decode()
        headers = {
            "Content-Type": "application/json",
            "X-Shopify-Topic": topic,
            "X-Shopify-Shop-Domain": self.domain,
            "X-Shopify-API-Version": "2026-07",
            "X-Shopify-Webhook-Id": event,
            "X-Shopify-Event-Id": event,
            "X-Shopify-Hmac-Sha256": signature,
        }
        url = f"{self.state.webhook_url}/webhooks/shopify"
        answer = self.http.post(url, content=raw, headers=headers)
        if answer.status_code != httpx.codes.OK:
            raise SmokeError(f"{topic} is answered {answer.status_code}: {answer.text[:200]}")
        return event

    def look(self, tenant_id: UUID, query: str, *params: Any) -> dict[str, Any]:
        """The one row that a query with ``tenant_id = %s`` first finds. Raises SmokeError where there is none."""
        with psycopg.connect(self.state.database_url, row_factory=dict_row) as connection:
            row = connection.execute(query.encode(), (tenant_id, *params)).fetchone()
        if row is None:
            raise SmokeError(f"nothing in the tables: {query.split('WHERE', maxsplit=1)[0].strip()}")
        return row


def open_shop(stage: Stage, state: State) -> Shop:
    """Register a new tenant with a shop of its own."""
    slug = f"smoke-{uuid4().hex[:10]}"
    shop = Shop(state, slug, f"shpss_{uuid4().hex}", httpx.Client(trust_env=False, timeout=15))
    credentials = {
        "app_secret": shop.secret,
        "access_token": f"shpat_{slug}",
        "refresh_token": f"shprt_{slug}",
    }
    asked = {"action": "register-tenant", "slug": slug, "shop": shop.domain, "credentials": credentials}
    stage.invoke("ingress-admin", asked | {"webhook_url": state.webhook_url})
    return shop


def new_order(placed: datetime, at: int = 0) -> Order:
    """A paid order: two mugs at 24.00 and a towel at 12.50, 3.00 tax, 5.00 shipping, so 68.50."""
    order_id = time.time_ns() // 1000 * 10 + at
    lines = (("Mug", 2, "24.00"), ("Towel", 1, "12.50"))
    return {
        "id": order_id,
        "admin_graphql_api_id": f"gid://shopify/Order/{order_id}",
        "name": f"#{order_id % 10_000}",
        "currency": "USD",
        "email": "smoke@example.com",
        "created_at": placed.isoformat(),
        "processed_at": placed.isoformat(),
        "updated_at": placed.isoformat(),
        "financial_status": "paid",
        "total_line_items_price": "60.50",
        "total_discounts": "0.00",
        "subtotal_price": "60.50",
        "total_tax": "3.00",
        "total_price": "68.50",
        "total_shipping_price_set": {"shop_money": {"amount": "5.00", "currency_code": "USD"}},
        "discount_codes": [],
        "note_attributes": [{"name": "visitor_id", "value": f"visitor-{order_id}"}],
        "landing_site": "/?utm_source=google&utm_medium=organic",
        "customer": {"id": order_id + 1, "email": "smoke@example.com", "first_name": "Smoke", "tags": ""},
        "line_items": [
            {
                "id": order_id + 2 + place,
                "title": title,
                "quantity": quantity,
                "price": price,
                "sku": title.upper(),
                "total_discount": "0.00",
                "discount_allocations": [],
            }
            for place, (title, quantity, price) in enumerate(lines)
        ],
        "refunds": [],
        "fulfillments": [],
    }


def refund_of_the_towel(order: Order, at: datetime) -> Order:
    """The towel sent back: 12.50 of net sales, 13.12 paid back with its tax."""
    return {
        "id": order["id"] + 5,
        "order_id": order["id"],
        "created_at": at.isoformat(),
        "processed_at": at.isoformat(),
        "refund_line_items": [
            {"id": order["id"] + 6, "line_item_id": order["id"] + 3, "quantity": 1, "subtotal": 12.5}
        ],
        "transactions": [{"id": order["id"] + 7, "kind": "refund", "status": "success", "amount": "13.12"}],
    }
