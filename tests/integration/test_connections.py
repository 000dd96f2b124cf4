"""Connections between messages: what lay idle is lent again while it lives, and not when Postgres has ended it."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from infra.local.postgres import DatabaseUrls
from tradewind.tenancy.database import Connections


@pytest.fixture
def connections(database: DatabaseUrls) -> Iterator[Connections]:
    connections = Connections(database.app)
    yield connections
    connections.close()


def process(connections: Connections) -> int:
    """The process of Postgres that serves whoever is lent a connection now."""
    connection = connections.acquire()
    [pid] = connection.execute("SELECT pg_backend_pid() AS pid").fetchall()
    connections.release(connection)
    return int(pid["pid"])


def end(database: DatabaseUrls, pid: int) -> None:
    with psycopg.connect(database.app) as other:
        assert other.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,)).fetchone() == (True,)


def test_idle_connection_is_lent_again(connections: Connections) -> None:
    assert process(connections) == process(connections)


def test_connection_that_postgres_has_ended_meanwhile_is_replaced(
    connections: Connections, database: DatabaseUrls
) -> None:
    ended = process(connections)
    end(database, ended)
    assert process(connections) != ended


def test_of_several_idle_ones_the_living_is_lent(connections: Connections, database: DatabaseUrls) -> None:
    lent = [connections.acquire(), connections.acquire()]
    pids = [connection.info.backend_pid for connection in lent]
    for connection in lent:
        connections.release(connection)
    end(database, pids[1])
    assert process(connections) == pids[0]
