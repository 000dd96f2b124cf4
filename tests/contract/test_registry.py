"""What must hold for every task and workflow, however many there will be."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from collections import Counter

import pytest

from infra.cost.data import load_measured
from infra.names import Names
from ingress.manifest import Manifest
from tests.conftest import ROOT
from tradewind.contracts.events import EVENTS
from tradewind.tasks.manifest import (
    FILE,
    PAYLOADS_FILE,
    describe_payloads,
    describe_registry,
    generated_files,
)
from tradewind.tasks.registry import discover
from tradewind.tasks.task import LEASE_MARGIN, Task
from tradewind.tasks.task import task as declare
from tradewind.tasks.triggers import Event
from tradewind.tasks.workflow import Workflow

REGISTRY = discover(ROOT / "functions")
TASKS = sorted((task for task in REGISTRY if not task.id.startswith("test-")), key=lambda each: each.id)
WORKFLOWS = REGISTRY.workflows
STAGES = ("local", "dev", "prod")
KEBAB = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
INGRESS = (
    "receiver",
    "api",
    "experiments",
    "collect",
    "unsubscribe",
    "fan-out",
    "relay",
    "dead-letter-intake",
    "migrate",
    "admin",
)
LAMBDA_DESCRIPTION_LIMIT = 256

each_task = pytest.mark.parametrize("task", TASKS, ids=lambda each: each.id)
each_workflow = pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda each: each.name)


def test_registry_holds_the_tasks_that_the_folders_declare() -> None:
    declared = [
        found
        for path in sorted((ROOT / "functions").glob("*/*/*tasks.py"))
        for found in re.findall(r'^@task\(\s*"([^"]+)"', path.read_text(), re.MULTILINE)
    ]
    assert sorted(declared) == [task.id for task in TASKS]
    assert [name for name, times in Counter(declared).items() if times > 1] == []


def test_ids_of_tasks_schedules_workflows_and_ingress_functions_do_not_meet() -> None:
    ids = [task.id for task in TASKS] + [workflow.name for workflow in WORKFLOWS]
    ids += [cron.name for task in TASKS for cron in task.crons if cron.name]
    ids += [f"ingress-{name}" for name in INGRESS] + ["run-task", "replay-dead-letters"]
    assert [name for name, times in Counter(ids).items() if times > 1] == []
    assert [name for name in ids if not KEBAB.fullmatch(name)] == []


@each_task
def test_task_names_its_domain_and_says_what_it_does(task: Task) -> None:
    assert KEBAB.fullmatch(task.id)
    place = rf"{task.domain}\.{task.feature}\.([a-z_]+_)?tasks\.{task.__name__}"
    assert re.fullmatch(place, task.handler)
    assert 20 <= len(task.description) <= LAMBDA_DESCRIPTION_LIMIT
    assert task.description.endswith((".", ","))
    assert inspect.signature(task.function).return_annotation is not inspect.Signature.empty


@each_task
@pytest.mark.parametrize("stage", STAGES)
def test_names_lie_within_the_limits_of_aws(task: Task, stage: str) -> None:
    names = Names(stage)
    made = [
        names.function(task.id),
        names.queue(task.id),
        names.backfill_queue(task.id),
        names.dead_letters(task.domain),
        names.stack(f"{task.domain}-{task.feature}"),
        *(names.schedule(cron.name or task.id) for cron in task.crons),
    ]
    assert all(re.fullmatch(r"[A-Za-z0-9-]+(\.fifo)?", name) for name in made)


@pytest.mark.parametrize("stage", STAGES)
def test_names_of_machines_and_ingress_lie_within_the_limits_of_aws(stage: str) -> None:
    names = Names(stage)
    for workflow in WORKFLOWS:
        names.machine(workflow.name)
    for name in INGRESS:
        names.function(f"ingress-{name}")


@each_task
def test_message_stays_hidden_for_longer_than_its_run_can_hold_the_lease(task: Task) -> None:
    assert task.timeout + LEASE_MARGIN < task.visibility


@each_task
def test_what_a_task_starts_exists(task: Task) -> None:
    assert [name for name in task.starts if name not in REGISTRY] == []
    if task.starts_workflow is not None:
        assert task.starts_workflow in {workflow.name for workflow in WORKFLOWS}


@each_workflow
def test_workflow_is_made_of_tasks_and_fits_into_its_starter(workflow: Workflow) -> None:
    assert [step.task for step in workflow.steps if step.task not in REGISTRY] == []
    starter = REGISTRY.get(workflow.starter)
    assert starter.starts_workflow == workflow.name
    longest = max(REGISTRY.get(step.task).timeout for step in workflow.steps)
    assert workflow.retry.attempt_timeout <= longest
    assert workflow.retry.longest < workflow.timeout < starter.timeout
    earlier: set[str] = set()
    for step in workflow.steps:
        if step.when is not None:
            task_id, name = step.when
            assert task_id in earlier
            result = inspect.signature(REGISTRY.get(task_id).function, eval_str=True).return_annotation
            assert result.__annotations__[name] in {bool, "bool"}
        earlier.add(step.task)


def test_routes_lead_to_tasks_only() -> None:
    routes = REGISTRY.routes()
    assert set(routes) == {"resend", "shopify"}
    led_to = {task_id for topics in routes.values() for ids in topics.values() for task_id in ids}
    assert led_to == {task.id for task in TASKS if task.webhooks}
    assert all(re.fullmatch(r"[a-z_]+/[a-z_]+", topic) for topic in routes["shopify"])
    assert all(re.fullmatch(r"email\.[a-z_]+", topic) for topic in routes["resend"])


def test_each_events_contract_starts_a_task_that_takes_what_it_gives() -> None:
    events = REGISTRY.events()
    assert set(events) == set(EVENTS)
    for kind, task_ids in events.items():
        assert re.fullmatch(r"[a-z][a-zA-Z-]*(\.[a-z][a-zA-Z-]*)+", kind)
        for task in map(REGISTRY.get, task_ids):
            sample = json.loads((ROOT / "events" / task.domain / f"{task.id}.json").read_text())["payload"]
            given = EVENTS[kind].model_validate(sample).model_dump(mode="json")
            task.payload.model_validate(given)


def test_task_on_an_event_without_a_contract_is_refused() -> None:
    def nobody() -> None:
        """Wait for an event of which nobody said what it is."""

    with pytest.raises(ValueError, match="task test-nobody: an event that starts it has no contract"):
        declare("test-nobody", on=Event("nobody.knows"))(nobody)
    assert "test-nobody" not in REGISTRY


def test_schedules_have_names_of_their_own_and_payloads_that_fit() -> None:
    schedules = [each for each in REGISTRY.schedules() if not each[2].id.startswith("test-")]
    assert len({name for name, _, _ in schedules}) == len(schedules)
    for _, cron, task in schedules:
        task.payload.model_validate(dict(cron.payload))


def test_manifest_comes_back_as_it_was_written() -> None:
    files = generated_files(REGISTRY)
    read = Manifest(**json.loads(files[FILE]))
    assert read == Manifest(**json.loads(json.dumps(describe_registry(REGISTRY))))
    assert {task.id for task in TASKS} <= set(read.tasks)
    assert read.tasks_for("shopify", "orders/create") == ["commerce-order-created"]
    assert read.tasks_for("shopify", "themes/create") == []
    assert read.events["touchpoint.recorded"] == ["analytics-attribution-touchpoint-ingest"]
    for about in read.schedules.values():
        assert about["task"] in read.tasks
    assert json.loads(files[PAYLOADS_FILE]) == describe_payloads(REGISTRY)
    assert set(files) == {FILE, PAYLOADS_FILE}


def test_registry_prints_one_object_a_line() -> None:
    printed = subprocess.run(
        [sys.executable, "-m", "tradewind.tasks"],
        cwd=ROOT,
        env={"PYTHONPATH": "functions:layers/shared/python"},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [json.loads(line) for line in printed.stdout.splitlines()]
    tasks = [line for line in lines if line["kind"] == "task"]
    schedules = [line for line in lines if line["kind"] == "schedule"]
    assert [line["id"] for line in tasks] == [task.id for task in TASKS]
    assert tasks + schedules == lines
    keys = {"id", "domain", "feature", "kind", "triggers", "handler", "scope", "timeout_s", "retry"}
    assert [line["id"] for line in tasks if set(line) != keys] == []
    assert [line["id"] for line in schedules if set(line) != {"id", "kind", "cron", "zone", "starts"}] == []
    assert sorted(line["id"] for line in schedules) == sorted(name for name, _, _ in REGISTRY.schedules())
    assert "commerce-order-reconciliation-scheduled" in {line["id"] for line in schedules}
    for line in tasks:
        assert line["triggers"]
        assert line["timeout_s"] > 0
        assert line["scope"] in {"tenant", "platform"}


def test_nothing_is_routed_to_a_domain_that_is_not_deployed() -> None:
    whole, part = describe_registry(REGISTRY), describe_registry(REGISTRY, deployed=("commerce",))
    refunds = part["routes"]["shopify"]["refunds/create"]
    assert "analytics-attribution-refund-adjust" in whole["routes"]["shopify"]["refunds/create"]
    assert refunds == ["commerce-handle-refund-created"]
    assert "order.converted" in whole["events"]
    assert "order.converted" not in part["events"]
    assert part["tasks"] == whole["tasks"]


def test_what_a_schedule_costs_has_been_measured() -> None:
    wanted = {f"{task.id}@schedule" for task in TASKS if task.crons}
    assert wanted - load_measured().work.keys() == set(), "renew it by `make bench ONLY=work MEASURED=1`"
