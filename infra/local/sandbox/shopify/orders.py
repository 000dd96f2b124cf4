"""The one place where an order in the webhook's (REST) shape becomes the GraphQL API's shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import parse_qs, urlsplit

_FULFILLMENT_STATUS = {None: "UNFULFILLED", "partial": "PARTIALLY_FULFILLED", "fulfilled": "FULFILLED"}
_UTM = ("source", "medium", "campaign", "term", "content")

Rest = Mapping[str, Any]
Node = dict[str, Any]


def order_node(shop: str, order: Rest) -> Node:
    """An order as the GraphQL executor reads it. Raises ValueError that names a field which cannot be read."""
    currency = str(order.get("currency") or "USD")
    created = _instant(order, "created_at")
    codes = [str(code["code"]) for code in order.get("discount_codes") or []]
    lines = [_line(line, currency) for line in order.get("line_items") or []]
    by_line = {line["id"]: line for line in lines}
    refunds = [_refund(refund, currency, by_line) for refund in order.get("refunds") or []]
    return {
        "__typename": "Order",
        **_identity("Order", order),
        "name": str(order.get("name") or f"#{order.get('order_number', order['id'])}"),
        "number": int(order.get("number") or 0),
        "note": order.get("note"),
        "test": bool(order.get("test")),
        "email": order.get("email") or order.get("contact_email"),
        "phone": order.get("phone"),
        "tags": [tag.strip() for tag in str(order.get("tags") or "").split(",") if tag.strip()],
        "confirmed": bool(order.get("confirmed", True)),
        "sourceName": order.get("source_name"),
        "currencyCode": currency,
        "presentmentCurrencyCode": order.get("presentment_currency") or currency,
        "discountCode": codes[0] if codes else None,
        "discountCodes": codes,
        "customAttributes": [
            {"key": str(note["name"]), "value": note.get("value")}
            for note in order.get("note_attributes") or []
        ],
        "customer": _customer(order),
        "customerJourneySummary": {"ready": True, "lastVisit": _visit(shop, order, created)},
        **_life(order, created),
        **_sums(order, currency, sum((refund["amount"] for refund in refunds), Decimal())),
        "lineItems": lines,
        "refunds": refunds,
        "fulfillments": [_fulfillment(shipment) for shipment in order.get("fulfillments") or []],
    }


def _life(order: Rest, created: datetime) -> Node:
    """Instants and states."""
    reason, status = order.get("cancel_reason"), order.get("fulfillment_status")
    return {
        "createdAt": _text(created),
        "processedAt": _text(_instant(order, "processed_at", created)),
        "updatedAt": _text(_instant(order, "updated_at", created)),
        "closedAt": _optional_instant(order, "closed_at"),
        "cancelledAt": _optional_instant(order, "cancelled_at"),
        "cancelReason": str(reason).upper() if reason else None,
        "displayFinancialStatus": str(order.get("financial_status") or "pending").upper(),
        "displayFulfillmentStatus": _FULFILLMENT_STATUS.get(status) or str(status).upper(),
    }


def _sums(order: Rest, currency: str, refunded: Decimal) -> Node:
    total = order.get("total_price")
    return {
        "taxesIncluded": bool(order.get("taxes_included")),
        "subtotalPriceSet": _bag(order.get("subtotal_price"), currency, "subtotal_price"),
        "totalPriceSet": _bag(total, currency, "total_price"),
        "currentTotalPriceSet": _bag(
            order.get("current_total_price", total), currency, "current_total_price"
        ),
        "totalDiscountsSet": _bag(order.get("total_discounts"), currency, "total_discounts"),
        "totalShippingPriceSet": _shipping(order, currency),
        "totalTaxSet": _bag(order.get("total_tax"), currency, "total_tax"),
        "totalRefundedSet": _bag(refunded, currency, "refunds"),
        "totalWeight": None if order.get("total_weight") is None else str(order["total_weight"]),
    }


def _identity(kind: str, rest: Rest) -> Node:
    """Prefers the global id: a JSON reader may have rounded the number."""
    gid = str(rest.get("admin_graphql_api_id") or f"gid://shopify/{kind}/{rest['id']}")
    return {"id": gid, "legacyResourceId": gid.rsplit("/", 1)[1]}


def _decimal(value: Any, field: str) -> Decimal:
    try:
        amount = Decimal(str(value if value is not None else 0))
    except InvalidOperation:
        raise ValueError(f"{field} is {value!r}; send decimal text such as 19.99") from None
    if not amount.is_finite():
        raise ValueError(f"{field} is {value!r}; send decimal text such as 19.99")
    return amount


def _bag(value: Any, currency: str, field: str) -> Node:
    """Shopify writes at least one decimal and no needless zeros: 10.0, 89.99."""
    text = f"{_decimal(value, field):f}"
    whole, _, decimals = text.partition(".")
    money = {"amount": f"{whole}.{decimals.rstrip('0') or '0'}", "currencyCode": currency}
    return {"shopMoney": money, "presentmentMoney": money}


def _shipping(order: Rest, currency: str) -> Node:
    stated = order.get("total_shipping_price_set")
    if isinstance(stated, Mapping):
        return _bag(stated["shop_money"]["amount"], currency, "total_shipping_price_set")
    lines: Sequence[Rest] = order.get("shipping_lines") or []
    return _bag(
        sum(_decimal(line.get("price"), "shipping_lines") for line in lines), currency, "shipping_lines"
    )


def _instant(rest: Rest, field: str, default: datetime | None = None) -> datetime:
    value = rest.get(field)
    if value is None and default is not None:
        return default
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        raise ValueError(f"{field} is {value!r}; send ISO 8601 with a zone") from None
    if moment.tzinfo is None:
        raise ValueError(f"{field} is {value!r}; send ISO 8601 with a zone")
    return moment.astimezone(UTC)


def _text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _optional_instant(rest: Rest, field: str) -> str | None:
    return _text(_instant(rest, field)) if rest.get(field) else None


def _line(line: Rest, currency: str) -> Node:
    quantity = int(line.get("quantity") or 0)
    price = _decimal(line.get("price"), "line_items.price")
    stated = line.get("discount_allocations") or (
        [{"amount": line["total_discount"]}] if _decimal(line.get("total_discount"), "total_discount") else []
    )
    title = str(line.get("title") or "")
    return {
        "__typename": "LineItem",
        **_identity("LineItem", line),
        "title": title,
        "name": str(line.get("name") or title),
        "sku": line.get("sku"),
        "vendor": line.get("vendor"),
        "variantTitle": line.get("variant_title"),
        "quantity": quantity,
        "requiresShipping": bool(line.get("requires_shipping", True)),
        "isGiftCard": bool(line.get("gift_card")),
        "originalUnitPriceSet": _bag(price, currency, "line_items.price"),
        "originalTotalSet": _bag(price * quantity, currency, "line_items.price"),
        "totalDiscountSet": _bag(line.get("total_discount"), currency, "line_items.total_discount"),
        "discountAllocations": [
            {"allocatedAmountSet": _bag(allocation["amount"], currency, "discount_allocations")}
            for allocation in stated
        ],
        "product": _thing("Product", line.get("product_id"), title),
        "variant": _thing("ProductVariant", line.get("variant_id"), str(line.get("variant_title") or title)),
    }


def _thing(kind: str, number: Any, title: str) -> Node | None:
    return {"__typename": kind, "id": f"gid://shopify/{kind}/{number}", "title": title} if number else None


def _refund(refund: Rest, currency: str, by_line: Mapping[str, Node]) -> Node:
    lines = [_refund_line(line, currency, by_line) for line in refund.get("refund_line_items") or []]
    processed = _instant(refund, "processed_at", _instant(refund, "created_at"))
    amount = _refunded(refund)
    return {
        "__typename": "Refund",
        **_identity("Refund", refund),
        "createdAt": _optional_instant(refund, "created_at"),
        "processedAt": _text(processed),
        "updatedAt": _text(processed),
        "note": refund.get("note"),
        "amount": amount,
        "totalRefundedSet": _bag(amount, currency, "transactions"),
        "refundLineItems": lines,
    }


def _refunded(refund: Rest) -> Decimal:
    """What went back: the refund's transactions, or where none is told its lines with their tax."""
    paid = [
        t
        for t in refund.get("transactions") or []
        if t.get("kind") == "refund" and t.get("status") == "success"
    ]
    if paid:
        return sum((_decimal(t.get("amount"), "transactions.amount") for t in paid), Decimal())
    lines: Sequence[Rest] = refund.get("refund_line_items") or []
    parts = [
        _decimal(line.get(key), f"refund_line_items.{key}")
        for line in lines
        for key in ("subtotal", "total_tax")
    ]
    return sum(parts, Decimal())


