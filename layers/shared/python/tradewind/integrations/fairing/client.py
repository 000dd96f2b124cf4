"""Fairing's API under one account's key: one page a call, no retry of its own.

Its reference is thin: the query's names can be set, and of ``next`` only the query is used, so that no answer leads the
key to another host.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode, urlsplit

from tradewind.errors import (
    CredentialsRejectedError,
    InvalidPayloadError,
    MisconfiguredError,
    ProviderUnavailableError,
    RateLimitedError,
)
from tradewind.integrations.transport import Answer, Transport
from tradewind.surveys import AnswerPage, SurveyAnswer

PROVIDER, LIMIT = "fairing", "fairing api"
PAGE = 100
NAMES: Mapping[str, str] = {"since": "since", "limit": "limit"}
"""What the query's parameters are called."""
WITHOUT_ADVICE, LONGEST = timedelta(seconds=30), timedelta(hours=1)
_LONGEST_TEXT = 2000


class FairingClient:
    """``names`` replace those of the query's parameters that are called otherwise."""

    def __init__(
        self, base_url: str, transport: Transport, secret_key: str, names: Mapping[str, str] | None = None
    ) -> None:
        self._url = f"{base_url.rstrip('/')}/responses"
        self._transport = transport
        self._headers = {"Authorization": secret_key}
        self._names = {**NAMES, **(names or {})}

    def list_answers(self, since: datetime, cursor: str | None, now: datetime) -> AnswerPage:
        """See ``Survey.list_answers``."""
        asked = {self._names["since"]: since.isoformat(), self._names["limit"]: str(PAGE)}
        answer = self._transport.get(PROVIDER, f"{self._url}?{cursor or urlencode(asked)}", self._headers)
        document = _read(answer, now)
        following = urlsplit(str(document.get("next") or "")).query
        if following and following == cursor:
            raise ProviderUnavailableError(PROVIDER, "names a page as the one after itself")
        return AnswerPage(tuple(_answer(each) for each in document["data"]), following or None)


def _read(answer: Answer, now: datetime) -> Mapping[str, Any]:
    """The body of a page. Raises the error that another answer means."""
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
        raise RateLimitedError(LIMIT, wait_of(answer.headers.get("retry-after", ""), now))
    if answer.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        raise CredentialsRejectedError(f"{PROVIDER} answered {answer.status}: check the secret key")
    if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR or answer.status == HTTPStatus.REQUEST_TIMEOUT:
        raise ProviderUnavailableError(PROVIDER, f"answered {answer.status}")
    if answer.status == HTTPStatus.NOT_FOUND or answer.status in range(300, 400):
        raise MisconfiguredError(f"{PROVIDER} answered {answer.status}; check TRADEWIND_FAIRING_URL")
    if answer.status != HTTPStatus.OK:
        raise InvalidPayloadError("query", f"{PROVIDER} answered {answer.status}", "see fairing.parameters")
    try:
        document = json.loads(answer.body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict) or not isinstance(document.get("data"), list):
        raise ProviderUnavailableError(PROVIDER, "answered without data")
    return document


def wait_of(text: str, now: datetime) -> timedelta:
    """``Retry-After`` in seconds or as a date; half a minute where it says neither."""
    if text.strip().isdigit():
        return min(LONGEST, timedelta(seconds=int(text)))
    try:
        return min(LONGEST, max(timedelta(seconds=1), parsedate_to_datetime(text) - now))
    except (TypeError, ValueError):
        return WITHOUT_ADVICE


def _answer(document: Any) -> SurveyAnswer:
    """An answer in Fairing's form. Raises InvalidPayloadError where it has no id or no time."""
    if not isinstance(document, dict) or not document.get("id"):
        raise InvalidPayloadError("response.id", "is missing", f"{PROVIDER} tells one for each answer")
    return SurveyAnswer(
        str(document["id"]),
        _instant(document.get("inserted_at")),
        _text(document.get("question_id")),
        _text(document.get("question")),
        _text(document.get("response")),
        _text(document.get("original_response")),
        _text(document.get("other")) or _text(document.get("clarification_response")),
        _number(document.get("order_id")),
        _text(document.get("order_number")),
        _number(document.get("customer_id")),
    )


def _instant(value: Any) -> datetime:
    """UTC where it names no zone."""
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError as error:
        raise InvalidPayloadError("response.inserted_at", str(error)[:200]) from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _text(value: Any) -> str | None:
    """What is no text, empty or Postgres does not take, is nothing."""
    cleaned = str(value).replace("\x00", "").strip()[:_LONGEST_TEXT] if isinstance(value, str | int) else ""
    return cleaned or None


def _number(value: Any) -> int | None:
    """A shop's number: ids come as text, and may be another platform's."""
    text = str(value)
    return int(text) if text.isascii() and text.isdigit() and 0 < int(text) < 2**63 else None
