"""The only door to Postgres. ``TenantDb`` sees one tenant's rows; ``PlatformDb`` is another type, the platform's own.

Connections live as long as the process and are lent to one message at a time. One that lay idle for longer than
``MAX_IDLE`` was perhaps frozen with its Lambda, and one on which Postgres has said something meanwhile was ended by it,
as by a restart or a failover: both are replaced before their first statement.
"""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
from psycopg import errors, pq, sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from tradewind.crash import Point, reached
from tradewind.errors import ConflictError, RetryableError, TradewindError
from tradewind.tenancy.patience import Attempt, Cutoff, Watchdog

Row = dict[str, Any]
Params = Mapping[str, Any]
MAX_IDLE = timedelta(seconds=45)
PREPARE_AFTER = 3
"""A statement is prepared at its fourth use: planning costs Postgres more than running it. Behind a pooling proxy,
where prepared statements would stay on another client's connection, this must be None."""
_STATEMENT, _LOCK = timedelta(seconds=30), timedelta(seconds=8)
_IDLE_MS = 60_000
_STALE_FENCE = "TW001"

__all__ = [
    "Connections",
    "DatabaseUnavailableError",
    "FenceLostError",
    "Jsonb",
    "PlatformDb",
    "Session",
    "TenantDb",
    "Transaction",
]


class DatabaseUnavailableError(RetryableError):
    """Postgres does not answer, or ended the connection."""


class FenceLostError(RetryableError):
    """Another worker has taken the run over; nothing of this one was committed."""


class QueryError(TradewindError):
    """Postgres refuses a statement: a bug. Only the primary message is told; details may hold a customer's data."""


class Connections:
    """Idle connections to one database as one role.

    With ``patience`` each is lent for that long at most, and a connection attempt waits no longer either: a database
    that hangs fails like one that is gone. Postgres itself is told to give up a little earlier.
    """

    def __init__(self, url: str, connect_timeout: int = 3, patience: timedelta | None = None) -> None:
        self._url = url
        self._connect_timeout = connect_timeout
        self._patience = patience
        self._options = _options(
            _STATEMENT if patience is None else patience * 0.9, _LOCK if patience is None else patience * 0.8
        )
        self._idle: list[tuple[float, psycopg.Connection[Row]]] = []
        self._watchdog = None if patience is None else Watchdog(patience)
        self._cutoffs: dict[int, Cutoff] = {}
        self._lock = threading.Lock()

    def acquire(self) -> psycopg.Connection[Row]:
        """An open connection in autocommit. Raises DatabaseUnavailableError."""
        connection = self._idle_one() or self._connect()
        if self._watchdog is not None:
            cutoff = self._watchdog.watch(connection.fileno())
            with self._lock:
                self._cutoffs[id(connection)] = cutoff
        return connection

    def _idle_one(self) -> psycopg.Connection[Row] | None:
        oldest_usable = time.time() - MAX_IDLE.total_seconds()
        while True:
            with self._lock:
                if not self._idle:
                    return None
                last_used, connection = self._idle.pop()
            if last_used >= oldest_usable and not connection.closed and not _has_spoken(connection):
                return connection
            connection.close()

    def _connect(self) -> psycopg.Connection[Row]:
        try:
            if self._patience is None:
                return self._dial()
            return Attempt(self._dial, psycopg.Connection.close).within(self._patience)
        except (psycopg.OperationalError, TimeoutError) as error:
            raise DatabaseUnavailableError(f"postgres: {error}") from error

    def _dial(self) -> psycopg.Connection[Row]:
        return psycopg.connect(
            self._url,
            autocommit=True,
            prepare_threshold=PREPARE_AFTER,
            row_factory=dict_row,
            connect_timeout=self._connect_timeout,
            options=self._options,
        )

    def release(self, connection: psycopg.Connection[Row]) -> None:
        """Take a connection back; one that is broken or inside a transaction is closed."""
        with self._lock:
            cutoff = self._cutoffs.pop(id(connection), None)
        usable = cutoff is None or cutoff.lift()
        idle = not connection.closed and connection.info.transaction_status == pq.TransactionStatus.IDLE
        if not (usable and idle):
            connection.close()
            return
        with self._lock:
            self._idle.append((time.time(), connection))

    def close(self) -> None:
        with self._lock:
            while self._idle:
                self._idle.pop()[1].close()


