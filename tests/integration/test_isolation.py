"""Row-level security, proven with SQL as the application role: whatever a statement says, it meets one tenant's rows.

Generated from the catalogue, so that a new table is in it without a line here.
"""

from __future__ import annotations

import psycopg
import pytest
from psycopg import errors, sql
from psycopg.types.json import Jsonb

from tests.integration.world import AT, OURS, THEIRS, TODAY, World
from tradewind.tenancy.database import Connections, Session, TenantDb

pytestmark = pytest.mark.usefixtures("bolt_is_untouched")

PLATFORM_TABLES = {
    "ab_counter_folds",
    "sent_messages",
    "dead_letter",
    "outbox",
    "pauses",
    "privacy_requests",
    "attribution_export_runs",
    "attribution_webhook_queue",
    "review_email_events",
    "schedule_due",
    "schedule_next_run",
    "schedule_slot",
    "shopify_app_installations",
    "task_attempt",
    "task_run",
    "tenants",
    "webhook_inbox",
}
"""What the platform's own functions see of every tenant; nothing of a tenant's business is among it."""
NEVER_CHANGED = {"finance_configs", "finance_config_changes"}
"""Append only, by a policy of their own."""
DIRECTORY = {"pauses", "tenants", "shopify_app_installations", "credentials", "api_keys", "outbox"}
"""What the owner's look-up functions read; of the outbox only how many tenants have messages in a queue."""
ONE_TENANT_AT_A_TIME = {"credentials", "api_keys"}
"""What the platform's own functions see of the tenant that they are bound to."""
IN_BULK = {
    *("attribution_touchpoints", "attribution_conversions", "attribution_credits"),
    *("products", "variants", "product_images", "customers", "customer_addresses"),
}
"""Where the bound tenant is asked for once a statement, not once a row."""
WITHOUT_TENANT = {"operator_audit", "queue_room", "personal_data"}


def test_each_table_with_a_tenant_forces_row_level_security_by_the_same_rule(world: World) -> None:
    assert len(world.tables) >= 25
    tables = world.read(
        "SELECT relname, relrowsecurity AND relforcerowsecurity AS forced FROM pg_class"
        " WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace AND relname NOT LIKE '%%yoyo%%'"
        " AND NOT relispartition"
    )
    assert {row["relname"] for row in tables if not row["forced"]} == WITHOUT_TENANT
    assert {row["relname"] for row in tables if row["forced"]} == set(world.tables)
    policies = world.read("SELECT tablename, policyname, roles, cmd, qual, with_check FROM pg_policies")
    for name in world.tables:
        own = {row["policyname"]: row for row in policies if row["tablename"] == name}
        expected = {"own_tenant"}
        expected |= {"platform"} if name in PLATFORM_TABLES else set()
        expected |= {"directory"} if name in DIRECTORY else set()
        expected |= {"never_changed"} if name in NEVER_CHANGED else set()
        assert set(own) == expected, name
        bound = "( SELECT current_tenant() AS current_tenant)" if name in IN_BULK else "current_tenant()"
        rule = f"(tenant_id = {bound})"
        assert (own["own_tenant"]["qual"], own["own_tenant"]["with_check"]) == (rule, rule)
        assert {each: row["cmd"] for each, row in own.items() if row["cmd"] != "ALL"} == (
            {"never_changed": "UPDATE"} if name in NEVER_CHANGED else {}
        )
        assert own.get("platform", {"roles": ["tradewind_platform"]})["roles"] == ["tradewind_platform"]
        assert own.get("directory", {"roles": ["tradewind_owner"]})["roles"] == ["tradewind_owner"]


