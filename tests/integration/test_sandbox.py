"""The provider sandbox as a process of its own, over real sockets."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from infra.local.sandbox.providers import PROVIDERS
from tradewind.errors import (
    CredentialsRejectedError,
    ProviderUnavailableError,
    RateLimitedError,
    TradewindError,
)
from tradewind.integrations.shopify.client import ShopifyClient
from tradewind.integrations.shopify.oauth import refresh_access_token
from tradewind.integrations.transport import Transport

ROOT = Path(__file__).parents[2]
SHOP = "acme.myshopify.com"
FAULTS = {"429", "500", "timeout", "reset", "lost_answer", "throttled"}
ORDER = {
    "id": 42,
    "currency": "CAD",
    "created_at": "2026-10-01T10:00:00-04:00",
    "updated_at": "2026-10-02T10:00:00-04:00",
    "total_price": "89.99",
    "total_discounts": "0.01",
    "landing_site": "/?utm_source=google&utm_medium=cpc",
    "line_items": [
        {"id": 420, "title": "Aviator", "quantity": 2, "price": "45.00", "total_discount": "0.01"}
    ],
}


@contextmanager
def running(*arguments: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A sandbox on a free port, ended in the orderly way."""
    process = subprocess.Popen(
        [sys.executable, "-m", "infra.local.sandbox", "--port", "0", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        yield process.stdout.readline().split()[-1], process
    finally:
        process.terminate()
        assert process.wait(10) == 0
        assert process.stderr.read() == ""
        process.stdout.close()
        process.stderr.close()


@dataclass
class Sandbox:
    url: str
    opened: list[Transport] = field(default_factory=list)

    def send(self, method: str, path: str, document: Any = None) -> Any:
        answer = httpx.request(method, f"{self.url}/_sandbox/{path}", json=document)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def calls(self, **query: Any) -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = httpx.get(f"{self.url}/_sandbox/calls", params=query).json()["calls"]
        return listed

    def transport(self, timeout: float = 2.0) -> Transport:
        self.opened.append(Transport.open(timedelta(seconds=timeout)))
        return self.opened[-1]

    def close(self) -> None:
        for transport in self.opened:
            transport.close()


@pytest.fixture(scope="module")
def process() -> Iterator[str]:
    with running() as (url, _):
        yield url


@pytest.fixture
def sandbox(process: str) -> Iterator[Sandbox]:
    found = Sandbox(process)
    found.send("POST", "reset")
    yield found
    found.close()


class Tokens:
    """A fixed token, renewed at the sandbox."""

    def __init__(self, sandbox: Sandbox, token: str = "any", refresh_token: str = "r1") -> None:
        self.sandbox = sandbox
        self.token = token
        self.refresh_token = refresh_token

    def access_token(self) -> str:
        return self.token

    def refresh(self, rejected: str) -> str:
        assert rejected == self.token
        renewed = refresh_access_token(
            self.sandbox.transport(),
            shop=SHOP,
            base_url=f"{self.sandbox.url}/shopify/{SHOP}",
            client_id="id",
            client_secret="secret",
            refresh_token=self.refresh_token,
        )
        self.token, self.refresh_token = renewed.access_token, renewed.refresh_token
        return self.token


class Bucket:
    """Records what is reported and never refuses."""

    def __init__(self) -> None:
        self.reported: list[tuple[float, float, float]] = []

    def acquire(self, cost: int) -> None:
        assert cost > 0

    def answered(self) -> None:
        """Nothing is kept of it."""

    def report(self, available: float, maximum: float, restore_per_second: float) -> None:
        self.reported.append((available, maximum, restore_per_second))


def client_of(
    sandbox: Sandbox, tokens: Tokens | None = None, bucket: Bucket | None = None, timeout: float = 2.0
) -> ShopifyClient:
    return ShopifyClient(
        SHOP,
        base_url=f"{sandbox.url}/shopify/{SHOP}",
        api_version="2026-07",
        transport=sandbox.transport(timeout),
        limiter=bucket or Bucket(),
        tokens=tokens or Tokens(sandbox),
    )


def test_gives_back_the_order_that_was_put(sandbox: Sandbox) -> None:
    sandbox.send("PUT", f"shopify/{SHOP}/orders/42", ORDER)
    bucket = Bucket()
    found = client_of(sandbox, bucket=bucket).find_order(42)
    assert found is not None
    assert (found.currency, found.total_cents, found.gross_cents, found.discount_cents) == (
        "CAD",
        8_999,
        9_000,
        1,
    )
    assert found.updated_at.isoformat() == "2026-10-02T14:00:00+00:00"
    assert found.visit is not None
    assert found.visit.landing_page == f"https://{SHOP}/?utm_source=google&utm_medium=cpc"
    assert found.visit.utm == {"source": "google", "medium": "cpc"}
    [call] = sandbox.calls(shop=SHOP)
    assert (call["operation"], call["subject"], call["status"], call["fault"]) == (
        "FindOrder",
        "42",
        200,
        None,
    )
    assert bucket.reported == [(2000.0 - call["cost"], 2000.0, 100.0)]


def test_unknown_order_is_null(sandbox: Sandbox) -> None:
    assert client_of(sandbox).find_order(7) is None


def test_any_shop_has_a_sample_order_until_it_has_its_own(sandbox: Sandbox) -> None:
    client = client_of(sandbox)
    first = client.list_orders(updated_from=None, updated_to=None, cursor=None, limit=1)
    again = client.list_orders(updated_from=None, updated_to=None, cursor=None, limit=1)
    [sample] = first.orders
    assert first == again
    assert sample.total_cents == sample.gross_cents > 0
    assert client.find_order(sample.id) == sample
    sandbox.send("PUT", f"shopify/{SHOP}/orders", {"orders": [ORDER]})
    page = client.list_orders(updated_from=None, updated_to=None, cursor=None, limit=1)
    assert [order.id for order in page.orders] == [42]
    assert client.find_order(sample.id) is None


def test_refuses_when_the_bucket_is_empty_and_refills(sandbox: Sandbox) -> None:
    sandbox.send("PUT", f"shopify/{SHOP}/orders/42", ORDER)
    bucket = Bucket()
    client = client_of(sandbox, bucket=bucket)
    refused: RateLimitedError | None = None
    for _ in range(300):
        try:
            client.find_order(42)
        except RateLimitedError as error:
            refused = error
            break
    assert refused is not None
    available, maximum, restore = bucket.reported[-1]
    assert (maximum, restore) == (2000.0, 100.0)
    assert available < 152
    assert refused.wait == max(timedelta(seconds=0.1), timedelta(seconds=(152 - available) / 100))
    # A call may begin with 152 points and costs fewer in the end: so many fit into 2000 before anything flows back.
    calls = sandbox.calls()
    assert calls[-1]["remark"] == "throttled"
    assert len(calls) - 1 >= (2000 - 152) // calls[0]["cost"]
    time.sleep(refused.wait.total_seconds() + 0.05)
    assert client.find_order(42) is not None


def test_plan_sizes_the_bucket(sandbox: Sandbox) -> None:
    sandbox.send("PUT", "shopify/*/plan", {"plan": "plus"})
    bucket = Bucket()
    client_of(sandbox, bucket=bucket).find_order(7)
    assert bucket.reported == [(20_000.0, 20_000.0, 1_000.0)]


def test_token_of_another_is_refused_once_tokens_are_registered(sandbox: Sandbox) -> None:
    sandbox.send("POST", f"shopify/{SHOP}/tokens", {"access_token": "a1", "refresh_token": "r1"})
    assert client_of(sandbox, Tokens(sandbox, "a1")).find_order(1) is None
    with pytest.raises(CredentialsRejectedError, match="install the app again"):
        client_of(sandbox, Tokens(sandbox, "stolen", "guessed")).find_order(1)


def test_expired_token_is_renewed_and_the_refresh_token_rotates(sandbox: Sandbox) -> None:
    sandbox.send("POST", f"shopify/{SHOP}/tokens", {"access_token": "a1", "refresh_token": "r1"})
    sandbox.send("POST", f"shopify/{SHOP}/tokens", {"expire": "a1"})
    tokens = Tokens(sandbox, "a1", "r1")
    assert client_of(sandbox, tokens).find_order(1) is None
    assert tokens.token.startswith("shpat_")
    assert tokens.refresh_token.startswith("shprt_")
    assert [call["status"] for call in sandbox.calls()][-3:] == [401, 200, 200]
    # The answer may have been lost: the old refresh token serves until the new one is used.
    Tokens(sandbox, "a1", "r1").refresh("a1")
    tokens.refresh(tokens.token)
    with pytest.raises(CredentialsRejectedError):
        Tokens(sandbox, "a1", "r1").refresh("a1")


def test_any_token_serves_a_shop_without_registered_ones_but_not_none(sandbox: Sandbox) -> None:
    url = f"{sandbox.url}/shopify/{SHOP}/admin/api/2026-07/graphql.json"
    document = {"query": "{ shop { myshopifyDomain } }"}
    good = httpx.post(url, json=document, headers={"X-Shopify-Access-Token": "x"})
    assert good.json()["data"] == {"shop": {"myshopifyDomain": SHOP}}
    assert good.headers["X-Shopify-API-Version"] == "2026-07"
    assert httpx.post(url, json=document).status_code == 401


@pytest.mark.parametrize(
    ("document", "error"),
    [
        ({}, "unsupported_grant_type"),
        ({"grant_type": "refresh_token"}, "invalid_client"),
        ({"grant_type": "refresh_token", "client_id": "a", "client_secret": "b"}, "invalid_grant"),
    ],
)
def test_incomplete_refresh_is_refused(sandbox: Sandbox, document: dict[str, str], error: str) -> None:
    answer = httpx.post(f"{sandbox.url}/shopify/{SHOP}/admin/oauth/access_token", json=document)
    assert (answer.status_code, answer.json()["error"]) == (400, error)


@pytest.mark.parametrize(
    ("kind", "error", "outcome_unknown", "status"),
    [
        ("429", RateLimitedError, None, 429),
        ("throttled", RateLimitedError, None, 200),
        ("500", ProviderUnavailableError, False, 500),
        ("timeout", ProviderUnavailableError, True, 0),
        ("reset", ProviderUnavailableError, True, 0),
        ("lost_answer", ProviderUnavailableError, True, 200),
    ],
)
def test_fault_is_what_its_name_says(
    sandbox: Sandbox, kind: str, error: type[TradewindError], outcome_unknown: bool | None, status: int
) -> None:
    sandbox.send(
        "POST", "faults", {"provider": "shopify", "rate": 1, "kinds": [kind], "seed": 1, "hold_seconds": 2}
    )
    with pytest.raises(error) as caught:
        client_of(sandbox, timeout=0.4).find_order(1)
    if isinstance(caught.value, ProviderUnavailableError):
        assert caught.value.outcome_unknown is outcome_unknown
    [call] = sandbox.calls()
    assert (call["fault"], call["status"]) == (kind, status)
    sandbox.send("DELETE", "faults")
    assert sandbox.send("GET", "faults") == {"faults": []}


def test_lost_answer_had_its_effect(sandbox: Sandbox) -> None:
    uri = "https://hooks.example/"
    fault = {"rate": 1, "kinds": ["lost_answer"], "remaining": 1, "operation": "CreateWebhookSubscriptions"}
    sandbox.send("POST", "faults", fault)
    client = client_of(sandbox)
    with pytest.raises(ProviderUnavailableError) as caught:
        client.create_webhook_subscriptions(["orders/create", "orders/paid"], uri)
    assert caught.value.outcome_unknown is True
    created, paid = client.create_webhook_subscriptions(["orders/create", "orders/paid"], uri)
    assert client.list_webhook_subscriptions() == (created, paid)
    assert sandbox.send("DELETE", f"shopify/{SHOP}/subscriptions?topic=ORDERS_CREATE") == {"deleted": 1}
    assert client.list_webhook_subscriptions() == (paid,)


def test_same_seed_same_faults(sandbox: Sandbox) -> None:
    plan = {"rate": 0.5, "kinds": ["429", "500", "reset"], "seed": 9}
    drawn = []
    for _ in range(2):
        sandbox.send("POST", "faults", plan)
        sandbox.send("DELETE", "calls")
        for _ in range(40):
            try:
                client_of(sandbox).find_order(1)
            except TradewindError:
                continue
        drawn.append([call["fault"] for call in sandbox.calls()])
    assert drawn[0] == drawn[1]
    assert set(drawn[0]) == {None, "429", "500", "reset"}
    assert 10 <= sum(fault is not None for fault in drawn[0]) <= 30


def test_eight_clients_at_once_get_their_own_orders(sandbox: Sandbox) -> None:
    sandbox.send("PUT", f"shopify/{SHOP}/plan", {"plan": "enterprise"})
    orders = [{**ORDER, "id": number} for number in range(1, 81)]
    assert sandbox.send("PUT", f"shopify/{SHOP}/orders", {"orders": orders}) == {"orders": 80}
    client, found, lock = client_of(sandbox, timeout=10), Counter[int](), threading.Lock()

    def work(lane: int) -> None:
        for number in range(1 + lane, 81, 8):
            order = client.find_order(number)
            with lock:
                found[order.id if order else 0] += 1

    threads = [threading.Thread(target=work, args=(lane,)) for lane in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == Counter(range(1, 81))
    assert len(sandbox.calls()) == 80


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "says"),
    [
        ("POST", "faults", b"{", 400, "Expecting"),
        ("POST", "faults", b"[]", 400, "JSON object"),
        ("POST", "faults", b'{"provider": "stripe"}', 400, "known are shopify"),
        ("POST", "faults", b'{"rate": 2}', 400, "from 0 to 1"),
        ("POST", "faults", b'{"rate": true}', 400, "from 0 to 1"),
        ("POST", "faults", b'{"kinds": ["fire"]}', 400, "lost_answer"),
        ("POST", "faults", b'{"seed": -1}', 400, "whole number"),
        ("GET", "calls?after=x", b"", 400, "whole number"),
        ("GET", "nothing", b"", 404, "GET health"),
        ("PUT", "shopify/a/orders/x", b"{}", 400, "digits"),
        ("PUT", "shopify/a/orders/1", b"[]", 400, "JSON object"),
        ("PUT", "shopify/a/orders/1", b"{}", 400, "created_at"),
        ("PUT", "shopify/a/orders/1", b'{"created_at": "2026-10-01"}', 400, "zone"),
        (
            "PUT",
            "shopify/a/orders/1",
            b'{"created_at": "2026-10-01T10:00:00Z", "total_price": "x"}',
            400,
            "total_price",
        ),
        ("PUT", "shopify/a/orders", b'{"orders": [{}]}', 400, "id"),
        ("PUT", "shopify/a/plan", b'{"plan": "gold"}', 400, "standard"),
        ("GET", "shopify/a/orders/1", b"", 404, "no order 1"),
        ("POST", "shopify/a/nothing", b"", 404, "below shopify"),
    ],
)
def test_bad_control_request_says_what_to_send(
    sandbox: Sandbox, method: str, path: str, body: bytes, status: int, says: str
) -> None:
    answer = httpx.request(method, f"{sandbox.url}/_sandbox/{path}", content=body)
    assert (answer.status_code, says in answer.json()["error"]) == (status, True), answer.text
    assert sandbox.send("GET", "shopify/a/orders") == {"orders": []}


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({"query": "{ order(id: 1) { nope } }"}, "nope"),
        ({"query": "{ orders { nodes { id } } }"}, "first or last"),
        ({"query": "{ orders(first: 251) { nodes { id } } }"}, "250"),
        ({"query": "{ orders(first: 250) { nodes { customer { id } totalPriceSet { shopMoney { amount } } } } }"},
         "single query max cost"),
        ({"query": '{ orders(first: 1, after: "x") { nodes { id } } }'}, "cursor"),
        ({"query": '{ orders(first: 1, query: "vendor:x") { nodes { id } } }'}, "vendor"),
        ({"query": "{"}, "Syntax Error"),
        ({"query": "query A { shop { id } } query B { shop { id } }"}, "one is needed"),
    ],
)  # fmt: skip
def test_bad_query_is_answered_with_errors(sandbox: Sandbox, document: dict[str, str], says: str) -> None:
    url = f"{sandbox.url}/shopify/{SHOP}/admin/api/2026-07/graphql.json"
    answer = httpx.post(url, json=document, headers={"X-Shopify-Access-Token": "x"})
    assert answer.status_code == 200
    assert says in answer.json()["errors"][0]["message"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"query": 1}', b"\xff"])
