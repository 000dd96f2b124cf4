"""Shopify's webhook rules: published signatures, and a table of bad headers."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind.errors import InvalidPayloadError
from tradewind.integrations.shopify.webhook import WebhookHeaders, read_headers, sign, signature_of, verify

DATA = Path(__file__).parents[1] / "data" / "shopify"
VECTORS: list[dict[str, Any]] = json.loads((DATA / "hmac.json").read_text())
GOOD = {
    "X-Shopify-Topic": "orders/create",
    "X-Shopify-Shop-Domain": "Acme.myshopify.com",
    "X-Shopify-API-Version": "2026-07",
    "X-Shopify-Webhook-Id": "b54557e4-bdd9-4b37-8a5f-bf7d70bcd043",
    "X-Shopify-Event-Id": "98880550-7158-44d4-b7cd-2c97c8a091b5",
    "X-Shopify-Triggered-At": "2026-10-01T10:00:00.123456789Z",
}


def body_of(vector: dict[str, Any]) -> bytes:
    return base64.b64decode(vector["body_b64"]) if "body_b64" in vector else vector["body"].encode()


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_accepts_published_signature(vector: dict[str, Any]) -> None:
    secret = vector["secret"].encode()
    assert sign(body_of(vector), secret) == vector["expected"]
    assert verify(body_of(vector), vector["expected"], [secret])
    assert verify(body_of(vector), vector["expected"], [b"another", secret])
    assert not verify(body_of(vector), vector["expected"], [b"another"])


def test_there_are_six_vectors() -> None:
    assert len(VECTORS) == 6


@pytest.mark.parametrize(
    ("body", "header", "secrets"),
    [
        (b"{}", None, [b"hush"]),
        (b"{}", "", [b"hush"]),
        (b"{}", "not base64 !", [b"hush"]),
        (b"{}", "ünïcode", [b"hush"]),
        (b"{}", "\udc80", [b"hush"]),
        (b"{}", sign(b"{}", b"hush")[:-1], [b"hush"]),
        (b"{}", sign(b"{}", b"hush").lower(), [b"hush"]),
        (b"{} ", sign(b"{}", b"hush"), [b"hush"]),
        (b"", sign(b"", b"hush"), [b"hush"]),
        (b"{}", sign(b"{}", b"hush"), []),
        (b"{}", sign(b"{}", b""), [b""]),
    ],
    ids=[
        "missing",
        "empty",
        "no base64",
        "not ascii",
        "surrogate",
        "cut",
        "other case",
        "altered body",
        "empty body",
        "no secret",
        "empty secret",
    ],
)
def test_refuses_signature(body: bytes, header: str | None, secrets: list[bytes]) -> None:
    assert verify(body, header, secrets) is False


@given(st.binary(min_size=1), st.binary(min_size=1, max_size=64), st.binary(min_size=1, max_size=64))
def test_own_signature_fits_and_no_other_secret(body: bytes, secret: bytes, other: bytes) -> None:
    assert verify(body, sign(body, secret), [secret])
    # HMAC pads a key with zeros, so that keys which differ in trailing zeros are one.
    assert verify(body, sign(body, secret), [other]) is (secret.rstrip(b"\0") == other.rstrip(b"\0"))


def test_reads_headers_in_any_case() -> None:
    expected = WebhookHeaders(
        topic="orders/create",
        shop_domain="acme.myshopify.com",
        webhook_id="b54557e4-bdd9-4b37-8a5f-bf7d70bcd043",
        api_version="2026-07",
        event_id="98880550-7158-44d4-b7cd-2c97c8a091b5",
        triggered_at=datetime(2026, 10, 1, 10, 0, 0, 123456, tzinfo=UTC),
    )
    assert read_headers(GOOD) == expected
    assert read_headers({name.lower(): value for name, value in GOOD.items()}) == expected
    assert read_headers({name.upper(): f" {value} " for name, value in GOOD.items()}) == expected


def test_event_id_and_time_may_be_missing() -> None:
    headers = read_headers({**GOOD, "X-Shopify-Event-Id": "", "X-Shopify-Triggered-At": ""})
    assert (headers.event_id, headers.triggered_at) == (None, None)


@pytest.mark.parametrize(
    "name", ["X-Shopify-Topic", "X-Shopify-Shop-Domain", "X-Shopify-API-Version", "X-Shopify-Webhook-Id"]
)
@pytest.mark.parametrize("value", [None, "", "  "], ids=["missing", "empty", "blank"])
def test_names_the_missing_header(name: str, value: str | None) -> None:
    headers = {key: text for key, text in GOOD.items() if key != name}
    if value is not None:
        headers[name] = value
    with pytest.raises(InvalidPayloadError, match="is missing") as caught:
        read_headers(headers)
    assert caught.value.field == name


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-Shopify-Topic", "orders create"),
        ("X-Shopify-Topic", "orders/"),
        ("X-Shopify-Topic", "../../etc/passwd"),
        ("X-Shopify-Topic", "o/" + "x" * 300),
        ("X-Shopify-Shop-Domain", "acme"),
        ("X-Shopify-Shop-Domain", "acme.myshopify.com/../x"),
        ("X-Shopify-Shop-Domain", "acme.myshopify.com:80"),
        ("X-Shopify-Shop-Domain", "-acme.myshopify.com"),
        ("X-Shopify-Shop-Domain", "acme.myshopify.com\x00"),
        ("X-Shopify-Webhook-Id", "a b"),
        ("X-Shopify-Webhook-Id", "x" * 256),
        ("X-Shopify-Webhook-Id", "é"),
        ("X-Shopify-API-Version", "latest"),
        ("X-Shopify-Event-Id", "a\nb"),
        ("X-Shopify-Triggered-At", "yesterday"),
        ("X-Shopify-Triggered-At", "2026-10-01T10:00:00"),
        ("X-Shopify-Triggered-At", "0001-01-01T00:00:00+14:00"),
    ],
)
def test_names_the_impossible_header(name: str, value: str) -> None:
    with pytest.raises(InvalidPayloadError) as caught:
        read_headers({**GOOD, name: value})
    assert caught.value.field == name


def test_finds_the_signature_in_any_case() -> None:
    assert signature_of({"x-shopify-HMAC-sha256": "abc"}) == "abc"
    assert signature_of({}) is None


def test_imports_neither_pydantic_nor_an_http_client() -> None:
    code = (
        "import sys; import tradewind.integrations.shopify.webhook; "
        "print([name for name in ('pydantic', 'httpx', 'boto3', 'redis', 'psycopg') if name in sys.modules])"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(Path(__file__).parents[2] / "layers/shared/python")},
    )
    assert shown.stdout.strip() == "[]"