def test_each_partition_has_its_parents_rules_of_its_own(world: World) -> None:
    """Read directly, a partition does not ask its parent."""
    partitions = world.read(
        "SELECT c.relname, c.relrowsecurity AND c.relforcerowsecurity AS forced,"
        " (SELECT array_agg(p.policyname || p.qual || p.with_check) FROM pg_policies p WHERE p.tablename = c.relname)"
        " AS rules FROM pg_class c WHERE c.relispartition AND c.relkind = 'r' ORDER BY 1"
    )
    assert len(partitions) >= 7
    rule = "(tenant_id = current_tenant())"
    assert [row["relname"] for row in partitions if not row["forced"]] == []
    assert {tuple(row["rules"]) for row in partitions} == {(f"own_tenant{rule}{rule}",)}
    [full] = [row["relname"] for row in partitions if row["relname"].endswith(f"{TODAY:%Y%m%d}")]
    for tenant_id in (world.acme, world.bolt):
        with world.bound(tenant_id) as app:
            assert app.execute(f"SELECT tenant_id FROM {full}".encode()).fetchall() == [
                {"tenant_id": tenant_id}
            ]


def test_tenant_is_part_of_every_key_and_every_reference(world: World) -> None:
    keys = world.read(
        "SELECT i.indrelid::regclass::text AS name, i.indexrelid::regclass::text AS key,"
        " array_agg(a.attname::text) AS columns FROM pg_index i"
        " JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey::int2[])"
        " WHERE i.indisunique AND i.indrelid::regclass::text = ANY (%s) GROUP BY 1, 2",
        list(world.tables),
    )
    without = {row["key"] for row in keys if "tenant_id" not in row["columns"]}
    # A slug is the tenant's own name; a shop belongs to one tenant.
    assert without == {"tenants_slug_key", "shopify_app_installations_app_shop_domain_key"}
    loose = {
        f"{name} -> {parent}"
        for name, table in world.tables.items()
        for parent, pairs in table.parents.items()
        if ("tenant_id", "tenant_id") not in pairs
    }
    assert loose == set()


def test_roles_can_be_no_other_and_bypass_nothing(world: World) -> None:
    for url in (world.urls.app, world.urls.platform, world.urls.owner):
        with psycopg.connect(url) as connection:
            row = connection.execute(
                "SELECT rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb FROM pg_roles"
                " WHERE rolname = current_user"
            ).fetchone()
            assert row == (False,)
    memberships = world.read("SELECT m.member::regrole::text AS role FROM pg_auth_members m")
    applications = {"tradewind_app", "tradewind_platform", "tradewind_owner"}
    assert applications & {row["role"] for row in memberships} == set()


@pytest.mark.parametrize("setting", [None, ""])
def test_without_a_tenant_there_are_no_rows_and_no_writes(world: World, setting: str | None) -> None:
    for name in world.order:
        with psycopg.connect(world.urls.app) as app:
            if setting is not None:
                app.execute("SELECT set_config('app.tenant_id', %s, true)", (setting,))
            assert app.execute(f"SELECT * FROM {name}".encode()).fetchall() == [], name
            if name != "tenants":
                assert app.execute(f"UPDATE {name} SET tenant_id = tenant_id".encode()).rowcount == 0
                assert app.execute(f"DELETE FROM {name}".encode()).rowcount == 0
            with pytest.raises(errors.InsufficientPrivilege):
                world.insert(app, name, world.row(name, world.bolt, 3))
            app.rollback()


@pytest.mark.parametrize("setting", ["bolt", "%", "00000000"])
def test_setting_that_is_no_tenant_is_an_error(world: World, setting: str) -> None:
    with psycopg.connect(world.urls.app) as app:
        app.execute("SELECT set_config('app.tenant_id', %s, true)", (setting,))
        with pytest.raises(errors.InvalidTextRepresentation):
            app.execute("SELECT * FROM orders")
        app.rollback()


def test_tenant_reads_its_own_row_in_each_table_and_no_other(world: World) -> None:
    for tenant_id in (world.acme, world.bolt):
        for name in world.order:
            with world.bound(tenant_id) as app:
                rows = app.execute(f"SELECT tenant_id FROM {name}".encode()).fetchall()
                assert rows == [{"tenant_id": tenant_id}], name


