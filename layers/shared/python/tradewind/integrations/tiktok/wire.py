"""Events in the Events API 2.0's form, hashed as TikTok asks for. Pure."""

from __future__ import annotations

from typing import Any

from tradewind.advertising import Consent, ConversionEvent, EventName
from tradewind.errors import InvalidPayloadError
from tradewind.integrations.digest import decimal_of, digits_of, is_hashed, sha256

NAMES = {
    EventName.PURCHASE: "Purchase",
    EventName.ADD_TO_CART: "AddToCart",
    EventName.VIEW_CONTENT: "ViewContent",
    EventName.INITIATE_CHECKOUT: "InitiateCheckout",
}
"""TikTok has no event that takes a purchase back."""


def to_wire(event: ConversionEvent) -> dict[str, Any]:
    """One event of a request's ``data``. Raises InvalidPayloadError where TikTok would refuse it."""
    if event.name not in NAMES:
        raise InvalidPayloadError("event", f"{event.name} is no event of TikTok's")
    user = person_of(event)
    if not user:
        raise InvalidPayloadError(
            "customer", "nothing is known of them", "TikTok matches by at least one field"
        )
    made: dict[str, Any] = {
        "event": NAMES[event.name],
        "event_time": int(event.occurred_at.timestamp()),
        "event_id": event.id,
        "user": user,
        "properties": _properties(event),
    }
    if event.browser.page_url:
        made["page"] = {"url": event.browser.page_url}
    if event.consents.ads is Consent.LIMITED:
        made["limited_data_use"] = True
    return made


def _properties(event: ConversionEvent) -> dict[str, Any]:
    currency = event.currency
    properties: dict[str, Any] = {"currency": currency, "value": decimal_of(event.value_cents, currency)}
    if event.order_id is not None:
        properties["order_id"] = str(event.order_id)
    if event.items:
        properties["content_type"] = "product"
        properties["contents"] = [
            {
                "content_id": item.id,
                "content_name": item.name,
                "quantity": item.quantity,
                "price": decimal_of(item.unit_price_cents, currency),
            }
            for item in event.items
        ]
    return properties


def person_of(event: ConversionEvent) -> dict[str, Any]:
    """``user``: e-mail, phone (with its plus) and our id hashed; what tells a browser is not."""
    person, browser = event.person, event.browser
    digits = digits_of(person.phone)
    lists = {
        "email": _hash(person.email.strip().lower()) if person.email else None,
        "phone": sha256(f"+{digits}") if digits else None,
        "external_id": sha256(str(person.customer_id)) if person.customer_id is not None else None,
    }
    plain = {
        "ttclid": browser.ttclid,
        "ttp": browser.ttp,
        "ip": browser.client_ip,
        "user_agent": browser.user_agent,
    }
    return {name: [value] for name, value in lists.items() if value} | {
        name: value for name, value in plain.items() if value
    }


def _hash(normal: str) -> str:
    return normal if is_hashed(normal) else sha256(normal)
