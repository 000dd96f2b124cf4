"""Databases for tests: a copy of the schema each, taken back and emptied, since to copy its eight hundred files takes
longer than most tests.

A database that has come back is as a new one: other backends are ended, every table holds the rows that the migrations
left, the sequence begins anew. One whose schema a test has changed is dropped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import uuid4

import psycopg
from psycopg import sql

from infra.local import PostgresServer
from infra.local.postgres import DatabaseUrls

_TABLES = """
SELECT c.oid::regclass::text FROM pg_class c
WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace AND pg_relation_size(c.oid) > 0
"""
_SEQUENCES = (
    "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'S' AND relnamespace = 'public'::regnamespace"
)
_END_OTHERS = """
SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
_COLUMNS = """
SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute
WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
"""
"""COPY takes no value for a column that is computed."""
_LARGE = 4 * 1024 * 1024
"""A table of so many bytes, dead rows with the others, is emptied no more: the database goes."""
_SIZE = """
SELECT max(pg_relation_size(oid)) FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
"""
_EMPTY = """
DO $$
DECLARE
    item record;
    found boolean;
BEGIN
    FOR item IN
        SELECT c.oid::regclass AS name FROM pg_class c
        WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace AND pg_relation_size(c.oid) > 0
          AND c.relname <> ALL (current_setting('tests.kept')::text[])
    LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM ONLY %s)', item.name) INTO found;
        IF found THEN
            EXECUTE format('DELETE FROM ONLY %s', item.name);
        END IF;
    END LOOP;
END
$$
"""
_SCHEMA = """
WITH ours AS (
    SELECT c.* FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace
), parts AS (
    SELECT concat_ws('|', 'class', relname, relkind, relacl, relowner, relrowsecurity, relforcerowsecurity, reloptions)
        AS part
    FROM ours
    UNION ALL
    SELECT concat_ws('|', 'column', a.attrelid, a.attname, a.atttypid, a.attnotnull, a.attacl, a.attisdropped)
    FROM pg_attribute a JOIN ours c ON c.oid = a.attrelid WHERE a.attnum > 0 AND c.relkind IN ('r', 'p', 'v')
    UNION ALL
    SELECT concat_ws('|', 'default', adrelid, adnum, md5(adbin::text)) FROM pg_attrdef
    UNION ALL
    SELECT concat_ws('|', 'policy', polrelid, polname, polcmd, polroles::text,
                     md5(concat(polqual::text, polwithcheck::text)))
    FROM pg_policy
    UNION ALL
    SELECT concat_ws('|', 'function', proname, pronargs, md5(concat(prosrc, prosqlbody::text)), proacl, proowner,
                     prosecdef, proconfig)
    FROM pg_proc WHERE pronamespace = 'public'::regnamespace
    UNION ALL
    SELECT concat_ws('|', 'constraint', conrelid, conname, convalidated, condeferrable) FROM pg_constraint
    WHERE connamespace = 'public'::regnamespace
    UNION ALL
    SELECT concat_ws('|', 'trigger', tgrelid, tgname, tgenabled) FROM pg_trigger WHERE NOT tgisinternal
    UNION ALL
    SELECT concat_ws('|', 'schema', nspname, nspacl) FROM pg_namespace WHERE nspname !~ '^pg_(toast_)?temp'
    UNION ALL
    SELECT concat_ws('|', 'setting', setrole, setconfig)
    FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase WHERE d.datname = current_database()
)
SELECT md5(string_agg(part, E'\\n' ORDER BY part)) FROM parts
"""
Connection = psycopg.Connection[tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Original:
    """What the migrations leave: the schema's digest, rows by table in COPY's format, where sequences stand."""

    schema: str
    rows: Mapping[str, bytes]
    sequences: Mapping[str, tuple[int, bool]]


@dataclass(slots=True)
class Databases:
    """Copies of ``template``, as long as the server runs."""

    server: PostgresServer
    template: str
    _original: Original = field(init=False)
    _idle: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        with self._connect(self.template) as connection:
            self._original = _read(connection)

    def take(self) -> tuple[str, DatabaseUrls]:
        """A database that nobody else has, by a name that none has had: processes keep things by its address."""
        name = f"test_{uuid4().hex[:12]}"
        if not self._idle:
            return name, self.server.create_database(name, template=self.template)
        rename = sql.SQL("ALTER DATABASE {} RENAME TO {}")
        with self._connect("postgres") as connection:
            connection.execute(rename.format(sql.Identifier(self._idle.pop()), sql.Identifier(name)))
        return name, self.server.access.urls(name)

    def give_back(self, name: str) -> None:
        with self._connect(name) as connection:
            connection.execute(_END_OTHERS)
            [(size,)] = connection.execute(_SIZE.encode()).fetchall()
            same = int(size) < _LARGE and _schema(connection) == self._original.schema
            if same:
                _restore(connection, self._original)
        if same:
            self._idle.append(name)
        else:
            self.server.drop_database(name)

    def _connect(self, name: str) -> Connection:
        return psycopg.connect(self.server.access.superuser_url(name), autocommit=True)


def _schema(connection: Connection) -> str:
    [(digest,)] = connection.execute(_SCHEMA.encode()).fetchall()
    return digest


def _read(connection: Connection) -> Original:
    tables = [name for (name,) in connection.execute(_TABLES.encode()).fetchall()]
    sequences = [name for (name,) in connection.execute(_SEQUENCES.encode()).fetchall()]
    return Original(
        _schema(connection),
        {table: rows for table in tables if (rows := _rows(connection, table))},
        {name: _standing(connection, name) for name in sequences},
    )


def _rows(connection: Connection, table: str) -> bytes:
    [(columns,)] = connection.execute(_COLUMNS.encode(), (table,)).fetchall()
    ordered = f"SELECT {columns} FROM ONLY {table} t ORDER BY t::text"
    with connection.cursor().copy(f"COPY ({ordered}) TO STDOUT".encode()) as copy:
        return b"".join(bytes(piece) for piece in copy)


def _standing(connection: Connection, sequence: str) -> tuple[int, bool]:
    [(value, is_called)] = connection.execute(
        f"SELECT last_value, is_called FROM {sequence}".encode()
    ).fetchall()
    return int(value), bool(is_called)


def _restore(connection: Connection, original: Original) -> None:
    """Without triggers and foreign keys: what is deleted and put back fits together."""
    connection.execute("SET session_replication_role = replica")
    changed = [table for table, rows in original.rows.items() if _rows(connection, table) != rows]
    kept = [table for table in original.rows if table not in changed]
    connection.execute("SELECT set_config('tests.kept', %s::text[]::text, false)", (kept,))
    connection.execute(_EMPTY.encode())
    for table in changed:
        with connection.cursor().copy(f"COPY {table} FROM STDIN".encode()) as copy:
            copy.write(original.rows[table])
    for sequence, (value, is_called) in original.sequences.items():
        connection.execute("SELECT setval(%s::regclass, %s, %s)", (sequence, value, is_called))
