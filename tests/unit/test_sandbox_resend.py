"""The sandbox's Resend refuses what Resend refuses, and remembers what Resend remembers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from infra.local.sandbox.faults import Fault
from infra.local.sandbox.resend.provider import ResendProvider
from infra.local.sandbox.wire import Request

GOOD = {"from": "Acme <a@acme.com>", "to": ["ann@example.com"], "subject": "s", "html": "<p>h</p>"}


class Caller:
    def __init__(self) -> None:
        self.now = 1000.0
        self.provider = ResendProvider(lambda: self.now)

    def post(
        self, body: Any, *path: str, key: str | None = None, **headers: str | None
    ) -> tuple[int, Any, dict[str, str]]:
        given = {"authorization": "Bearer re_acme", "user_agent": "test", "idempotency_key": key, **headers}
        sent = {name.replace("_", "-"): text for name, text in given.items() if text is not None}
        request = Request("POST", path or ("emails", "batch"), {}, sent, json.dumps(body).encode())
        reply, _ = self.provider.answer(request, request.path)
        return reply.status, json.loads(reply.body) if reply.body[:1] in b"{[" else None, dict(reply.headers)

    def control(self, path: str, document: Any) -> None:
        request = Request("PUT", (), {}, {}, json.dumps(document).encode())
        assert self.provider.control(request, tuple(path.split("/"))).status == 200


@pytest.fixture
def caller() -> Caller:
    return Caller()


@pytest.mark.parametrize(
    ("headers", "status", "name"),
    [
        ({"authorization": None}, 401, "missing_api_key"),
        ({"authorization": "Bearer sk_x"}, 403, "invalid_api_key"),
        ({"user_agent": None}, 403, None),
        ({"idempotency_key": "k" * 257}, 400, "invalid_idempotency_key"),
    ],
)
def test_caller_must_name_itself(
    caller: Caller, headers: dict[str, str | None], status: int, name: str | None
) -> None:
    answered, document, _ = caller.post([GOOD], **headers)
    assert (answered, (document or {}).get("name")) == (status, name)
    assert caller.provider.sent == []


@pytest.mark.parametrize(
    ("change", "status", "name"),
    [
        ({"from": ""}, 422, "missing_required_field"),
        ({"to": []}, 422, "missing_required_field"),
        ({"subject": ""}, 422, "missing_required_field"),
        ({"html": ""}, 422, "missing_required_field"),
        ({"from": "Acme"}, 422, "invalid_from_address"),
        ({"to": ["nobody"]}, 422, "validation_error"),
        ({"tags": [{"name": "a b", "value": "c"}]}, 422, "validation_error"),
        ({"attachments": [{}]}, 422, "validation_error"),
    ],
)
def test_one_bad_e_mail_fails_a_strict_batch_and_stands_alone_in_a_permissive_one(
    caller: Caller, change: dict[str, Any], status: int, name: str
) -> None:
    answered, document, _ = caller.post([GOOD, {**GOOD, **change}])
    assert (answered, document["name"], caller.provider.sent) == (status, name, [])
    answered, document, _ = caller.post([GOOD, {**GOOD, **change}], x_batch_validation="permissive")
    assert (answered, len(document["data"]), document["errors"][0]["index"]) == (200, 1, 1)
    assert len(caller.provider.sent) == 1


def test_batch_holds_a_hundred(caller: Caller) -> None:
    assert caller.post([GOOD] * 101)[0] == 422
    assert caller.post([])[0] == 422
    assert len(caller.post([GOOD] * 100)[1]["data"]) == 100


def test_key_is_kept_for_a_day_for_the_same_content(caller: Caller) -> None:
    first = caller.post([GOOD], key="k")[1]
    assert caller.post([GOOD], key="k")[1] == first
    answered, document, _ = caller.post([{**GOOD, "subject": "other"}], key="k")
    assert (answered, document["name"]) == (409, "invalid_idempotent_request")
    assert len(caller.provider.sent) == 1
    caller.now += 24 * 3600
    assert caller.post([GOOD], key="k")[1] != first
    assert len(caller.provider.sent) == 2


def test_refused_call_leaves_its_key_free(caller: Caller) -> None:
    caller.control("accounts/acme", {"daily_quota": 1})
    assert caller.post([GOOD, GOOD], key="k")[1]["name"] == "daily_quota_exceeded"
    caller.control("accounts/acme", {"daily_quota": 2})
    assert caller.post([GOOD, GOOD], key="k")[0] == 200


def test_account_has_five_calls_a_second_whatever_its_key(caller: Caller) -> None:
    caller.control("accounts/acme", {"api_key": "re_second"})
    keys = ("Bearer re_acme", "Bearer re_second")
    answers = [caller.post([GOOD], authorization=keys[at % 2]) for at in range(6)]
    assert [status for status, _, _ in answers] == [200] * 5 + [429]
    assert answers[0][2]["ratelimit-remaining"] == "4"
    assert float(answers[5][2]["retry-after"]) == pytest.approx(1.0)
    caller.now += 1.0
    assert caller.post([GOOD])[0] == 200


@pytest.mark.parametrize(("quota", "seconds"), [("daily_quota", 86_400), ("monthly_quota", 30 * 86_400)])
def test_quota_comes_back_with_its_time(caller: Caller, quota: str, seconds: int) -> None:
    caller.control("accounts/acme", {quota: 1})
    assert caller.post([GOOD])[0] == 200
    answered, document, _ = caller.post([GOOD])
    assert (answered, document["name"]) == (429, f"{quota}_exceeded")
    caller.now += seconds
    assert caller.post([GOOD])[0] == 200


def test_unverified_domain_sends_nothing(caller: Caller) -> None:
    caller.control("accounts/acme", {"domain": "other.com"})
    answered, document, _ = caller.post(GOOD, "emails")
    assert (answered, document["name"]) == (403, "validation_error")
    caller.control("accounts/acme", {"domain": "acme.com"})
    assert set(caller.post(GOOD, "emails")[1]) == {"id"}


@pytest.mark.parametrize(
    ("fault", "status", "name"),
    [
        (Fault.TOO_MANY, 429, "rate_limit_exceeded"),
        (Fault.DAILY_QUOTA, 429, "daily_quota_exceeded"),
        (Fault.MONTHLY_QUOTA, 429, "monthly_quota_exceeded"),
        (Fault.CONCURRENT, 409, "concurrent_idempotent_requests"),
        (Fault.SERVER_ERROR, 500, "application_error"),
    ],
)
def test_faults_have_resends_own_words(caller: Caller, fault: Fault, status: int, name: str) -> None:
    made: Callable[..., Any] = caller.provider.fail
    reply = made(fault, Request("POST", (), {}, {}, b""), ("emails",))
    assert (reply.status, json.loads(reply.body)["name"]) == (status, name)
