"""Every task, as one tenant with another's identifiers, in a process that has just worked for that other one.

Tasks come from the registry and payloads from their models: a new task is in it without a line here.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from tests.conftest import ROOT
from tests.integration.belongings import MADE, payloads
from tests.integration.harness import printed
from tests.integration.twins import LEDGER, Twins, own_texts
from tests.integration.world import OURS, THEIRS
from tradewind.tasks.message import Source
from tradewind.tasks.registry import discover
from tradewind.tasks.task import Task

TASKS = [task for task in discover(ROOT / "functions") if task.scope == "tenant"]
CALLS = [
    pytest.param(task, at, id=f"{task.id}-{at}")
    for task in TASKS
    for at in range(len(list(payloads(task.payload, THEIRS))))
]


READING_BESIDE = {"analytics-attribution-recalculate-recent"}
"""Tasks that read over a second connection while they write."""


def attack(twins: Twins, task: Task, at: int, actor: UUID, other: int) -> list[dict[str, Any]]:
    """Run a task with every identifier of another's that a message can carry; returns all lines that it logs, and what
    it answers as one more.
    """
    payload = list(payloads(task.payload, other))[at]
    theirs = UUID(int=MADE + other)
    abouts: list[dict[str, Any]] = [
        {"key": theirs.hex, "cause": f"text-{other}"},
        {"source": Source.WORKFLOW, "inbox_id": None},
        {"source": Source.TASK, "replay_of": theirs, "hops": 1},
    ]
    messages = [twins.message(actor, task, payload, other, **about) for about in abouts]
    answers: list[str] = []

    def act() -> None:
        for message in messages:
            twins.work(task, message)
        answers.append(twins.invoke(actor, task, payload))

    lines = printed(act)
    assert len(lines) >= len(messages) + 1
    return [*lines, {"tenant_id": str(actor), "answer": answers}]


@pytest.mark.parametrize(("task", "at"), CALLS)
def test_task_with_anothers_identifiers_reads_and_changes_nothing_of_it(
    twins: Twins, task: Task, at: int
) -> None:
    acme, bolt = twins.world.acme, twins.world.bolt
    twins.prepare(task)
    for actor, other, number in ((bolt, acme, OURS), (acme, bolt, THEIRS)):
        before = twins.world.fingerprint(other)
        lines = attack(twins, task, at, actor, number)
        assert twins.world.fingerprint(other) == before
        assert {line["tenant_id"] for line in lines if "message" in line} == {str(actor)}
        for text in (repr(lines), twins.rows(actor)):
            assert str(other) not in text
            assert own_texts(number) not in text
    at_once = 2 if task.starts_workflow is not None or task.id in READING_BESIDE else 1
    assert len(twins.connections._idle) == at_once


@pytest.mark.parametrize(("task", "at"), CALLS)
def test_the_same_call_reaches_the_owners_rows(twins: Twins, task: Task, at: int) -> None:
    """Else the test before this one would prove nothing."""
    payload = list(payloads(task.payload, THEIRS))[at]
    twins.prepare(task)
    before = twins.world.fingerprint(twins.world.bolt)
    as_acme = twins.invoke(twins.world.acme, task, payload)
    as_bolt = twins.invoke(twins.world.bolt, task, payload)
    after = twins.world.fingerprint(twins.world.bolt)
    touched = {name for name in after if after[name] != before[name]} - LEDGER
    possible = "InvalidPayloadError" not in as_bolt
    assert possible or at > 0
    assert touched or as_bolt != as_acme or not possible


def test_two_tenants_whose_ids_begin_alike_may_both_be_forgotten(twins: Twins) -> None:
    """What is left of one is not in the way of another."""
    task = next(task for task in TASKS if task.id == "gdpr-request-process")
    for tenant_id, number in ((twins.world.acme, OURS), (twins.world.bolt, THEIRS)):
        payload = {"shop_domain": f"text-{number}", "topic": "shop/redact"}
        assert '"state": "done"' in twins.invoke(tenant_id, task, payload)
    slugs = twins.world.read("SELECT slug FROM tenants WHERE status = 'uninstalled' ORDER BY 1")
    assert [row["slug"] for row in slugs] == [f"removed-{UUID(int=number)}" for number in (OURS, THEIRS)]


def test_message_that_points_at_anothers_stored_payload_is_kept_as_a_dead_letter(twins: Twins) -> None:
    """The payload store has no row-level security: whose a payload is, its key says."""
    task = next(task for task in TASKS if task.id == "analytics-attribution-touchpoint-ingest")
    acme, bolt = twins.world.acme, twins.world.bolt
    claim = f"tenants/{bolt}/requests/touch.json"
    twins.payloads.put(claim, json.dumps(next(payloads(task.payload, THEIRS))).encode())
    before = twins.world.fingerprint(acme)
    message = replace(twins.message(acme, task, {}, OURS), payload=None, claim=claim)
    [line] = printed(lambda: twins.work(task, message))
    assert (line["message"], line["error"].split(":")[0]) == (
        "message cannot be read, kept as a dead letter",
        "claim",
    )
    assert twins.world.fingerprint(acme) == before
    [own] = printed(lambda: twins.work(task, replace(message, tenant_id=bolt)))
    assert own["message"] == "run succeeded"
