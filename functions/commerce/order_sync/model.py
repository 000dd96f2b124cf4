"""An order's own rules, pure: which state is the present one, what it means, what of its money still stands."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tradewind.ports import ShopifyOrder, ShopifyVisit

VISITOR_ATTRIBUTES = ("visitor_id", "_visitor_id", "tw_visitor_id")
ESTIMATED_TRANSIT = timedelta(days=5)
"""When a carrier gives no estimate: shipped plus this (tenant setting ``estimated_transit_days``)."""


class OrderStatus(StrEnum):
    OPEN = "open"
    CANCELLED = "cancelled"
    REFUNDED = "refunded"


@dataclass(frozen=True, slots=True)
class OrderState:
    """What the rules need of a saved order. Money in cents; ``remaining`` amounts are what refunds and a cancellation
    have left.
    """

    order_id: int
    currency: str
    net_cents: int
    total_cents: int
    refunded_cents: int
    refunded_net_cents: int
    status: OrderStatus
    discount_codes: tuple[str, ...]
    visitor_id: str | None
    customer_id: int | None
    email: str | None
    landing_page: str | None
    referrer_url: str | None
    utm: Mapping[str, str]
    visited_at: datetime | None
    placed_at: datetime
    fulfilled_at: datetime | None
    delivered_at: datetime | None
    updated_at: datetime
    content_hash: str | None = None
    test: bool = False

    @property
    def remaining_cents(self) -> int:
        """Of the total charged: nothing of a cancelled order."""
        return 0 if self.status is OrderStatus.CANCELLED else max(0, self.total_cents - self.refunded_cents)

    @property
    def remaining_net_cents(self) -> int:
        """Of the net sales (gross less discounts): nothing of a cancelled order."""
        return 0 if self.status is OrderStatus.CANCELLED else max(0, self.net_cents - self.refunded_net_cents)


def is_contained(stored_at: datetime | None, event_at: datetime | None) -> bool:
    """Whether a stored state certainly contains an event: it must be strictly newer, since equal instants may hide one
    change behind another.
    """
    return stored_at is not None and event_at is not None and stored_at > event_at


def newest(fetched: ShopifyOrder | None, delivered: ShopifyOrder | None) -> ShopifyOrder | None:
    """The newer of what Shopify answers and what it delivered; the answer where both are of the same instant."""
    if fetched is None or delivered is None:
        return fetched or delivered
    return delivered if delivered.updated_at > fetched.updated_at else fetched


def status_of(order: ShopifyOrder) -> OrderStatus:
    """Cancelled beats refunded; an order is refunded when nothing of its total is left."""
    if order.cancelled_at is not None:
        return OrderStatus.CANCELLED
    refunded = sum(refund.amount_cents for refund in order.refunds)
    if order.total_cents > 0 and refunded >= order.total_cents:
        return OrderStatus.REFUNDED
    return OrderStatus.OPEN


def fulfilled_at(order: ShopifyOrder) -> datetime | None:
    """When the first parcel left; a cancelled or failed fulfilment never did."""
    return min((item.created_at for item in order.fulfillments if item.status == "success"), default=None)


def delivered_at(order: ShopifyOrder) -> datetime | None:
    """When the last parcel arrived; None while one is still on its way."""
    sent = [item for item in order.fulfillments if item.status == "success"]
    arrivals = [item.delivered_at for item in sent if item.delivered_at is not None]
    return max(arrivals) if sent and len(arrivals) == len(sent) else None


def visitor_of(order: ShopifyOrder) -> str | None:
    """The visitor id that the shop's pixel left in the order's attributes."""
    return next((order.attributes[name] for name in VISITOR_ATTRIBUTES if order.attributes.get(name)), None)


def landing_path(landing_page: str | None) -> str | None:
    """A landing page as its path and query: webhooks tell the path, the Admin API the whole address."""
    if landing_page is None:
        return None
    parts = urlsplit(landing_page)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def utm_of(visit: ShopifyVisit) -> dict[str, str]:
    """A visit's UTM parameters: those that Shopify parsed, else the landing page's own."""
    if visit.utm:
        return dict(visit.utm)
    query = parse_qsl(urlsplit(visit.landing_page or "").query)
    return {name.removeprefix("utm_"): value for name, value in query if name.startswith("utm_")}


def visit_of(stored: OrderState) -> ShopifyVisit | None:
    """The visit that a stored order keeps, as the port gives it."""
    if stored.visited_at is None:
        return None
    return ShopifyVisit(stored.visited_at, stored.landing_page, stored.referrer_url, stored.utm)


def is_same(stored: OrderState, order: ShopifyOrder) -> bool:
    """Whether an order says just what is stored: two topics often tell of one change, in the same second."""
    return stored.updated_at == order.updated_at and stored.content_hash == content_hash(order)


def content_hash(order: ShopifyOrder) -> str:
    """A hash of all that an order's webhook tells; a customer's consent and tags it mostly does not."""
    customers = [
        {name: value for name, value in row.items() if name not in ("accepts_marketing", "tags")}
        for row in to_customer_rows(order)
    ]
    parts = (
        _order_row(order),
        to_line_rows(order),
        to_refund_rows(order),
        to_refund_line_rows(order),
        to_fulfillment_rows(order, ESTIMATED_TRANSIT),
        customers,
    )
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def to_row(order: ShopifyOrder) -> dict[str, Any]:
    """An order as ``save_orders`` takes it."""
    return {**_order_row(order), "content_hash": content_hash(order)}


def _order_row(order: ShopifyOrder) -> dict[str, Any]:
    visit = order.visit
    return {
        "shopify_order_id": order.id,
        "order_number": order.name,
        "shopify_customer_id": order.customer.id if order.customer else None,
        "email": _lower(order.email or (order.customer.email if order.customer else None)),
        "currency": order.currency,
        "gross_cents": order.gross_cents,
        "discount_cents": order.discount_cents,
        "net_cents": order.gross_cents - order.discount_cents,
        "shipping_cents": order.shipping_cents,
        "tax_cents": order.tax_cents,
        "total_cents": order.total_cents,
        "refunded_cents": sum(refund.amount_cents for refund in order.refunds),
        "refunded_net_cents": sum(refund.net_sales_cents for refund in order.refunds),
        "financial_status": order.financial_status,
        "fulfillment_status": order.fulfillment_status,
        "status": status_of(order),
        "test": order.test,
        "weight_grams": order.weight_grams,
        "tags": list(order.tags),
        "discount_codes": list(order.discount_codes),
        "attributes": dict(order.attributes),
        "visitor_id": visitor_of(order),
        "landing_page": landing_path(visit.landing_page) if visit else None,
        "referrer_url": visit.referrer_url if visit else None,
        "utm": utm_of(visit) if visit else {},
        "visited_at": _iso(visit.occurred_at if visit else None),
        "cancel_reason": order.cancel_reason,
        "placed_at": _iso(order.placed_at),
        "fulfilled_at": _iso(fulfilled_at(order)),
        "delivered_at": _iso(delivered_at(order)),
        "cancelled_at": _iso(order.cancelled_at),
        "shopify_updated_at": _iso(order.updated_at),
    }


def to_line_rows(order: ShopifyOrder) -> list[dict[str, Any]]:
    return [
        {
            "shopify_order_id": order.id,
            "shopify_line_id": line.id,
            "shopify_product_id": line.product_id,
            "shopify_variant_id": line.variant_id,
            "sku": line.sku,
            "title": line.title,
            "quantity": line.quantity,
            "unit_price_cents": line.unit_price_cents,
            "discount_cents": line.discount_cents,
        }
        for line in order.lines
    ]


def to_fulfillment_rows(order: ShopifyOrder, transit: timedelta) -> list[dict[str, Any]]:
    """Parcels, each with the carrier's estimate of its arrival or our own."""
    return [
        {
            "shopify_order_id": order.id,
            "shopify_fulfillment_id": item.id,
            "status": item.status,
            "shipment_status": item.shipment_status,
            "tracking_company": item.tracking_company,
            "tracking_number": item.tracking_number,
            "tracking_url": item.tracking_url,
            "shipped_at": _iso(item.created_at),
            "estimated_delivery_at": _iso(item.estimated_delivery_at or item.created_at + transit),
            "delivered_at": _iso(item.delivered_at),
        }
        for item in order.fulfillments
    ]


