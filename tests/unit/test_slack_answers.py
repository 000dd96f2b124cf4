"""What Slack's answers mean: logical errors come with status 200."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from tradewind.errors import (
    CredentialsRejectedError,
    InvalidPayloadError,
    MisconfiguredError,
    ProviderUnavailableError,
    RateLimitedError,
    TradewindError,
)
from tradewind.integrations.slack.answers import read_answer
from tradewind.integrations.slack.client import blocks_of
from tradewind.integrations.transport import Answer
from tradewind.ports import Note


def answered(error: str, status: int = 200, **headers: str) -> Answer:
    return Answer(status, headers, json.dumps({"ok": False, "error": error}).encode())


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ("ratelimited", RateLimitedError),
        ("internal_error", ProviderUnavailableError),
        ("fatal_error", ProviderUnavailableError),
        ("request_timeout", ProviderUnavailableError),
        ("service_unavailable", ProviderUnavailableError),
        ("invalid_auth", CredentialsRejectedError),
        ("account_inactive", CredentialsRejectedError),
        ("token_revoked", CredentialsRejectedError),
        ("missing_scope", CredentialsRejectedError),
        ("channel_not_found", MisconfiguredError),
        ("not_in_channel", MisconfiguredError),
        ("is_archived", MisconfiguredError),
        ("invalid_blocks", InvalidPayloadError),
        ("msg_too_long", InvalidPayloadError),
        ("something_new", InvalidPayloadError),
    ],
)
def test_error_by_its_name(error: str, kind: type[TradewindError]) -> None:
    with pytest.raises(kind):
        read_answer(answered(error))


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer(500, {}, b"oops"), ProviderUnavailableError),
        (Answer(503, {}, b"[]"), ProviderUnavailableError),
        (Answer(200, {}, b"<html>"), ProviderUnavailableError),
        (Answer(429, {}, b""), RateLimitedError),
        (Answer(404, {}, b"no"), InvalidPayloadError),
    ],
)
def test_answer_without_a_body_of_slacks_by_its_status(answer: Answer, kind: type[TradewindError]) -> None:
    with pytest.raises(kind):
        read_answer(answer)


@pytest.mark.parametrize(("header", "wait"), [("30", 30), ("0", 1), ("soon", 1), ("99999", 3600)])
def test_wait_is_slacks_own(header: str, wait: int) -> None:
    limited = Answer(429, {"retry-after": header}, b'{"ok": false, "error": "ratelimited"}')
    with pytest.raises(RateLimitedError) as raised:
        read_answer(limited)
    assert raised.value.wait == timedelta(seconds=wait)


def test_answer_that_is_fine_is_given() -> None:
    assert read_answer(Answer(200, {}, b'{"ok": true, "ts": "1.2"}'))["ts"] == "1.2"


@pytest.mark.parametrize("sections", [("x" * 3001,), ("",), ("x",) * 50])
def test_note_that_slack_would_not_take_is_refused_before(sections: tuple[str, ...]) -> None:
    with pytest.raises(InvalidPayloadError, match="sections"):
        blocks_of(Note("T", sections))