def test_body_without_query_is_a_bad_request(sandbox: Sandbox, body: bytes) -> None:
    url = f"{sandbox.url}/shopify/{SHOP}/admin/api/2026-07/graphql.json"
    assert httpx.post(url, content=body, headers={"X-Shopify-Access-Token": "x"}).status_code == 400


def test_provider_that_is_not_played(sandbox: Sandbox) -> None:
    answer = httpx.post(f"{sandbox.url}/stripe/v1/payouts", json={})
    assert (answer.status_code, answer.json()["error"]) == (
        404,
        "no provider 'stripe'; played are shopify, resend, slack, ga4, meta, tiktok, google_ads, receiver, fairing",
    )


def test_calls_are_read_on_from_a_number(sandbox: Sandbox) -> None:
    client = client_of(sandbox)
    for number in range(1, 6):
        client.find_order(number)
    first = httpx.get(f"{sandbox.url}/_sandbox/calls", params={"limit": 2}).json()
    rest = httpx.get(f"{sandbox.url}/_sandbox/calls", params={"after": first["last"]}).json()
    assert [call["subject"] for call in first["calls"] + rest["calls"]] == ["1", "2", "3", "4", "5"]
    assert rest["totals"] == [{"provider": "shopify", "shop": SHOP, "calls": 5, "faults": 0, "cost": 0.0}]
    assert sandbox.calls(shop="other.myshopify.com") == []


