"""What the Graph API's answers mean. Pure.

Meta says no with an error object, whose code and subcode decide; it never says how long to wait but in its usage
headers, in minutes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from typing import Any

from tradewind.errors import (
    CredentialsRejectedError,
    InvalidPayloadError,
    MisconfiguredError,
    ProviderUnavailableError,
    RateLimitedError,
    TradewindError,
)
from tradewind.integrations.transport import Answer
from tradewind.spending import TooMuchDataError

PROVIDER, LIMIT = "meta", "meta usage"
RATE_CODES = frozenset({4, 17, 32, 341, 613, *range(80000, 80015)})
_PASSING = frozenset({1, 2, 368, 5000, 21009, -2})
_CREDENTIALS = frozenset({102, 190, 200, 10, 3})
NO_OBJECT, TOO_MUCH_DATA = 33, frozenset({1504018, 1504038, 1487534})
WITHOUT_ADVICE, LONGEST = timedelta(seconds=60), timedelta(hours=1)
_PERCENTAGES = ("call_count", "total_cputime", "total_time")


@dataclass(frozen=True, slots=True)
class Usage:
    """The busiest of Meta's meters, in percent, and how long it asks to stay away."""

    percent: float = 0.0
    wait: timedelta = timedelta()


def read_answer(answer: Answer) -> Mapping[str, Any]:
    """The body of a success. Raises the error that another answer means."""
    try:
        document = json.loads(answer.body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        if answer.status in {HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND}:
            raise MisconfiguredError(
                f"{PROVIDER} answered {answer.status} without JSON; check TRADEWIND_META_URL"
            )
        raise _unavailable(f"answered {answer.status} without JSON")
    error = document.get("error")
    if isinstance(error, dict):
        raise error_of(error, answer)
    if answer.status >= HTTPStatus.BAD_REQUEST:
        raise _unavailable(f"answered {answer.status}")
    return document


def error_of(error: Mapping[str, Any], answer: Answer) -> TradewindError:  # noqa: PLR0911 - one end for each kind
    """The kernel's error for one of Meta's; its message names what Meta's support asks for."""
    code, subcode = _whole(error.get("code")), _whole(error.get("error_subcode"))
    about = f"{code}/{subcode}: {str(error.get('message') or '')[:200]} (trace {error.get('fbtrace_id')})"
    if subcode in TOO_MUCH_DATA:
        return TooMuchDataError("range", about, "ask for fewer days")
    if code in RATE_CODES:
        return RateLimitedError(LIMIT, usage_of(answer.headers).wait or WITHOUT_ADVICE)
    if code in _PASSING or error.get("is_transient") is True:
        return _unavailable(about)
    if code in _CREDENTIALS:
        return CredentialsRejectedError(f"{PROVIDER}: {about}")
    if subcode == NO_OBJECT:
        return MisconfiguredError(f"{PROVIDER}: {about}: check the id and what the token may see")
    if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return _unavailable(about)
    return InvalidPayloadError("event", f"{PROVIDER} refuses it: {about}")


def usage_of(headers: Mapping[str, str]) -> Usage:
    """The highest of all meters that an answer's headers tell of; none where they cannot be read."""
    percents, minutes = [0.0], [0.0]
    for meter in _meters(headers):
        percents += [
            _number(meter.get(name)) for name in (*_PERCENTAGES, "acc_id_util_pct", "app_id_util_pct")
        ]
        minutes.append(_number(meter.get("estimated_time_to_regain_access")))
        if _number(meter.get("acc_id_util_pct")) >= 100:  # noqa: PLR2004 - percent
            minutes.append(_number(meter.get("reset_time_duration")) / 60)
    return Usage(max(percents), min(LONGEST, timedelta(minutes=max(minutes))))


def _meters(headers: Mapping[str, str]) -> Iterator[Mapping[str, Any]]:
    for name in (
        "x-app-usage",
        "x-ad-account-usage",
        "x-fb-ads-insights-throttle",
        "x-business-use-case-usage",
    ):
        try:
            document = json.loads(headers.get(name, "null"))
        except ValueError:
            continue
        if not isinstance(document, dict):
            continue
        nested = [each for value in document.values() if isinstance(value, list) for each in value]
        yield from (each for each in (document, *nested) if isinstance(each, dict))


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0.0


def _whole(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _unavailable(about: str) -> ProviderUnavailableError:
    return ProviderUnavailableError(PROVIDER, about, outcome_unknown=True)
