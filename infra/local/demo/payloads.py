"""Orders, refunds and fulfilments in the shape of Shopify's webhooks (2026-07), rendered from an order's
draft.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from infra.local.demo.basket import BasketLine
from infra.local.demo.journeys import Origin
from infra.local.demo.shops import DemoShop


@dataclass(frozen=True, slots=True)
class Buyer:
    """A customer. Without an e-mail address nobody can be asked for a review."""

    id: int
    email: str | None
    first_name: str
    last_name: str
    accepts_marketing: bool


@dataclass(slots=True)
class Draft:
    """An order as it grows. Cents throughout; ``updated_at`` grows with each event."""

    shop: DemoShop
    order_id: int
    number: int
    buyer: Buyer
    lines: tuple[BasketLine, ...]
    codes: tuple[str, ...]
    shipping_cents: int
    tax_cents: int
    visit: Origin | None
    visitor_id: str | None
    session_id: str
    created_at: datetime
    updated_at: datetime
    financial_status: str = "pending"
    fulfillment_status: str | None = None
    cancelled_at: datetime | None = None
    cancel_reason: str | None = None
    tags: list[str] = field(default_factory=list)
    note: str | None = None
    refunds: list[dict[str, Any]] = field(default_factory=list)
    fulfillments: list[dict[str, Any]] = field(default_factory=list)
    refunded_units: dict[int, int] = field(default_factory=dict)
    refunded_cents: int = 0

    @property
    def gross_cents(self) -> int:
        return sum(line.price_cents * line.quantity for line in self.lines)

    @property
    def discount_cents(self) -> int:
        return sum(line.discount_cents for line in self.lines)

    @property
    def total_cents(self) -> int:
        return self.gross_cents - self.discount_cents + self.shipping_cents + self.tax_cents


def text_of(cents: int) -> str:
    """Decimal text of an amount in a currency with two digits."""
    return f"{cents // 100}.{cents % 100:02d}"


def _set(cents: int, currency: str) -> dict[str, Any]:
    money = {"amount": text_of(cents), "currency_code": currency}
    return {"shop_money": money, "presentment_money": money}


def _gid(kind: str, number: int) -> str:
    return f"gid://shopify/{kind}/{number}"


def order_payload(draft: Draft) -> dict[str, Any]:
    """The order's state as an order topic delivers it."""
    currency = draft.shop.currency
    return {
        "id": draft.order_id,
        "admin_graphql_api_id": _gid("Order", draft.order_id),
        "name": f"#{draft.number}",
        "number": draft.number - 1000,
        "order_number": draft.number,
        "test": False,
        "confirmed": True,
        "email": draft.buyer.email,
        "contact_email": draft.buyer.email,
        "buyer_accepts_marketing": draft.buyer.accepts_marketing,
        "created_at": draft.created_at.isoformat(),
        "processed_at": draft.created_at.isoformat(),
        "updated_at": draft.updated_at.isoformat(),
        "cancelled_at": draft.cancelled_at.isoformat() if draft.cancelled_at else None,
        "cancel_reason": draft.cancel_reason,
        "closed_at": None,
        "financial_status": draft.financial_status,
        "fulfillment_status": draft.fulfillment_status,
        "landing_site": draft.visit.landing if draft.visit else None,
        "referring_site": draft.visit.referrer if draft.visit else None,
        "source_name": "web",
        "tags": ", ".join(draft.tags),
        "note": draft.note,
        "note_attributes": _attributes(draft),
        **_sums(draft),
        "customer": _customer(draft),
        "line_items": [_line(line, currency) for line in draft.lines],
        "fulfillments": [dict(fulfillment) for fulfillment in draft.fulfillments],
        "refunds": [dict(refund) for refund in draft.refunds],
    }


def _sums(draft: Draft) -> dict[str, Any]:
    currency = draft.shop.currency
    return {
        "currency": currency,
        "presentment_currency": currency,
        "taxes_included": False,
        "total_line_items_price": text_of(draft.gross_cents),
        "total_discounts": text_of(draft.discount_cents),
        "subtotal_price": text_of(draft.gross_cents - draft.discount_cents),
        "total_tax": text_of(draft.tax_cents),
        "total_price": text_of(draft.total_cents),
        "current_total_price": text_of(max(0, draft.total_cents - draft.refunded_cents)),
        "total_shipping_price_set": _set(draft.shipping_cents, currency),
        "total_price_set": _set(draft.total_cents, currency),
        "discount_codes": [
            {"code": code, "amount": text_of(draft.discount_cents if place == 0 else 0), "type": "percentage"}
            for place, code in enumerate(draft.codes)
        ],
    }


