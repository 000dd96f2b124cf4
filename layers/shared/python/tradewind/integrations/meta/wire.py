"""Events in the Conversions API's form, hashed as Meta's Business SDK hashes. Pure."""

from __future__ import annotations

import re
from typing import Any

from tradewind.advertising import Consent, ConversionEvent, EventName
from tradewind.errors import InvalidPayloadError
from tradewind.integrations.digest import decimal_of, is_hashed, sha256

NAMES = {
    EventName.PURCHASE: "Purchase",
    EventName.REFUND: "Refund",
    EventName.ADD_TO_CART: "AddToCart",
    EventName.VIEW_CONTENT: "ViewContent",
    EventName.INITIATE_CHECKOUT: "InitiateCheckout",
}
"""Meta has no standard event that takes a purchase back; a custom one is told beside it, with the same order."""
_EMAIL = re.compile(r"[^@\s]+@[^@\s.]+(?:\.[^@\s.]+)+|\"[^\"@]+\"@[^@\s]+\.[^@\s]+")
_NOT_IN_PLACES = re.compile(r"[0-9.\s\-()]")


def to_wire(event: ConversionEvent) -> dict[str, Any]:
    """One event of a request's ``data``. Raises InvalidPayloadError where Meta would refuse the request.

    Website events need the browser's name; without it the event is of another source.
    """
    user_data = person_of(event)
    if not user_data:
        raise InvalidPayloadError(
            "customer", "nothing is known of them", "Meta matches by at least one field"
        )
    website = event.browser.user_agent is not None
    made: dict[str, Any] = {
        "event_name": NAMES[event.name],
        "event_time": int(event.occurred_at.timestamp()),
        "event_id": event.id,
        "action_source": "website" if website else "other",
        "user_data": user_data,
        "custom_data": _custom_data(event),
    }
    if event.browser.page_url:
        made["event_source_url"] = event.browser.page_url
    if event.consents.ads is Consent.LIMITED:
        made |= {
            "data_processing_options": ["LDU"],
            "data_processing_options_country": 0,
            "data_processing_options_state": 0,
        }
    return made


def _custom_data(event: ConversionEvent) -> dict[str, Any]:
    currency = event.currency
    data: dict[str, Any] = {"currency": currency.lower(), "value": decimal_of(event.value_cents, currency)}
    if event.order_id is not None:
        data["order_id"] = str(event.order_id)
    if event.items:
        data |= {
            "content_type": "product",
            "content_ids": list(dict.fromkeys(item.id for item in event.items)),
            "contents": [
                {
                    "id": item.id,
                    "quantity": item.quantity,
                    "item_price": decimal_of(item.unit_price_cents, currency),
                }
                for item in event.items
            ],
            "num_items": sum(item.quantity for item in event.items),
        }
    return data


def person_of(event: ConversionEvent) -> dict[str, Any]:
    """``user_data``: what tells a person is hashed, what tells a browser is not, and ``external_id`` is not either."""
    person, browser = event.person, event.browser
    hashed = {
        "em": _hash(_email(person.email)),
        "ph": _hash(_phone(person.phone)),
        "fn": _hash(_plain(person.first_name)),
        "ln": _hash(_plain(person.last_name)),
        "ct": _hash(_place(person.city)),
        "st": _hash(_place(person.region)),
        "zp": _hash(_postal_code(person.postal_code)),
        "country": _hash(_country(person.country)),
    }
    lists: dict[str, Any] = {name: [value] for name, value in hashed.items() if value}
    if person.customer_id is not None:
        lists["external_id"] = [str(person.customer_id)]
    plain = {
        "client_ip_address": browser.client_ip,
        "client_user_agent": browser.user_agent,
        "fbp": browser.fbp,
        "fbc": browser.fbc,
    }
    return lists | {name: value for name, value in plain.items() if value}


def _hash(normal: str | None) -> str | None:
    return None if not normal else normal if is_hashed(normal) else sha256(normal)


def _plain(text: str | None) -> str | None:
    return text.strip().lower() if text else None


def _email(email: str | None) -> str | None:
    normal = _plain(email)
    return normal if normal and (is_hashed(normal) or _EMAIL.fullmatch(normal)) else None


def _phone(phone: str | None) -> str | None:
    """Digits with the country's, without plus or leading zeros."""
    normal = _plain(phone)
    if normal is None or is_hashed(normal):
        return normal
    digits = re.sub(r"^\+?0{0,2}", "", re.sub(r"[\s\-()]", "", normal))
    return digits.lstrip("0")


def _place(place: str | None) -> str | None:
    normal = _plain(place)
    return _NOT_IN_PLACES.sub("", normal) if normal and not is_hashed(normal) else normal


def _postal_code(code: str | None) -> str | None:
    normal = _plain(code)
    return re.sub(r"\s", "", normal).split("-")[0] if normal and not is_hashed(normal) else normal


def _country(country: str | None) -> str | None:
    """Two letters by ISO 3166-1; anything else is left out."""
    normal = _plain(country)
    if normal is None or is_hashed(normal):
        return normal
    letters = re.sub(r"[^a-z]", "", normal)
    return letters if len(letters) == 2 else None  # noqa: PLR2004 - ISO 3166-1 alpha-2