def _has_spoken(connection: psycopg.Connection[Row]) -> bool:
    """Whether something has arrived unasked: its end, most likely. Costs no round trip."""
    waiting = select.poll()
    waiting.register(connection.fileno(), select.POLLIN)
    return bool(waiting.poll(0))


def _options(statement: timedelta, lock: timedelta) -> str:
    milliseconds = timedelta(milliseconds=1)
    return (
        f"-c statement_timeout={statement // milliseconds} -c lock_timeout={lock // milliseconds}"
        f" -c idle_in_transaction_session_timeout={_IDLE_MS} -c timezone=UTC"
    )


@contextmanager
def _translated() -> Iterator[None]:
    """Turn the driver's errors into the tree's; what remains is a bug and keeps its class."""
    try:
        yield
    except (errors.SerializationFailure, errors.DeadlockDetected, errors.LockNotAvailable) as error:
        raise ConflictError(f"postgres: {error}") from error
    except errors.QueryCanceled as error:
        raise RetryableError(f"postgres: {error}") from error
    except psycopg.OperationalError as error:
        raise DatabaseUnavailableError(f"postgres: {error}") from error
    except psycopg.Error as error:
        if error.sqlstate == _STALE_FENCE:
            raise FenceLostError(str(error)) from error
        raise QueryError(f"{type(error).__name__}: {error.diag.message_primary or error}") from None


