"""What order tasks are started with: Shopify's webhook bodies as far as they are read, and our own small payloads.

Shopify's bodies vary: anything but the identity may be missing, and what is there is checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BeforeValidator,
    Field,
    model_validator,
)

from tradewind.contracts.payload import Payload
from tradewind.money import minor_digits, to_cents
from tradewind.ports import (
    ShopifyCustomer,
    ShopifyFulfillment,
    ShopifyLine,
    ShopifyOrder,
    ShopifyRefund,
    ShopifyRefundLine,
    ShopifyVisit,
)

EARLIEST = datetime(2004, 1, 1, tzinfo=UTC)
"""Shopify did not exist before; an older instant is a fault."""
AHEAD = timedelta(days=2)
"""How far a clock may be ahead before an instant counts as impossible."""
MAX_ID = 2**63 - 1


def _possible(moment: datetime) -> datetime:
    if not EARLIEST <= moment <= datetime.now(UTC) + AHEAD:
        raise ValueError(f"{moment.isoformat()} lies outside {EARLIEST.year} to two days from now")
    return moment.astimezone(UTC)


def _amount(text: Any) -> str:
    """Refund lines carry numbers where everything else carries text; a number's shortest text is what was sent."""
    return text if isinstance(text, str) else str(text)


def _known_currency(code: str) -> str:
    minor_digits(code)
    return code


def _clean(text: str | None) -> str | None:
    if text is not None and any(sign == "\x00" or "\ud800" <= sign <= "\udfff" for sign in text):
        raise ValueError("holds a null byte or half a surrogate pair, which Postgres cannot store")
    return text


def _clean_value(value: Any) -> Any:
    """An attribute may hold anything; what is text must be storable."""
    return _clean(value) if isinstance(value, str) else value


Instant = Annotated[AwareDatetime, AfterValidator(_possible)]
Amount = Annotated[str, BeforeValidator(_amount)]
Currency = Annotated[str, AfterValidator(_known_currency)]
Id = Annotated[int, Field(gt=0, le=MAX_ID, strict=True)]
Text = Annotated[str | None, AfterValidator(_clean)]
Name = Annotated[str, AfterValidator(_clean)]


def gid_number(gid: Any, kind: str) -> int | None:
    """The number in ``gid://shopify/Order/123``; None where the value is no such id."""
    prefix, _, number = gid.rpartition("/") if isinstance(gid, str) else ("", "", "")
    return int(number) if prefix == f"gid://shopify/{kind}" and number.isdigit() else None


class Money(Payload):
    amount: Amount
    currency_code: str


class MoneySet(Payload):
    shop_money: Money


class Consent(Payload):
    state: str | None = None


class CustomerBody(Payload):
    id: Id
    email: Text = None
    first_name: Text = None
    last_name: Text = None
    phone: Text = None
    tags: Text = None
    accepts_marketing: bool | None = None
    email_marketing_consent: Consent | None = None

    @property
    def is_subscribed(self) -> bool | None:
        """A customer's own bodies say it in the consent, older ones in a flag, an order's mostly not at all (None).
        Nobody without an address is.
        """
        if not self.email:
            return False
        consent = self.email_marketing_consent
        return self.accepts_marketing if consent is None else consent.state == "subscribed"


class LineBody(Payload):
    id: Id
    title: Text = ""
    quantity: int = Field(ge=0, le=1_000_000)
    price: Amount
    total_discount: Amount = "0"
    product_id: int | None = None
    variant_id: int | None = None
    sku: Text = None
    discount_allocations: list[dict[str, Any]] = Field(default=[])


class RefundLineBody(Payload):
    line_item_id: Id
    quantity: int = Field(ge=0, le=1_000_000)
    subtotal: Amount = "0"


class TransactionBody(Payload):
    kind: str = ""
    status: str = ""
    amount: Amount = "0"