def test_tenant_changes_nothing_of_anothers_in_any_table(world: World) -> None:
    for name in world.order:
        if name == "tenants":
            continue
        with world.bound(world.acme) as app:
            update = f"UPDATE {name} SET tenant_id = tenant_id WHERE tenant_id = %s".encode()
            assert app.execute(update, (world.bolt,)).rowcount == 0, name
            delete = f"DELETE FROM {name} WHERE tenant_id = %s".encode()
            assert app.execute(delete, (world.bolt,)).rowcount == 0, name


def test_tenant_inserts_nothing_for_another_and_gives_nothing_away(world: World) -> None:
    for name in world.order:
        with world.bound(world.acme) as app, pytest.raises(errors.InsufficientPrivilege):
            world.insert(app, name, world.row(name, world.bolt, 3))
        if name == "tenants":
            continue
        moved = f"UPDATE {name} SET tenant_id = %s".encode()
        if name in NEVER_CHANGED:
            with world.bound(world.acme) as app:
                assert app.execute(moved, (world.bolt,)).rowcount == 0
            continue
        with world.bound(world.acme) as app, pytest.raises(errors.InsufficientPrivilege):
            app.execute(moved, (world.bolt,))


def test_upsert_on_anothers_key_does_not_reach_it(world: World) -> None:
    for name in world.order:
        if name == "tenants":
            continue
        values = world.row(name, world.bolt, THEIRS)
        with world.bound(world.acme) as app:
            statement = sql.SQL(
                "INSERT INTO {} ({}) VALUES ({}) ON CONFLICT DO NOTHING RETURNING tenant_id"
            ).format(
                sql.Identifier(name),
                sql.SQL(", ").join(map(sql.Identifier, values)),
                sql.SQL(", ").join(sql.Placeholder() * len(values)),
            )
            with pytest.raises(errors.InsufficientPrivilege):
                app.execute(statement, list(values.values()))


OTHERWISE: dict[str, dict[str, object]] = {"ml_models": {"used": False}}
"""Of what a tenant has one alone, and acme has it: a second row differs in this."""


def test_row_cannot_hang_on_anothers_parent(world: World) -> None:
    """Foreign keys look past policies: only the tenant in the key keeps a reference inside."""
    tried = 0
    for name in world.order:
        for parent, pairs in world.tables[name].parents.items():
            if parent in {"tenants", name}:
                continue
            # A row of acme's own, which has no parent but bolt's under this number.
            with world.bound(world.acme) as app, pytest.raises(errors.ForeignKeyViolation):
                world.insert(app, name, {**world.row(name, world.acme, THEIRS), **OTHERWISE.get(name, {})})
            assert len(pairs) >= 2
            tried += 1
    assert tried >= 10


@pytest.mark.parametrize("role", ["tradewind_platform", "tradewind_owner", "tradewind_reader", "postgres"])
def test_application_cannot_become_another_role(world: World, role: str) -> None:
    for statement in (f"SET ROLE {role}", f"SET SESSION AUTHORIZATION {role}"):
        with world.bound(world.acme) as app, pytest.raises(errors.InsufficientPrivilege):
            app.execute(statement.encode())


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE orders DISABLE ROW LEVEL SECURITY",
        "ALTER TABLE orders NO FORCE ROW LEVEL SECURITY",
        "DROP POLICY own_tenant ON orders",
        "ALTER POLICY own_tenant ON orders USING (true)",
        "CREATE POLICY mine ON orders USING (true)",
        "ALTER ROLE tradewind_app BYPASSRLS",
        "CREATE TABLE public.mine (x integer)",
        "CREATE OR REPLACE FUNCTION current_tenant() RETURNS uuid LANGUAGE sql RETURN NULL::uuid",
        "CREATE VIEW public.every AS SELECT * FROM orders",
        "TRUNCATE orders",
        "COPY orders TO PROGRAM 'cat'",
        "SET session_replication_role = replica",
        "CALL protect('orders')",
        "CALL open_to_platform('orders')",
        "SELECT * FROM operator_audit",
        "SELECT * FROM find_shop('shopify', 'default', 'text-2')",
        "SELECT * FROM accept_webhook('{}', '', '[]', 1)",
        "INSERT INTO tenants (slug, name) VALUES ('new', 'New')",
        "DELETE FROM tenants",
    ],
)
def test_application_cannot_change_the_rules(world: World, statement: str) -> None:
    with world.bound(world.acme) as app, pytest.raises(errors.InsufficientPrivilege):
        app.execute(statement.encode())


