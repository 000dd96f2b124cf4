"""Wire types of the Admin API's answers, and their translation into the port's ``ShopifyOrder``.

Tolerant of what Shopify may leave out: personal data is null without its approval, a deleted product is null.
Strict about what an order cannot do without: its ids, instants and amounts. Text is cleaned of what Postgres
cannot hold (the null character, lone surrogates), for one odd character must not lose an order. Statuses are
given in the words of Shopify's webhooks, so that an order reads the same whichever way it came.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, AwareDatetime, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from tradewind.contracts.payload import Payload
from tradewind.errors import InvalidPayloadError
from tradewind.money import to_cents
from tradewind.ports import (
    ShopifyCustomer,
    ShopifyFulfillment,
    ShopifyLine,
    ShopifyOrder,
    ShopifyRefund,
    ShopifyRefundLine,
    ShopifyVisit,
)

_GID = re.compile(r"gid://shopify/[A-Za-z]+/(\d{1,19})(?:\?.*)?")
_MAX_BIGINT = 2**63 - 1
_MAX_QUANTITY = 2**31 - 1
_WITHOUT_STATUS = "pending"
_ORDER_FULFILLMENT = {"UNFULFILLED": None, "PARTIALLY_FULFILLED": "partial"}
_SHIPMENT = frozenset(
    [
        "ATTEMPTED_DELIVERY",
        "CARRIER_PICKED_UP",
        "CONFIRMED",
        "DELAYED",
        "DELIVERED",
        "FAILURE",
        "IN_TRANSIT",
        "LABEL_PRINTED",
        "LABEL_PURCHASED",
        "LABEL_VOIDED",
        "NOT_DELIVERED",
        "OUT_FOR_DELIVERY",
        "PICKED_UP",
        "READY_FOR_PICKUP",
    ]
)


def _clean(text: str) -> str:
    return text.replace("\x00", "").encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _number_of(gid: str) -> int:
    match = _GID.fullmatch(gid)
    if match is None or int(match[1]) > _MAX_BIGINT:
        raise ValueError(f"{gid!r} is not a Shopify id such as gid://shopify/Order/1")
    return int(match[1])


def gid(kind: str, number: int) -> str:
    """Shopify's global id: ``gid("Order", 1)`` is ``gid://shopify/Order/1``."""
    return f"gid://shopify/{kind}/{number}"


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)


Text = Annotated[str, AfterValidator(_clean)]
Instant = Annotated[AwareDatetime, AfterValidator(_utc)]
Quantity = Annotated[int, Field(ge=0, le=_MAX_QUANTITY)]


