"""The demo's delivery over real sockets: the sandbox first, order kept per lane, and Shopify's patience."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from infra.local.demo import delivery as delivery_module
from infra.local.demo.delivery import Outcome, deliver
from infra.local.demo.orders import tell_stories
from infra.local.demo.plan import Delivery, Kind, build_plan

NOW = datetime(2026, 11, 22, 6, 30, tzinfo=UTC)
Handle = Callable[[str, str, dict[str, str], bytes], int]


@contextmanager
def serving(handle: Handle) -> Iterator[str]:
    """An endpoint on a free port; ``handle`` takes method, path, headers and body, and gives the status (0: hang)."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            status = handle(self.command, self.path, dict(self.headers.items()), body)
            if status == 0:
                self.close_connection = True
                return
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        do_POST = do_PUT = _answer  # noqa: N815 - the server's names

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def plan() -> tuple[Delivery, ...]:
    return build_plan(tell_stories(7, NOW, 60), 7, answered_200=(), now=NOW)


def ignore(_done: int, _total: int, _outcome: Outcome) -> None:
    """A progress that shows nothing."""


def test_posts_everything_and_tells_the_sandbox_first(plan: tuple[Delivery, ...]) -> None:
    log: list[tuple[str, str, str, bytes]] = []
    lock = threading.Lock()
    expected = {item.headers["X-Shopify-Webhook-Id"]: item.expected_status for item in plan}

    def handle(method: str, path: str, headers: dict[str, str], body: bytes) -> int:
        with lock:
            log.append((method, path, headers.get("X-Shopify-Webhook-Id", ""), body))
        return 200 if method == "PUT" else expected[headers["X-Shopify-Webhook-Id"]]

    seen: list[tuple[int, int]] = []
    with serving(handle) as url:
        outcomes = deliver(
            plan, f"{url}/base/", 8, lambda done, total, _: seen.append((done, total)), sandbox_url=url
        )
    assert [outcome.delivery for outcome in outcomes] == list(plan)
    assert all(outcome.is_expected and outcome.tries == 1 for outcome in outcomes)
    assert seen == [(done, len(plan)) for done in range(1, len(plan) + 1)]
    posts = [entry for entry in log if entry[0] == "POST"]
    assert {path for _, path, _, _ in posts} == {"/base/webhooks/shopify"}
    assert Counter(webhook for _, _, webhook, _ in posts) == Counter(
        item.headers["X-Shopify-Webhook-Id"] for item in plan
    )
    _assert_sandbox_is_never_behind(plan, log)


def _assert_sandbox_is_never_behind(
    plan: tuple[Delivery, ...], log: list[tuple[str, str, str, bytes]]
) -> None:
    """At each post the sandbox's state is that of the latest event delivered so far, this one included."""
    by_webhook = {item.headers["X-Shopify-Webhook-Id"]: item for item in plan if item.kind is Kind.EVENT}
    told: dict[int, bytes] = {}
    latest: dict[int, Delivery] = {}
    for method, path, webhook, body in log:
        if method == "PUT":
            told[int(path.rsplit("/", 1)[1])] = body
        elif webhook in by_webhook:
            item = by_webhook[webhook]
            number = item.order_id or 0
            if number not in latest or item.step > latest[number].step:
                latest[number] = item
            assert str((latest[number].order_state or {})["updated_at"]).encode() in told[number]
    assert len(latest) == 60


def test_deliveries_of_an_order_keep_the_plans_order(plan: tuple[Delivery, ...]) -> None:
    arrived: list[str] = []

    def handle(_method: str, _path: str, headers: dict[str, str], _body: bytes) -> int:
        arrived.append(headers["X-Shopify-Webhook-Id"])
        return 200

    with serving(handle) as url:
        deliver(plan, url, 8, ignore)
    places = {webhook: at for at, webhook in reversed(list(enumerate(arrived)))}
    for number in {item.order_id for item in plan if item.kind is Kind.EVENT}:
        own = [item.headers["X-Shopify-Webhook-Id"] for item in plan if item.order_id == number]
        instants = [places[webhook] for webhook in dict.fromkeys(own)]
        assert instants == sorted(instants)


@pytest.mark.parametrize("failure", [500, 503, 0])
def test_tries_again_with_the_same_id_after_a_failure(
    plan: tuple[Delivery, ...], failure: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery_module, "_WAITS", (0.01, 0.01, 0.01))
    tries: Counter[str] = Counter()

    def handle(_method: str, _path: str, headers: dict[str, str], _body: bytes) -> int:
        tries[headers["X-Shopify-Webhook-Id"]] += 1
        return failure if tries[headers["X-Shopify-Webhook-Id"]] < 3 else 200

    events = [item for item in plan if item.kind is Kind.EVENT][:10]
    with serving(handle) as url:
        outcomes = deliver(events, url, 2, ignore)
    assert [(outcome.status, outcome.tries) for outcome in outcomes] == [(200, 3)] * 10
    assert set(tries.values()) == {3}


@pytest.mark.parametrize(("failure", "tries"), [(500, 4), (0, 4), (401, 1), (413, 1)])
def test_gives_up_in_the_end_and_never_repeats_a_refusal(
    plan: tuple[Delivery, ...], failure: int, tries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery_module, "_WAITS", (0.01, 0.01, 0.01))
    with serving(lambda *_: failure) as url:
        [outcome] = deliver(plan[:1], url, 1, ignore)
    assert (outcome.status, outcome.tries, outcome.is_expected) == (failure, tries, False)


def test_an_answer_after_five_seconds_is_none(
    plan: tuple[Delivery, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery_module, "_WAITS", ())
    monkeypatch.setattr(delivery_module, "ANSWER_WITHIN", 0.2)

    def handle(*_: Any) -> int:
        time.sleep(0.5)
        return 200

    with serving(handle) as url:
        [outcome] = deliver(plan[:1], url, 1, ignore)
    assert outcome.status == 0
    assert 0.15 < outcome.seconds < 0.45


def test_a_sandbox_that_refuses_ends_the_delivery(plan: tuple[Delivery, ...]) -> None:
    events = [item for item in plan if item.kind is Kind.EVENT][:1]
    with (
        serving(lambda method, *_: 400 if method == "PUT" else 200) as url,
        pytest.raises(RuntimeError, match="answers 400"),
    ):
        deliver(events, url, 1, ignore, sandbox_url=url)
