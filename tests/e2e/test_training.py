"""A tenant's models trained through the deployed app: schedule or hand, machine, container, registry, credits."""

from __future__ import annotations

import json
import os
import signal
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg

from infra.local import paths
from tests.e2e.cloud import Cloud, Tenant
from tests.integration.classroom import ANALYSE, CHANNELS, JOURNEYS, UNTIL

TASK, CREDIT = "analytics-attribution-ml-training", "analytics-attribution-recalculate-recent"
JOURNEYS_LEFT = 120_000
AGENT = paths.LOGS / "containers.log"


def fill(cloud: Cloud, tenant: Tenant, journeys: int) -> None:
    about: dict[str, Any] = {
        "journeys": journeys,
        "channels": list(CHANNELS),
        "converting": "some",
        "first": UNTIL - timedelta(days=85),
        "last": UNTIL - timedelta(days=4),
    }
    with psycopg.connect(cloud.state.app_database_url) as connection:
        connection.execute("SELECT set_config('app.tenant_id', %s, true)", (str(tenant.id),))
        for statement in JOURNEYS.split(";\n"):
            used = {name: value for name, value in about.items() if f"%({name})s" in statement}
            connection.execute(statement.encode(), used or None)
    with psycopg.connect(cloud.state.owner_database_url, autocommit=True) as connection:
        connection.execute(ANALYSE.encode())


def credit(cloud: Cloud, tenant: Tenant) -> None:
    span = {"since": (UNTIL - timedelta(days=100)).isoformat(), "until": UNTIL.isoformat()}
    cloud.invoke(CREDIT, {"tenant": tenant.slug, "payload": span})


def containers() -> list[tuple[Path, int]]:
    """The logs and process ids of the containers that the agent has started, the oldest first."""
    started = [line.split() for line in AGENT.read_text().splitlines() if line.startswith("started ")]
    return [(paths.LOGS / "containers" / f"{name}.log", int(pid)) for _, name, _, pid in started]


def told(log: Path) -> list[dict[str, Any]]:
    lines = log.read_text().splitlines() if log.exists() else []
    return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]


def start_round(cloud: Cloud) -> dict[str, Any]:
    """Do what the clock does at its slot, with the schedule's own target; the execution's end."""
    schedule = cloud.client("scheduler").get_schedule(
        Name="analytics-attribution-ml-training-scheduled", GroupName="tradewind-local"
    )
    target = schedule["Target"]
    assert target["Arn"] == cloud.machine("ml-training-round")
    given = target["Input"].replace("<aws.scheduler.scheduled-time>", UNTIL.isoformat())
    states = cloud.client("stepfunctions")
    execution = states.start_execution(stateMachineArn=target["Arn"], input=given)["executionArn"]

    def ended() -> dict[str, Any] | None:
        found: dict[str, Any] = states.describe_execution(executionArn=execution)
        return found if found["status"] != "RUNNING" else None

    described: dict[str, Any] = cloud.wait_for("the round's end", ended)
    [run] = states.list_map_runs(executionArn=execution)["mapRuns"]
    counts: dict[str, Any] = states.describe_map_run(mapRunArn=run["mapRunArn"])
    return described | {"counts": counts["itemCounts"]}


def test_nights_round_asks_every_tenant_and_trains_whoever_has_enough(cloud: Cloud, tenant: Tenant) -> None:
    newcomer = cloud.register("newcomer")
    fill(cloud, tenant, 4000)
    credit(cloud, tenant)
    before = len(containers())
    [active] = cloud.query("SELECT count(*)::int AS n FROM tenants WHERE status = 'active'")

    first = start_round(cloud)
    assert first["status"] == "SUCCEEDED", first
    assert (first["counts"]["total"], first["counts"]["failed"]) == (active["n"], 0)
    [training] = tenant.rows("ml_trainings")
    assert (training["state"], training["until"]) == ("succeeded", UNTIL)
    assert tenant.rows("ml_models")[0]["used"]
    assert len(containers()) > before

    def asked(who: Tenant) -> list[tuple[str, str]]:
        found = who.rows("task_run", "task = %s", TASK)
        return [(row["source"], row["result"]["state"]) for row in found]

    assert (asked(tenant), asked(newcomer)) == ([("workflow", "requested")], [("workflow", "skipped")])

    again = start_round(cloud)
    assert (again["status"], again["counts"]["failed"]) == ("SUCCEEDED", 0)
    assert [(row["training_id"], row["attempt"]) for row in tenant.rows("ml_trainings")] == [
        (training["training_id"], 1)
    ]
    assert len(tenant.rows("ml_models")) == 1
    assert len(asked(tenant)) == len(asked(newcomer)) == 1


