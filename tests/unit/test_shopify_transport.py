"""The transport: time-outs, the hook before a request, and what each failure below HTTP becomes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import httpx
import pytest

from tradewind.errors import MisconfiguredError, ProviderUnavailableError
from tradewind.integrations.transport import Answer, Transport

Handler = Callable[[httpx.Request], httpx.Response]


def over(handler: Handler, before_request: Callable[[], None] | None = None) -> Transport:
    transport = Transport.open(timedelta(seconds=4), wire=httpx.MockTransport(handler))
    return transport if before_request is None else transport.bound_to(before_request)


def failing(error: Exception) -> Handler:
    def handle(_: httpx.Request) -> httpx.Response:
        raise error

    return handle


@pytest.mark.parametrize(
    ("error", "outcome_unknown"),
    [
        (httpx.ConnectError("refused"), False),
        (httpx.ConnectTimeout("slow"), False),
        (httpx.PoolTimeout("full"), False),
        (httpx.ProxyError("proxy"), False),
        (httpx.ReadTimeout("slow"), True),
        (httpx.WriteTimeout("slow"), True),
        (httpx.ReadError("reset"), True),
        (httpx.WriteError("reset"), True),
        (httpx.RemoteProtocolError("gone"), True),
        (httpx.DecodingError("gzip"), True),
    ],
)
def test_failure_says_whether_the_outcome_is_known(error: httpx.RequestError, outcome_unknown: bool) -> None:
    with pytest.raises(ProviderUnavailableError) as caught:
        over(failing(error)).post_json("shopify", "https://acme.example/", {})
    assert caught.value.outcome_unknown is outcome_unknown
    assert caught.value.provider == "shopify"


@pytest.mark.parametrize("url", ["ftp://acme.example/", "acme.example", "http://[::1"])
def test_unusable_url_is_a_misconfiguration(url: str) -> None:
    transport = Transport.open(timedelta(seconds=1))
    with pytest.raises(MisconfiguredError, match="unusable request"):
        transport.post_json("shopify", url, {})


def test_settles_before_each_request() -> None:
    order: list[str] = []

    def handle(_: httpx.Request) -> httpx.Response:
        order.append("request")
        return httpx.Response(200)

    transport = over(handle, lambda: order.append("settle"))
    transport.post_json("shopify", "https://acme.example/", {})
    transport.post_json("shopify", "https://acme.example/", {})
    assert order == ["settle", "request", "settle", "request"]


def test_nothing_is_sent_where_settling_fails() -> None:
    sent: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(200)

    def settle() -> None:
        raise LookupError("the transaction is gone")

    with pytest.raises(LookupError):
        over(handle, settle).post_json("shopify", "https://acme.example/", {})
    assert sent == []


def test_every_wait_has_a_limit() -> None:
    waits: list[dict[str, float]] = []

    def handle(request: httpx.Request) -> httpx.Response:
        waits.append(request.extensions["timeout"])
        return httpx.Response(200)

    over(handle).post_json("shopify", "https://acme.example/", {})
    assert waits == [{"connect": 2.0, "read": 4.0, "write": 4.0, "pool": 4.0}]


def test_a_time_out_of_zero_is_refused() -> None:
    with pytest.raises(MisconfiguredError):
        Transport.open(timedelta())


def test_answer_has_lower_case_headers_and_redirects_are_not_followed() -> None:
    transport = over(
        lambda _: httpx.Response(302, headers={"Location": "https://b.example/", "X-A": "1"}, text="go")
    )
    answer = transport.post_json("shopify", "https://acme.example/", {"text": "é"})
    assert answer == Answer(302, answer.headers, b"go")
    assert (answer.headers["location"], answer.headers["x-a"]) == ("https://b.example/", "1")
