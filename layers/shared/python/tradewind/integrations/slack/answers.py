"""What Slack's answers mean. Pure.

Slack says no with status 200 and ``{"ok": false, "error": "..."}``: the error's name decides, the status only where
there is no such body.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
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

PROVIDER = "slack"
LIMIT = "slack api"
_PASSING = {"internal_error", "fatal_error", "request_timeout", "service_unavailable", "team_added_to_org"}
_CREDENTIALS = {
    "invalid_auth",
    "not_authed",
    "account_inactive",
    "token_revoked",
    "token_expired",
    "missing_scope",
    "no_permission",
    "org_login_required",
    "ekm_access_denied",
    "access_denied",
}
_CHANNEL = {"channel_not_found", "not_in_channel", "is_archived", "channel_is_archived", "restricted_action"}
_LONGEST = timedelta(hours=1)


def read_answer(answer: Answer) -> Mapping[str, Any]:
    """The body of an answer that says ``ok``. Raises the error that it means otherwise."""
    try:
        document = json.loads(answer.body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict) or "ok" not in document:
        raise _by_status(answer)
    if document["ok"] is True:
        return document
    raise error_of(str(document.get("error", "")), answer.headers)


def error_of(name: str, headers: Mapping[str, str]) -> TradewindError:
    """The kernel's error for one of Slack's."""
    if name in {"ratelimited", "rate_limited"}:
        return RateLimitedError(LIMIT, wait_of(headers))
    if name in _PASSING:
        return ProviderUnavailableError(PROVIDER, name, outcome_unknown=True)
    if name in _CREDENTIALS:
        return CredentialsRejectedError(f"{PROVIDER}: {name}")
    if name in _CHANNEL:
        return MisconfiguredError(f"{PROVIDER}: {name}: invite the bot to the channel, or store another one")
    return InvalidPayloadError("message", f"{PROVIDER} refuses it: {name[:100]}")


def wait_of(headers: Mapping[str, str]) -> timedelta:
    """``Retry-After`` in seconds, at least one."""
    text = headers.get("retry-after", "")
    return min(_LONGEST, timedelta(seconds=max(1, int(text)))) if text.isdigit() else timedelta(seconds=1)


def _by_status(answer: Answer) -> TradewindError:
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
        return RateLimitedError(LIMIT, wait_of(answer.headers))
    if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR or answer.status == HTTPStatus.REQUEST_TIMEOUT:
        return ProviderUnavailableError(PROVIDER, f"answered {answer.status}", outcome_unknown=True)
    if answer.status == HTTPStatus.OK:
        return ProviderUnavailableError(PROVIDER, "answered without JSON", outcome_unknown=True)
    return InvalidPayloadError("message", f"{PROVIDER} answered {answer.status}")
