"""What is told of an order, whether it is told at all, and what a platform's silence means. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID

from tradewind.advertising import (
    TERMS,
    Browser,
    Consent,
    Consents,
    ConversionEvent,
    Destination,
    EventName,
    Item,
    Person,
)

UNDECIDED = frozenset({"claimed", "failed", "sent"})
"""States of a purchase from which it may still be told."""
_YES, _NO = {"yes", "true", "1", "granted"}, {"no", "false", "0", "denied"}
AHEAD = timedelta(minutes=1)
WAITS = tuple(timedelta(seconds=each) for each in (5, 10, 20, 40, 60, 120, 240, 300))
"""Between looks for the purchase that a refund takes back: a quarter of an hour in all."""
UNCONVERTED_WAITS = 3


class SkipReason(StrEnum):
    TEST_ORDER = "test_order"
    NO_VALUE = "no_value"
    TOO_OLD = "too_old"
    NO_CONSENT = "no_consent"
    NO_PURCHASE = "no_purchase"
    """The purchase that a refund takes back was not told."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of an order. ``cents`` is what all of its units cost after discounts."""

    id: int
    item_id: str
    title: str
    quantity: int
    cents: int


@dataclass(frozen=True, slots=True)
class Order:
    """An order as it was placed: what is cancelled or refunded later is told by itself."""

    id: int
    currency: str
    net_cents: int
    total_cents: int
    tax_cents: int
    shipping_cents: int
    test: bool
    placed_at: datetime
    coupon: str | None
    person: Person
    attributes: Mapping[str, str] = field(default_factory=dict)
    landing_page: str | None = None
    visited_at: datetime | None = None
    lines: tuple[Line, ...] = ()
    converted: bool = True
    """Whether its purchase is told at all."""


@dataclass(frozen=True, slots=True)
class RefundedLine:
    line_id: int
    quantity: int
    cents: int


@dataclass(frozen=True, slots=True)
class Refund:
    """``amount_cents`` went back to the customer, of it ``net_cents`` for goods."""

    id: int
    order_id: int
    amount_cents: int
    net_cents: int
    refunded_at: datetime
    lines: tuple[RefundedLine, ...]


def event_id(tenant_id: UUID, *subject: object) -> str:
    """What a platform knows an event by: the tenant and the order (or another subject) alone, never a time."""
    return ".".join(str(part) for part in (tenant_id, *subject))


def purchase_of(order: Order, tenant_id: UUID, shop: str | None, consents: Consents) -> ConversionEvent:
    return ConversionEvent(
        EventName.PURCHASE,
        event_id(tenant_id, order.id),
        order.placed_at,
        order.currency,
        order.total_cents,
        order.net_cents,
        tax_cents=order.tax_cents,
        shipping_cents=order.shipping_cents,
        order_id=order.id,
        coupon=order.coupon,
        items=items_of(order.lines),
        person=order.person,
        browser=browser_of(order, shop),
        consents=consents,
    )


TAKE_REFUNDS = frozenset({Destination.GA4, Destination.META})
"""TikTok takes none."""


def refund_of(
    order: Order, refund: Refund, tenant_id: UUID, shop: str | None, consents: Consents
) -> ConversionEvent:
    """A refund with the items that came back, at what was paid back for them."""
    by_id = {line.id: line for line in order.lines}
    lines = [
        Line(each.line_id, by_id[each.line_id].item_id, by_id[each.line_id].title, each.quantity, each.cents)
        for each in refund.lines
        if each.line_id in by_id and each.quantity > 0
    ]
    return ConversionEvent(
        EventName.REFUND,
        event_id(tenant_id, order.id, refund.id),
        refund.refunded_at,
        order.currency,
        refund.amount_cents,
        refund.net_cents,
        order_id=order.id,
        items=items_of(lines),
        person=order.person,
        browser=browser_of(order, shop),
        consents=consents,
    )


def items_of(lines: Sequence[Line]) -> tuple[Item, ...]:
    """Lines as items whose prices times quantities sum exactly: a line that does not divide is two items, one cent
    apart.
    """
    items: list[Item] = []
    for line in lines:
        if line.quantity <= 0:
            continue
        cents, dearer = divmod(line.cents, line.quantity)
        for quantity, price in ((dearer, cents + 1), (line.quantity - dearer, cents)):
            if quantity:
                items.append(Item(line.item_id, line.title, quantity, price))
    return tuple(items)