class Transaction:
    """Statements inside one transaction. Rows come as dicts; repositories turn them into model types."""

    def __init__(self, connection: psycopg.Connection[Row]) -> None:
        self._connection = connection

    def fetch_all(self, query: str, params: Params | None = None) -> list[Row]:
        with _translated():
            return self._connection.execute(query.encode(), params).fetchall()

    def fetch_one(self, query: str, params: Params | None = None) -> Row | None:
        with _translated():
            return self._connection.execute(query.encode(), params).fetchone()

    def execute(self, query: str, params: Params | None = None) -> int:
        """Run a statement and return the number of rows it touched."""
        with _translated():
            return self._connection.execute(query.encode(), params).rowcount

    def upsert(self, query: str, params: Params | None = None, *, all_new: bool) -> int:
        """Run an upsert; without its conflict clause where ``all_new``, which costs Postgres a third less a row and
        raises QueryError where a row stands. Returns how many rows were written.
        """
        return self.execute(query.partition("ON CONFLICT")[0] if all_new else query, params)

    def execute_many(self, query: str, rows: Sequence[Params]) -> None:
        with _translated(), self._connection.cursor() as cursor:
            cursor.executemany(query.encode(), rows)

    def copy_rows(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        """``COPY ... FROM STDIN`` into a temporary table: row-level security refuses COPY into a tenant's."""
        with _translated(), self._connection.cursor() as cursor, cursor.copy(statement.encode()) as copy:
            for row in rows:
                copy.write_row(row)

    def copy_out(
        self, query: str, params: Params, columns: Sequence[str], into: Path, *, as_json: bool
    ) -> int:
        """Write columns of a query's rows into a file, in its order, in constant memory: CSV with a heading, where null
        is an empty field without quotes, or an object a line. Returns the number of rows.
        """
        rows = sql.SQL("SELECT {} FROM ({}) q").format(
            sql.SQL(", ").join(map(sql.Identifier, columns)),
            sql.SQL(query.rstrip().removesuffix(";")),
        )
        statement = (
            sql.SQL(
                "COPY (SELECT row_to_json(r) FROM ({}) r) TO STDOUT (FORMAT csv, QUOTE E'\\x01', DELIMITER E'\\x02')"
            )
            if as_json
            else sql.SQL("COPY ({}) TO STDOUT (FORMAT csv, HEADER)")
        ).format(rows)
        with _translated(), self._connection.cursor() as cursor, into.open("wb") as file:
            with cursor.copy(statement, params) as copy:
                for piece in copy:
                    file.write(piece)
            return cursor.rowcount

    def copy_text(self, statement: str, pieces: Iterable[bytes]) -> None:
        """The same for what lies in COPY's own format already."""
        with _translated(), self._connection.cursor() as cursor, cursor.copy(statement.encode()) as copy:
            for piece in pieces:
                copy.write(piece)


class Session:
    """One message's connection and its open transaction.

    The commit of the transaction that ended last is held back until the next one begins, a provider is called, or
    the run ends: so the last effect, the run's end and its follow-ups commit together, and no transaction is held
    over a network call.
    """

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._connection: psycopg.Connection[Row] | None = None
        self._held = False

    @contextmanager
    def transaction(self, tenant_id: UUID | None) -> Iterator[Transaction]:
        """Begin, bind the tenant (None: the platform's own role), yield, hold the commit back; roll back on error."""
        self.settle()
        connection = self._open()
        if tenant_id is None:
            begin = "BEGIN"
        else:
            begin = f"BEGIN; SELECT set_config('app.tenant_id', '{UUID(str(tenant_id))}', true)"
        with _translated():
            connection.execute(begin.encode())
        try:
            yield Transaction(connection)
        except BaseException:
            self.roll_back()
            raise
        self._held = True

    def another(self) -> Session:
        """A session of its own over the same connections."""
        return Session(self._connections)

    def settle(self) -> None:
        """Commit what is held back."""
        if self._held:
            self._held = False
            with _translated():
                self._open().execute(b"COMMIT")
            reached(Point.TRANSACTION_COMMITTED)

    def end_with(self, query: str, params: Params) -> list[Row]:
        """Run a last statement inside the held transaction and commit, or alone where none is held."""
        connection = self._open()
        held, self._held = self._held, False
        try:
            with _translated():
                rows = connection.execute(query.encode(), params).fetchall()
                if held:
                    connection.execute(b"COMMIT")
        except BaseException:
            self.roll_back()
            raise
        return rows

    def call(self, query: str, params: Params) -> list[Row]:
        """One autocommit statement outside of any transaction."""
        self.settle()
        with _translated():
            rows = self._open().execute(query.encode(), params).fetchall()
        reached(Point.STATEMENT_COMMITTED)
        return rows

    def roll_back(self) -> None:
        """Undo what is not committed. A connection that cannot even do that is dropped."""
        self._held = False
        connection = self._connection
        if connection is None or connection.closed:
            return
        try:
            if connection.info.transaction_status != pq.TransactionStatus.IDLE:
                connection.execute(b"ROLLBACK")
        except psycopg.Error:
            connection.close()

    def close(self) -> None:
        """Return the connection; an unfinished transaction is undone."""
        self.roll_back()
        if self._connection is not None:
            self._connections.release(self._connection)
            self._connection = None

    def _open(self) -> psycopg.Connection[Row]:
        if self._connection is None or self._connection.closed:
            self._connection = self._connections.acquire()
        return self._connection


class TenantDb:
    """One tenant's rows. Row-level security hides every other tenant's, whatever the query says."""

    def __init__(self, session: Session, tenant_id: UUID) -> None:
        self._session = session
        self._tenant_id = tenant_id

    @contextmanager
    def begin(self) -> Iterator[Transaction]:
        """A transaction bound to the tenant. See ``Session`` for when it commits."""
        with self._session.transaction(self._tenant_id) as transaction:
            yield transaction

    @contextmanager
    def aside(self) -> Iterator[TenantDb]:
        """The same tenant over another connection, for work side by side: usable by another thread. What the block has
        done is committed at its end, by itself.
        """
        session = self._session.another()
        try:
            yield TenantDb(session, self._tenant_id)
            session.settle()
        finally:
            session.close()


class PlatformDb:
    """The platform's own view: directory, inbox, outbox, ledger and dead letters of all tenants, nothing else."""

    def __init__(self, session: Session) -> None:
        self._session = session

    @contextmanager
    def begin(self) -> Iterator[Transaction]:
        with self._session.transaction(None) as transaction:
            yield transaction

    def settle(self) -> None:
        self._session.settle()
