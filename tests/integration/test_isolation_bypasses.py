"""Ways around row-level security that need no other role: functions with the owner's rights, hostile values, leaking
functions, statistics, other sessions' statements, and the messages of refused statements.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import psycopg
import pytest
from psycopg import errors
from psycopg.types.json import Jsonb

from tests.conftest import ROOT
from tests.integration.world import THEIRS, World
from tradewind.sql import load_queries
from tradewind.tenancy.database import Connections, QueryError, Session

pytestmark = pytest.mark.usefixtures("bolt_is_untouched")

TOLD: Mapping[str, tuple[str, str | None]] = {
    "tenant_id_of": ("tenant_id_of('t-2')", "the id of whoever knows the name"),
    "is_paused": ("is_paused(%(bolt)s, 'text-2')", None),
    "find_collecting_key": (
        "(SELECT tenant_id FROM find_collecting_key('00000000-0000-0000-0000-0000000003ea', 'secret', 'ab:collect'))",
        None,
    ),
    "fair_bound": ("fair_bound(%(acme)s, 'text-2', 'live', 100, 1)", "a number"),
}
"""What the application may call of what runs with the owner's rights, with another's values; None: it tells nothing."""
REFUSED = {
    "find_shop": "find_shop('shopify', 'default', 'text-2')",
    "find_api_key": "find_api_key('00000000-0000-0000-0000-0000000003ea')",
    "make_ab_event_partition": "make_ab_event_partition(current_date)",
    "keep_ab_event_partitions": "keep_ab_event_partitions(current_date, interval '1 day')",
    "make_touchpoint_partition": "make_touchpoint_partition(current_date)",
    "keep_touchpoint_partitions": "keep_touchpoint_partitions(current_date, interval '1 day')",
    "find_run": "find_run(%(bolt)s, '00000000-0000-0000-0000-0000000003ea')",
}
"""What it may not call at all."""


def test_every_function_with_the_owners_rights_is_tried_below(world: World) -> None:
    rows = world.read(
        "SELECT proname AS name, proconfig::text LIKE '%%search_path=public%%' AS pinned FROM pg_proc"
        " WHERE prosecdef AND pronamespace = 'public'::regnamespace"
    )
    assert {row["name"] for row in rows} == {*TOLD, *REFUSED}
    assert all(row["pinned"] for row in rows)


@pytest.mark.parametrize("name", REFUSED)
def test_look_ups_of_the_platform_are_refused_to_the_application(world: World, name: str) -> None:
    with world.bound(world.acme) as app, pytest.raises(errors.InsufficientPrivilege):
        app.execute(f"SELECT * FROM {REFUSED[name]}".encode(), {"bolt": world.bolt})


@pytest.mark.parametrize("name", TOLD)
def test_what_the_application_may_call_tells_no_row_of_anothers(world: World, name: str) -> None:
    call, told = TOLD[name]
    with world.bound(world.acme) as app:
        row = app.execute(
            f"SELECT {call} AS told".encode(), {"bolt": world.bolt, "acme": world.acme}
        ).fetchone()
    assert row is not None
    expected: dict[str | None, object] = {
        "the id of whoever knows the name": world.bolt,
        "a number": 100,
        None: None,
    }
    assert row["told"] == expected[told]


HOSTILE = "x'; SELECT set_config('app.tenant_id', '00000000-0000-0000-0000-000000000002', false); --"
DYNAMIC: Mapping[str, Mapping[str, Any]] = {
    "export_subject": {"p_subject": Jsonb({kind: [HOSTILE] for kind in ("email", "phone", "visitor")})},
    "redact_subject": {"p_subject": Jsonb({kind: [HOSTILE] for kind in ("email", "phone", "visitor")})},
    "scan_documents": {"p_table": HOSTILE, "p_after": None, "p_window": 10, "p_pattern": HOSTILE},
    "write_documents": {
        "p_table": HOSTILE,
        "p_key": Jsonb({HOSTILE: "x"}),
        "p_content": Jsonb({HOSTILE: {}}),
    },
    "purge_tenant_rows": {"p_table": HOSTILE, "p_run": None, "p_inbox": None, "p_most": 10},
}


def test_every_function_that_builds_its_statement_is_tried_below(world: World) -> None:
    rows = world.read(
        "SELECT proname AS name FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND prokind = 'f'"
        " AND prosrc ~ '\\mEXECUTE\\M' AND has_function_privilege('tradewind_app', oid, 'EXECUTE')"
    )
    assert {row["name"] for row in rows} == set(DYNAMIC)


@pytest.mark.parametrize("name", DYNAMIC)
def test_value_that_looks_like_a_statement_is_a_value(world: World, name: str) -> None:
    arguments = DYNAMIC[name]
    call = f"SELECT * FROM {name}({', '.join(f'{each} => %({each})s' for each in arguments)})"
    tables = ["task_run", HOSTILE] if "p_table" in arguments else [None]
    for table in tables:
        with world.bound(world.acme) as app:
            given: dict[str, Any] = {**arguments, **({"p_table": table} if table else {})}
            try:
                with app.transaction():
                    told = repr(app.execute(call.encode(), given).fetchall())
            except psycopg.Error as error:
                told = str(error.diag.message_primary)
            assert str(world.bolt) not in told.replace(HOSTILE, "")
            bound = app.execute("SELECT current_setting('app.tenant_id') AS tenant").fetchone()
            assert bound == {"tenant": str(world.acme)}


def test_own_function_in_a_condition_is_shown_no_row_of_anothers(world: World) -> None:
    """Postgres asks the policy before any function that might tell what it was given."""
    for name in world.order:
        with world.bound(world.acme) as app:
            seen: list[str] = []
            app.add_notice_handler(lambda notice, seen=seen: seen.append(notice.message_primary))  # type: ignore[misc]
            app.execute(
                "CREATE FUNCTION pg_temp.leak(r text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS"
                " $$BEGIN RAISE NOTICE '%', r; RETURN true; END$$"
            )
            app.execute(f"SELECT FROM {name} x WHERE pg_temp.leak(x::text)".encode())
            app.execute(f"CREATE TEMPORARY VIEW every AS SELECT * FROM {name}".encode())
            found = app.execute("SELECT tenant_id FROM every").fetchall()
            assert found == [{"tenant_id": world.acme}], name
            assert len(seen) == 1, name
            assert str(world.bolt) not in seen[0]


def test_statistics_tell_no_values(world: World) -> None:
    with psycopg.connect(world.urls.owner, autocommit=True) as owner:
        for name in world.order:
            owner.execute(f"ANALYZE {name}".encode())
    with world.bound(world.acme) as app:
        told = app.execute(
            "SELECT tablename FROM pg_stats WHERE tablename = ANY (%s)", (world.order,)
        ).fetchall()
        assert told == []
        with pytest.raises(errors.InsufficientPrivilege):
            app.execute("SELECT * FROM pg_statistic")


def test_another_sessions_statement_is_seen_without_its_values(world: World) -> None:
    """The same role's statements are visible: values travel beside them, never in them."""
    connections = Connections(world.urls.app)
    session = Session(connections)
    with session.transaction(world.bolt) as theirs:
        theirs.fetch_all(
            "SELECT 'a statement of bolt' FROM orders WHERE email = %(email)s", {"email": "ann@bolt.example"}
        )
        with world.bound(world.acme) as app:
            rows = app.execute(
                "SELECT query FROM pg_stat_activity WHERE query LIKE '%a statement of bolt%'"
            ).fetchall()
        told = [row["query"] for row in rows if "pg_stat_activity" not in row["query"]]
        assert told == ["SELECT 'a statement of bolt' FROM orders WHERE email = $1"]
    session.close()
    connections.close()