def _refund_line(line: Rest, currency: str, by_line: Mapping[str, Node]) -> Node:
    gid = f"gid://shopify/LineItem/{line['line_item_id']}"
    subtotal = _decimal(line.get("subtotal"), "refund_line_items.subtotal")
    quantity = int(line.get("quantity") or 0)
    sold = by_line.get(gid) or _line(line.get("line_item") or {"id": line["line_item_id"]}, currency)
    return {
        "id": f"gid://shopify/RefundLineItem/{line.get('id', line['line_item_id'])}",
        "lineItem": sold,
        "quantity": quantity,
        "priceSet": sold["originalUnitPriceSet"],
        "subtotalSet": _bag(subtotal, currency, "refund_line_items.subtotal"),
        "totalTaxSet": _bag(line.get("total_tax"), currency, "refund_line_items.total_tax"),
    }


def _fulfillment(shipment: Rest) -> Node:
    shown = str(shipment.get("shipment_status") or "fulfilled").upper()
    updated = _instant(shipment, "updated_at", _instant(shipment, "created_at"))
    tracked = shipment.get("tracking_number") or shipment.get("tracking_company")
    tracking = {
        "company": shipment.get("tracking_company"),
        "number": shipment.get("tracking_number"),
        "url": shipment.get("tracking_url"),
    }
    return {
        "__typename": "Fulfillment",
        **_identity("Fulfillment", shipment),
        "name": str(shipment.get("name") or ""),
        "status": str(shipment.get("status") or "success").upper(),
        "displayStatus": "FAILURE" if shown == "FAILED" else shown,
        "createdAt": _text(_instant(shipment, "created_at")),
        "updatedAt": _text(updated),
        "estimatedDeliveryAt": _optional_instant(shipment, "estimated_delivery_at"),
        "deliveredAt": _text(updated) if shown == "DELIVERED" else None,
        "trackingInfo": [tracking] if tracked else [],
    }


