"""What Shopify's answers mean: one table from status, error code and user error to the kernel's errors.

Pure. GraphQL reports most failures with HTTP 200, throttling included (contract of the Admin API, 2026-07).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from math import isfinite
from typing import Any, NoReturn

from tradewind.errors import (
    CredentialsRejectedError,
    InvalidPayloadError,
    MisconfiguredError,
    NotFoundError,
    ProviderUnavailableError,
    RateLimitedError,
    RetryableError,
    TerminalError,
)
from tradewind.integrations.transport import Answer

PROVIDER = "shopify"
LIMIT = "shopify admin api"
_WAIT_WITHOUT_ADVICE = timedelta(seconds=2)
_SHORTEST_WAIT = timedelta(milliseconds=100)
_LONGEST_WAIT = timedelta(hours=1)
_BUSY_USER_ERRORS = frozenset({"OPERATION_IN_PROGRESS", "LIMIT_REACHED"})


@dataclass(frozen=True, slots=True)
class Throttle:
    """The shop's bucket in points, as Shopify last told it, and what the call asked for."""

    available: float
    maximum: float
    restore_per_second: float
    requested: float


def read_document(answer: Answer, shop: str, *, mutates: bool) -> Mapping[str, Any]:
    """The JSON document of an HTTP answer. Raises the error that its status means."""
    if answer.status != HTTPStatus.OK:
        refuse_status(answer, shop, mutates=mutates)
    try:
        document = json.loads(answer.body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise ProviderUnavailableError(PROVIDER, "answer is no JSON document", outcome_unknown=mutates)
    return document


def refuse_status(answer: Answer, shop: str, *, mutates: bool) -> NoReturn:
    """Raise what an HTTP status other than 200 means."""
    status = answer.status
    advised = wait_of(answer.headers)
    if status == HTTPStatus.TOO_MANY_REQUESTS or (
        status == HTTPStatus.SERVICE_UNAVAILABLE and advised is not None
    ):
        raise RateLimitedError(LIMIT, advised if advised is not None else _WAIT_WITHOUT_ADVICE)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.REQUEST_TIMEOUT:
        raise ProviderUnavailableError(PROVIDER, f"answered {status}", outcome_unknown=mutates)
    if status == HTTPStatus.CONFLICT:
        raise RetryableError(f"{PROVIDER}: answered 409, a conflict with another request")
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        raise CredentialsRejectedError(f"{shop} refuses the access token or its permission ({status})")
    if status in {HTTPStatus.NOT_FOUND, HTTPStatus.GONE}:
        raise NotFoundError("Shopify shop or API version", shop)
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        raise MisconfiguredError(
            f"{shop} answers with a redirect ({status}); store the shop's permanent domain"
        )
    meaning = {
        402: "frozen for an unpaid bill",
        423: "locked",
        430: "refusing the request as a security risk",
    }
    raise TerminalError(f"{shop} is {meaning.get(status, 'refusing the request')} ({status})")


def wait_of(headers: Mapping[str, str], now: datetime | None = None) -> timedelta | None:
    """``Retry-After``, seconds or a date, between 0.1 s and an hour; None where missing or unreadable."""
    text = headers.get("retry-after", "").strip()
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        try:
            until = parsedate_to_datetime(text)
        except ValueError:
            return None
        until = until if until.tzinfo else until.replace(tzinfo=UTC)
        seconds = (until - (now or datetime.now(UTC))).total_seconds()
    if not isfinite(seconds):
        return None
    return _bounded(seconds)


def _bounded(seconds: float) -> timedelta:
    longest = _LONGEST_WAIT.total_seconds()
    return max(_SHORTEST_WAIT, timedelta(seconds=min(seconds, longest)))


def read_throttle(document: Mapping[str, Any]) -> Throttle | None:
    """The bucket that rides on an answer, or None where Shopify sent none that can be used."""
    extensions = document.get("extensions")
    cost = extensions.get("cost") if isinstance(extensions, dict) else None
    status = cost.get("throttleStatus") if isinstance(cost, dict) else None
    if not isinstance(status, dict) or not isinstance(cost, dict):
        return None
    try:
        throttle = Throttle(
            available=float(status["currentlyAvailable"]),
            maximum=float(status["maximumAvailable"]),
            restore_per_second=float(status["restoreRate"]),
            requested=float(cost.get("requestedQueryCost") or 0),
        )
    except (KeyError, TypeError, ValueError):
        return None
    return throttle if throttle.restore_per_second > 0 and throttle.maximum > 0 else None


def read_data(document: Mapping[str, Any], shop: str, *, mutates: bool) -> Mapping[str, Any]:
    """The ``data`` of a document. Raises what its top-level errors mean.

    A field below the root that Shopify may not show (personal data without approval) is null beside an
    ACCESS_DENIED error; that is an answer, not a failure.
    """
    data = document.get("data")
    errors = document.get("errors")
    if errors:
        _refuse_errors(errors, document, shop, has_data=isinstance(data, dict), mutates=mutates)
    if not isinstance(data, dict):
        raise InvalidPayloadError("data", "missing from Shopify's answer")
    return data


def _refuse_errors(
    errors: Any, document: Mapping[str, Any], shop: str, *, has_data: bool, mutates: bool
) -> None:
    listed = [error for error in errors if isinstance(error, dict)] if isinstance(errors, list) else []
    if not listed:
        raise TerminalError(f"{shop}: Shopify answers with errors {str(errors)[:200]!r}")
    codes = {_code(error) for error in listed}
    if "THROTTLED" in codes:
        raise RateLimitedError(LIMIT, _throttled_wait(read_throttle(document)))
    if has_data and all(_hides_a_field(error) for error in listed):
        return
    message = "; ".join(str(error.get("message", ""))[:200] for error in listed[:3])
    if "INTERNAL_SERVER_ERROR" in codes:
        request = next(
            (_extension(error, "requestId") for error in listed if _extension(error, "requestId")), None
        )
        raise ProviderUnavailableError(
            PROVIDER, f"internal error, request {request}", outcome_unknown=mutates
        )
    if "ACCESS_DENIED" in codes:
        raise CredentialsRejectedError(f"{shop} denies access: {message}")
    if codes & {"SHOP_INACTIVE", "MAX_COST_EXCEEDED"}:
        raise TerminalError(f"{shop}: {', '.join(sorted(codes))}: {message}")
    raise RetryableError(f"{shop}: Shopify answers {', '.join(sorted(codes))}: {message}")


def _extension(error: Mapping[str, Any], name: str) -> Any:
    extensions = error.get("extensions")
    return extensions.get(name) if isinstance(extensions, dict) else None


def _code(error: Mapping[str, Any]) -> str:
    return str(_extension(error, "code") or "an error without code")


def _hides_a_field(error: Mapping[str, Any]) -> bool:
    path = error.get("path")
    return _code(error) == "ACCESS_DENIED" and isinstance(path, list) and len(path) > 1


def _throttled_wait(throttle: Throttle | None) -> timedelta:
    """Points that were missing over points a second (Shopify's own advice for THROTTLED)."""
    if throttle is None:
        return _WAIT_WITHOUT_ADVICE
    return _bounded(max(0.0, throttle.requested - throttle.available) / throttle.restore_per_second)


def messages_of(user_errors: Any) -> tuple[str, ...]:
    """The messages of a mutation's ``userErrors``. Raises RetryableError where a bulk operation is in the
    way.
    """
    listed: Sequence[Mapping[str, Any]] = (
        [error for error in user_errors if isinstance(error, dict)] if isinstance(user_errors, list) else []
    )
    messages = tuple(str(error.get("message", "")) for error in listed)
    if _BUSY_USER_ERRORS & {str(error.get("code")) for error in listed}:
        raise RetryableError(f"{PROVIDER}: {_joined(messages)}")
    return messages


def refuse_user_errors(operation: str, messages: Iterable[str]) -> None:
    """Raise TerminalError where there are any: the request itself is at fault."""
    joined = _joined(messages)
    if joined:
        raise TerminalError(f"{PROVIDER} {operation}: {joined}")


def _joined(messages: Iterable[str]) -> str:
    return "; ".join(message[:200] for message in messages)