def to_refund_rows(order: ShopifyOrder) -> list[dict[str, Any]]:
    return [
        {
            "shopify_order_id": order.id,
            "shopify_refund_id": refund.id,
            "amount_cents": refund.amount_cents,
            "net_cents": refund.net_sales_cents,
            "reason": refund.note,
            "refunded_at": _iso(refund.created_at),
        }
        for refund in order.refunds
    ]


def to_refund_line_rows(order: ShopifyOrder) -> list[dict[str, Any]]:
    """Refund lines, summed where a refund names one line twice."""
    rows: dict[tuple[int, int], dict[str, Any]] = {}
    for refund in order.refunds:
        for line in refund.lines:
            row = rows.setdefault(
                (refund.id, line.line_id),
                {
                    "shopify_refund_id": refund.id,
                    "shopify_line_id": line.line_id,
                    "quantity": 0,
                    "subtotal_cents": 0,
                },
            )
            row["quantity"] += line.quantity
            row["subtotal_cents"] += line.subtotal_cents
    return list(rows.values())


def to_customer_rows(order: ShopifyOrder) -> list[dict[str, Any]]:
    customer = order.customer
    if customer is None:
        return []
    return [
        {
            "shopify_customer_id": customer.id,
            "email": _lower(customer.email),
            "first_name": customer.first_name,
            "last_name": customer.last_name,
            "phone": customer.phone,
            "accepts_marketing": customer.accepts_marketing,
            "tags": None if customer.tags is None else list(customer.tags),
            "source_updated_at": _iso(order.updated_at),
        }
    ]


def _lower(email: str | None) -> str | None:
    return email.strip().lower() or None if email else None


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
