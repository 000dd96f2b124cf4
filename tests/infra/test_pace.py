"""A shortened stage keeps the order of its times, and no stage on AWS carries orders to crash."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from infra.bundles import FUNCTIONS
from infra.constructs.workflow import check_workflow_times
from infra.local.trial import Trial
from infra.pace import Pace, at_pace
from infra.settings import SettingError, stage_settings
from tests.infra.conftest import LOCAL_CLOUD
from tradewind.tasks.registry import discover


@pytest.mark.parametrize(
    ("seconds", "percent", "left"), [(45, 100, 45), (45, 40, 18), (5, 40, 2), (3, 40, 2), (1, 1, 1)]
)
def test_durations_are_whole_seconds_rounded_up(seconds: int, percent: int, left: int) -> None:
    assert Pace(percent).of(timedelta(seconds=seconds)) == timedelta(seconds=left)


@pytest.mark.parametrize("percent", [100, 50, 40])
def test_the_times_of_every_task_and_workflow_still_nest(percent: int) -> None:
    registry = discover(FUNCTIONS)
    pace = Pace(percent, timedelta(seconds=60))
    paced = at_pace(registry, pace)
    assert [task.id for task in paced] == [task.id for task in registry]
    for task in paced:
        assert task.timeout == pace.of(registry.get(task.id).timeout)
        assert task.timeout < task.visibility
    assert [workflow.name for workflow in paced.workflows] == ["order-sync"]
    for workflow in paced.workflows:
        check_workflow_times(workflow, paced.get(workflow.starter))


def test_the_real_registry_is_left_as_it_is() -> None:
    registry = discover(FUNCTIONS)
    before = [(task.id, task.timeout, task.visibility) for task in registry]
    at_pace(registry, Pace(40))
    assert [(task.id, task.timeout, task.visibility) for task in registry] == before
    assert registry.workflows[0].timeout == timedelta(seconds=40)


def test_a_trial_reaches_the_local_stage() -> None:
    trial = Trial(
        40,
        timedelta(seconds=60),
        timedelta(seconds=3),
        timedelta(seconds=20),
        "/orders",
        schedules_fire=False,
    )
    settings = stage_settings("local", LOCAL_CLOUD | trial.environment())
    assert not settings.schedules_fire
    found = (settings.pace, settings.unsent_after, settings.lost_after, settings.crash_orders)
    assert found == (
        Pace(40, timedelta(seconds=60)),
        timedelta(seconds=3),
        timedelta(seconds=20),
        "/orders",
    )


def test_without_a_trial_the_local_stage_is_as_slow_as_any() -> None:
    settings, plain = stage_settings("local", LOCAL_CLOUD), stage_settings("dev", {})
    assert (settings.pace, settings.unsent_after, settings.lost_after) == (
        plain.pace,
        plain.unsent_after,
        plain.lost_after,
    )
    assert settings.crash_orders is None
    assert settings.schedules_fire


def test_a_local_cloud_of_some_domains_says_which() -> None:
    chosen = stage_settings("local", {**LOCAL_CLOUD, "TRADEWIND_LOCAL_DOMAINS": "commerce,analytics"})
    assert chosen.deployed_domains == ("commerce", "analytics")
    assert stage_settings("local", LOCAL_CLOUD).deployed_domains is None


def test_says_which_variable_is_no_number() -> None:
    with pytest.raises(SettingError, match="TRADEWIND_LOCAL_"):
        stage_settings("local", LOCAL_CLOUD | {"TRADEWIND_LOCAL_TIME_PERCENT": "half"})


@pytest.mark.parametrize("stage", ["dev", "prod"])
def test_no_stage_on_aws_takes_orders_to_crash(stage: str) -> None:
    assert stage_settings(stage, {"TRADEWIND_LOCAL_CRASH_ORDERS": "/orders"}).crash_orders is None
    with pytest.raises(SettingError, match="takes no orders to crash"):
        replace(stage_settings(stage, {}), crash_orders="/orders")
