"""One local cloud for all end-to-end tests, with the emulator checking every call against the IAM policies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from infra.local import find_state, local_cloud
from tests.e2e.cloud import Cloud, Tenant

WITHOUT_THE_CLOUD = {"test_emulator_conformance", "test_local_cloud"}


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


class ByCloud(LoadScopeScheduling):  # type: ignore[misc]  # it brings no types
    """One process works all tests of the one cloud, the other beside it those that have a small one of their own."""

    def _split_scope(self, nodeid: str) -> str:
        module = Path(nodeid.partition("::")[0]).stem
        return module if module in WITHOUT_THE_CLOUD else "the cloud"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    return ByCloud(config, log)