def test_killed_and_interrupted_container_resumes_and_its_model_changes_the_credits(
    cloud: Cloud, tenant: Tenant
) -> None:
    fill(cloud, tenant, JOURNEYS_LEFT)
    credit(cloud, tenant)
    assert tenant.rows("attribution_weights") == []
    before = len(containers())

    asked = cloud.invoke(TASK, {"tenant": tenant.slug, "payload": {"until": UNTIL.isoformat()}})
    assert asked["state"] == "requested"

    def saved(at: int) -> tuple[Path, int] | None:
        """The container with this number, once it has saved a checkpoint."""
        mine = containers()[before:]
        if len(mine) <= at:
            return None
        ended = [line for line in told(mine[at][0]) if line["message"] == "container's work ended"]
        assert not ended, "it was through before it could be interrupted"
        return mine[at] if any(line["message"] == "checkpoint saved" for line in told(mine[at][0])) else None

    _, pid = cloud.wait_for("a first checkpoint", lambda: saved(0))
    os.kill(pid, signal.SIGKILL)

    states = cloud.client("stepfunctions")
    execution = f"{cloud.machine('ml-training').replace('stateMachine', 'execution')}:{asked['execution']}"

    def ended() -> dict[str, Any] | None:
        found: dict[str, Any] = states.describe_execution(executionArn=execution)
        return found if found["status"] != "RUNNING" else None

    described = cloud.wait_for("the training's end", ended)
    assert described["status"] == "SUCCEEDED", described
    outcome = json.loads(described["output"])
    assert (outcome["state"], outcome["used"], outcome["samples"]) == ("succeeded", True, JOURNEYS_LEFT)

    [killed, resumed] = [told(log) for log, _ in containers()[before:]]
    [begun] = [line for line in resumed if line["message"] == "training begins"]
    assert begun["resumed"] > 0
    units = [[line["unit"] for line in log if line["message"] == "unit done"] for log in (killed, resumed)]
    whole = {*units[0], *units[1]}
    assert len(units[1]) < len(whole), "the second container has not begun anew"
    (training,) = tenant.rows("ml_trainings")
    assert (training["state"], training["attempt"]) == ("succeeded", 2)

    weights = {row["channel"]: row["weight"] for row in tenant.rows("attribution_weights")}
    assert sorted(weights, key=weights.__getitem__)[-2:] == ["email", "paid"]
    credit(cloud, tenant)
    [credited] = cloud.query(
        "SELECT count(DISTINCT shopify_order_id)::int AS orders FROM attribution_results"
        " WHERE tenant_id = %s AND model = 'data_driven'",
        tenant.id,
    )
    assert credited["orders"] == outcome["conversions"]


def test_interruption_of_spot_saves_a_checkpoint_and_stopped_task_stays_stopped(
    cloud: Cloud, tenant: Tenant
) -> None:
    fill(cloud, tenant, JOURNEYS_LEFT)
    before = len(containers())
    credit(cloud, tenant)
    asked = cloud.invoke(TASK, {"tenant": tenant.slug, "payload": {"until": UNTIL.isoformat(), "use": False}})
    cloud.wait_for("a container", lambda: containers()[before:])
    log, _ = containers()[before]
    cloud.wait_for("its beginning", lambda: [x for x in told(log) if x["message"] == "training begins"])
    cloud.client("ecs").stop_task(
        cluster="tradewind-local-training", task=log.stem, reason="Spot interruption"
    )

    cloud.wait_for(
        "its farewell", lambda: [line for line in told(log) if line["message"] == "container interrupted"]
    )
    messages = [line["message"] for line in told(log)]
    assert messages[-2:] == ["checkpoint saved", "container interrupted"]

    def ended() -> list[dict[str, Any]]:
        return tenant.rows("ml_trainings", "state = 'succeeded'")

    (training,) = cloud.wait_for("the training's end", ended)
    assert (str(training["training_id"]), training["attempt"], training["reason"]) == (
        asked["training_id"],
        2,
        "not_asked",
    )
    assert tenant.rows("attribution_weights") == []
