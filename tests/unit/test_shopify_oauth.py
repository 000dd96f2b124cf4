"""The refresh of Shopify's expiring tokens."""

from __future__ import annotations

import json
from datetime import timedelta

import httpx
import pytest

from tradewind.errors import (
    CredentialsRejectedError,
    InvalidPayloadError,
    ProviderUnavailableError,
    RateLimitedError,
    TradewindError,
)
from tradewind.integrations.shopify.oauth import RenewedTokens, refresh_access_token
from tradewind.integrations.transport import Transport

GOOD = {
    "access_token": "shpat_new",
    "scope": "read_orders",
    "expires_in": 3600,
    "refresh_token": "shprt_new",
    "refresh_token_expires_in": 7_776_000,
}


def refresh(answer: httpx.Response, seen: list[httpx.Request] | None = None) -> RenewedTokens:
    def handle(request: httpx.Request) -> httpx.Response:
        if seen is not None:
            seen.append(request)
        return answer

    return refresh_access_token(
        Transport.open(timedelta(seconds=1), wire=httpx.MockTransport(handle)),
        shop="acme.myshopify.com",
        base_url="https://acme.myshopify.com/",
        client_id="id",
        client_secret="secret",
        refresh_token="shprt_old",
    )


def test_renews_both_tokens() -> None:
    seen: list[httpx.Request] = []
    renewed = refresh(httpx.Response(200, json=GOOD), seen)
    assert renewed == RenewedTokens(
        "shpat_new", timedelta(hours=1), "shprt_new", timedelta(days=90), "read_orders"
    )
    assert str(seen[0].url) == "https://acme.myshopify.com/admin/oauth/access_token"
    assert json.loads(seen[0].content) == {
        "client_id": "id",
        "client_secret": "secret",
        "grant_type": "refresh_token",
        "refresh_token": "shprt_old",
    }


def test_tokens_stay_out_of_the_representation() -> None:
    shown = repr(refresh(httpx.Response(200, json=GOOD)))
    assert "shpat_new" not in shown
    assert "shprt_new" not in shown


def test_life_of_the_refresh_token_may_be_missing() -> None:
    answer = {name: value for name, value in GOOD.items() if name != "refresh_token_expires_in"}
    assert refresh(httpx.Response(200, json=answer)).refresh_expires_in is None


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (httpx.Response(400, json={"error": "invalid_grant"}), CredentialsRejectedError),
        (httpx.Response(401), CredentialsRejectedError),
        (httpx.Response(403), CredentialsRejectedError),
        (httpx.Response(429, headers={"Retry-After": "1"}), RateLimitedError),
        (httpx.Response(500), ProviderUnavailableError),
        (httpx.Response(200, text="<html>"), InvalidPayloadError),
        (httpx.Response(200, json={}), InvalidPayloadError),
        (httpx.Response(200, json={**GOOD, "access_token": ""}), InvalidPayloadError),
        (httpx.Response(200, json={**GOOD, "expires_in": 0}), InvalidPayloadError),
        (httpx.Response(200, json=[]), InvalidPayloadError),
    ],
)
def test_refusal_has_its_kind(answer: httpx.Response, kind: type[TradewindError]) -> None:
    with pytest.raises(kind) as caught:
        refresh(answer)
    assert type(caught.value) is kind
    assert "secret" not in str(caught.value)
    assert "shprt" not in str(caught.value)