def test_application_has_no_right_to_hand_on(world: World) -> None:
    """Postgres does not refuse such a GRANT, it does nothing and warns."""
    acl = "SELECT relacl::text AS acl FROM pg_class WHERE relname = 'orders'"
    with world.bound(world.acme) as app:
        before = app.execute(acl).fetchall()
        app.execute("GRANT SELECT ON orders TO PUBLIC")
        assert app.execute(acl).fetchall() == before


def test_switching_row_security_off_shows_nothing(world: World) -> None:
    with world.bound(world.acme) as app:
        app.execute("SET LOCAL row_security = off")
        with pytest.raises(errors.InsufficientPrivilege):
            app.execute("SELECT * FROM orders")


def test_copy_into_a_tenants_table_is_refused(world: World) -> None:
    with world.bound(world.acme) as app, pytest.raises(errors.FeatureNotSupported):
        app.execute("COPY orders FROM STDIN")


def test_temporary_table_does_not_stand_in_for_the_directory(world: World) -> None:
    """What runs with the owner's rights is bound to the real tables, whatever a session calls its own."""
    with world.bound(world.acme) as app:
        app.execute("CREATE TEMPORARY TABLE tenants (tenant_id uuid, slug text)")
        app.execute("INSERT INTO pg_temp.tenants VALUES (%s, 't-1')", (world.bolt,))
        row = app.execute("SELECT tenant_id_of('t-1') AS found").fetchone()
        assert row == {"found": world.acme}


def test_view_of_conversions_shows_only_the_tenants_own(world: World) -> None:
    with world.bound(world.acme) as app:
        rows = app.execute("SELECT tenant_id, shopify_order_id FROM conversion_attribution").fetchall()
        assert rows == [{"tenant_id": world.acme, "shopify_order_id": OURS}]
        others = app.execute("SELECT * FROM conversion_attribution WHERE shopify_order_id = %s", (THEIRS,))
        assert others.fetchall() == []
    with world.bound(None) as app:
        assert app.execute("SELECT * FROM conversion_attribution").fetchall() == []
    views = world.read(
        "SELECT c.relname, coalesce(c.reloptions::text LIKE '%%security_invoker=true%%', false) AS invoker"
        " FROM pg_class c WHERE c.relkind IN ('v', 'm') AND c.relnamespace = 'public'::regnamespace"
    )
    assert {row["relname"]: row["invoker"] for row in views} == {
        "conversion_attribution": True,
        "attribution_results": True,
    }


def test_binding_ends_with_its_transaction(world: World) -> None:
    with psycopg.connect(world.urls.app, autocommit=True) as app:
        for end in ("COMMIT", "ROLLBACK"):
            app.execute("BEGIN")
            app.execute("SELECT set_config('app.tenant_id', %s, true)", (str(world.acme),))
            assert app.execute("SELECT count(*) FROM orders").fetchone() == (1,)
            app.execute(end)
            assert app.execute("SELECT coalesce(current_setting('app.tenant_id', true), '')").fetchone() == (
                "",
            )
            assert app.execute("SELECT count(*) FROM orders").fetchone() == (0,)


def test_one_connection_serves_two_tenants_and_mixes_nothing(world: World) -> None:
    connections = Connections(world.urls.app)
    seen = []
    for tenant_id in (world.acme, world.bolt, world.acme):
        session = Session(connections)
        with TenantDb(session, tenant_id).begin() as tx:
            seen.append(tx.fetch_one("SELECT pg_backend_pid() AS pid, tenant_id FROM orders"))
        session.close()
        between = Session(connections)
        assert between.call("SELECT count(*)::int AS n FROM orders", {}) == [{"n": 0}]
        between.close()
    connections.close()
    assert [row["tenant_id"] for row in seen if row] == [world.acme, world.bolt, world.acme]
    assert len({row["pid"] for row in seen if row}) == 1


