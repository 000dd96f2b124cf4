"""What the sandbox keeps for one shop: its orders, its webhook subscriptions, and a sample order when it has
none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from infra.local.sandbox.shopify.bulk import BulkOperations
from infra.local.sandbox.shopify.catalogue import CatalogueState
from infra.local.sandbox.shopify.orders import order_node

_SAMPLE_BASE = datetime(2026, 1, 15, 12, tzinfo=UTC)
_SAMPLE_PRODUCTS = ("Enamel Mug", "Linen Towel", "Beeswax Candle", "Walnut Board", "Wool Throw")

Rest = Mapping[str, Any]
Node = Mapping[str, Any]


class Shop:
    """One shop, whatever its name: the sandbox answers for any. Orders are kept as posted, in the webhook's
    shape.
    """

    def __init__(self, domain: str, read_whole: Callable[[Shop, str], Mapping[str, Any]]) -> None:
        """``read_whole`` runs a query without page sizes over a shop, for bulk operations."""
        self.domain = domain
        self.bulk = BulkOperations(lambda query: read_whole(self, query))
        self.orders: dict[str, Rest] = {}
        self.subscriptions: list[Node] = []
        self.discounts: dict[str, Node] = {}
        """By code, as they were asked for."""
        self.catalogue = CatalogueState()
        self.base = ""
        """Where this shop is served: its files' addresses begin with it."""
        self._nodes: dict[str, Node] = {}
        self._by_id: dict[str, dict[str, Node]] = {}

    def create_discount(self, asked: Rest) -> tuple[Node | None, Node | None]:
        """The discount's node, or why there is none: a code is unique in its shop."""
        code = str(asked.get("code") or "")
        percentage = asked.get("customerGets", {}).get("value", {}).get("percentage")
        if not code or not asked.get("title") or not asked.get("startsAt"):
            return None, {"code": "BLANK", "message": "Code, title and start can't be blank"}
        if not isinstance(percentage, int | float) or not 0 < percentage <= 1:
            return None, {"code": "INVALID", "message": "Value percentage must be between 0.0 and 1.0"}
        if code.lower() in {known.lower() for known in self.discounts}:
            return None, {"code": "TAKEN", "message": "Code must be unique. Please try a different code."}
        number = 1_000_000 + len(self.discounts) + 1
        gid = f"gid://shopify/DiscountCodeNode/{number}"
        self.discounts[code] = {"id": gid, "legacyResourceId": str(number), **asked}
        return {"__typename": "DiscountCodeNode", "id": gid}, None

    def put_order(self, number: str, order: Rest) -> None:
        """Keep an order, replacing its earlier state. Raises ValueError for one that Shopify could not
        hold.
        """
        if not number.isdigit():
            raise ValueError(f"order {number!r}: the number of an order is digits only")
        gid = f"gid://shopify/Order/{number}"
        try:
            node = order_node(self.domain, {**order, "id": number, "admin_graphql_api_id": gid})
        except (KeyError, TypeError) as error:
            raise ValueError(f"order {number}: field {error} is missing or of the wrong type") from None
        self.orders[number] = order
        self._nodes[gid] = node
        self._by_id[gid] = {refund["id"]: refund for refund in node["refunds"]}

    def delete_order(self, number: str) -> bool:
        """Forget an order; whether there was one."""
        gid = f"gid://shopify/Order/{number}"
        self._nodes.pop(gid, None)
        self._by_id.pop(gid, None)
        return self.orders.pop(number, None) is not None

    def list_orders(self) -> Collection[Node]:
        return self._nodes.values() if self._nodes else (self._sample(),)

    def find_node(self, gid: str, kind: str | None) -> Node | None:
        """The order or refund with this global id."""
        node = (
            self._nodes.get(gid)
            or self.catalogue.nodes.get(gid)
            or next((parts[gid] for parts in self._by_id.values() if gid in parts), None)
        )
        if node is None and not self._nodes and self._sample()["id"] == gid:
            node = self._sample()
        return node if node is not None and kind in (None, node["__typename"]) else None

    def node(self) -> Node:
        number = int(hashlib.sha256(self.domain.encode()).hexdigest()[:8], 16)
        name = self.domain.partition(".")[0].replace("-", " ").title()
        return {
            "__typename": "Shop",
            "id": f"gid://shopify/Shop/{number}",
            "name": name,
            "myshopifyDomain": self.domain,
            "currencyCode": "USD",
        }

    def subscribe(self, topic: str, wanted: Mapping[str, Any]) -> tuple[Node | None, str | None]:
        """Add a webhook subscription: it, or the message why not."""
        uri = str(wanted.get("uri") or "")
        if not _may_receive(uri):
            return None, "Address is invalid"
        if any(known["topic"] == topic and known["uri"] == uri for known in self.subscriptions):
            return None, "Address for this topic has already been taken"
        number = 1_000_000 + max(
            (int(known["legacyResourceId"]) - 1_000_000 for known in self.subscriptions), default=0
        )
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        created = {
            "__typename": "WebhookSubscription",
            "id": f"gid://shopify/WebhookSubscription/{number + 1}",
            "legacyResourceId": str(number + 1),
            "topic": topic,
            "uri": uri,
            "format": wanted.get("format") or "JSON",
            "filter": wanted.get("filter"),
            "includeFields": wanted.get("includeFields") or [],
            "createdAt": now,
            "updatedAt": now,
        }
        self.subscriptions.append(created)
        return created, None

    def unsubscribe(self, topic: str | None) -> int:
        """Delete subscriptions, as Shopify does after failures; how many. None deletes all."""
        kept = [known for known in self.subscriptions if topic not in (None, known["topic"])]
        gone = len(self.subscriptions) - len(kept)
        self.subscriptions = kept
        return gone

    def _sample(self) -> Node:
        return order_node(self.domain, sample_order(self.domain))


