import psycopg
import pytest

from infra.local import PostgresServer
from infra.local.postgres import DatabaseUrls
from ingress.migrate import find_missing, migrate


def test_migrations_apply_once(database: DatabaseUrls) -> None:
    again = migrate(database.owner)
    assert again["applied"] == []
    assert again["known"][0] == "0001-kernel"


def test_what_is_missing_is_told_and_not_applied(postgres: PostgresServer, database: DatabaseUrls) -> None:
    known = migrate(database.owner)["known"]
    assert find_missing(database.owner) == {"missing": [], "unknown": [], "known": known}
    with psycopg.connect(database.owner) as connection:
        connection.execute(
            "UPDATE _yoyo_migration SET migration_id = 'later' WHERE migration_id = %s", (known[-1],)
        )
    assert find_missing(database.owner) == {"missing": [known[-1]], "unknown": ["later"], "known": known}
    empty = postgres.create_database("nothing_migrated")
    for _ in range(2):
        assert find_missing(empty.owner)["missing"] == known
    postgres.drop_database("nothing_migrated")


def test_every_tenant_table_has_forced_row_level_security(database: DatabaseUrls) -> None:
    with psycopg.connect(database.owner) as connection:
        rows = connection.execute(
            """
            SELECT c.relname, c.relrowsecurity, c.relforcerowsecurity
            FROM pg_class c
            JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
            WHERE c.relkind IN ('r', 'p') AND c.relnamespace = 'public'::regnamespace
            """
        ).fetchall()
    assert len(rows) >= 20
    assert [name for name, enabled, forced in rows if not (enabled and forced)] == []


@pytest.mark.parametrize("role", ["app", "platform", "owner"])
def test_no_role_may_bypass_row_level_security(database: DatabaseUrls, role: str) -> None:
    with psycopg.connect(getattr(database, role)) as connection:
        row = connection.execute(
            "SELECT rolsuper, rolbypassrls FROM pg_roles WHERE rolname = current_user"
        ).fetchone()
    assert row == (False, False)