def test_one_session_may_turn_from_one_tenant_to_another(world: World) -> None:
    connections = Connections(world.urls.app)
    session = Session(connections)
    seen = []
    for tenant_id in (world.acme, world.bolt):
        with TenantDb(session, tenant_id).begin() as tx:
            seen += [row["tenant_id"] for row in tx.fetch_all("SELECT tenant_id FROM orders")]
    session.close()
    connections.close()
    assert seen == [world.acme, world.bolt]


def test_platform_sees_the_kernels_tables_and_nothing_of_a_tenants_business(world: World) -> None:
    for name in world.order:
        with psycopg.connect(world.urls.platform) as platform:
            if name in PLATFORM_TABLES:
                found = platform.execute(f"SELECT DISTINCT tenant_id FROM {name}".encode()).fetchall()
                assert {(world.acme,), (world.bolt,)} <= set(found), name
            elif name in ONE_TENANT_AT_A_TIME:
                assert platform.execute(f"SELECT * FROM {name}".encode()).fetchall() == []
            else:
                with pytest.raises(errors.InsufficientPrivilege):
                    platform.execute(f"SELECT * FROM {name}".encode())
            platform.rollback()


def test_owner_sees_no_rows_but_the_directorys(world: World) -> None:
    for name in world.order:
        with psycopg.connect(world.urls.owner) as owner:
            [count] = owner.execute(f"SELECT count(*) FROM {name}".encode()).fetchall()
            assert (count[0] > 0) == (name in DIRECTORY), name


KERNEL_CALLS = {
    "enqueue": "SELECT * FROM enqueue(%(outbox)s, 100)",
    "admit": "SELECT * FROM admit(%(bolt)s, 'text-2', 'live', 100, 10)",
    "child_ended": "SELECT * FROM child_ended((SELECT r FROM task_run r WHERE r.tenant_id = %(bolt)s), 100)",
    "record_attempt": "SELECT record_attempt((SELECT r FROM task_run r WHERE r.tenant_id = %(bolt)s), %(error)s)",
}


@pytest.mark.parametrize("name", KERNEL_CALLS)
def test_kernel_function_with_anothers_id_does_nothing_to_it(world: World, name: str) -> None:
    """Those that bind nothing themselves: refused, or without effect."""
    row = {
        "tenant_id": str(world.bolt),
        "key": "forged",
        "task": "t",
        "lane": "live",
        "shard": 0,
        "cause": "c",
        "source": "task",
        "correlation_id": "c",
        "accepted_at": AT.isoformat(),
    }
    params = {"bolt": world.bolt, "outbox": Jsonb([row]), "error": Jsonb({"kind": "x", "class": "x"})}
    with world.bound(world.acme, keep=True) as app:
        try:
            with app.transaction():
                found = app.execute(KERNEL_CALLS[name].encode(), params).fetchall()
        except (errors.InsufficientPrivilege, errors.NotNullViolation):
            return
        assert [each for each in found if set(each.values()) != {None} and each != {name: ""}] == []


def test_slug_gives_an_id_and_nothing_else(world: World) -> None:
    with world.bound(None) as app:
        assert app.execute("SELECT tenant_id_of('t-2') AS found").fetchone() == {"found": world.bolt}
        assert app.execute("SELECT tenant_id_of('nobody') AS found").fetchone() == {"found": None}
        assert app.execute("SELECT * FROM tenants").fetchall() == []


@pytest.mark.parametrize(
    "call", ["mark_sent(%s, ARRAY['k'])", "claim_run(%s, 't', 'c', 'k', '{}', 1, false)"]
)
def test_kernel_function_does_not_rebind_a_transaction_to_another_tenant(world: World, call: str) -> None:
    with psycopg.connect(world.urls.app) as app:
        app.execute("SELECT set_config('app.tenant_id', %s, true)", (str(world.acme),))
        with pytest.raises(psycopg.errors.RaiseException, match="is bound to tenant"):
            app.execute(f"SELECT {call}".encode(), (str(world.bolt),))
