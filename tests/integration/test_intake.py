"""Webhooks while Postgres is gone or hangs: answered, set aside, taken in once, as if nothing had been."""

from __future__ import annotations

import base64
import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest

from infra.local import PostgresServer, postgres_server
from infra.local.postgres import DatabaseUrls
from infra.local.processes import Launcher
from ingress.intake import wait_of
from ingress.migrate import migrate
from ingress.receiver import Breaker
from tests.integration.door import LIMIT, ORDER, OTHER_SECRET, Door
from tradewind.aws.client import AwsUnavailableError
from tradewind.errors import RateLimitedError
from tradewind.tenancy.database import Connections, DatabaseUnavailableError, Session

NOWHERE = "postgresql://nobody@127.0.0.1:9/none"
ACCEPTED = (200, {"status": "accepted", "correlation_id": "hook-1"})
PLATFORM = UUID(int=0)


@pytest.fixture
def door(database: DatabaseUrls) -> Iterator[Door]:
    built = Door(database)
    yield built
    built.connections.close()


@pytest.fixture(scope="module")
def own_server() -> Iterator[PostgresServer]:
    """A server that this module may stop as it likes."""
    with postgres_server() as server:
        yield server


@pytest.fixture
def own_door(own_server: PostgresServer) -> Iterator[Door]:
    urls = own_server.create_database("intake")
    migrate(urls.owner)
    built = Door(urls)
    yield built
    built.connections.close()
    own_server.drop_database("intake")


@contextmanager
def hanging(server: PostgresServer) -> Iterator[None]:
    """Every process of the server stands still: its sockets take bytes and nobody answers."""
    postmaster = int((server.process.program.folder / "postmaster.pid").read_text().split()[0])
    with psycopg.connect(server.urls.reader) as connection:
        rows = connection.execute("SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()").fetchall()
    stopped = []
    try:
        for pid in [postmaster, *(row[0] for row in rows)]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
                stopped.append(pid)
        yield
    finally:
        for pid in stopped:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


@contextmanager
def stopped(server: PostgresServer) -> Iterator[None]:
    """The server has ended; afterwards it runs again on the same data."""
    server.process.stop()
    try:
        yield
    finally:
        server.process = Launcher().start(server.process.program)
        server.process.wait_until(server.is_ready, 30)


@contextmanager
def out_of_reach(door: Door) -> Iterator[None]:
    """The database refuses connections, and those that are open are gone."""
    there, door.connections._url = door.connections._url, NOWHERE
    door.connections.close()
    try:
        yield
    finally:
        door.connections._url = there
        door.receiver._breaker = Breaker()


def set_aside(door: Door) -> list[dict[str, Any]]:
    return [json.loads(body) for _, body in door.queues.put_aside]


def in_order(door: Door) -> list[str]:
    return [row["event_id"] for row in door.query("SELECT event_id FROM webhook_inbox ORDER BY event_id")]


def test_webhook_is_taken_in_as_if_the_database_had_been_there(door: Door) -> None:
    with out_of_reach(door):
        before = datetime.now(UTC)
        assert door.post() == ACCEPTED
        after = datetime.now(UTC)
        assert [queue for queue, _ in door.queues.put_aside] == ["tradewind-test-intake"]
        assert len(door.take_in()) == 1
    assert door.counts() == (0, 0, 0)
    assert door.take_in() == []
    [entry] = door.queues.sent
    message = json.loads(entry.body)
    assert entry.queue == "tradewind-test-commerce-order-created.fifo"
    assert entry.group.startswith(f"{door.tenants['acme']}#")
    assert (message["payload"], message["cause"], message["entity"]) == (ORDER, "hook-1", "1001")
    arrived = datetime.fromisoformat(message["accepted_at"])
    assert before <= arrived <= after
    [row] = door.query("SELECT received_at, deliveries FROM webhook_inbox")
    assert (row["received_at"], row["deliveries"]) == (arrived, 1)


