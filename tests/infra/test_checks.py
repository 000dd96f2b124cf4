"""What the whole application may use at once, against the account's and the database's limits."""

from __future__ import annotations

import pytest

from infra.checks import Load, load_of, warnings_of
from infra.settings import SettingError, stage_settings
from infra.wiring import Wiring
from tradewind.tasks.registry import Registry

from .conftest import LOCAL_CLOUD


def test_adds_up_lanes_and_connections(fixture_registry: Registry) -> None:
    load = load_of(fixture_registry, stage_settings("dev", {}))
    # Six tasks of 50, one with a second lane, and one of 2; the workflow's starter opens no database.
    lanes = {task.id: 2 if task.backfill else 1 for task in fixture_registry}
    expected = sum(lanes[task.id] * task.concurrency for task in fixture_registry)
    assert load.mappings == expected == 50 * 5 + 50 + 2
    assert load.concurrency == 800
    assert load.connections == expected - 50 + 100 + 50 + 50 + 50 + 30
    assert load.max_connections == 1802


def test_the_local_stage_lowers_every_mapping(fixture_registry: Registry) -> None:
    load = load_of(fixture_registry, stage_settings("local", LOCAL_CLOUD))
    assert load.mappings == 4 * 6 + 2


@pytest.mark.parametrize(
    ("load", "warned"),
    [
        (Load(800, 800, 1000, 1000), set()),
        (Load(801, 800, 1000, 1000), {"tradewind:concurrency"}),
        (Load(800, 800, 1001, 1000), {"tradewind:connections"}),
        (Load(9000, 800, 9000, 1000), {"tradewind:concurrency", "tradewind:connections"}),
    ],
)
def test_warns_beyond_a_limit_and_names_the_remedy(load: Load, warned: set[str]) -> None:
    found = warnings_of(load)
    assert set(found) == warned
    assert all("infra/settings.py" in text for text in found.values())


@pytest.mark.parametrize(("stage", "connections"), [("dev", 1802), ("prod", 5000)])
def test_knows_the_clusters_connections(stage: str, connections: int) -> None:
    assert stage_settings(stage, {}).max_connections == connections


def test_refuses_an_unknown_stage() -> None:
    with pytest.raises(SettingError, match="unknown stage 'staging'; choose -c stage=local, dev or prod"):
        stage_settings("staging", {})


def test_the_local_stage_names_what_it_misses() -> None:
    given = {name: value for name, value in LOCAL_CLOUD.items() if name != "TRADEWIND_LOCAL_REDIS_URL"}
    with pytest.raises(
        SettingError, match=r"^stage local needs TRADEWIND_LOCAL_REDIS_URL; `make up` sets them all$"
    ):
        stage_settings("local", given)


def test_a_stage_on_aws_has_no_local_cloud() -> None:
    with pytest.raises(SettingError, match="stage dev has no local cloud"):
        _ = stage_settings("dev", {}).cloud


def test_refuses_a_workflow_that_nobody_declares(fixture_registry: Registry) -> None:
    registry = Registry()
    starter = fixture_registry.get("bazaar-order-created")
    registry.add(starter)
    with pytest.raises(KeyError, match="starts workflow 'bazaar-order', which nobody declares"):
        Wiring(registry).workflow_wait(starter)
