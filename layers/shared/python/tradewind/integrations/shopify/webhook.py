"""Shopify's webhooks: signature and headers, pure and with the standard library only (for the receiver).

Verify first, over the raw body, then read the headers: they are not part of the signature. Deduplicate on
``webhook_id``, which stays the same over the retries of one delivery; ``event_id`` is shared by all
deliveries of one merchant action (orders/create and orders/paid of one checkout) and only correlates.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from tradewind.clock import parse_instant
from tradewind.errors import InvalidPayloadError

SIGNATURE_HEADER = "X-Shopify-Hmac-Sha256"
_TOPIC = re.compile(r"[a-z0-9_]+(?:[./][a-z0-9_]+)+")
_DOMAIN = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)+")
_TOKEN = re.compile(r"[!-~]+")
_VERSION = re.compile(r"\d{4}-\d{2}|unstable")
_LONGEST = 255


@dataclass(frozen=True, slots=True)
class WebhookHeaders:
    """What Shopify says about a delivery. ``shop_domain`` is in lower case; instants are UTC."""

    topic: str
    shop_domain: str
    webhook_id: str
    api_version: str
    event_id: str | None
    triggered_at: datetime | None


def verify(raw_body: bytes, header: str | None, secrets: Sequence[bytes]) -> bool:
    """Whether ``header`` is base64(HMAC-SHA256(secret, raw_body)) under any of the secrets.

    Takes the same time wherever the difference lies and whichever secret fits. An empty body is never valid,
    an empty secret never fits.
    """
    given = (header or "").strip().encode("utf-8", "surrogateescape")
    fits = False
    for secret in secrets:
        if not secret:
            continue
        expected = base64.b64encode(hmac.digest(secret, raw_body, hashlib.sha256))
        fits |= hmac.compare_digest(expected, given)
    return fits and bool(raw_body)


def sign(raw_body: bytes, secret: bytes) -> str:
    """The header value for a body; what Shopify computes."""
    return base64.b64encode(hmac.digest(secret, raw_body, hashlib.sha256)).decode("ascii")


def signature_of(headers: Mapping[str, str]) -> str | None:
    """The signature header, whatever the case of its name; None where it is missing."""
    return _in_lower_case(headers).get(SIGNATURE_HEADER.lower())


def read_headers(headers: Mapping[str, str]) -> WebhookHeaders:
    """Read a delivery's headers, whatever the case of their names.

    Raises InvalidPayloadError that names the header which is missing or impossible. Event id and trigger time
    may be missing.
    """
    given = _in_lower_case(headers)
    triggered_at = _text(given, "X-Shopify-Triggered-At", None, _TOKEN)
    return WebhookHeaders(
        topic=_required(given, "X-Shopify-Topic", "orders/create", _TOPIC, lower=True),
        shop_domain=_required(given, "X-Shopify-Shop-Domain", "acme.myshopify.com", _DOMAIN, lower=True),
        webhook_id=_required(given, "X-Shopify-Webhook-Id", "the delivery's id", _TOKEN),
        api_version=_required(given, "X-Shopify-API-Version", "2026-07", _VERSION),
        event_id=_text(given, "X-Shopify-Event-Id", None, _TOKEN),
        triggered_at=_instant("X-Shopify-Triggered-At", triggered_at) if triggered_at else None,
    )


def _in_lower_case(headers: Mapping[str, str]) -> Mapping[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _required(
    given: Mapping[str, str], name: str, example: str, shape: re.Pattern[str], *, lower: bool = False
) -> str:
    text = _text(given, name, example, shape, lower=lower)
    if text is None:
        raise InvalidPayloadError(name, "header is missing", f"send it, such as {example}")
    return text


def _text(
    given: Mapping[str, str], name: str, example: str | None, shape: re.Pattern[str], *, lower: bool = False
) -> str | None:
    text = given.get(name.lower(), "").strip()
    text = text.lower() if lower else text
    if not text:
        return None
    if len(text) > _LONGEST or not shape.fullmatch(text):
        raise InvalidPayloadError(
            name, f"header is impossible: {text[:40]!r}", f"such as {example}" if example else ""
        )
    return text


def _instant(name: str, text: str) -> datetime:
    try:
        return parse_instant(text)
    except (ValueError, OverflowError):
        raise InvalidPayloadError(
            name, f"header is no instant: {text[:40]!r}", "send ISO 8601 with a zone"
        ) from None


_LARGEST_ID = 2**63 - 1
_KINDS = {
    "orders": "Order",
    "products": "Product",
    "customers": "Customer",
    "collections": "Collection",
    "inventory_levels": "InventoryLevel",
    "bulk_operations": "BulkOperation",
}


def entity_of(topic: str, body: Mapping[str, object]) -> str:
    """The id that orders a body's messages: the order's for everything about an order, else the resource's
    own.

    Where the body carries a GraphQL id of the thing itself that one counts: numbers above 2**53 may arrive
    rounded. A level is its inventory item's.

    Compliance bodies have no id; their shop's stands for it. Raises InvalidPayloadError for an id
    that cannot be.
    """
    kind = _KINDS.get(topic.split("/", 1)[0])
    gid = body.get("admin_graphql_api_id")
    if kind is not None and isinstance(gid, str) and gid.startswith(f"gid://shopify/{kind}/"):
        number = gid.rpartition("=")[2] if kind == "InventoryLevel" else gid.rpartition("/")[2]
        if number.isascii() and number.isdigit() and 0 < int(number) <= _LARGEST_ID:
            return str(int(number))
    field = next(
        (name for name in ("order_id", "id", "inventory_item_id", "shop_id") if body.get(name) is not None),
        "id",
    )
    value = body.get(field)
    if isinstance(value, str) and _TOKEN.fullmatch(value) and len(value) <= _LONGEST:
        if topic.split("/", 1)[0] in ("orders", "refunds", "fulfillments"):
            raise InvalidPayloadError(field, f"is text: {value[:40]!r}", "a whole number is expected")
        return value
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= _LARGEST_ID:
        raise InvalidPayloadError(
            field, f"is {str(value)[:40]!r}", "a positive whole number below 2**63 is expected"
        )
    return str(value)
