"""A shop that the sandbox plays in this process: the real client over it, without sockets."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from infra.local.sandbox.application import Sandbox
from infra.local.sandbox.faults import read_plan
from infra.local.sandbox.shopify.bulk import BulkOperations
from infra.local.sandbox.shopify.catalogue import CatalogueState
from infra.local.sandbox.shopify.provider import ShopifyProvider
from infra.local.sandbox.wire import Delivery, Request
from tradewind.errors import RateLimitedError
from tradewind.integrations.shopify.admin_api import AdminApi
from tradewind.integrations.shopify.catalogue_client import CatalogueClient
from tradewind.integrations.transport import Transport

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


@dataclass
class Freely:
    """Lets calls pass, but for as many as ``refusals`` says, after the next ``passing`` calls."""

    costs: list[int] = field(default_factory=list)
    passing: int = 0
    refusals: int = 0

    def acquire(self, cost: int) -> None:
        if self.refusals and self.passing <= 0:
            self.refusals -= 1
            raise RateLimitedError("shop", timedelta(seconds=2))
        self.passing -= 1
        self.costs.append(cost)

    def answered(self) -> None:
        """Nothing is kept of it."""

    def report(self, available: float, maximum: float, restore_per_second: float) -> None:
        assert 0 <= available <= maximum

    def access_token(self) -> str:
        return "token"

    def refresh(self, rejected: str) -> str:
        raise AssertionError(rejected)


class PlayedShop:
    """``catalogue`` is the port over it."""

    def __init__(self, shop: str = "acme.myshopify.com") -> None:
        self.shop = shop
        self.sandbox = Sandbox()
        self.limiter = Freely()
        self.control("PUT", "plan", document={"plan": "enterprise"})
        self.catalogue = CatalogueClient(
            AdminApi(
                shop,
                base_url=f"http://sandbox/shopify/{shop}",
                api_version="2026-07",
                transport=Transport.open(timedelta(seconds=5), wire=httpx.MockTransport(self._handle)),
                limiter=self.limiter,
                tokens=self.limiter,
            )
        )

    def _handle(self, request: httpx.Request) -> httpx.Response:
        path = tuple(part for part in request.url.path.split("/") if part)
        reply = self.sandbox.handle(Request(request.method, path, {}, dict(request.headers), request.content))
        if reply.delivery is Delivery.LOST:
            raise httpx.ReadError("connection lost", request=request)
        return httpx.Response(reply.status, content=reply.body, headers=dict(reply.headers))

    def control(self, method: str, *path: str, document: Any = None) -> Any:
        body = b"" if document is None else json.dumps(document).encode()
        reply = self.sandbox.handle(Request(method, ("_sandbox", "shopify", self.shop, *path), {}, {}, body))
        assert reply.status == 200, reply.body
        return json.loads(reply.body)

    def put(self, kind: str, *things: Mapping[str, Any]) -> None:
        self.control("PUT", kind, document={kind: list(things)})

    def delete(self, kind: str, number: int) -> None:
        assert self.control("DELETE", kind, str(number)) == {"deleted": 1}

    def fail(self, kind: str, operation: str) -> None:
        """The next call of an operation fails as ``kind`` says; only answered faults and lost answers."""
        self.sandbox.faults["shopify"] = read_plan(
            {"provider": "shopify", "rate": 1, "kinds": [kind], "remaining": 1, "operation": operation},
            ["shopify"],
        )

    def state(self) -> CatalogueState:
        """The nodes as the API shows them, for what no webhook's body can say."""
        provider = self.sandbox.providers["shopify"]
        assert isinstance(provider, ShopifyProvider)
        return provider._shop(self.shop).catalogue

    def bulk(self) -> BulkOperations:
        """The shop's bulk operations."""
        provider = self.sandbox.providers["shopify"]
        assert isinstance(provider, ShopifyProvider)
        return provider._shop(self.shop).bulk

    def operations(self) -> list[str]:
        return [call.operation for call in reversed(self.sandbox.calls.latest(5000))]

    def forget_calls(self) -> None:
        self.sandbox.calls.clear()


def a_product(number: int = 71, variants: int = 2, *, at: datetime = NOON, **changes: Any) -> dict[str, Any]:
    """A product as its webhook tells it; variant ids are its number times 10,000 and their place."""
    return {
        "id": number,
        "admin_graphql_api_id": f"gid://shopify/Product/{number}",
        "title": f"Shirt {number}",
        "handle": f"shirt-{number}",
        "status": "active",
        "vendor": "Acme",
        "product_type": "Shirts",
        "tags": "mens, summer",
        "body_html": "<p>Cotton</p>",
        "created_at": (NOON - timedelta(days=30)).isoformat(),
        "updated_at": at.isoformat(),
        "published_at": None,
        "options": [{"id": 1, "name": "Size", "values": [f"S{place}" for place in range(1, variants + 1)]}],
        "images": [{"id": number * 10 + 1, "src": f"https://cdn.example/{number}.png", "alt": "front"}],
        "variants": [a_variant(number, place, at=at) for place in range(1, variants + 1)],
        **changes,
    }


def a_variant(product: int, place: int, *, at: datetime = NOON, **changes: Any) -> dict[str, Any]:
    number = product * 10_000 + place
    return {
        "id": number,
        "title": f"S{place}",
        "position": place,
        "price": f"{19 + place}.90",
        "compare_at_price": None,
        "sku": f"SKU-{number}",
        "option1": f"S{place}",
        "inventory_item_id": number + 5_000,
        "inventory_quantity": 10 * place,
        "updated_at": at.isoformat(),
        **changes,
    }


def a_customer(number: int = 501, *, at: datetime = NOON, **changes: Any) -> dict[str, Any]:
    return {
        "id": number,
        "email": f"ann-{number}@example.com",
        "first_name": "Ann",
        "last_name": "Lee",
        "phone": "+15550001",
        "locale": "en-CA",
        "state": "enabled",
        "tags": "vip",
        "orders_count": 3,
        "total_spent": "250.50",
        "email_marketing_consent": {"state": "subscribed"},
        "created_at": (NOON - timedelta(days=90)).isoformat(),
        "updated_at": at.isoformat(),
        "default_address": {
            "id": number * 10,
            "address1": "1 Main St",
            "city": "Ottawa",
            "country_code": "CA",
        },
        **changes,
    }


def a_level(item: int, location: int, available: int, at: datetime = NOON) -> dict[str, Any]:
    """A level as its webhook tells it."""
    return {
        "inventory_item_id": item,
        "location_id": location,
        "available": available,
        "updated_at": at.isoformat(),
        "admin_graphql_api_id": f"gid://shopify/InventoryLevel/{location}?inventory_item_id={item}",
    }


def a_collection(
    number: int, products: Sequence[int], *, at: datetime = NOON, **changes: Any
) -> dict[str, Any]:
    return {
        "id": number,
        "title": f"Collection {number}",
        "handle": f"collection-{number}",
        "sort_order": "manual",
        "updated_at": at.isoformat(),
        "product_ids": list(products),
        **changes,
    }
