"""What Resend's refusals mean: one table from the error's name to the kernel's errors. Pure.

Statuses are shared by different errors, so that the body's ``name`` decides; a body that is no JSON comes from the
network before Resend, and its status decides.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from http import HTTPStatus
from math import isfinite
from typing import NoReturn

from tradewind.errors import (
    ConflictError,
    CredentialsRejectedError,
    InvalidPayloadError,
    MisconfiguredError,
    ProviderUnavailableError,
    QuotaExceededError,
    RateLimitedError,
    RepeatRefusedError,
    TradewindError,
)
from tradewind.integrations.resend.models import PROVIDER
from tradewind.integrations.transport import Answer

RATE_LIMIT, DAILY_QUOTA, MONTHLY_QUOTA = "resend api", "resend daily quota", "resend monthly quota"
_WAIT_WITHOUT_ADVICE = timedelta(seconds=1)
_SHORTEST, _LONGEST = timedelta(milliseconds=50), timedelta(hours=24)
DAILY_WAIT, MONTHLY_WAIT = timedelta(hours=1), timedelta(hours=6)
"""When to ask again where Resend does not say: a quota may be raised, or its day may end, at any time."""

Meaning = Callable[[str, Mapping[str, str]], TradewindError]
_NAMES: Mapping[str, Meaning] = {
    "rate_limit_exceeded": lambda _, headers: RateLimitedError(
        RATE_LIMIT, wait_of(headers) or _WAIT_WITHOUT_ADVICE
    ),
    "daily_quota_exceeded": lambda _, headers: QuotaExceededError(
        DAILY_QUOTA, wait_of(headers) or DAILY_WAIT
    ),
    "monthly_quota_exceeded": lambda _, __: QuotaExceededError(MONTHLY_QUOTA, MONTHLY_WAIT),
    "concurrent_idempotent_requests": lambda about, _: ConflictError(f"{PROVIDER}: {about}"),
    "invalid_idempotent_request": lambda about, _: RepeatRefusedError(f"{PROVIDER}: {about}"),
    "missing_api_key": lambda about, _: CredentialsRejectedError(f"{PROVIDER}: {about}"),
    "restricted_api_key": lambda about, _: CredentialsRejectedError(f"{PROVIDER}: {about}"),
    "invalid_api_key": lambda about, _: CredentialsRejectedError(f"{PROVIDER}: {about}"),
    "security_error": lambda about, _: MisconfiguredError(f"{PROVIDER}: {about}"),
    "application_error": lambda about, _: _unavailable(about),
    "internal_server_error": lambda about, _: _unavailable(about),
}
"""The names that do not simply refuse the e-mails themselves."""


def refuse(answer: Answer) -> NoReturn:
    """Raise what an answer other than 2xx means."""
    name, about = _read(answer)
    meaning = _NAMES.get(name)
    if meaning is not None:
        raise meaning(about, answer.headers)
    status = answer.status
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        raise RateLimitedError(RATE_LIMIT, wait_of(answer.headers) or _WAIT_WITHOUT_ADVICE)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.REQUEST_TIMEOUT:
        raise _unavailable(f"answered {status}")
    if status == HTTPStatus.UNAUTHORIZED:
        raise CredentialsRejectedError(f"{PROVIDER}: {about}")
    if status == HTTPStatus.CONFLICT:
        raise ConflictError(f"{PROVIDER}: {about}")
    if status in {HTTPStatus.FORBIDDEN, HTTPStatus.UNAVAILABLE_FOR_LEGAL_REASONS}:
        # A domain that is not verified, or an account that may not send: no e-mail of it would be taken.
        raise MisconfiguredError(f"{PROVIDER}: {about}")
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        raise MisconfiguredError(f"{PROVIDER} answers with a redirect ({status}); check TRADEWIND_RESEND_URL")
    raise InvalidPayloadError("email", about)


def _unavailable(about: str) -> ProviderUnavailableError:
    return ProviderUnavailableError(PROVIDER, about, outcome_unknown=True)


def _read(answer: Answer) -> tuple[str, str]:
    """The error's name and what is said of it; without a name where the body has none."""
    try:
        document = json.loads(answer.body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        return "", f"answered {answer.status}"
    name = str(document.get("name") or "")
    return name, f"{name} ({answer.status}): {str(document.get('message') or '')[:200]}"


def wait_of(headers: Mapping[str, str]) -> timedelta | None:
    """``retry-after``, else ``ratelimit-reset``, in seconds, between 0.05 s and a day; None where neither is usable."""
    for name in ("retry-after", "ratelimit-reset"):
        try:
            seconds = float(headers.get(name, ""))
        except ValueError:
            continue
        if isfinite(seconds) and seconds >= 0:
            return max(_SHORTEST, timedelta(seconds=min(seconds, _LONGEST.total_seconds())))
    return None