def _may_receive(uri: str) -> bool:
    """HTTPS, an event source or a topic; plain HTTP only on this machine, which Shopify could not reach."""
    parts = urlsplit(uri)
    if parts.scheme == "http":
        return parts.hostname in ("127.0.0.1", "localhost")
    return uri.startswith("arn:aws:events:") or (parts.scheme in {"https", "pubsub"} and bool(parts.hostname))


def sample_order(domain: str) -> Rest:
    """A plausible order, always the same for a shop's name: one or two lines, no discount, paid."""
    digest = hashlib.sha256(domain.encode()).digest()
    number = 5_000_000_000_000 + int.from_bytes(digest[:5], "big") % 900_000_000_000
    placed = _SAMPLE_BASE + timedelta(minutes=int.from_bytes(digest[5:7], "big") % 20_000)
    lines = _sample_lines(number, digest)
    cents = sum(line["price_cents"] * line["quantity"] for line in lines)
    total = f"{cents // 100}.{cents % 100:02d}"
    moment = placed.isoformat()
    return {
        "id": number,
        "admin_graphql_api_id": f"gid://shopify/Order/{number}",
        "name": f"#{1000 + digest[14]}",
        "order_number": 1000 + digest[14],
        "currency": "USD",
        "email": "sample.customer@example.com",
        "created_at": moment,
        "processed_at": moment,
        "updated_at": moment,
        "financial_status": "paid",
        "fulfillment_status": None,
        "total_price": total,
        "subtotal_price": total,
        "total_discounts": "0.00",
        "total_tax": "0.00",
        "line_items": lines,
        "customer": {
            "id": number + 100,
            "email": "sample.customer@example.com",
            "first_name": "Sam",
            "last_name": "Sample",
        },
    }


def _sample_lines(number: int, digest: bytes) -> list[dict[str, Any]]:
    lines = []
    for at in range(1 + digest[7] % 2):
        product, cents = digest[8 + at] % len(_SAMPLE_PRODUCTS), 1_250 + 100 * (digest[12 + at] % 40)
        lines.append(
            {
                "id": number + 1 + at,
                "title": _SAMPLE_PRODUCTS[product],
                "quantity": 1 + digest[10 + at] % 3,
                "price": f"{cents // 100}.{cents % 100:02d}",
                "price_cents": cents,
                "sku": f"SAMPLE-{product}",
                "product_id": 7_000_000_000_000 + product,
            }
        )
    return lines
