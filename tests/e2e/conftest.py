"""One local cloud for all end-to-end tests, with the emulator checking every call against the IAM policies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.local import find_state, local_cloud
from tests.e2e.cloud import Cloud, Tenant

FOLDER = Path(__file__).parent


@pytest.fixture(scope="session")
def cloud() -> Iterator[Cloud]:
    """Its own, or the one that a person has running in this checkout."""
    is_own = find_state() is None
    with local_cloud(authorize=True) as state:
        running = Cloud(state, authorizes=is_own)
        yield running
        running.http.close()
        running.sandbox.close()


@pytest.fixture
def tenant(cloud: Cloud) -> Iterator[Tenant]:
    """A tenant of the test's own; faults that were set for its shop end with it."""
    yield cloud.register()
    cloud.sandbox.delete("/faults")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With ``-n 2 --dist loadgroup``: one process works all tests of the one cloud, the other those that need none."""
    for item in items:
        if item.path.parent == FOLDER and isinstance(item, pytest.Function):
            group = "cloud" if "cloud" in item.fixturenames else item.path.stem
            item.add_marker(pytest.mark.xdist_group(group))
