"""A database that a test has given back is as a new one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from infra.local import PostgresServer
from infra.local.postgres import DatabaseUrls
from tests.databases import Databases
from tests.integration.harness import add_tenant

_TABLES = (
    "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
)


@pytest.fixture
def own(postgres: PostgresServer, migrated: str) -> Iterator[Databases]:
    """Databases of the test's own: the first that it gives back is the next that it gets."""
    made = Databases(postgres, migrated)
    yield made
    postgres.drop_database(made.take()[0])


def ask(postgres: PostgresServer, name: str, statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(postgres.access.superuser_url(name), autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def counts(postgres: PostgresServer, name: str) -> dict[str, int]:
    tables = sorted(table for (table,) in ask(postgres, name, _TABLES))
    every = " UNION ALL ".join(f"SELECT '{table}', count(*)::int FROM ONLY {table}" for table in tables)
    return dict(ask(postgres, name, every))


def oid(postgres: PostgresServer, name: str) -> Any:
    return ask(postgres, name, "SELECT oid FROM pg_database WHERE datname = current_database()")


def fill(urls: DatabaseUrls) -> None:
    tenant_id = add_tenant(urls, "acme", {"a": 1})
    with psycopg.connect(urls.app) as connection:
        connection.execute("SELECT set_config('app.tenant_id', %s, true)", (str(tenant_id),))
        connection.execute("INSERT INTO creators (name, code) VALUES ('Bo', 'BO')")


def test_rows_are_those_of_the_migrations(postgres: PostgresServer, own: Databases) -> None:
    first, urls = own.take()
    before, was = counts(postgres, first), oid(postgres, first)
    fill(urls)
    ask(postgres, first, "DELETE FROM personal_data WHERE table_name = 'orders'")
    ask(postgres, first, "UPDATE personal_data SET on_redact = 'keep' WHERE table_name = 'customers'")
    kept = "SELECT * FROM personal_data t ORDER BY t::text"
    assert counts(postgres, first) != before
    own.give_back(first)
    second, _ = own.take()
    assert second != first
    assert oid(postgres, second) == was
    assert counts(postgres, second) == before
    fresh, _ = Databases(postgres, own.template).take()
    assert ask(postgres, second, kept) == ask(postgres, fresh, kept)
    postgres.drop_database(fresh)
    own.give_back(second)


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE more (id int)",
        "ALTER TABLE orders ADD COLUMN more int",
        "ALTER TABLE orders ALTER COLUMN status DROP NOT NULL",
        "ALTER TABLE orders DISABLE ROW LEVEL SECURITY",
        "DROP POLICY own_tenant ON orders",
        "GRANT DELETE ON tenants TO tradewind_reader",
        "CREATE FUNCTION more() RETURNS int LANGUAGE sql RETURN 1",
        "CREATE OR REPLACE FUNCTION current_tenant() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE RETURN NULL::uuid",
        "ALTER TABLE orders DISABLE TRIGGER USER; CREATE SCHEMA more",
    ],
)
def test_database_whose_schema_was_changed_is_given_to_nobody(
    postgres: PostgresServer, own: Databases, statement: str
) -> None:
    first, _ = own.take()
    ask(postgres, first, statement)
    was = oid(postgres, first)
    own.give_back(first)
    assert ask(postgres, "postgres", f"SELECT FROM pg_database WHERE datname = '{first}'") == []
    second, _ = own.take()
    assert oid(postgres, second) != was
    own.give_back(second)


def test_what_others_have_open_ends(postgres: PostgresServer, own: Databases) -> None:
    first, urls = own.take()
    with psycopg.connect(urls.owner) as left:
        left.execute("LOCK TABLE orders")
        own.give_back(first)
        with pytest.raises(psycopg.OperationalError):
            left.execute("SELECT 1")
