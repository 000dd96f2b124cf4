"""Orders in the shape of Shopify's webhooks, small enough to be computed by hand.

Two mugs at 24.00 and a towel at 12.50: 60.50 gross. With a code 6.05 off the mugs; 3.00 tax, 5.00 shipping.
So a total of 62.45 with a code and 68.50 without.
"""

from __future__ import annotations

import itertools
import time
from datetime import UTC, datetime, timedelta
from typing import Any

Order = dict[str, Any]
_numbers = itertools.count(int(time.time() * 1000) * 100)


def new_id() -> int:
    """An order's number that nobody has used."""
    return next(_numbers)


def at(moment: datetime, minutes: int) -> str:
    """The instant so many minutes later, in whole seconds, as Shopify writes it."""
    return (moment + timedelta(minutes=minutes)).isoformat()


def recently(**ago: float) -> datetime:
    """An instant in whole seconds, an hour ago unless told otherwise."""
    return datetime.now(UTC).replace(microsecond=0) - timedelta(**(ago or {"hours": 1}))


def make_order(order_id: int, placed: datetime, *, code: str | None = None, **changes: Any) -> Order:
    """A paid order. ``changes`` replace fields."""
    discount = "6.05" if code else "0.00"
    return {
        "id": order_id,
        "admin_graphql_api_id": f"gid://shopify/Order/{order_id}",
        "name": f"#{order_id % 10_000}",
        "currency": "USD",
        "test": False,
        "email": "Jo@Example.com",
        "created_at": placed.isoformat(),
        "processed_at": placed.isoformat(),
        "updated_at": placed.isoformat(),
        "cancelled_at": None,
        "financial_status": "paid",
        "fulfillment_status": None,
        "tags": "web",
        "total_line_items_price": "60.50",
        "total_discounts": discount,
        "subtotal_price": "54.45" if code else "60.50",
        "total_tax": "3.00",
        "total_price": "62.45" if code else "68.50",
        "total_shipping_price_set": {"shop_money": {"amount": "5.00", "currency_code": "USD"}},
        "discount_codes": [{"code": code, "amount": discount, "type": "percentage"}] if code else [],
        "note_attributes": [{"name": "visitor_id", "value": f"visitor-{order_id}"}],
        "landing_site": "/?utm_source=google&utm_medium=organic",
        "referring_site": None,
        "customer": {
            "id": order_id + 1,
            "email": "Jo@Example.com",
            "first_name": "Jo",
            "last_name": "Miller",
            "tags": "",
        },
        "line_items": [
            _line(order_id + 2, "Mug", 2, "24.00", discount),
            _line(order_id + 3, "Towel", 1, "12.50", "0.00"),
        ],
        "refunds": [],
        "fulfillments": [],
        **changes,
    }


def _line(line_id: int, title: str, quantity: int, price: str, discount: str) -> Order:
    return {
        "id": line_id,
        "admin_graphql_api_id": f"gid://shopify/LineItem/{line_id}",
        "title": title,
        "quantity": quantity,
        "price": price,
        "sku": title.upper(),
        "product_id": 301,
        "variant_id": 401,
        "total_discount": "0.00",
        "discount_allocations": [{"amount": discount}] if discount != "0.00" else [],
    }


def towel_refund(order_id: int, moment: str) -> Order:
    """The towel sent back: 12.50 of net sales, 13.12 paid back with its tax."""
    return {
        "id": order_id + 10,
        "admin_graphql_api_id": f"gid://shopify/Refund/{order_id + 10}",
        "order_id": order_id,
        "created_at": moment,
        "processed_at": moment,
        "note": "too small",
        "refund_line_items": [
            {"id": order_id + 11, "line_item_id": order_id + 3, "quantity": 1, "subtotal": 12.5}
        ],
        "transactions": [{"id": order_id + 12, "kind": "refund", "status": "success", "amount": "13.12"}],
    }


def parcel(order_id: int, moment: str) -> Order:
    """Everything in one parcel, on its way."""
    return {
        "id": order_id + 20,
        "admin_graphql_api_id": f"gid://shopify/Fulfillment/{order_id + 20}",
        "order_id": order_id,
        "status": "success",
        "shipment_status": "in_transit",
        "tracking_company": "UPS",
        "tracking_number": "1Z1",
        "tracking_url": "https://www.ups.com/track?tracknum=1Z1",
        "created_at": moment,
        "updated_at": moment,
    }