def _customer(order: Rest) -> Node | None:
    customer = order.get("customer")
    if not isinstance(customer, Mapping) or not customer.get("id"):
        return None
    consent = customer.get("email_marketing_consent") or {}
    state = consent.get("state") or (
        "subscribed" if order.get("buyer_accepts_marketing") else "not_subscribed"
    )
    created = _instant(customer, "created_at", _instant(order, "created_at"))
    email, phone = customer.get("email"), customer.get("phone")
    first, last = customer.get("first_name"), customer.get("last_name")
    return {
        "__typename": "Customer",
        **_identity("Customer", customer),
        "firstName": first,
        "lastName": last,
        "displayName": " ".join(part for part in (first, last) if part) or str(email or ""),
        "note": customer.get("note"),
        "tags": [tag.strip() for tag in str(customer.get("tags") or "").split(",") if tag.strip()],
        "createdAt": _text(created),
        "updatedAt": _text(_instant(customer, "updated_at", created)),
        "defaultEmailAddress": {"emailAddress": email, "marketingState": str(state).upper()}
        if email
        else None,
        "defaultPhoneNumber": {"phoneNumber": phone} if phone else None,
    }


def _visit(shop: str, order: Rest, created: datetime) -> Node | None:
    landing, referrer = order.get("landing_site"), order.get("referring_site")
    if not landing and not referrer:
        return None
    parameters = parse_qs(urlsplit(str(landing or "")).query)
    utm = {name: parameters[f"utm_{name}"][0] for name in _UTM if f"utm_{name}" in parameters}
    page = f"https://{shop}{landing}" if landing and str(landing).startswith("/") else landing
    return {
        "__typename": "CustomerVisit",
        "id": f"gid://shopify/CustomerVisit/{order['id']}",
        "occurredAt": _text(created),  # the webhook's landing page carries no time of its own
        "landingPage": page,
        "referrerUrl": referrer or None,
        "source": utm.get("source") or urlsplit(str(referrer or "")).hostname or "direct",
        "utmParameters": {name: utm.get(name) for name in _UTM} if utm else None,
    }
