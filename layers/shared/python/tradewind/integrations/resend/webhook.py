"""Resend's webhooks, signed the Svix way: pure and with the standard library only (for the receiver).

Verify first, over the raw body: ``v1`` is HMAC-SHA256 over ``{id}.{timestamp}.{body}`` under the base64 part of the
secret behind ``whsec_``; a timestamp more than five minutes away from now is refused, whatever its signature. The id
stays the same over retries, so that it deduplicates; the timestamp is new for each attempt.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tradewind.errors import InvalidPayloadError, MisconfiguredError

TOLERANCE = timedelta(minutes=5)
_PREFIX, _VERSION = "whsec_", "v1"
_ID = re.compile(r"[!-~]{1,255}")
_SECONDS = re.compile(r"[0-9]{1,12}")
_LONGEST_TYPE = 80


@dataclass(frozen=True, slots=True)
class SvixHeaders:
    """What a delivery says of itself. ``signatures`` are those of the one version that we know."""

    id: str
    timestamp: str
    signatures: tuple[str, ...]

    @property
    def sent_at(self) -> datetime:
        return datetime.fromtimestamp(int(self.timestamp), UTC)


@dataclass(frozen=True, slots=True)
class MailEvent:
    """A verified delivery. ``topic`` is Resend's type; ``email.other`` where the e-mail is none of a feature's."""

    id: str
    topic: str
    sent_at: datetime


OTHER = "email.other"
_TYPE = re.compile(r"[a-z_]+(\.[a-z_]+)+")
_NUMBER = re.compile(r"[1-9][0-9]{0,18}")


def read_event(headers: Mapping[str, str], raw_body: bytes) -> MailEvent:
    """Read a verified delivery. Raises InvalidPayloadError that names what is missing or impossible."""
    told = read_headers(headers)
    try:
        body = json.loads(raw_body)
    except (ValueError, RecursionError) as error:
        raise InvalidPayloadError("body", f"is not JSON ({type(error).__name__})") from error
    if not isinstance(body, dict):
        raise InvalidPayloadError("body", f"is a {type(body).__name__}", "an object is expected")
    topic = body.get("type")
    if not isinstance(topic, str) or not _TYPE.fullmatch(topic) or len(topic) > _LONGEST_TYPE:
        raise InvalidPayloadError("type", f"is {str(topic)[:40]!r}", "such as email.delivered")
    ours = {"tenant", "order", "sequence"} <= tags_of(body).keys()
    return MailEvent(told.id, topic if ours or not topic.startswith("email.") else OTHER, told.sent_at)


def tags_of(body: Mapping[str, object]) -> dict[str, str]:
    """The tags that we gave the e-mail, as far as they can be ours: numbers where numbers belong."""
    data = body.get("data")
    tags = data.get("tags") if isinstance(data, dict) else None
    given = (
        {name: tags[name] for name in ("tenant", "order", "sequence") if isinstance(tags.get(name), str)}
        if isinstance(tags, dict)
        else {}
    )
    return {name: text for name, text in given.items() if name == "tenant" or _NUMBER.fullmatch(text)}


def read_headers(headers: Mapping[str, str]) -> SvixHeaders:
    """Read a delivery's headers, named ``svix-`` or ``webhook-``, whatever the case of their names.

    Raises InvalidPayloadError that names the header which is missing or impossible.
    """
    given = {name.lower(): value.strip() for name, value in headers.items()}

    def read(name: str, shape: re.Pattern[str]) -> str:
        text = given.get(f"svix-{name}") or given.get(f"webhook-{name}") or ""
        if not shape.fullmatch(text):
            raise InvalidPayloadError(f"svix-{name}", f"header is missing or impossible: {text[:40]!r}")
        return text

    listed = (given.get("svix-signature") or given.get("webhook-signature") or "").split()
    pairs = [item.partition(",") for item in listed]
    signatures = tuple(value for version, _, value in pairs if version == _VERSION and value)
    return SvixHeaders(read("id", _ID), read("timestamp", _SECONDS), signatures)


def verify(raw_body: bytes, headers: Mapping[str, str], secrets: Sequence[str], now: datetime) -> bool:
    """Whether one of the delivery's signatures fits its body under any of the secrets, and its time is near ``now``.

    Compares in constant time. Raises MisconfiguredError for an empty or undecodable secret, which would verify anything
    or nothing.
    """
    keys = [_key(secret) for secret in secrets]
    try:
        told = read_headers(headers)
        fresh = abs(now - told.sent_at) <= TOLERANCE
    except (InvalidPayloadError, ValueError, OverflowError, OSError):
        return False
    fits = False
    for key in keys:
        expected = _signature(raw_body, told.id, told.timestamp, key)
        for given in told.signatures:
            fits |= hmac.compare_digest(expected.encode(), given.encode("utf-8", "surrogateescape"))
    return fits and fresh and bool(raw_body)


def sign(raw_body: bytes, message_id: str, sent_at: datetime, secret: str) -> dict[str, str]:
    """The headers of a delivery; what Svix sends."""
    timestamp = str(int(sent_at.timestamp()))
    signature = _signature(raw_body, message_id, timestamp, _key(secret))
    return {"svix-id": message_id, "svix-timestamp": timestamp, "svix-signature": f"{_VERSION},{signature}"}


def _signature(raw_body: bytes, message_id: str, timestamp: str, key: bytes) -> str:
    signed = f"{message_id}.{timestamp}.".encode() + raw_body
    return base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode("ascii")


def is_usable(secret: str) -> bool:
    """Whether a secret can verify anything."""
    try:
        return bool(_key(secret))
    except MisconfiguredError:
        return False


def _key(secret: str) -> bytes:
    text = secret.removeprefix(_PREFIX)
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise MisconfiguredError("a webhook secret is no base64 behind whsec_") from error
    if not key:
        raise MisconfiguredError("a webhook secret is empty: it would verify whatever comes")
    return key