class RefundBody(Payload):
    id: Id
    created_at: Instant
    note: Text = None
    refund_line_items: list[RefundLineBody] = Field(default=[])
    transactions: list[TransactionBody] = Field(default=[])


class FulfillmentBody(Payload):
    id: Id
    status: str = "pending"
    shipment_status: Text = None
    tracking_company: Text = None
    tracking_number: Text = None
    tracking_url: Text = None
    created_at: Instant
    updated_at: Instant | None = None
    estimated_delivery_at: Instant | None = None
    delivered_at: Instant | None = None


class Code(Payload):
    code: Name


class Attribute(Payload):
    name: Name
    value: Annotated[Any, AfterValidator(_clean_value)] = None


_WHOLE = (
    "line_items",
    "discount_codes",
    "note_attributes",
    "total_line_items_price",
    "total_price",
    "updated_at",
)
_TOLD_BY_THE_API = ("fulfillments", "refunds")


def is_whole(body: Mapping[str, Any]) -> bool:
    """Whether a webhook's body tells an order as well as the Admin API: nothing is left out (a subscription may ask for
    some fields only), its id is exact (a JavaScript number rounds large ones), no parcel was sent and nothing refunded.
    """
    return (
        all(body.get(name) is not None for name in _WHOLE)
        and all(body.get(name) == [] for name in _TOLD_BY_THE_API)
        and gid_number(body.get("admin_graphql_api_id"), "Order") == body.get("id")
    )


class OrderBody(Payload):
    """An order as an order topic delivers it."""

    id: Id
    admin_graphql_api_id: str | None = None
    name: Text = ""
    currency: Currency
    total_line_items_price: Amount = "0"
    total_discounts: Amount = "0"
    total_tax: Amount = "0"
    total_price: Amount
    total_shipping_price_set: MoneySet | None = None
    financial_status: Text = None
    fulfillment_status: Text = None
    created_at: Instant
    processed_at: Instant | None = None
    updated_at: Instant
    cancelled_at: Instant | None = None
    cancel_reason: Text = None
    email: Text = None
    test: bool | None = False
    tags: Text = None
    discount_codes: list[Code] = Field(default=[])
    note_attributes: list[Attribute] = Field(default=[])
    landing_site: Text = None
    referring_site: Text = None
    customer: CustomerBody | None = None
    line_items: list[LineBody] = Field(default=[])
    refunds: list[RefundBody] = Field(default=[])
    fulfillments: list[FulfillmentBody] = Field(default=[])

    def to_order(self) -> ShopifyOrder:
        """The same order as the port gives it. Raises ValueError for an amount that cannot be."""
        currency = self.currency
        placed = self.processed_at or self.created_at
        shipping = self.total_shipping_price_set
        return ShopifyOrder(
            id=gid_number(self.admin_graphql_api_id, "Order") or self.id,
            name=self.name or f"#{self.id}",
            currency=currency,
            gross_cents=to_cents(self.total_line_items_price, currency),
            discount_cents=to_cents(self.total_discounts, currency),
            shipping_cents=0 if shipping is None else to_cents(shipping.shop_money.amount, currency),
            tax_cents=to_cents(self.total_tax, currency),
            total_cents=to_cents(self.total_price, currency),
            financial_status=self.financial_status or "pending",
            fulfillment_status=self.fulfillment_status,
            placed_at=placed,
            updated_at=self.updated_at,
            cancelled_at=self.cancelled_at,
            cancel_reason=self.cancel_reason,
            email=self.email,
            test=bool(self.test),
            tags=_split_tags(self.tags),
            discount_codes=tuple(item.code for item in self.discount_codes),
            attributes={
                item.name: str(item.value) for item in self.note_attributes if item.value is not None
            },
            customer=None if self.customer is None else _customer(self.customer),
            visit=ShopifyVisit(placed, self.landing_site, self.referring_site)
            if self.landing_site or self.referring_site
            else None,
            lines=tuple(_line(line, currency) for line in self.line_items),
            refunds=tuple(_refund(refund, currency) for refund in self.refunds),
            fulfillments=tuple(_fulfillment(item) for item in self.fulfillments),
        )


