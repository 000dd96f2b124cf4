"""A run as the API tells it, from before it begins to its end, and after a replay."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from infra.local.postgres import DatabaseUrls
from ingress.manifest import load_manifest
from ingress.replay import ReplayFilter, replay
from tests.integration.desk import INGEST, TOUCH, Desk, Reply
from tests.integration.harness import House
from tradewind.errors import ProviderUnavailableError
from tradewind.tasks.message import read_message
from tradewind.tasks.registry import REGISTRY
from tradewind.tasks.worker import End

ORDER = {"order_id": 1001}


@pytest.fixture
def desk(database: DatabaseUrls) -> Iterator[Desk]:
    built = Desk(database)
    yield built
    built.connections.close()


@pytest.fixture
def house(desk: Desk) -> Iterator[House]:
    built = House(desk.urls, desk.settings, desk.acme)
    yield built
    built.close()


def work(house: House, desk: Desk, at: int = -1) -> End:
    """Work a message that was sent, as its task's Lambda does."""
    message = read_message(desk.queues.sent[at].body)
    return house.worker(REGISTRY.get(message.task)).work(message, datetime.now(UTC) + timedelta(seconds=45))


def told(reply: Reply, *names: str) -> tuple[Any, ...]:
    assert reply.status == 200, reply.body
    return tuple(reply.body[name] for name in names)


def test_run_is_told_before_it_begins_and_after_it_has_ended(desk: Desk, house: House) -> None:
    run_id = desk.publish().body["runs"][0]["run_id"]
    queued = desk.look_up(run_id)
    assert told(queued, "run_id", "task", "state", "attempt", "attempts", "result", "correlation_id") == (
        run_id, INGEST, "queued", 0, [], None, "request-1",
    )  # fmt: skip
    work(house, desk)
    ended = desk.look_up(run_id)
    assert told(ended, "run_id", "state", "source", "attempt", "attempts", "replay_of") == (
        run_id, "succeeded", "event", 1, [], None,
    )  # fmt: skip
    [touch] = desk.query("SELECT touchpoint_id, channel FROM attribution_touchpoints")
    assert ended.body["result"] == {
        "touchpoint_id": str(touch["touchpoint_id"]), "channel": "email", "stored": True,
    }  # fmt: skip
    moments = [
        datetime.fromisoformat(ended.body[name]) for name in ("accepted_at", "started_at", "finished_at")
    ]
    assert moments == sorted(moments)
    assert desk.query("SELECT run_id::text AS id FROM task_run") == [{"id": run_id}]


def test_failed_attempts_are_told_with_their_errors(desk: Desk, house: House) -> None:
    run_id = desk.run(ORDER).body["run_id"]
    house.shopify.failures.append(ProviderUnavailableError("shopify", "answered 503"))
    work(house, desk)
    retrying = desk.look_up(run_id)
    assert told(retrying, "state", "attempt", "finished_at") == ("retrying", 1, None)
    [attempt] = retrying.body["attempts"]
    assert (attempt["number"], attempt["error_class"]) == (1, "ProviderUnavailableError")
    assert attempt["message"] == "shopify: answered 503"
    assert retrying.body["next_attempt_at"] > attempt["ended_at"]


def test_replayed_run_has_an_id_of_its_own_and_names_the_first(desk: Desk, house: House) -> None:
    run_id = desk.run(ORDER).body["run_id"]
    work(house, desk)
    failed = desk.look_up(run_id)
    assert told(failed, "state") == ("failed",)
    assert failed.body["attempts"][0]["error_class"] == "NotFoundError"
    with desk.platform.session() as session:
        replay(desk.platform, session, load_manifest(), ReplayFilter(), "ann", dry_run=False, limit=1)
    again = json.loads(desk.queues.sent[-1].body)
    work(house, desk)
    replayed = desk.look_up(again["key"][:32])
    assert told(replayed, "replay_of", "state") == (run_id, "failed")
    assert replayed.body["run_id"] != run_id
    assert told(desk.look_up(run_id), "state") == ("failed",)


def test_run_that_another_message_began_is_found_under_the_announced_id(desk: Desk, house: House) -> None:
    """An operator may run the same cause by hand first; the ledger has it once, under the first one's id."""
    run_id = desk.publish().body["runs"][0]["run_id"]
    message = read_message(desk.queues.sent[0].body)
    task = REGISTRY.get(INGEST)
    house.run(task, TOUCH, cause=message.cause)
    work(house, desk)
    reply = desk.look_up(run_id)
    assert told(reply, "state", "task") == ("succeeded", INGEST)
    assert len(desk.query("SELECT 1 AS x FROM task_run")) == 1


def test_purged_run_is_no_longer_known(desk: Desk, house: House) -> None:
    run_id = desk.publish().body["runs"][0]["run_id"]
    work(house, desk)
    with psycopg.connect(desk.urls.platform) as connection:
        connection.execute("DELETE FROM task_run")
    assert desk.look_up(run_id).status == 404


def test_body_of_an_api_request_is_taken_for_no_webhook(desk: Desk, house: House) -> None:
    """The chain of a new order finds its webhook by the cause; what an API request says is no order of Shopify's."""
    desk.run(ORDER, "commerce-order-created")
    run_id = desk.look_up(str(desk.message()["key"][:32])).body["run_id"]
    work(house, desk)
    assert told(desk.look_up(run_id), "state") == ("failed",)
    assert desk.query("SELECT 1 AS x FROM orders") == []
