"""A local cloud whose Shopify takes its time, so that what is shared is workers and not this machine's two cores."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta

import pytest

from infra.local import find_state
from infra.local.cloud import start_cloud
from infra.local.trial import Trial
from tests.e2e.cloud import Cloud
from tests.fairness.flood import Scene, Size

SIZES = {
    "small": Size(flood=60, quiet=20, floods=(5, 20), times_solo=3.5),
    "large": Size(flood=2_000, quiet=60, floods=(1, 5, 20)),
    "huge": Size(flood=20_000, quiet=60, floods=(1, 5, 20)),
}
PROVIDER_S = 0.6
"""How long Shopify takes to answer: most of a message's time, as it is on AWS, where no message waits for a core."""
CONCURRENCY = 16


def chosen_size() -> Size:
    return SIZES[os.environ.get("FAIRNESS_SIZE", "small")]


@pytest.fixture(scope="session")
def size() -> Size:
    return chosen_size()


@pytest.fixture(scope="session")
def scene() -> Iterator[Scene]:
    """The cloud must not run yet: its concurrency is the suite's own."""
    if find_state() is not None:
        pytest.fail("a local cloud runs in this checkout; the fairness suite wants one of its own: make down")
    trial = Trial(concurrency=CONCURRENCY, unsent_after=timedelta(seconds=1))
    own = start_cloud(["commerce"], trial=trial)
    cloud = Cloud(own.state, authorizes=False)
    patch = pytest.MonkeyPatch()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        patch.setenv(name, "test")
    try:
        slow = {"kinds": ["slow"], "rate": 1, "hold_seconds": PROVIDER_S}
        cloud.sandbox.post("/faults", json=slow).raise_for_status()
        cloud.sandbox.put("/shopify/*/plan", json={"plan": "enterprise"}).raise_for_status()
        made = Scene(cloud)
        made.warm_up(CONCURRENCY)
        yield made
        made.close()
    finally:
        patch.undo()
        cloud.http.close()
        cloud.sandbox.close()
        own.stop()