def test_message_holds_what_is_needed_and_nothing_of_the_way(door: Door) -> None:
    with out_of_reach(door):
        door.post(X_Forwarded_For="203.0.113.9", cookie="c", authorization="a")
    [message] = set_aside(door)
    assert base64.b64decode(message["body"]) == json.dumps(ORDER).encode()
    assert {name for name in message["headers"] if not name.startswith("x-shopify-")} == set()
    assert (message["version"], message["provider"], message["app"]) == (1, "shopify", "default")
    assert (message["claim"], message["verified"]) == (None, False)


def test_copies_on_both_ways_are_one_piece_of_work(door: Door) -> None:
    with out_of_reach(door):
        assert door.post() == ACCEPTED
        assert door.post() == ACCEPTED
    assert door.post()[1]["status"] == "accepted"
    assert door.take_in() == []
    assert door.counts() == (1, 1, 0)
    assert door.query("SELECT deliveries FROM webhook_inbox") == [{"deliveries": 3}]


@pytest.mark.parametrize("warm", [True, False])
@pytest.mark.parametrize(
    ("secret", "shop"),
    [(b"wrong", "acme.myshopify.com"), (OTHER_SECRET, "acme.myshopify.com"), (None, "acme.myshopify.com")],
)
def test_what_is_badly_signed_never_gets_in(door: Door, secret: bytes | None, shop: str, warm: bool) -> None:
    if warm:
        door.post(topic="themes/create")
    with out_of_reach(door):
        status, _ = door.post(secret=secret, shop=shop)
    assert status == (401 if warm else 200)
    assert len(door.queues.put_aside) == (0 if warm else 1)
    assert door.take_in() == []
    assert door.counts() == (0, 0, 0)