def browser_of(order: Order, shop: str | None) -> Browser:
    """What the storefront's pixel left in the order's attributes, else what the visit's landing page carries."""
    path = order.landing_page
    clicks = dict(parse_qsl(urlsplit(path or "").query))
    fbc = attribute(order.attributes, "fbc")
    if fbc is None and clicks.get("fbclid") and order.visited_at is not None:
        fbc = f"fb.1.{int(order.visited_at.timestamp() * 1000)}.{clicks['fbclid']}"
    return Browser(
        client_ip=attribute(order.attributes, "client_ip"),
        user_agent=attribute(order.attributes, "user_agent"),
        page_url=attribute(order.attributes, "page_url")
        or (f"https://{shop}{path}" if shop and path else None),
        ga_client_id=attribute(order.attributes, "ga"),
        ga_session_id=attribute(order.attributes, "ga_session_id"),
        fbp=attribute(order.attributes, "fbp"),
        fbc=fbc,
        ttp=attribute(order.attributes, "ttp"),
        ttclid=attribute(order.attributes, "ttclid") or clicks.get("ttclid"),
    )


def attribute(attributes: Mapping[str, str], name: str) -> str | None:
    """An attribute of an order, with or without the underscore that hides it from the customer."""
    return attributes.get(f"_{name}") or attributes.get(name) or None


def consents_of(attributes: Mapping[str, str], settings: Mapping[str, Any]) -> Consents:
    """What the order says (``_consent_marketing``, ``_consent_analytics``, ``_consent_sale_of_data``, as Shopify's
    privacy API calls them), else the tenant's ``ads.consent``. An objection to the sale of data limits advertising.
    """
    default = default_consent(settings)
    ads = _answer(attribute(attributes, "consent_marketing"), default)
    if ads is Consent.GRANTED and attribute(attributes, "consent_sale_of_data") is not None:
        ads = _answer(attribute(attributes, "consent_sale_of_data"), default, no=Consent.LIMITED)
    analytics = _answer(attribute(attributes, "consent_analytics"), default)
    return Consents(ads, analytics)


def default_consent(settings: Mapping[str, Any]) -> Consent:
    own = settings.get("ads") or {}
    return Consent(own.get("consent", Consent.GRANTED))


def _answer(text: str | None, default: Consent, no: Consent = Consent.DENIED) -> Consent:
    said = (text or "").strip().lower()
    return Consent.GRANTED if said in _YES else no if said in _NO else default


def skip_reason(destination: Destination, event: ConversionEvent, now: datetime) -> SkipReason | None:
    """Why an event is not told to a platform; None where it is.

    GA4 measures the shop: it needs consent to analytics, and is told beside it what advertising may do. Meta and TikTok
    are advertising: without consent they are told nothing, where data must not be sold they are told so.
    """
    consent = event.consents.analytics if destination is Destination.GA4 else event.consents.ads
    if consent is Consent.DENIED:
        return SkipReason.NO_CONSENT
    if event.name in {EventName.PURCHASE, EventName.REFUND} and event.value_cents <= 0:
        return SkipReason.NO_VALUE
    if now - event.occurred_at > TERMS[destination].oldest - AHEAD:
        return SkipReason.TOO_OLD
    return None


def waits_for(order: Order | None, refund: Refund | None, standing: str | None, waits: int) -> bool:
    """Whether a refund is not to be told yet: it or its order is not stored, or its purchase may still be told.

    An order that is no conversion after some waits becomes none.
    """
    if waits >= len(WAITS):
        return False
    if order is None or refund is None:
        return True
    if standing is None:
        return order.converted or waits < UNCONVERTED_WAITS
    return standing in UNDECIDED


def without_purchase(standing: str | None) -> SkipReason | None:
    """Whether a refund has nothing to take back at a platform, by how the purchase stands there."""
    return None if standing == "acknowledged" else SkipReason.NO_PURCHASE


def is_repeatable(destination: Destination, name: EventName) -> bool:
    """Whether a platform drops the second of two events with one id: GA4 does for purchases alone."""
    return destination is not Destination.GA4 or name is EventName.PURCHASE


def is_known_still(destination: Destination, first_told_at: datetime, now: datetime) -> bool:
    """Whether a platform would still recognise an event that may have reached it."""
    window = TERMS[destination].dedup
    return window is None or now - first_told_at < window - AHEAD