class Wire(Payload):
    """An object of Shopify's answer: camelCase names, unknown fields ignored."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel)


class Identified(Wire):
    id: Annotated[str, AfterValidator(lambda text: _number_of(text) and text)]

    @property
    def number(self) -> int:
        return _number_of(self.id)


class Money(Wire):
    amount: str


class MoneyBag(Wire):
    shop_money: Money

    def cents(self, currency: str) -> int:
        return to_cents(self.shop_money.amount, currency)


class PageInfo(Wire):
    has_next_page: bool
    end_cursor: str | None = None

    @property
    def next_cursor(self) -> str | None:
        return self.end_cursor if self.has_next_page else None


class DiscountAllocation(Wire):
    allocated_amount_set: MoneyBag


class Line(Identified):
    title: Text = ""
    sku: Text | None = None
    quantity: Quantity
    original_unit_price_set: MoneyBag
    discount_allocations: tuple[DiscountAllocation, ...] = ()
    product: Identified | None = None
    variant: Identified | None = None

    def to_port(self, currency: str) -> ShopifyLine:
        return ShopifyLine(
            id=self.number,
            title=self.title,
            quantity=self.quantity,
            unit_price_cents=self.original_unit_price_set.cents(currency),
            discount_cents=sum(
                allocation.allocated_amount_set.cents(currency) for allocation in self.discount_allocations
            ),
            product_id=self.product.number if self.product else None,
            variant_id=self.variant.number if self.variant else None,
            sku=self.sku,
        )


class LinePage(Wire):
    nodes: tuple[Line, ...]
    page_info: PageInfo


class RefundLine(Wire):
    line_item: Identified
    quantity: Quantity
    subtotal_set: MoneyBag

    def to_port(self, currency: str) -> ShopifyRefundLine:
        return ShopifyRefundLine(self.line_item.number, self.quantity, self.subtotal_set.cents(currency))


class RefundLinePage(Wire):
    nodes: tuple[RefundLine, ...]
    page_info: PageInfo


class Refund(Identified):
    created_at: Instant | None = None
    processed_at: Instant
    note: Text | None = None
    total_refunded_set: MoneyBag
    refund_line_items: RefundLinePage | None = None

    def to_port(self, currency: str, lines: tuple[RefundLine, ...]) -> ShopifyRefund:
        """``lines`` are all of the refund's lines; their subtotals, after discounts, are its net sales."""
        refunded = tuple(line.to_port(currency) for line in lines)
        return ShopifyRefund(
            id=self.number,
            amount_cents=self.total_refunded_set.cents(currency),
            net_sales_cents=sum(line.subtotal_cents for line in refunded),
            created_at=self.created_at or self.processed_at,
            note=self.note or None,
            lines=refunded,
        )


class TrackingInfo(Wire):
    company: Text | None = None
    number: Text | None = None
    url: Text | None = None


class Fulfillment(Identified):
    status: Text
    display_status: str | None = None
    created_at: Instant
    updated_at: Instant
    estimated_delivery_at: Instant | None = None
    delivered_at: Instant | None = None
    tracking_info: tuple[TrackingInfo, ...] = ()

    def to_port(self) -> ShopifyFulfillment:
        tracking = self.tracking_info[0] if self.tracking_info else TrackingInfo()
        return ShopifyFulfillment(
            id=self.number,
            status=self.status.lower(),
            shipment_status=self.display_status.lower() if self.display_status in _SHIPMENT else None,
            tracking_company=tracking.company,
            tracking_number=tracking.number,
            tracking_url=tracking.url,
            created_at=self.created_at,
            updated_at=self.updated_at,
            estimated_delivery_at=self.estimated_delivery_at,
            delivered_at=self.delivered_at,
        )


class EmailAddress(Wire):
    email_address: Text
    marketing_state: Text = ""


class PhoneNumber(Wire):
    phone_number: Text


class Customer(Identified):
    first_name: Text | None = None
    last_name: Text | None = None
    tags: tuple[Text, ...] = ()
    default_email_address: EmailAddress | None = None
    default_phone_number: PhoneNumber | None = None

    def to_port(self) -> ShopifyCustomer:
        email, phone = self.default_email_address, self.default_phone_number
        return ShopifyCustomer(
            id=self.number,
            email=email.email_address if email else None,
            first_name=self.first_name,
            last_name=self.last_name,
            phone=phone.phone_number if phone else None,
            accepts_marketing=email is not None and email.marketing_state == "SUBSCRIBED",
            tags=self.tags,
        )


class Utm(Wire):
    source: Text | None = None
    medium: Text | None = None
    campaign: Text | None = None
    term: Text | None = None
    content: Text | None = None


class Visit(Wire):
    occurred_at: Instant
    landing_page: Text | None = None
    referrer_url: Text | None = None
    utm_parameters: Utm | None = None

    def to_port(self) -> ShopifyVisit:
        utm = self.utm_parameters.model_dump(exclude_none=True) if self.utm_parameters else {}
        return ShopifyVisit(self.occurred_at, self.landing_page, self.referrer_url, utm)


class Journey(Wire):
    last_visit: Visit | None = None


class Attribute(Wire):
    key: Text
    value: Text | None = None


