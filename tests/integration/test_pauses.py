"""Pausing takes effect at once, loses nothing, and a resume releases in order."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import psycopg
import pytest
from pydantic import BaseModel

from infra.operate import OperateError, pages_at
from ingress import admin
from ingress.manifest import Manifest
from tests.integration.harness import add_tenant
from tests.integration.headquarters import SLOT, Headquarters, a_manifest, fire
from tradewind.errors import InvalidPayloadError, PausedError, TerminalError
from tradewind.tasks.message import Source, message_key, read_message
from tradewind.tasks.task import Task
from tradewind.tasks.worker import Dead, Done, TryAgain
from tradewind.tenancy.database import Jsonb

WHY = {"actor": "ann", "reason": "the warehouse moves"}


class Nothing(BaseModel):
    pass


@pytest.fixture
def counting(hq: Headquarters, make_task: Callable[..., Task], monkeypatch: pytest.MonkeyPatch) -> Task:
    """A task that succeeds, known to the manifest that admin reads."""

    def count(payload: Nothing) -> None:
        return None

    manifest = a_manifest("test-task")
    for module in ("admin", "pauses"):
        monkeypatch.setattr(f"ingress.{module}.load_manifest", lambda: manifest)
    monkeypatch.setattr(admin, "current_platform", lambda: hq.platform)
    return make_task(count)


def act(action: str, **fields: Any) -> dict[str, Any]:
    return admin.handle({"action": action, **fields}, None)


def enqueue(hq: Headquarters, *causes: str, tenant_id: UUID | None = None) -> None:
    tenant = tenant_id or hq.house.tenant_id
    rows: list[dict[str, Any]] = [
        {
            "tenant_id": str(tenant),
            "key": message_key(tenant, "test-task", cause),
            "task": "test-task",
            "lane": "live",
            "shard": 0,
            "cause": cause,
            "source": "task",
            "entity": None,
            "payload": {},
            "correlation_id": cause,
            "accepted_at": SLOT.isoformat(),
        }
        for cause in causes
    ]
    with hq.platform.session() as session:
        ready = session.call("SELECT * FROM enqueue(%(rows)s, 100)", {"rows": Jsonb(rows)})
        hq.platform.dispatcher.flush(session, ready)


def work_all(hq: Headquarters, task: Task) -> list[Any]:
    """Work what lies in the queues, as its mapping would."""
    bodies = [entry.body for entry in hq.queues.sent]
    hq.queues.sent.clear()
    worker = hq.house.worker(task)
    return [worker.work(read_message(body), hq.house.deadline()) for body in bodies]


def states(hq: Headquarters) -> list[tuple[str, str]]:
    rows = hq.house.query("SELECT cause, state FROM outbox ORDER BY created_at, key")
    return [(row["cause"], row["state"]) for row in rows]


@pytest.mark.parametrize(
    "what", [{"tenant": "acme"}, {"task": "test-task"}, {"tenant": "acme", "task": "test-task"}]
)
def test_paused_messages_wait_wherever_they_are_and_are_released_in_order(
    hq: Headquarters, counting: Task, what: dict[str, str]
) -> None:
    enqueue(hq, "a")
    enqueue(hq, "b")
    assert act("pause", **what, **WHY)["changed"] is True
    enqueue(hq, "c")
    assert work_all(hq, counting) == [Done(None, again=True)] * 2
    assert states(hq) == [("a", "held"), ("b", "held"), ("c", "held")]
    assert hq.count("task_run") == 0
    with hq.platform.session() as session:
        assert hq.platform.release(session, limit=100) == 0
    assert act("resume", **what) == {
        "tenant": what.get("tenant"),
        "task": what.get("task"),
        "schedule": None,
        "paused": False,
        "changed": True,
        "released": 3,
    }
    assert hq.causes() == ["a", "b", "c"]
    assert len({entry.deduplication for entry in hq.queues.sent}) == 3
    assert work_all(hq, counting) == [Done(None)] * 3
    assert states(hq) == [("a", "done"), ("b", "done"), ("c", "done")]


@pytest.mark.parametrize("what", [{"tenant": "acme"}, {"tenant": "acme", "task": "test-task"}])
def test_another_tenant_goes_on(hq: Headquarters, counting: Task, what: dict[str, str]) -> None:
    bolt = add_tenant(hq.house.urls, "bolt")
    act("pause", **what, **WHY)
    enqueue(hq, "ours")
    enqueue(hq, "theirs", tenant_id=bolt)
    assert hq.causes() == ["theirs"]


def test_message_that_no_row_stands_for_stays_in_its_queue(hq: Headquarters, counting: Task) -> None:
    act("pause", task="test-task", **WHY)
    [end] = [hq.house.run(counting, {}, source=Source.EVENT)]
    assert isinstance(end, TryAgain)
    assert hq.count("task_run") == 0


def test_copy_of_a_message_whose_run_has_ended_is_done_with(hq: Headquarters, counting: Task) -> None:
    enqueue(hq, "a")
    [entry] = hq.queues.sent
    assert work_all(hq, counting) == [Done(None)]
    act("pause", task="test-task", **WHY)
    hq.queues.sent.append(entry)
    assert work_all(hq, counting) == [Done(None, again=True)]
    assert states(hq) == [("a", "done")]


def test_run_by_hand_is_refused_unless_it_is_forced(hq: Headquarters, counting: Task) -> None:
    act("pause", tenant="acme", **WHY)
    worker, message = hq.house.worker(counting), hq.house.message(counting, {}, source=Source.MANUAL)
    refused = worker.work(message, hq.house.deadline(), direct=True)
    assert isinstance(refused, Dead)
    assert isinstance(refused.error, PausedError)
    assert isinstance(refused.error, TerminalError)
    assert worker.work(message, hq.house.deadline(), direct=True, force=True) == Done(None)


def test_steps_of_a_workflow_that_has_begun_are_worked_to_their_end(hq: Headquarters, counting: Task) -> None:
    act("pause", tenant="acme", **WHY)
    message = hq.house.message(counting, {}, source=Source.WORKFLOW)
    assert hq.house.worker(counting).work(message, hq.house.deadline(), direct=True) == Done(None)


def test_paused_schedule_writes_no_slot_and_says_so(hq: Headquarters, counting: Task) -> None:
    manifest: Manifest = a_manifest("test-task")
    act("pause", schedule="hourly", **WHY)
    assert fire(hq, manifest, SLOT) == {"schedule": "hourly", "written": 0, "released": 0, "paused": True}
    assert (hq.count("schedule_slot"), hq.count("outbox")) == (0, 0)
    act("resume", schedule="hourly")
    assert fire(hq, manifest, SLOT)["written"] == 1


def test_pauses_are_listed_and_audited_once_with_who_and_why(hq: Headquarters, counting: Task) -> None:
    for _ in range(2):
        act("pause", tenant="acme", **WHY)
    act("pause", task="test-task", **WHY)
    act("pause", schedule="hourly", **WHY)
    listed = [
        (each["tenant"], each["kind"], each["name"], each["actor"], each["reason"])
        for each in act("list-pauses")["pauses"]
    ]
    assert listed == [
        ("acme", "tenant", "acme", "ann", "the warehouse moves"),
        ("all tenants", "schedule", "hourly", "ann", "the warehouse moves"),
        ("all tenants", "task", "test-task", "ann", "the warehouse moves"),
    ]
    act("resume", tenant="acme", actor="bob")
    audit = hq.house.query(
        "SELECT actor, action, reason, details ->> 'tenant' AS t FROM operator_audit ORDER BY audit_id"
    )
    assert [tuple(row.values()) for row in audit] == [
        ("ann", "pause", "the warehouse moves", "acme"),
        ("ann", "pause", "the warehouse moves", None),
        ("ann", "pause", "the warehouse moves", None),
        ("bob", "resume", None, "acme"),
    ]


def test_registering_a_paused_tenant_again_leaves_it_paused(hq: Headquarters, counting: Task) -> None:
    act("pause", tenant="acme", **WHY)
    with psycopg.connect(hq.house.urls.platform) as connection:
        connection.execute(
            admin._UPSERT_TENANT.encode(),
            {"slug": "acme", "name": "A", "zone": "UTC", "currency": "USD", "settings": Jsonb({})},
        )
    assert hq.house.query("SELECT status FROM tenants WHERE slug = 'acme'") == [{"status": "paused"}]


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({}, "name a tenant, a task"),
        ({"tenant": "acme", "schedule": "hourly"}, "name a tenant, a task"),
        ({"task": "nobody"}, "task: is 'nobody'"),
        ({"schedule": "never"}, "schedule: is 'never'"),
        ({"tenant": "acme", "reason": ""}, "reason"),
    ],
)
def test_pause_that_names_nothing_is_refused(
    hq: Headquarters, counting: Task, fields: dict[str, str], problem: str
) -> None:
    with pytest.raises(InvalidPayloadError, match=problem):
        act("pause", **{**WHY, **fields})
    assert hq.count("operator_audit") == 0


def test_queue_state_counts_by_lane_and_tells_when_all_is_done(hq: Headquarters, counting: Task) -> None:
    enqueue(hq, "a", "b")
    state = act("queue-state", tenant="acme")
    assert state == {
        "queues": [
            {
                "tenant": "acme",
                "task": "test-task",
                "lane": "live",
                "paused": False,
                "held": 0,
                "ready": 0,
                "sent": 2,
                "running": 0,
            }
        ],
        "in_flight": 2,
        "held": 0,
        "drained": False,
    }
    act("pause", task="test-task", **WHY)
    assert act("queue-state", task="test-task")["drained"] is False
    work_all(hq, counting)
    cut_over = act("queue-state")
    assert (cut_over["in_flight"], cut_over["held"], cut_over["drained"]) == (0, 2, True)
    act("resume", task="test-task")
    work_all(hq, counting)
    assert act("queue-state") == {"queues": [], "in_flight": 0, "held": 0, "drained": True}


def test_failed_run_is_found_with_its_reason(
    hq: Headquarters, counting: Task, make_task: Callable[..., Task]
) -> None:
    def broken(payload: Nothing) -> None:
        raise InvalidPayloadError("sku", "is missing")

    task = make_task(broken, "test-broken")
    hq.house.run(task, {}, cause="hook-1", entity="1001", correlation_id="click-1")
    hq.house.run(counting, {}, cause="hook-2")
    wanted = {
        "tenant": "acme",
        "task": "test-broken",
        "state": "failed",
        "entity": "1001",
        "correlation_id": "click-1",
        "error_class": "InvalidPayloadError",
        "since": "2026-01-01T00:00:00+00:00",
    }
    for name, value in wanted.items():
        found = act("find-runs", **{name: value})["runs"]
        assert "hook-1" in {run["cause"] for run in found}, name
    [run] = act("find-runs", **wanted)["runs"]
    assert (run["error_class"], run["error_message"]) == ("InvalidPayloadError", "sku: is missing")
    assert run["log_group"] == "/aws/lambda/tradewind-test-test-broken"
    [attempt] = run["attempts"]
    assert (attempt["number"], attempt["error_class"], attempt["message"]) == (
        1,
        "InvalidPayloadError",
        "sku: is missing",
    )
    assert run["dead_letter"]["state"] == "open"
    assert json.dumps(run)
    for name, value in {
        "entity": "1002",
        "correlation_id": "click-2",
        "until": "2026-01-01T00:00:00Z",
    }.items():
        assert act("find-runs", **{name: value}) == {"runs": []}


@pytest.mark.parametrize(
    ("rate", "pages"),
    [(10, (10, 1)), (2.5, (2, 1)), (1, (1, 1)), (0.1, (1, 10)), (0.001, (1, 1000)), (1000, (1000, 1))],
)
def test_rate_becomes_pages_and_waits(rate: float, pages: tuple[int, int]) -> None:
    assert tuple(pages_at(rate).values()) == pages


@pytest.mark.parametrize("rate", [0, -1, 1001])
def test_impossible_rate_is_refused(rate: float) -> None:
    with pytest.raises(OperateError, match="must lie between"):
        pages_at(rate)