def _attributes(draft: Draft) -> list[dict[str, str]]:
    attributes = [{"name": "session_id", "value": draft.session_id}]
    if draft.visitor_id is not None:
        attributes.insert(0, {"name": "visitor_id", "value": draft.visitor_id})
    return attributes


def _customer(draft: Draft) -> dict[str, Any]:
    buyer = draft.buyer
    return {
        "id": buyer.id,
        "admin_graphql_api_id": _gid("Customer", buyer.id),
        "email": buyer.email,
        "first_name": buyer.first_name,
        "last_name": buyer.last_name,
        "phone": None,
        "tags": "",
        "created_at": draft.created_at.isoformat(),
        "updated_at": draft.created_at.isoformat(),
        "email_marketing_consent": {"state": "subscribed" if buyer.accepts_marketing else "not_subscribed"},
    }


def _line(line: BasketLine, currency: str) -> dict[str, Any]:
    allocations = [
        {"amount": text_of(line.discount_cents), "amount_set": _set(line.discount_cents, currency)}
    ]
    return {
        "id": line.id,
        "admin_graphql_api_id": _gid("LineItem", line.id),
        "title": line.title,
        "name": line.title,
        "quantity": line.quantity,
        "price": text_of(line.price_cents),
        "price_set": _set(line.price_cents, currency),
        "total_discount": "0.00",
        "discount_allocations": allocations if line.discount_cents else [],
        "sku": f"TW-{line.product:03d}",
        "product_id": 7_000_000_000_000 + line.product,
        "variant_id": 8_000_000_000_000 + line.product,
        "requires_shipping": True,
        "gift_card": False,
    }


def fulfillment_payload(draft: Draft, at: datetime) -> dict[str, Any]:
    """A parcel with everything in it, just shipped."""
    number = draft.order_id * 10 + len(draft.fulfillments) + 1
    tracking = f"1Z{number:014d}"
    return {
        "id": number,
        "admin_graphql_api_id": _gid("Fulfillment", number),
        "order_id": draft.order_id,
        "name": f"#{draft.number}.{len(draft.fulfillments) + 1}",
        "status": "success",
        "shipment_status": "in_transit",
        "tracking_company": "UPS",
        "tracking_number": tracking,
        "tracking_url": f"https://www.ups.com/track?tracknum={tracking}",
        "created_at": at.isoformat(),
        "updated_at": at.isoformat(),
        "line_items": [_line(line, draft.shop.currency) for line in draft.lines],
    }


def refund_payload(
    draft: Draft, at: datetime, units: dict[int, int], *, with_shipping: bool, note: str
) -> dict[str, Any]:
    """Money back for ``units`` (line id -> pieces). Updates the draft's sums.

    Tax goes back in proportion; with its shipping, an order of which nothing is left gives back its last cent.
    """
    currency = draft.shop.currency
    number = draft.order_id * 10 + len(draft.refunds) + 1
    lines, net = _refund_lines(draft, number, units)
    paid, left = draft.gross_cents - draft.discount_cents, draft.total_cents - draft.refunded_cents
    tax = draft.tax_cents * net // paid if paid else 0
    is_all_back = all(draft.refunded_units.get(line.id) == line.quantity for line in draft.lines)
    amount = left if with_shipping and is_all_back else min(net + tax, left)
    draft.refunded_cents += amount
    return {
        "id": number,
        "admin_graphql_api_id": _gid("Refund", number),
        "order_id": draft.order_id,
        "created_at": at.isoformat(),
        "processed_at": at.isoformat(),
        "note": note,
        "refund_line_items": lines,
        "transactions": [
            {
                "id": number * 10,
                "kind": "refund",
                "status": "success",
                "amount": text_of(amount),
                "currency": currency,
            }
        ],
    }


def _refund_lines(draft: Draft, number: int, units: dict[int, int]) -> tuple[list[dict[str, Any]], int]:
    """A refund's lines and the sum of their subtotals: each line's share of what was paid, after discounts."""
    lines: list[dict[str, Any]] = []
    net = 0
    for line in draft.lines:
        count = units.get(line.id, 0)
        if count == 0:
            continue
        before = draft.refunded_units.get(line.id, 0)
        after = before + count
        subtotal = line.paid_cents * after // line.quantity - line.paid_cents * before // line.quantity
        draft.refunded_units[line.id] = after
        net += subtotal
        lines.append(
            {
                "id": number * 100 + len(lines) + 1,
                "line_item_id": line.id,
                "quantity": count,
                "restock_type": "return",
                "subtotal": subtotal / 100,
                "subtotal_set": _set(subtotal, draft.shop.currency),
                "total_tax": 0.0,
            }
        )
    return lines, net
