"""A delivery that Postgres could not take, as it lies in the intake queue until Postgres can."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID, uuid4

from ingress.deliveries import Request
from tradewind.clock import parse_instant
from tradewind.crash import Point, reached
from tradewind.errors import InvalidPayloadError
from tradewind.tenancy.tenant import PLATFORM_TENANT

VERSION = 1
ACCEPTED_VERSIONS = frozenset({1})
"""An intake accepts the present version and the previous one, so that a deployment may overlap."""

CLAIM_PREFIX = f"tenants/{PLATFORM_TENANT}/intake/"
"""Whose a delivery is may not be known yet, so that a large body lies with the platform for the meantime."""
_SIGNING = ("svix-", "webhook-")
_SAFE_HEADERS = frozenset({"content-type", "user-agent"})


class IntakeQueue(Protocol):
    """The queue's side that takes messages."""

    def put(self, queue: str, body: str) -> None: ...


class Payloads(Protocol):
    """Where bodies lie that are too large for a message."""

    def put(self, key: str, body: bytes) -> None: ...

    def get(self, key: str) -> bytes: ...


@dataclass(frozen=True, slots=True)
class SetAside:
    """An intake message as it was read. Exactly one of ``body`` and ``claim`` is set."""

    provider: str
    app: str
    headers: Mapping[str, str]
    received_at: datetime
    verified: bool
    body: bytes | None
    claim: str | None

    def request(self, payloads: Payloads) -> Request:
        """The delivery as it arrived. Raises NotFoundError where its body's retention has passed."""
        body = payloads.get(self.claim or "") if self.body is None else self.body
        return Request(self.provider, self.app, self.headers, body, self.received_at)


def set_aside(
    queue: IntakeQueue, payloads: Payloads, name: str, request: Request, *, verified: bool, largest: int
) -> None:
    """Send a delivery to the intake queue ``name``; above ``largest`` bytes its body goes to the payload store.

    Raises RetryableError where neither takes it.
    """
    body = base64.b64encode(request.raw_body).decode()
    claim = None
    if len(body) > largest:
        claim = f"{CLAIM_PREFIX}{uuid4()}"
        payloads.put(claim, request.raw_body)
    message = {
        "version": VERSION,
        "provider": request.provider,
        "app": request.app,
        "headers": _headers_that_matter(request.headers),
        "received_at": request.received_at.isoformat(),
        "verified": verified,
        "body": None if claim else body,
        "claim": claim,
    }
    queue.put(name, json.dumps(message, separators=(",", ":")))
    reached(Point.RECEIVER_SET_ASIDE)


def _headers_that_matter(headers: Mapping[str, str]) -> dict[str, str]:
    """What signature, tenant and topic are read from; nothing of the way that the request took."""
    return {
        name: value
        for name, value in headers.items()
        if name in _SAFE_HEADERS
        or name.startswith(_SIGNING)
        or (name.startswith("x-") and not name.startswith(("x-forwarded-", "x-amzn-")))
    }


def read_set_aside(text: str) -> SetAside:
    """Parse an intake message. Raises InvalidPayloadError that names the field."""
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidPayloadError("body", f"is not JSON ({type(error).__name__})") from error
    if not isinstance(raw, dict) or raw.get("version") not in ACCEPTED_VERSIONS:
        version = raw.get("version") if isinstance(raw, dict) else None
        raise InvalidPayloadError("version", f"is {version!r}", f"accepted: {sorted(ACCEPTED_VERSIONS)}")
    headers = raw.get("headers")
    if not isinstance(headers, dict) or not all(isinstance(value, str) for value in headers.values()):
        raise InvalidPayloadError("headers", "is no object of texts")
    if not isinstance(raw.get("verified"), bool):
        raise InvalidPayloadError("verified", f"is {raw.get('verified')!r}", "true or false is expected")
    body, claim = _body_or_claim(raw)
    return SetAside(
        provider=_text(raw, "provider"),
        app=_text(raw, "app"),
        headers=headers,
        received_at=_moment(raw),
        verified=raw["verified"],
        body=body,
        claim=claim,
    )


def _body_or_claim(raw: Mapping[str, Any]) -> tuple[bytes | None, str | None]:
    if raw.get("claim") is not None:
        claim = _text(raw, "claim")
        name = claim.removeprefix(CLAIM_PREFIX)
        try:
            UUID(name)
        except ValueError as error:
            raise InvalidPayloadError("claim", f"is {claim[:80]!r}", f"a key below {CLAIM_PREFIX}") from error
        return None, claim
    try:
        return base64.b64decode(_text(raw, "body"), validate=True), None
    except (binascii.Error, ValueError) as error:
        raise InvalidPayloadError("body", "is not base64") from error


def _text(raw: Mapping[str, Any], name: str) -> str:
    value = raw.get(name)
    if not isinstance(value, str):
        raise InvalidPayloadError(name, f"is {value!r}"[:80], "text is expected")
    return value


def _moment(raw: Mapping[str, Any]) -> datetime:
    try:
        return parse_instant(_text(raw, "received_at"))
    except (ValueError, OverflowError) as error:
        raise InvalidPayloadError("received_at", "is no instant", "ISO 8601 with a zone") from error
