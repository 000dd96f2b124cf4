"""What a privacy request is about, and what becomes of a document that mentions its subject. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

TIME_TO_ACT = timedelta(days=30)
REDACTED = "[redacted]"
SHORTEST_WORD = 5
_ID_KEYS = ("id", "ids", "entity")
_DROPPED = frozenset(
    {
        "address", "address1", "address2", "addresses", "billing_address", "browser_ip", "cart_token",
        "checkout_token", "city", "client_details", "client_ip", "company", "contact_email", "customer",
        "customer_locale", "default_address", "destination", "email", "first_name", "ip", "landing_page",
        "landing_site", "landing_site_ref", "last_name", "latitude", "longitude", "payment_details", "phone",
        "receipt", "referrer_url", "referring_site", "session_id", "shipping_address", "sms_marketing_consent",
        "email_marketing_consent", "tracking_number", "tracking_numbers", "tracking_url", "tracking_urls",
        "user_agent", "visitor_id", "zip",
    }
)  # fmt: skip
"""Fields of Shopify's bodies and of our own payloads that tell of a person, whatever they hold."""
_EMPTIED = frozenset({"note", "note_attributes", "attributes", "tags"})
"""The same, where a reader expects text or a list."""


class Topic(StrEnum):
    """What Shopify asks for. A customer whom the merchant deleted is redacted like one who asked for it."""

    DATA_REQUEST = "customers/data_request"
    CUSTOMER_REDACT = "customers/redact"
    CUSTOMER_DELETE = "customers/delete"
    SHOP_REDACT = "shop/redact"


@dataclass(frozen=True, slots=True)
class Subject:
    """Everything by which a customer's data is found. E-mail addresses are in lower case."""

    customers: frozenset[int] = frozenset()
    orders: frozenset[int] = frozenset()
    emails: frozenset[str] = frozenset()
    phones: frozenset[str] = frozenset()
    visitors: frozenset[str] = frozenset()

    @classmethod
    def read(cls, stored: Mapping[str, list[str]]) -> Subject:
        """What ``to_json`` gave."""
        return cls(
            customers=frozenset(map(int, stored["customer"])),
            orders=frozenset(map(int, stored["order"])),
            emails=frozenset(stored["email"]),
            phones=frozenset(stored["phone"]),
            visitors=frozenset(stored["visitor"]),
        )

    def to_json(self) -> dict[str, list[str]]:
        """By what the columns hold, as SQL takes it."""
        return {
            "customer": sorted(map(str, self.customers)),
            "order": sorted(map(str, self.orders)),
            "email": sorted(self.emails),
            "phone": sorted(self.phones),
            "visitor": sorted(self.visitors),
        }

    @property
    def is_nobody(self) -> bool:
        return not (self.ids or self.words)

    @property
    def ids(self) -> frozenset[int]:
        return self.customers | self.orders

    @property
    def words(self) -> tuple[str, ...]:
        """Texts that are the subject's wherever they stand, longest first. What is as short as a number is not looked
        for inside of texts: it would be found everywhere.
        """
        long = {word for word in self.emails | self.phones | self.visitors if len(word) >= SHORTEST_WORD}
        return tuple(sorted(long, key=lambda word: (-len(word), word)))

    def pattern(self) -> str:
        """A regular expression, for Python and Postgres alike, that every text with a mention matches."""
        parts = [re.escape(word) for word in self.words]
        if self.ids:
            parts.append(f"(^|[^0-9])({'|'.join(map(str, sorted(self.ids)))})([^0-9]|$)")
        return "|".join(parts)


def earliest_act(requested_at: datetime) -> datetime:
    """Until when a request must be done."""
    return requested_at + TIME_TO_ACT


def is_mentioned(document: Any, subject: Subject, key: str = "") -> bool:
    """Whether a document tells of the subject: an id under an id's name, or one of its words in any text."""
    match document:
        case dict():
            return any(is_mentioned(value, subject, str(name)) for name, value in document.items())
        case list():
            return any(is_mentioned(value, subject, key) for value in document)
        case bool() | None:
            return False
        case int():
            return key.lower().endswith(_ID_KEYS) and document in subject.ids
        case str():
            low = document.lower()
            tail = low.rpartition("/")[2] if low.startswith("gid://") else low
            numbered = tail.isdigit() and (tail != low or key.lower().endswith(_ID_KEYS))
            return (numbered and int(tail) in subject.ids) or any(
                word.lower() in low for word in subject.words
            )
        case _:
            return False


def redact(document: Any, subject: Subject) -> Any:
    """The document without what tells of a person; its ids, money and times stay, so that it can still be worked."""
    match document:
        case dict():
            return {name: _redact_field(str(name), value, subject) for name, value in document.items()}
        case list():
            return [redact(value, subject) for value in document]
        case str():
            return redact_text(document, subject)
        case _:
            return document


def _redact_field(name: str, value: Any, subject: Subject) -> Any:
    if name in _DROPPED:
        return None
    if name in _EMPTIED:
        return type(value)() if isinstance(value, str | list | dict) else None
    return redact(value, subject)


def redact_text(text: str, subject: Subject) -> str:
    for word in subject.words:
        text = re.sub(re.escape(word), REDACTED, text, flags=re.IGNORECASE)
    return text


def redact_bytes(raw: bytes, subject: Subject) -> bytes | None:
    """A stored body without what tells of the subject; None where it holds nothing of it. What is no JSON is dropped
    as a whole.
    """
    try:
        document = json.loads(raw)
    except ValueError:
        text = raw.decode("utf-8", "replace").lower()
        return REDACTED.encode() if any(word.lower() in text for word in subject.words) else None
    if not is_mentioned(document, subject):
        return None
    return json.dumps(redact(document, subject), ensure_ascii=False, separators=(",", ":")).encode()


def redact_content(content: Mapping[str, Any], subject: Subject, binary: frozenset[str]) -> dict[str, Any]:
    """The columns of a row that must change. Columns in ``binary`` are hexadecimal text."""
    changed: dict[str, Any] = {}
    for column, value in content.items():
        if value is None:
            continue
        if column in binary:
            raw = redact_bytes(bytes.fromhex(value), subject)
            if raw is not None:
                changed[column] = raw.hex()
        elif isinstance(value, str):
            if (text := redact_text(value, subject)) != value:
                changed[column] = text
        elif is_mentioned(value, subject):
            changed[column] = redact(value, subject)
    return changed


def readable(content: Mapping[str, Any], binary: frozenset[str]) -> dict[str, Any]:
    """A row's documents as an export shows them."""
    shown: dict[str, Any] = {}
    for column, value in content.items():
        if value is not None and column in binary:
            raw = bytes.fromhex(value)
            try:
                shown[column] = json.loads(raw)
            except ValueError:
                shown[column] = raw.decode("utf-8", "replace")
        elif value is not None:
            shown[column] = value
    return shown