def test_kept_secrets_verify_long_after_their_minute(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    door.post(topic="themes/create")
    monkeypatch.setattr("ingress.shops.LIFE_SECONDS", 0.0)
    with out_of_reach(door):
        assert door.post() == ACCEPTED
        assert door.post(secret=b"wrong")[0] == 401
    assert [message["verified"] for message in set_aside(door)] == [True]


def test_shop_that_was_unknown_a_minute_ago_is_verified_when_the_database_is_back(door: Door) -> None:
    """It may have been installed meanwhile, with a secret that this process never saw."""
    unknown: dict[str, Any] = {"shop": "new.myshopify.com"}
    door.post(**unknown)
    with out_of_reach(door):
        assert door.post(**unknown, secret=b"new-secret")[0] == 200
    assert [message["verified"] for message in set_aside(door)] == [False]


def test_what_was_verified_on_arrival_is_taken_in_although_its_secret_is_gone(door: Door) -> None:
    door.post(topic="themes/create")
    with out_of_reach(door):
        door.post()
    door.store_secret(door.vault, door.tenants["acme"], b"another-secret")
    assert door.take_in() == []
    assert door.counts() == (1, 1, 0)


@pytest.mark.parametrize(
    ("change", "counts"),
    [
        ({"body": b"[1]"}, (0, 0, 1)),
        ({"topic": "themes/create"}, (0, 0, 0)),
        ({"shop": "nobody.myshopify.com"}, (0, 0, 0)),
        ({"shop": "gone.myshopify.com", "secret": b"gone-secret"}, (0, 0, 0)),
    ],
)
def test_what_the_receiver_would_not_enqueue_the_intake_does_not_either(
    door: Door, change: dict[str, Any], counts: tuple[int, int, int]
) -> None:
    with out_of_reach(door):
        assert door.post(**change)[0] == 200
    assert door.take_in() == []
    assert door.counts() == counts


def test_large_body_waits_in_the_payload_store_and_leaves_it(door: Door) -> None:
    large = {**ORDER, "note": "n" * (LIMIT * 3 // 4)}
    with out_of_reach(door):
        assert door.post(large) == ACCEPTED
    [message] = set_aside(door)
    assert message["body"] is None
    assert list(door.objects.kept) == [message["claim"]]
    assert door.take_in() == []
    [entry] = door.queues.sent
    claim = json.loads(entry.body)["claim"]
    assert claim.startswith(f"tenants/{door.tenants['acme']}/webhooks/")
    assert list(door.objects.kept) == [claim]


def test_key_service_out_of_reach_is_like_the_database_out_of_reach(door: Door) -> None:
    class Away:
        def decrypt(self, encrypted: bytes, context: Any) -> bytes:
            raise RateLimitedError("aws kms", timedelta(seconds=1))

    keys, door.vault._keys = door.vault._keys, Away()  # type: ignore[assignment]
    door.vault._opened.clear()
    assert door.post() == ACCEPTED
    assert door.counts() == (0, 0, 0)
    door.vault._keys = keys
    assert door.take_in() == []
    assert door.counts() == (1, 1, 0)


def test_provider_delivers_again_where_nothing_takes_the_webhook(door: Door) -> None:
    door.queues.failures = [AwsUnavailableError("sqs: away")]
    with out_of_reach(door):
        assert door.post()[0] == 503
    assert door.queues.put_aside == []


def test_two_failures_in_a_row_spare_the_next_deliveries_the_wait(door: Door) -> None:
    now = [0.0]
    door.receiver._breaker = Breaker(lambda: now[0])
    with out_of_reach(door):
        door.post(webhook_id="a")
        door.post(webhook_id="b")
        breaker = door.receiver._breaker
    door.receiver._breaker = breaker
    assert door.post(webhook_id="c")[0] == 200
    assert in_order(door) == []
    now[0] = Breaker.REST
    door.post(webhook_id="d")
    assert in_order(door) == ["d"]
    assert door.take_in() == []
    assert in_order(door) == ["a", "b", "c", "d"]


def test_one_failure_alone_sets_aside_one_delivery(door: Door) -> None:
    with out_of_reach(door):
        door.post(webhook_id="a")
        breaker = door.receiver._breaker
    door.receiver._breaker = breaker
    door.post(webhook_id="b")
    assert in_order(door) == ["b"]


def test_batch_is_given_back_behind_the_first_message_without_an_answer(door: Door) -> None:
    with out_of_reach(door):
        for name in ("a", "b", "c"):
            door.post(webhook_id=name)
        assert len(door.take_in(age=timedelta(seconds=60))) == 3
    assert [wait for _, wait in door.queues.waits] == [
        pytest.approx(timedelta(seconds=30), abs=timedelta(seconds=2))
    ] * 3
    assert door.take_in() == []
    assert in_order(door) == ["a", "b", "c"]


@pytest.mark.parametrize(("age", "wait"), [(0, 5), (9, 5), (60, 30), (1800, 900), (86_400, 900)])
def test_message_waits_half_as_long_again_within_bounds(age: int, wait: int) -> None:
    now = datetime(2026, 11, 20, tzinfo=UTC)
    sent = int((now - timedelta(seconds=age)).timestamp() * 1000)
    assert wait_of({"attributes": {"SentTimestamp": str(sent)}}, now) == timedelta(seconds=wait)


GOOD = {
    "version": 1,
    "provider": "shopify",
    "app": "default",
    "headers": {},
    "received_at": "2026-11-20T12:00:00+00:00",
    "verified": True,
    "body": "e30=",
    "claim": None,
}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "body: is not JSON"),
        ("[" * 30_000, "body: is not JSON"),
        ("[]", "version: is None"),
        (json.dumps({**GOOD, "version": 2}), "version: is 2; accepted: [1]"),
        (json.dumps({**GOOD, "provider": "nobody"}), "provider: is 'nobody'"),
        (json.dumps({**GOOD, "provider": None}), "provider: is None"),
        (json.dumps({**GOOD, "headers": [1]}), "headers: is no object of texts"),
        (json.dumps({**GOOD, "headers": {"x": 1}}), "headers: is no object of texts"),
        (json.dumps({**GOOD, "verified": "yes"}), "verified: is 'yes'"),
        (json.dumps({**GOOD, "received_at": "2026-11-20T12:00:00"}), "received_at: is no instant"),
        (json.dumps({**GOOD, "body": "ä"}), "body: is not base64"),
        (json.dumps({**GOOD, "body": None}), "body: is None"),
        (json.dumps({**GOOD, "claim": "tenants/a/webhooks/b.json"}), "claim: is 'tenants/a/webhooks/b.json'"),
        (
            json.dumps({**GOOD, "claim": f"tenants/{PLATFORM}/intake/../../a"}),
            f"claim: is 'tenants/{PLATFORM}/intake/../../a'",
        ),
        (json.dumps({**GOOD, "claim": f"tenants/{PLATFORM}/intake/{PLATFORM}"}), "no stored payload"),
    ],
)
def test_message_that_cannot_be_used_is_kept_once_and_holds_nobody_up(
    door: Door, text: str, problem: str
) -> None:
    with out_of_reach(door):
        door.post()
    [(_, good)] = door.queues.put_aside
    assert door.take_in(text, text, good) == []
    [letter] = door.query("SELECT tenant_id, task, body, error_message FROM dead_letter")
    assert (letter["tenant_id"], letter["task"]) == (PLATFORM, "ingress-intake")
    assert bytes(letter["body"]).decode() == text
    assert letter["error_message"].startswith(problem)
    assert in_order(door) == ["hook-1"]


