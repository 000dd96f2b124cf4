"""What TikTok's answers mean. Pure. All come with status 200: the body's ``code`` decides."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from http import HTTPStatus
from typing import Any

from tradewind.errors import (
    CredentialsRejectedError,
    InvalidPayloadError,
    ProviderUnavailableError,
    RateLimitedError,
    TradewindError,
)
from tradewind.integrations.transport import Answer

PROVIDER, LIMIT = "tiktok", "tiktok api"
OK, PARTLY, RATE_LIMITED = 0, 20001, 40100
_CREDENTIALS = frozenset({40001, 40102, 40104, 40105})
_PASSING = range(50000, 52000)
WAIT = timedelta(seconds=2)
"""TikTok never says how long; its limits are by the second, the minute and the day."""


def read_answer(answer: Answer) -> Mapping[str, Any]:
    """The body of a success, be it a partial one. Raises the error that another means."""
    try:
        document = json.loads(answer.body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict) or not isinstance(document.get("code"), int):
        if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
            raise RateLimitedError(LIMIT, WAIT)
        raise ProviderUnavailableError(
            PROVIDER, f"answered {answer.status} without a code", outcome_unknown=True
        )
    if document["code"] in {OK, PARTLY}:
        return document
    raise error_of(
        document["code"], str(document.get("message") or ""), str(document.get("request_id") or "")
    )


def error_of(code: int, message: str, request_id: str) -> TradewindError:
    """The kernel's error for one of TikTok's codes."""
    about = f"{code}: {message[:200]} (request {request_id})"
    if code == RATE_LIMITED:
        return RateLimitedError(LIMIT, WAIT)
    if code in _PASSING:
        return ProviderUnavailableError(PROVIDER, about, outcome_unknown=True)
    if code in _CREDENTIALS:
        return CredentialsRejectedError(f"{PROVIDER}: {about}")
    return InvalidPayloadError("event", f"{PROVIDER} refuses it: {about}")
