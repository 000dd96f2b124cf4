"""A local cloud of the suite's own, with shortened times and functions that die on order."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from infra.local import find_state, paths
from infra.local.cloud import start_cloud
from infra.local.trial import Trial
from tests.chaos.disturbance import Emulator, Orders
from tests.chaos.run import Ground
from tests.chaos.scenario import SIZES, Scenario, chosen_seed, chosen_size, make_scenario
from tests.e2e.cloud import Cloud
from tradewind.tasks.registry import discover

TRIAL = Trial(
    time_percent=40,
    longest_time=timedelta(seconds=20),
    unsent_after=timedelta(seconds=5),
    schedules_fire=False,
)


@pytest.fixture(scope="session")
def ground() -> Iterator[Ground]:
    """The cloud must not run yet: a person's own is not for breaking."""
    if find_state() is not None:
        pytest.fail("a local cloud runs in this checkout; the chaos suite wants one of its own: make down")
    folder = paths.RUN / "crash-orders"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    size = SIZES[chosen_size()]
    lost_after = timedelta(seconds=size.lost_s)
    trial = replace(TRIAL, crash_orders=str(folder), lost_after=lost_after, concurrency=size.workers)
    own = start_cloud(trial=trial)
    cloud = Cloud(own.state, authorizes=False)
    try:
        yield Ground(own, cloud, Emulator(own), Orders(folder), discover(paths.FUNCTIONS), datetime.now(UTC))
    finally:
        cloud.http.close()
        cloud.sandbox.close()
        own.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def scenario(ground: Ground) -> Scenario:
    size, seed = chosen_size(), chosen_seed()
    print(f"\nchaos: {size} size; the same again: make chaos CHAOS_SIZE={size} CHAOS_SEED={seed}")
    return make_scenario(seed, SIZES[size], ground.now)


@pytest.fixture(autouse=True, scope="session")
def took() -> Iterator[None]:
    begun = time.monotonic()
    yield
    print(f"chaos: {time.monotonic() - begun:.0f} s in all")