def test_webhooks_of_a_stopped_database_are_taken_in_when_it_runs_again(
    own_server: PostgresServer, own_door: Door
) -> None:
    own_door.post(webhook_id="before")
    with stopped(own_server):
        for number in range(3):
            assert own_door.post(webhook_id=f"during-{number}")[0] == 200
        assert len(own_door.take_in()) == 3
    own_door.receiver._breaker = Breaker()
    assert own_door.take_in() == []
    assert own_door.post(webhook_id="later")[0] == 200
    assert in_order(own_door) == ["before", "during-0", "during-1", "during-2", "later"]
    assert len(own_door.queues.sent) == 5


@pytest.mark.parametrize("pooled", [True, False])
def test_hanging_database_is_waited_for_once_and_the_webhook_set_aside(
    own_server: PostgresServer, own_door: Door, pooled: bool
) -> None:
    """Its sockets stay open and take bytes: no error of the network ends the wait."""
    own_door.post(webhook_id="before")
    if not pooled:
        own_door.connections.close()
    with hanging(own_server):
        assert own_door.post(webhook_id="during")[0] == 200
        assert [message["verified"] for message in set_aside(own_door)] == [True]
        assert own_door.connections._idle == []
        assert own_door.connections._cutoffs == {}
    assert own_door.take_in() == []
    assert in_order(own_door) == ["before", "during"]


def test_slow_statement_is_given_up_by_postgres_too(door: Door) -> None:
    """Else it would go on, holding its locks, with nobody waiting for it."""
    connections = Connections(door.urls.platform, patience=timedelta(milliseconds=300))
    session = Session(connections)
    with pytest.raises(Exception, match="statement timeout"):
        session.call("SELECT pg_sleep(5)", {})
    session.close()
    assert len(connections._idle) == 1
    connections.close()


def test_connection_that_was_lent_too_long_is_not_lent_again(
    own_server: PostgresServer, own_door: Door
) -> None:
    connections = Connections(own_door.urls.platform, patience=timedelta(milliseconds=300))
    session = Session(connections)
    session.call("SELECT 1 AS one", {})
    with hanging(own_server), pytest.raises(DatabaseUnavailableError):
        session.call("SELECT 1 AS one", {})
    session.close()
    assert connections._idle == []
    connections.close()
