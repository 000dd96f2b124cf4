"""What Shopify's answers mean: every status, error code and user error has its one kind of error."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tradewind.errors import (
    CredentialsRejectedError,
    InvalidPayloadError,
    MisconfiguredError,
    NotFoundError,
    ProviderUnavailableError,
    RateLimitedError,
    RetryableError,
    TerminalError,
    TradewindError,
)
from tradewind.integrations.shopify.answers import (
    Throttle,
    messages_of,
    read_data,
    read_document,
    read_throttle,
    refuse_user_errors,
    wait_of,
)
from tradewind.integrations.transport import Answer

DATA = Path(__file__).parents[1] / "data" / "shopify"
SHOP = "acme.myshopify.com"


def recorded(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((DATA / f"{name}.json").read_text())
    return document


@pytest.mark.parametrize(
    ("status", "headers", "kind"),
    [
        (301, {"location": "https://x"}, MisconfiguredError),
        (400, {}, TerminalError),
        (401, {}, CredentialsRejectedError),
        (402, {}, TerminalError),
        (403, {}, CredentialsRejectedError),
        (404, {}, NotFoundError),
        (408, {}, ProviderUnavailableError),
        (409, {}, RetryableError),
        (410, {}, NotFoundError),
        (422, {}, TerminalError),
        (423, {}, TerminalError),
        (429, {}, RateLimitedError),
        (430, {}, TerminalError),
        (500, {}, ProviderUnavailableError),
        (502, {}, ProviderUnavailableError),
        (503, {}, ProviderUnavailableError),
        (503, {"retry-after": "3"}, RateLimitedError),
        (504, {}, ProviderUnavailableError),
        (520, {}, ProviderUnavailableError),
    ],
)
def test_status_has_its_kind(status: int, headers: dict[str, str], kind: type[TradewindError]) -> None:
    with pytest.raises(kind) as caught:
        read_document(Answer(status, headers, b"{}"), SHOP, mutates=False)
    assert type(caught.value) is kind


@pytest.mark.parametrize("mutates", [True, False])
@pytest.mark.parametrize("answer", [Answer(500, {}, b""), Answer(200, {}, b"<html>"), Answer(200, {}, b"[]")])
def test_outcome_of_a_failed_mutation_is_unknown(answer: Answer, mutates: bool) -> None:
    with pytest.raises(ProviderUnavailableError) as caught:
        read_document(answer, SHOP, mutates=mutates)
    assert caught.value.outcome_unknown is mutates


@pytest.mark.parametrize("body", [b"", b"{", b"null", b'"text"', b"\xff\xfe", b"[" * 100_000])
def test_unreadable_answer_is_retried(body: bytes) -> None:
    with pytest.raises(ProviderUnavailableError, match="no JSON document"):
        read_document(Answer(200, {}, body), SHOP, mutates=False)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2", 2.0),
        ("2.5", 2.5),
        ("0", 0.1),
        ("-5", 0.1),
        ("86400", 3600.0),
        ("Sun, 22 Nov 2026 10:00:30 GMT", 30.0),
        ("Sun, 22 Nov 2026 09:00:00 GMT", 0.1),
        ("", None),
        ("soon", None),
        ("nan", None),
        ("inf", None),
    ],
)
def test_reads_retry_after(text: str, seconds: float | None) -> None:
    now = datetime(2026, 11, 22, 10, tzinfo=UTC)
    assert wait_of({"retry-after": text}, now) == (None if seconds is None else timedelta(seconds=seconds))


def test_429_without_advice_waits_two_seconds() -> None:
    with pytest.raises(RateLimitedError) as caught:
        read_document(Answer(429, {}, b""), SHOP, mutates=False)
    assert caught.value.wait == timedelta(seconds=2)


def test_recorded_throttled_answer_waits_for_the_missing_points() -> None:
    document = recorded("throttled")
    assert read_throttle(document) == Throttle(666.0, 1000.0, 50.0, 752.0)
    with pytest.raises(RateLimitedError) as caught:
        read_data(document, SHOP, mutates=False)
    assert caught.value.wait == timedelta(seconds=(752 - 666) / 50)


def test_throttled_answer_without_status_waits_two_seconds() -> None:
    with pytest.raises(RateLimitedError) as caught:
        read_data({"errors": [{"extensions": {"code": "THROTTLED"}}]}, SHOP, mutates=False)
    assert caught.value.wait == timedelta(seconds=2)


def test_recorded_internal_error_keeps_the_request_id() -> None:
    with pytest.raises(ProviderUnavailableError, match="3221c58f-3446-4843-a452-a517787121c6") as caught:
        read_data(recorded("internal_error"), SHOP, mutates=True)
    assert caught.value.outcome_unknown is True


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("ACCESS_DENIED", CredentialsRejectedError),
        ("SHOP_INACTIVE", TerminalError),
        ("MAX_COST_EXCEEDED", TerminalError),
        ("INTERNAL_SERVER_ERROR", ProviderUnavailableError),
        ("THROTTLED", RateLimitedError),
        ("SOMETHING_NEW", RetryableError),
        (None, RetryableError),
    ],
)
def test_error_code_has_its_kind(code: str | None, kind: type[TradewindError]) -> None:
    error = {"message": "No", "extensions": {"code": code}} if code else {"message": "No"}
    with pytest.raises(kind) as caught:
        read_data({"errors": [error], "data": None}, SHOP, mutates=False)
    assert type(caught.value) is kind


@pytest.mark.parametrize("errors", ["Not Found", {"query": "missing"}, ["text"], [None]])
def test_errors_of_another_shape_are_terminal(errors: Any) -> None:
    with pytest.raises(TerminalError) as caught:
        read_data({"errors": errors}, SHOP, mutates=False)
    assert type(caught.value) is TerminalError


def test_hidden_field_is_an_answer() -> None:
    hidden = {
        "message": "no approval",
        "path": ["order", "customer"],
        "extensions": {"code": "ACCESS_DENIED"},
    }
    data = {"order": {"id": "gid://shopify/Order/1", "customer": None}}
    assert read_data({"data": data, "errors": [hidden]}, SHOP, mutates=False) == data


def test_denied_root_is_a_refusal() -> None:
    denied = {"message": "no scope", "path": ["order"], "extensions": {"code": "ACCESS_DENIED"}}
    with pytest.raises(CredentialsRejectedError, match="no scope"):
        read_data({"data": {"order": None}, "errors": [denied]}, SHOP, mutates=False)


def test_hidden_field_does_not_excuse_another_error() -> None:
    hidden = {"path": ["order", "customer"], "extensions": {"code": "ACCESS_DENIED"}}
    broken = {"message": "x", "extensions": {"code": "INTERNAL_SERVER_ERROR"}}
    with pytest.raises(ProviderUnavailableError):
        read_data({"data": {"order": None}, "errors": [hidden, broken]}, SHOP, mutates=False)


@pytest.mark.parametrize("document", [{}, {"data": None}, {"data": []}])
def test_answer_without_data_cannot_be_read(document: dict[str, Any]) -> None:
    with pytest.raises(InvalidPayloadError) as caught:
        read_data(document, SHOP, mutates=False)
    assert caught.value.field == "data"


@pytest.mark.parametrize(
    "extensions",
    [
        None,
        [],
        {"cost": None},
        {"cost": {"throttleStatus": {}}},
        {"cost": {"throttleStatus": {"currentlyAvailable": "x", "maximumAvailable": 1, "restoreRate": 1}}},
        {"cost": {"throttleStatus": {"currentlyAvailable": 1, "maximumAvailable": 1, "restoreRate": 0}}},
    ],
)
def test_unusable_throttle_status_is_none(extensions: Any) -> None:
    assert read_throttle({"extensions": extensions}) is None


@pytest.mark.parametrize("code", ["OPERATION_IN_PROGRESS", "LIMIT_REACHED"])
def test_busy_bulk_operation_is_retried(code: str) -> None:
    with pytest.raises(RetryableError, match="in progress") as caught:
        messages_of([{"code": code, "message": "in progress"}])
    assert type(caught.value) is RetryableError


def test_user_errors_are_terminal() -> None:
    messages = messages_of(
        [{"field": ["uri"], "message": "Address is invalid"}, {"message": "Too long"}, "?"]
    )
    assert messages == ("Address is invalid", "Too long")
    with pytest.raises(TerminalError, match="Subscribe: Address is invalid; Too long"):
        refuse_user_errors("Subscribe", messages)


def test_no_user_errors_pass() -> None:
    refuse_user_errors("Subscribe", messages_of([]))
    assert messages_of(None) == ()
