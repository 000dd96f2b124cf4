from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any
from uuid import uuid4

import pytest

from infra.local import PostgresServer, ValkeyServer
from infra.local.postgres import DatabaseUrls
from tests.databases import Databases
from tests.integration.harness import House, add_tenant, local_settings
from tests.integration.headquarters import Headquarters
from tests.integration.test_sandbox import running
from tests.integration.twins import Twins, mark
from tests.integration.world import OURS, THEIRS, Table, World
from tradewind.integrations.transport import shared_transport
from tradewind.ratelimit import connected
from tradewind.tasks.registry import REGISTRY
from tradewind.tasks.retry import Retry, fixed
from tradewind.tasks.task import Task, task


@pytest.fixture
def house(database: DatabaseUrls) -> Iterator[House]:
    """The tenant ``acme`` on a fresh database."""
    built = House(database, local_settings(database), add_tenant(database, "acme"))
    yield built
    built.close()


@pytest.fixture(scope="module")
def world(postgres: PostgresServer, migrated: str) -> Iterator[World]:
    """A database in which acme and bolt have a row each in every table."""
    name = f"world_{uuid4().hex[:12]}"
    built = World(postgres.create_database(name, template=migrated))
    built.fill(built.acme, OURS)
    built.fill(built.bolt, THEIRS)
    yield built
    postgres.drop_database(name)


@pytest.fixture(scope="session")
def filled(postgres: PostgresServer, migrated: str) -> Iterator[tuple[str, Mapping[str, Table]]]:
    """A database in which acme and bolt have rows with texts of their own in every table: its name, its tables."""
    name = f"filled_{uuid4().hex[:12]}"
    world = World(postgres.create_database(name, template=migrated))
    for tenant_id, number in ((world.acme, OURS), (world.bolt, THEIRS)):
        world.fill(tenant_id, number)
        mark(world, tenant_id, number)
    yield name, world.tables
    postgres.drop_database(name)


@pytest.fixture(scope="session")
def filled_databases(postgres: PostgresServer, filled: tuple[str, Mapping[str, Table]]) -> Databases:
    return Databases(postgres, filled[0])


@pytest.fixture
def twins(filled_databases: Databases, filled: tuple[str, Mapping[str, Table]]) -> Iterator[Twins]:
    name, urls = filled_databases.take()
    built = Twins(World(urls, tables=dict(filled[1])))
    yield built
    built.close()
    filled_databases.give_back(name)


@pytest.fixture
def bolt_is_untouched(world: World) -> Iterator[None]:
    """Whatever a test tries: every row of bolt's is as it was."""
    before = world.fingerprint(world.bolt)
    yield
    assert world.fingerprint(world.bolt) == before


@pytest.fixture(scope="module")
def sandbox_url() -> Iterator[str]:
    """A sandbox of the module's own."""
    with running() as (address, _):
        yield address


@pytest.fixture
def own_valkey(database: DatabaseUrls, valkey: ValkeyServer) -> Iterator[str]:
    """Valkey's address; what this process keeps of connections to it and to providers is the test's alone."""
    connected.cache_clear()
    yield valkey.url
    shared_transport(local_settings(database).provider_timeout).close()
    shared_transport.cache_clear()
    connected(valkey.url).close()
    connected.cache_clear()


@pytest.fixture
def hq(house: House) -> Iterator[Headquarters]:
    built = Headquarters(house)
    yield built
    built.connections.close()


@pytest.fixture
def make_task() -> Iterator[Callable[..., Task]]:
    """Declares a task for one test and takes it out of the registry afterwards."""
    made: list[str] = []

    def make(function: Callable[..., Any], task_id: str = "test-task", **about: Any) -> Task:
        made.append(task_id)
        function.__doc__ = function.__doc__ or "A task of a test."
        return task(task_id, **{"retry": Retry(3, fixed(5)), **about})(function)

    yield make
    for task_id in made:
        REGISTRY._tasks.pop(task_id, None)
