"""Webhooks that we send, signed as Standard Webhooks says: HMAC-SHA256 over ``{id}.{timestamp}.{body}``.

The id is the same for each attempt, so that a receiver drops repetitions; the timestamp is new each time.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from tradewind.errors import MisconfiguredError, ProviderUnavailableError, RateLimitedError
from tradewind.exporting import DestinationGoneError, DestinationRefusedError
from tradewind.integrations.outward import Answer

SHORTEST, LONGEST = 24, 64
"""Bytes of a secret, as the standard bounds them."""
LONGEST_WAIT = timedelta(hours=1)
_OK, _REDIRECT, _REFUSED, _GONE, _FAULT = 200, 300, 400, 410, 500
_AGAIN = frozenset({408, 409, 425})
_TOO_MANY = 429


def read_secret(secret: str) -> bytes:
    """The key behind ``whsec_``. Raises MisconfiguredError for one that is none, or is too short."""
    text = secret.strip().removeprefix("whsec_")
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise MisconfiguredError("webhook_secret is no base64 behind whsec_") from error
    if not SHORTEST <= len(key) <= LONGEST:
        raise MisconfiguredError(f"webhook_secret has {len(key)} bytes; {SHORTEST} to {LONGEST} are required")
    return key


def sign(key: bytes, delivery_id: str, sent_at: datetime, pieces: Iterable[bytes]) -> dict[str, str]:
    """A delivery's headers. ``pieces`` are its body."""
    timestamp = str(int(sent_at.timestamp()))
    signed = hmac.new(key, f"{delivery_id}.{timestamp}.".encode(), hashlib.sha256)
    for piece in pieces:
        signed.update(piece)
    signature = base64.b64encode(signed.digest()).decode("ascii")
    return {
        "webhook-id": delivery_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{signature}",
    }


def judge(host: str, answer: Answer, now: datetime) -> None:
    """Return where a receiver has taken a delivery; else raise what its answer means.

    2xx                  taken
    410                  DestinationGoneError: it wants no more
    408, 409, 425, 5xx   ProviderUnavailableError: again later
    429                  RateLimitedError: again after its own wait
    any other            DestinationRefusedError: again is no use; redirects are not followed
    """
    status = answer.status
    if _OK <= status < _REDIRECT:
        return
    if status == _TOO_MANY:
        raise RateLimitedError(host, wait_of(answer, now))
    if status in _AGAIN or status >= _FAULT:
        raise ProviderUnavailableError(host, f"answered {status}")
    if status == _GONE:
        raise DestinationGoneError(f"{host} answered 410: it exists no more")
    said = "a redirect, which is not followed" if _REDIRECT <= status < _REFUSED else "a refusal"
    raise DestinationRefusedError(f"{host} answered {status}: {said}")


def wait_of(answer: Answer, now: datetime) -> timedelta:
    """``Retry-After``, as seconds or as a date, an hour at most; a minute where it says nothing."""
    told = answer.headers.get("retry-after", "").strip()
    if told.isdigit():
        return min(timedelta(seconds=int(told[:9])), LONGEST_WAIT)
    try:
        until = parsedate_to_datetime(told)
    except ValueError:
        return timedelta(minutes=1)
    until = until if until.tzinfo is not None else until.replace(tzinfo=UTC)
    return max(timedelta(seconds=1), min(until - now, LONGEST_WAIT))