def _split_tags(tags: str | None) -> tuple[str, ...]:
    return tuple(tag.strip() for tag in (tags or "").split(",") if tag.strip())


def _customer(body: CustomerBody) -> ShopifyCustomer:
    return ShopifyCustomer(
        body.id,
        body.email,
        body.first_name,
        body.last_name,
        body.phone,
        body.is_subscribed,
        None if body.tags is None else _split_tags(body.tags),
    )


def _line(body: LineBody, currency: str) -> ShopifyLine:
    allocated = sum(
        to_cents(_amount(item.get("amount", "0")), currency) for item in body.discount_allocations
    )
    return ShopifyLine(
        id=body.id,
        title=body.title or "",
        quantity=body.quantity,
        unit_price_cents=to_cents(body.price, currency),
        discount_cents=allocated or to_cents(body.total_discount, currency),
        product_id=body.product_id,
        variant_id=body.variant_id,
        sku=body.sku,
    )


def _refund(body: RefundBody, currency: str) -> ShopifyRefund:
    lines = tuple(
        ShopifyRefundLine(line.line_item_id, line.quantity, to_cents(line.subtotal, currency))
        for line in body.refund_line_items
    )
    paid_back = [item for item in body.transactions if item.kind == "refund" and item.status == "success"]
    return ShopifyRefund(
        id=body.id,
        amount_cents=sum(to_cents(item.amount, currency) for item in paid_back),
        net_sales_cents=sum(line.subtotal_cents for line in lines),
        created_at=body.created_at,
        note=body.note,
        lines=lines,
    )


def _fulfillment(body: FulfillmentBody) -> ShopifyFulfillment:
    updated = body.updated_at or body.created_at
    arrived = body.delivered_at or (updated if body.shipment_status == "delivered" else None)
    return ShopifyFulfillment(
        id=body.id,
        status=body.status,
        shipment_status=body.shipment_status,
        tracking_company=body.tracking_company,
        tracking_number=body.tracking_number,
        tracking_url=body.tracking_url,
        created_at=body.created_at,
        updated_at=updated,
        estimated_delivery_at=body.estimated_delivery_at,
        delivered_at=arrived,
    )


class OrderRef(Payload):
    """Which order, and the instant of the change that is told of: all that a task needs to take the present state.

    Read from a small payload (``order_id``) or from any of Shopify's bodies: an order's own, a refund's or a
    fulfilment's. In an order's own topics the GraphQL id is exact where a JavaScript number was rounded.
    """

    order_id: Id
    changed_at: Instant | None = None

    @model_validator(mode="before")
    @classmethod
    def _read_bodies(cls, raw: Any) -> Any:
        if not isinstance(raw, Mapping):
            return raw
        given = (raw.get(name) for name in ("order_id", "shopify_order_id", "orderId", "shopifyOrderId"))
        order_id = next((value for value in given if value is not None), None)
        if order_id is None:
            order_id = gid_number(raw.get("admin_graphql_api_id"), "Order") or raw.get("id")
        moments = (raw.get(name) for name in ("changed_at", "updated_at", "processed_at", "created_at"))
        return {"order_id": order_id, "changed_at": next((moment for moment in moments if moment), None)}


class OrderBatch(Payload):
    """A backfill: by ids, or all orders updated within a range (both ends included). ``limit`` is the page size."""

    order_ids: list[Id] = Field(default=[], max_length=10_000)
    updated_from: Instant | None = None
    updated_to: Instant | None = None
    limit: int = Field(default=100, ge=1, le=100)


class Reconciliation(Payload):
    """How far back to compare, and at most how many orders."""

    look_back_hours: int = Field(default=2, ge=1, le=24 * 60)
    limit: int = Field(default=500, ge=1, le=5000)
