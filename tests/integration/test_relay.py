"""What waited for a task is routed, and what is too old is deleted."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from ingress.relay import Relay
from tests.integration.headquarters import HOUR, SLOT, Headquarters, a_manifest, fire
from tradewind.errors import TerminalError
from tradewind.tasks.task import Task


def add_inbox(
    hq: Headquarters, event_id: str, topic: str, body: Mapping[str, Any] | None, **about: Any
) -> None:
    row: dict[str, Any] = {"state": "unrouted", "age": timedelta(), "provider": "shopify", **about}
    hq.write(
        "INSERT INTO webhook_inbox (tenant_id, provider, app, event_id, topic, shop, state, correlation_id, body,"
        " claim, received_at) VALUES (%s, %s, 'default', %s, %s, 'acme.myshopify.com', %s, %s, %s, %s, now() - %s)",
        hq.house.tenant_id,
        row["provider"],
        event_id,
        topic,
        row["state"],
        f"click-{event_id}",
        None if body is None else json.dumps(body).encode(),
        None if body is not None else f"claims/{event_id}",
        row["age"],
    )


def test_webhooks_that_waited_for_a_task_are_routed_once_it_is_there(hq: Headquarters) -> None:
    add_inbox(hq, "one", "customers/redact", {"shop_id": 7, "customer": {"id": 1}})
    add_inbox(hq, "large", "customers/redact", None)
    add_inbox(hq, "other", "shop/redact", {"shop_id": 7})
    add_inbox(hq, "done", "customers/redact", {"shop_id": 7}, state="routed")
    manifest = a_manifest("redact", routes={"shopify": {"customers/redact": ["redact", "sweep"]}})
    with hq.platform.session() as session:
        relay = Relay(hq.platform, manifest, session)
        assert [relay.route_waiting() for _ in range(2)] == [4, 0]
    states = hq.house.query("SELECT event_id, state FROM webhook_inbox ORDER BY 1")
    assert {row["event_id"]: row["state"] for row in states} == {
        "done": "routed",
        "large": "routed",
        "one": "routed",
        "other": "unrouted",
    }
    bodies = [json.loads(entry.body) for entry in hq.queues.sent]
    assert sorted((body["cause"], body["task"]) for body in bodies) == [
        ("large", "redact"),
        ("large", "sweep"),
        ("one", "redact"),
        ("one", "sweep"),
    ]
    assert {body["claim"] for body in bodies if body["cause"] == "large"} == {"claims/large"}
    assert all(body["payload"]["shop_id"] == 7 for body in bodies if body["cause"] == "one")
    assert {body["correlation_id"] for body in bodies} == {"click-one", "click-large"}


def test_topic_of_another_provider_is_not_taken_for_a_routed_one(hq: Headquarters) -> None:
    add_inbox(hq, "stripe-1", "orders/create", {"id": 1}, provider="stripe")
    manifest = a_manifest("redact", routes={"shopify": {"orders/create": ["redact"]}})
    with hq.platform.session() as session:
        assert Relay(hq.platform, manifest, session).route_waiting() == 0
    assert hq.house.query("SELECT state FROM webhook_inbox") == [{"state": "unrouted"}]


def age_everything(hq: Headquarters, by: timedelta) -> None:
    columns = {
        "webhook_inbox": "received_at",
        "outbox": "created_at",
        "task_run": "first_started_at",
        "dead_letter": "created_at",
        "schedule_slot": "created_at",
    }
    for table, column in columns.items():
        hq.write(f"UPDATE {table} SET {column} = {column} - %s", by)


def test_message_that_is_not_due_yet_is_never_too_old(hq: Headquarters) -> None:
    fire(hq, a_manifest(), SLOT)
    hq.write(
        "UPDATE outbox SET state = 'held', due_at = now() + interval '1 day', created_at = now() - interval '60 days'"
    )
    with hq.platform.session() as session:
        Relay(hq.platform, a_manifest(), session).purge()
    assert hq.count("outbox") == 1


def test_what_is_older_than_thirty_days_is_deleted_and_nothing_else(
    hq: Headquarters, make_task: Callable[..., Task]
) -> None:
    def refuses() -> None:
        raise TerminalError("no")

    made = make_task(refuses)

    def leave_traces(name: str) -> None:
        hq.house.run(made, {}, cause=name)
        add_inbox(hq, name, "customers/redact", {"shop_id": 7})
        manifest = a_manifest("redact", routes={"shopify": {"customers/redact": ["redact"]}})
        with hq.platform.session() as session:
            Relay(hq.platform, manifest, session).route_waiting()
        hq.write("UPDATE outbox SET state = 'done'")
        fire(hq, a_manifest(), SLOT if name == "old" else SLOT + HOUR)

    leave_traces("old")
    hq.write("UPDATE outbox SET state = 'done'")
    age_everything(hq, timedelta(days=30, minutes=1))
    hq.write("UPDATE outbox SET due_at = due_at - interval '31 days'")
    leave_traces("young")
    tables = ("webhook_inbox", "outbox", "task_run", "task_attempt", "dead_letter", "schedule_slot")
    before = {table: hq.count(table) for table in tables}
    with hq.platform.session() as session:
        assert Relay(hq.platform, a_manifest(), session).purge() > 0
    assert {table: hq.count(table) for table in tables} == {name: n // 2 for name, n in before.items()}
    assert hq.house.query("SELECT cause FROM task_run UNION SELECT cause FROM dead_letter") == [
        {"cause": "young"}
    ]
    with hq.platform.session() as session:
        assert Relay(hq.platform, a_manifest(), session).purge() == 0


AGE = timedelta(minutes=20)


def add_run(hq: Headquarters, task: str, cause: str, source: str, state: str, ended: timedelta) -> None:
    """A run whose lease ended, or whose next try was due, so long ago."""
    hq.write(
        "INSERT INTO task_run (tenant_id, run_id, task, cause, source, correlation_id, state, lease_until,"
        " next_attempt_at, accepted_at) VALUES"
        " (%s, gen_random_uuid(), %s, %s, %s, %s, %s, now() - %s::interval, now() - %s::interval, now())",
        hq.house.tenant_id,
        task,
        cause,
        source,
        cause,
        state,
        ended if state == "running" else None,
        ended if state == "retrying" else None,
    )


def test_a_step_whose_function_died_after_its_workflow_had_ended_for_good_does_not_hang(
    hq: Headquarters,
) -> None:
    add_run(hq, "starter", "gone", "webhook", "failed", AGE)
    add_run(hq, "step", "gone", "workflow", "running", AGE)
    add_run(hq, "other-step", "gone", "workflow", "retrying", AGE)
    add_run(hq, "starter", "open", "webhook", "retrying", AGE)
    add_run(hq, "step", "open", "workflow", "running", AGE)
    add_run(hq, "step", "young", "workflow", "running", timedelta(minutes=1))
    add_run(hq, "by-hand", "manual:1", "manual", "running", AGE)
    add_run(hq, "by-hand", "queued", "manual", "retrying", AGE)
    hq.write(
        "INSERT INTO outbox (tenant_id, key, task, shard, cause, source, correlation_id, state, accepted_at)"
        " VALUES (%s, 'k', 'by-hand', 0, 'queued', 'manual', 'c', 'sent', now())",
        hq.house.tenant_id,
    )
    with hq.platform.session() as session:
        relay = Relay(hq.platform, a_manifest("redact"), session)
        assert [relay.close_abandoned() for _ in range(2)] == [3, 0]
    closed = hq.house.query(
        "SELECT task, cause FROM task_run WHERE error_class = 'AbandonedError' ORDER BY 1, 2"
    )
    assert [(row["task"], row["cause"]) for row in closed] == [
        ("by-hand", "manual:1"),
        ("other-step", "gone"),
        ("step", "gone"),
    ]
    assert hq.count("dead_letter") == 0


def test_event_of_our_own_reaches_the_task_that_waits_for_its_type(hq: Headquarters) -> None:
    events = [
        {"type": "customer.created", "key": "7", "correlation_id": "click-1", "payload": {"customer_id": 7}},
        {"type": "inventory.low", "key": "8", "correlation_id": "click-1", "payload": {"available": 3}},
    ]
    for _ in range(2):
        hq.house.write("SELECT publish_events(%s::jsonb)", json.dumps(events))
    manifest = replace(a_manifest("redact"), events={"customer.created": ["redact"]})
    with hq.platform.session() as session:
        relay = Relay(hq.platform, manifest, session)
        assert [relay.route_waiting() for _ in range(2)] == [1, 0]
    [entry] = hq.queues.sent
    body = json.loads(entry.body)
    told = ("task", "source", "cause", "correlation_id", "payload")
    assert [body[name] for name in told] == [
        "redact",
        "event",
        "customer.created:7",
        "click-1",
        {"customer_id": 7},
    ]
    states = hq.house.query("SELECT topic, state FROM webhook_inbox ORDER BY 1")
    assert [tuple(row.values()) for row in states] == [
        ("customer.created", "routed"),
        ("inventory.low", "unrouted"),
    ]
