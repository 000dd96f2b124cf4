"""Events in the Measurement Protocol's form, checked here since Google answers 204 whatever it is sent. Pure."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime, timedelta
from typing import Any

from tradewind.advertising import Consent, ConversionEvent, EventName, Item
from tradewind.errors import InvalidPayloadError
from tradewind.integrations.digest import decimal_of, digits_of, sha256

NAMES = {
    EventName.PURCHASE: "purchase",
    EventName.REFUND: "refund",
    EventName.ADD_TO_CART: "add_to_cart",
    EventName.VIEW_CONTENT: "view_item",
    EventName.INITIATE_CHECKOUT: "begin_checkout",
}
MOST_ITEMS, LONGEST_VALUE = 200, 100
_CLIENT_ID = re.compile(r"(?:GA\d\.\d\.)?(\d{1,12}\.\d{1,12})")
_DOTTED = ("gmail.com", "googlemail.com")
_MICROSECOND = timedelta(microseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_wire(event: ConversionEvent) -> dict[str, Any]:
    """The request's body. ``value`` is the goods alone: shipping and tax stand beside it, as Google asks for.

    Raises InvalidPayloadError where Google would drop the event without a word.
    """
    if len(event.items) > MOST_ITEMS:
        raise InvalidPayloadError("items", f"are {len(event.items)}", f"GA4 takes {MOST_ITEMS}")
    params: dict[str, Any] = {
        "currency": event.currency,
        "value": decimal_of(event.goods_cents, event.currency),
        "items": [_item(item, event.currency) for item in event.items],
        "engagement_time_msec": 1,
    }
    if event.order_id is not None:
        params["transaction_id"] = str(event.order_id)
    if event.name is EventName.PURCHASE:
        params["tax"] = decimal_of(event.tax_cents, event.currency)
        params["shipping"] = decimal_of(event.shipping_cents, event.currency)
    optional = {"coupon": event.coupon, "session_id": event.browser.ga_session_id}
    params |= {name: value[:LONGEST_VALUE] for name, value in optional.items() if value}
    ads = "GRANTED" if event.consents.ads is Consent.GRANTED else "DENIED"
    body: dict[str, Any] = {
        "client_id": client_id_of(event),
        "timestamp_micros": (event.occurred_at - _EPOCH) // _MICROSECOND,
        "consent": {"ad_user_data": ads, "ad_personalization": ads},
        "events": [{"name": NAMES[event.name], "params": params}],
    }
    return body | _person(event)


def client_id_of(event: ConversionEvent) -> str:
    """The browser's client id; without it one of the customer's own, which is of nobody's session."""
    found = _CLIENT_ID.fullmatch(event.browser.ga_client_id or "")
    if found:
        return found[1]
    known = event.person.customer_id or event.id
    number = int.from_bytes(hashlib.sha256(str(known).encode()).digest()[:8])
    return f"{number % 10**10:010d}.{number // 10**10 % 10**10:010d}"


def _item(item: Item, currency: str) -> dict[str, Any]:
    return {
        "item_id": item.id[:LONGEST_VALUE],
        "item_name": item.name[:LONGEST_VALUE],
        "price": decimal_of(item.unit_price_cents, currency),
        "quantity": item.quantity,
    }


def _person(event: ConversionEvent) -> dict[str, Any]:
    """``user_id`` and what is hashed of the customer; neither without consent, and no ``user_data`` without the id."""
    person = event.person
    if event.consents.ads is not Consent.GRANTED or person.customer_id is None:
        return {}
    digits = digits_of(person.phone)
    data: dict[str, Any] = {
        "sha256_email_address": [sha256(normal_email(person.email))] if person.email else None,
        "sha256_phone_number": [sha256(f"+{digits}")] if digits else None,
        "address": _address(event),
    }
    told = {name: value for name, value in data.items() if value}
    return {"user_id": str(person.customer_id)} | ({"user_data": told} if told else {})


def normal_email(email: str) -> str:
    """Lower case without spaces; at Gmail without the dots before the @, which address the same mailbox."""
    cleaned = re.sub(r"\s", "", email).lower()
    name, _, domain = cleaned.rpartition("@")
    return f"{name.replace('.', '')}@{domain}" if domain in _DOTTED else cleaned


def normal_name(name: str) -> str:
    """Letters and inner spaces alone, in lower case."""
    return "".join(sign for sign in name.lower() if sign.isalpha() or sign.isspace()).strip()


def _address(event: ConversionEvent) -> list[dict[str, str]]:
    person = event.person
    names = (("sha256_first_name", person.first_name), ("sha256_last_name", person.last_name))
    hashed = {field: sha256(normal) for field, name in names if name and (normal := normal_name(name))}
    places = (("city", person.city), ("region", person.region))
    plain = {field: normal for field, place in places if place and (normal := normal_name(place))}
    if person.postal_code:
        plain["postal_code"] = re.sub(r"[.~]", "", person.postal_code).strip()
    if person.country:
        plain["country"] = person.country.strip().upper()
    return [hashed | plain] if hashed else []
