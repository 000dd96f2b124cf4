"""Webhooks that we send: signed as Standard Webhooks says, and what an answer means."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

import pytest

from tradewind.errors import MisconfiguredError, ProviderUnavailableError, RateLimitedError
from tradewind.exporting import DestinationGoneError, DestinationRefusedError
from tradewind.integrations.outward import Answer
from tradewind.integrations.signed_webhooks import judge, read_secret, sign, wait_of

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)


def test_signature_is_the_published_example() -> None:
    """The example of the Standard Webhooks' own documentation."""
    headers = sign(
        read_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        datetime.fromtimestamp(1614265330, UTC),
        [b'{"test": ', b"2432232314}"],
    )
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@pytest.mark.parametrize(
    ("secret", "problem"),
    [
        ("whsec_not base64", "no base64"),
        ("", "has 0 bytes"),
        ("whsec_" + base64.b64encode(b"short").decode(), "has 5 bytes"),
        ("whsec_" + base64.b64encode(b"x" * 65).decode(), "has 65 bytes"),
    ],
)
def test_weak_secret_is_refused(secret: str, problem: str) -> None:
    with pytest.raises(MisconfiguredError, match=problem):
        read_secret(secret)


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_delivery_is_taken(status: int) -> None:
    judge("shop.example.com", Answer(status, {}, b""), NOW)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (301, DestinationRefusedError),
        (400, DestinationRefusedError),
        (401, DestinationRefusedError),
        (404, DestinationRefusedError),
        (410, DestinationGoneError),
        (413, DestinationRefusedError),
        (408, ProviderUnavailableError),
        (409, ProviderUnavailableError),
        (425, ProviderUnavailableError),
        (500, ProviderUnavailableError),
        (503, ProviderUnavailableError),
        (429, RateLimitedError),
    ],
)
def test_answer_has_its_retry_class(status: int, error: type[Exception]) -> None:
    with pytest.raises(Exception, match=r".") as raised:
        judge("shop.example.com", Answer(status, {}, b""), NOW)
    assert type(raised.value) is error


@pytest.mark.parametrize(
    ("told", "wait"),
    [
        ("120", timedelta(minutes=2)),
        ("999999999999", timedelta(hours=1)),
        ("Sun, 29 Nov 2026 12:00:30 GMT", timedelta(seconds=30)),
        ("Sun, 29 Nov 2026 11:00:00 GMT", timedelta(seconds=1)),
        ("soon", timedelta(minutes=1)),
        ("", timedelta(minutes=1)),
    ],
)
def test_wait_is_the_receivers_own(told: str, wait: timedelta) -> None:
    assert wait_of(Answer(429, {"retry-after": told}, b""), NOW) == wait
