"""Every refusal of Resend's, by name, against the kernel's error tree."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

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
from tradewind.integrations.resend.answers import refuse
from tradewind.integrations.resend.models import read_outcomes
from tradewind.integrations.transport import Answer
from tradewind.ports import Email, EmailOutcome

ANSWERS = {
    (case["http_status"], case["body"]["name"]): case
    for case in json.loads((Path(__file__).parents[1] / "data/resend/errors.json").read_text())
}
MEANINGS: dict[tuple[int, str], type[TradewindError]] = {
    (400, "invalid_idempotency_key"): InvalidPayloadError,
    (400, "validation_error"): InvalidPayloadError,
    (401, "missing_api_key"): CredentialsRejectedError,
    (401, "restricted_api_key"): CredentialsRejectedError,
    (403, "invalid_api_key"): CredentialsRejectedError,
    (403, "validation_error"): MisconfiguredError,
    (404, "not_found"): InvalidPayloadError,
    (405, "method_not_allowed"): InvalidPayloadError,
    (409, "concurrent_idempotent_requests"): ConflictError,
    (409, "invalid_idempotent_request"): RepeatRefusedError,
    (422, "invalid_attachment"): InvalidPayloadError,
    (422, "invalid_from_address"): InvalidPayloadError,
    (422, "missing_required_field"): InvalidPayloadError,
    (429, "daily_quota_exceeded"): QuotaExceededError,
    (429, "monthly_quota_exceeded"): QuotaExceededError,
    (429, "rate_limit_exceeded"): RateLimitedError,
    (451, "security_error"): MisconfiguredError,
    (500, "application_error"): ProviderUnavailableError,
    (500, "internal_server_error"): ProviderUnavailableError,
}


def test_every_published_error_has_a_meaning() -> None:
    assert set(ANSWERS) == set(MEANINGS)


@pytest.mark.parametrize(("status", "name"), MEANINGS)
def test_error_is_told_by_its_name(status: int, name: str) -> None:
    answer = Answer(status, {}, json.dumps(ANSWERS[status, name]["body"]).encode())
    with pytest.raises(TradewindError) as caught:
        refuse(answer)
    assert type(caught.value) is MEANINGS[status, name]


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (403, b"error code: 1010", MisconfiguredError),
        (401, b"", CredentialsRejectedError),
        (408, b"", ProviderUnavailableError),
        (409, b"{}", ConflictError),
        (429, b"<html>", RateLimitedError),
        (502, b"<html>Bad gateway</html>", ProviderUnavailableError),
        (301, b"", MisconfiguredError),
        (418, b"[1]", InvalidPayloadError),
    ],
)
def test_body_without_a_name_is_told_by_its_status(
    status: int, body: bytes, error: type[TradewindError]
) -> None:
    with pytest.raises(TradewindError) as caught:
        refuse(Answer(status, {}, body))
    assert type(caught.value) is error


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"retry-after": "7"}, timedelta(seconds=7)),
        ({"retry-after": "0"}, timedelta(milliseconds=50)),
        ({"ratelimit-reset": "2"}, timedelta(seconds=2)),
        ({"retry-after": "soon", "ratelimit-reset": "3"}, timedelta(seconds=3)),
        ({"retry-after": "nan"}, timedelta(seconds=1)),
        ({"retry-after": "1e9"}, timedelta(hours=24)),
        ({}, timedelta(seconds=1)),
    ],
)
def test_rate_limit_waits_as_long_as_it_says(headers: dict[str, str], wait: timedelta) -> None:
    body = json.dumps({"name": "rate_limit_exceeded", "message": ""}).encode()
    with pytest.raises(RateLimitedError) as caught:
        refuse(Answer(429, headers, body))
    assert caught.value.wait == wait


def test_failed_call_may_have_taken_effect() -> None:
    with pytest.raises(ProviderUnavailableError) as caught:
        refuse(Answer(500, {}, b'{"name": "application_error"}'))
    assert caught.value.outcome_unknown


EMAILS = [Email("a@b.co", f"{at}@b.co", "s", "h", "t") for at in range(3)]


def test_outcomes_of_a_permissive_batch_stand_at_their_e_mails() -> None:
    body: dict[str, Any] = {
        "data": [{"id": "first"}, {"id": "third"}],
        "errors": [{"index": 1, "message": "Invalid `to` field."}],
    }
    assert read_outcomes(Answer(200, {}, json.dumps(body).encode()), EMAILS) == (
        EmailOutcome("first"),
        EmailOutcome(None, "Invalid `to` field."),
        EmailOutcome("third"),
    )


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"data": [{"id": "a"}]}',
        b'{"data": [{"id": "a"}, {"id": "b"}, {"id": "c"}, {"id": "d"}]}',
        b'{"data": [{"id": "a"}, {"id": "b"}], "errors": [{"index": 9}]}',
        b'{"data": [{}, {}, {}]}',
        b'{"data": [{"id": "a"}, {"id": "b"}], "errors": [{"index": "x"}]}',
    ],
)
def test_answer_that_does_not_tell_of_each_leaves_the_outcome_unknown(body: bytes) -> None:
    with pytest.raises(ProviderUnavailableError) as caught:
        read_outcomes(Answer(200, {}, body), EMAILS)
    assert caught.value.outcome_unknown