def test_refusal_names_only_what_its_caller_gave(world: World) -> None:
    """Neither the row that is in the way nor the one that is missing: details may hold a customer's data."""
    connections = Connections(world.urls.app)
    told: list[str] = []
    for name in world.order:
        if name == "tenants":
            continue
        session = Session(connections)
        values = world.row(name, world.acme, THEIRS)
        statement = (
            f"INSERT INTO {name} ({', '.join(values)}) VALUES ({', '.join(f'%({each})s' for each in values)})"
        )
        try:
            with session.transaction(world.acme) as transaction:
                transaction.execute(statement, values)
                session.roll_back()
        except QueryError as error:
            told.append(f"{name}: {error}")
        finally:
            session.close()
    connections.close()
    assert len(told) >= 10
    assert all("Key (" not in text and str(world.bolt) not in text for text in told)


LASTING = r"\b(WITH\s+HOLD|PREPARE|LISTEN|pg_advisory_lock|SET\s+(?!LOCAL)\w+\s*(=|TO\b)|set_config)\b"


def test_no_query_leaves_anything_on_its_connection(world: World) -> None:
    """A cursor, a setting or a lock that outlives its transaction would meet the next tenant."""
    found = {
        f"{path.parent.name}.{name}"
        for path in (ROOT / "functions").glob("*/*/queries.sql")
        for name, query in load_queries(str(path)).items()
        if re.search(rf"{LASTING}|\bTEMP(ORARY)?\b|\bDECLARE\b", re.sub(r"\bSET\s+\w+\s*=", "", query))
        and not query.rstrip().removesuffix(";").endswith("ON COMMIT DROP")
    }
    assert found == set()
    for statement in (
        "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
        "SELECT set_config('x.y', 'z', false)",
        "LISTEN x",
    ):
        assert re.search(LASTING, statement)
