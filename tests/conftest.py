"""Fixtures of every suite: real servers, started once a session by the tests themselves."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from infra.local import PostgresServer, ValkeyServer, postgres_server, valkey_server
from infra.local.postgres import DatabaseUrls
from ingress.migrate import migrate
from tests.databases import Databases

ROOT = Path(__file__).parents[1]

settings.register_profile("untimed", deadline=None)  # how fast the machine is says nothing of a rule
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server with production's roles: none a superuser, none may bypass row-level security."""
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="session")
def migrated(postgres: PostgresServer) -> str:
    """The name of a database that holds the schema; tests work on copies of it."""
    urls = postgres.create_database("migrated")
    migrate(urls.owner)
    return "migrated"


@pytest.fixture(scope="session")
def databases(postgres: PostgresServer, migrated: str) -> Databases:
    """Copies of the schema that are used again and again."""
    return Databases(postgres, migrated)


@pytest.fixture
def database(databases: Databases) -> Iterator[DatabaseUrls]:
    """A copy of the schema as it is after the migrations, one a test."""
    name, urls = databases.take()
    yield urls
    databases.give_back(name)


@pytest.fixture(scope="session")
def valkey() -> Iterator[ValkeyServer]:
    """A Valkey node in cluster mode."""
    with valkey_server() as server:
        yield server


@pytest.fixture(autouse=True)
def aws_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials that no cloud knows."""
    for name, value in {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}.items():
        if name not in os.environ:
            monkeypatch.setenv(name, value)