class Order(Identified):
    """An order as one call brings it: connections may go on beyond their first page."""

    name: Text
    currency_code: str
    test: bool = False
    email: Text | None = None
    tags: tuple[Text, ...] = ()
    discount_codes: tuple[Text, ...] = ()
    created_at: Instant
    processed_at: Instant
    updated_at: Instant
    cancelled_at: Instant | None = None
    cancel_reason: Text | None = None
    display_financial_status: Text | None = None
    display_fulfillment_status: Text | None = None
    total_price_set: MoneyBag
    total_discounts_set: MoneyBag | None = None
    total_shipping_price_set: MoneyBag
    total_tax_set: MoneyBag | None = None
    total_weight: int | None = None
    custom_attributes: tuple[Attribute, ...] = ()
    customer: Customer | None = None
    customer_journey_summary: Journey | None = None
    line_items: LinePage
    refunds: tuple[Refund, ...] = ()
    fulfillments: tuple[Fulfillment, ...] = ()

    def _visit(self) -> ShopifyVisit | None:
        journey = self.customer_journey_summary
        return journey.last_visit.to_port() if journey and journey.last_visit else None

    def to_port(
        self,
        lines: tuple[Line, ...],
        refunds: tuple[tuple[Refund, tuple[RefundLine, ...]], ...],
        fulfillments: tuple[Fulfillment, ...],
    ) -> ShopifyOrder:
        """The port's order, from all of its lines, refunds (each with all of its lines) and fulfilments.

        ``placed_at`` is Shopify's ``processedAt``: for an order imported from elsewhere that is the day of
        the sale, while ``createdAt`` is the day of the import. Raises ValueError for an impossible amount or
        currency.
        """
        currency = self.currency_code
        sold = tuple(line.to_port(currency) for line in lines)
        return ShopifyOrder(
            id=self.number,
            name=self.name,
            currency=currency,
            gross_cents=sum(line.unit_price_cents * line.quantity for line in sold),
            discount_cents=self.total_discounts_set.cents(currency) if self.total_discounts_set else 0,
            shipping_cents=self.total_shipping_price_set.cents(currency),
            tax_cents=self.total_tax_set.cents(currency) if self.total_tax_set else 0,
            total_cents=self.total_price_set.cents(currency),
            financial_status=(self.display_financial_status or _WITHOUT_STATUS).lower(),
            fulfillment_status=_fulfillment_status(self.display_fulfillment_status),
            placed_at=self.processed_at,
            updated_at=self.updated_at,
            cancelled_at=self.cancelled_at,
            cancel_reason=_lower(self.cancel_reason),
            email=self.email or None,
            test=self.test,
            weight_grams=self.total_weight,
            tags=self.tags,
            discount_codes=self.discount_codes,
            attributes={attribute.key: attribute.value or "" for attribute in self.custom_attributes},
            customer=self.customer.to_port() if self.customer else None,
            visit=self._visit(),
            lines=sold,
            refunds=tuple(refund.to_port(currency, refunded) for refund, refunded in refunds),
            fulfillments=tuple(fulfillment.to_port() for fulfillment in fulfillments),
        )


def _lower(text: str | None) -> str | None:
    return text.lower() if text else None


def _fulfillment_status(display: str | None) -> str | None:
    """As webhooks say it: None, partial, fulfilled; Shopify's further states in lower case."""
    return None if display is None else _ORDER_FULFILLMENT.get(display, display.lower())


class Subscription(Wire):
    id: str
    topic: str
    uri: str


class SubscriptionPage(Wire):
    nodes: tuple[Subscription, ...]
    page_info: PageInfo


_W = TypeVar("_W", bound=Wire)


def read(wire: type[_W], value: Any, path: str) -> _W:
    """Read a part of an answer. Raises InvalidPayloadError with the field's path below ``path``."""
    try:
        return wire.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        field = ".".join([path, *(str(step) for step in first["loc"])])
        raise InvalidPayloadError(field, first["msg"]) from None