def test_page_shows_what_came_and_escapes_it(sandbox: Sandbox) -> None:
    client_of(sandbox).find_order(1)
    url = f"{sandbox.url}/shopify/<b>evil/admin/api/2026-07/graphql.json"
    httpx.post(url, json={"query": "{ shop { id } }", "operationName": "<script>"})
    page = httpx.get(sandbox.url)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert SHOP in page.text
    assert "FindOrder" in page.text
    assert "&lt;script&gt;" in page.text
    assert "<script" not in page.text
    assert "<b>evil" not in page.text
    assert "src=" not in page.text


def test_garbage_on_the_socket_harms_nobody(sandbox: Sandbox) -> None:
    host, port = sandbox.url.removeprefix("http://").split(":")
    for garbage in (
        b"\x00\xff\x00\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: 10\r\n\r\nabc",
    ):
        with socket.create_connection((host, int(port)), timeout=2) as connection:
            connection.sendall(garbage)
    assert sandbox.send("GET", "health") == {"status": "ok", "providers": [*PROVIDERS]}


def test_state_survives_an_orderly_restart(tmp_path: Path) -> None:
    folder = ("--state-dir", str(tmp_path / "kept"))
    with running(*folder) as (url, _), closing(Sandbox(url)) as before:
        before.send("PUT", f"shopify/{SHOP}/orders/42", ORDER)
        client_of(before).create_webhook_subscriptions(["orders/create"], "https://hooks.example/")
    with running(*folder) as (url, _), closing(Sandbox(url)) as after:
        client = client_of(after)
        found = client.find_order(42)
        assert found is not None
        assert found.total_cents == 8_999
        assert [item.topic for item in client.list_webhook_subscriptions()] == ["orders/create"]


def test_taken_port_has_a_clear_message(sandbox: Sandbox) -> None:
    port = sandbox.url.rsplit(":", 1)[1]
    ended = subprocess.run(
        [sys.executable, "-m", "infra.local.sandbox", "--port", port],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 1
    assert (
        ended.stderr == f"the sandbox cannot listen on port {port}: Address already in use; choose another\n"
    )


def test_unreadable_state_has_a_clear_message(tmp_path: Path) -> None:
    (tmp_path / "sandbox.json").write_text(json.dumps({"shopify": {"a": {}}}))
    ended = subprocess.run(
        [sys.executable, "-m", "infra.local.sandbox", "--port", "0", "--state-dir", str(tmp_path)],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 1
    assert "sandbox.json cannot be read" in ended.stderr
    assert "delete the file" in ended.stderr
