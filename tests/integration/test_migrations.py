import psycopg
import pytest

from infra.local.postgres import DatabaseUrls
from ingress.migrate import migrate


def test_migrations_apply_once(database: DatabaseUrls) -> None:
    again = migrate(database.owner)
    assert again["applied"] == []
    assert again["known"][0] == "0001-kernel"


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
