"""The functions that run inside a deployment only: the migration hook and the one that creates the roles."""

from __future__ import annotations

import io
import json
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any
from urllib.request import Request
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from infra.assets.database_roles.roles import create_roles
from infra.constructs.migration_hook import HANDLER
from infra.local import PostgresServer

INLINE_CODE_LIMIT = 4096
EVENT = {
    "RequestType": "Update",
    "ResponseURL": "https://cloudformation.example/answer",
    "StackId": "stack",
    "RequestId": "request",
    "LogicalResourceId": "run",
}


class RecordingLambda:
    """Answers invocations and remembers whose they were."""

    def __init__(self, failing: str | None) -> None:
        self.invoked: list[str] = []
        self._failing = failing

    def invoke(self, FunctionName: str, Payload: bytes) -> dict[str, Any]:  # noqa: N803 - boto3's names
        assert Payload == b"{}"
        self.invoked.append(FunctionName)
        body = io.BytesIO(b'{"errorMessage": "relation exists"}' if FunctionName == self._failing else b"{}")
        return {"Payload": body} | ({"FunctionError": "Unhandled"} if FunctionName == self._failing else {})


Hook = Callable[[dict[str, str], str | None], tuple[list[str], dict[str, str]]]


@pytest.fixture
def run_hook(monkeypatch: pytest.MonkeyPatch) -> Hook:
    """Run the inline handler; returns the functions it invoked and what it told CloudFormation."""

    def run(event: dict[str, str], failing: str | None) -> tuple[list[str], dict[str, str]]:
        client, told = RecordingLambda(failing), list[Request]()

        def answer(request: Request, timeout: float) -> io.BytesIO:
            told.append(request)
            return io.BytesIO()

        boto3 = types.ModuleType("boto3")
        boto3.client = lambda service, config: client  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "boto3", boto3)
        monkeypatch.setattr("urllib.request.urlopen", answer)
        monkeypatch.setenv("FUNCTIONS", json.dumps(["roles", "migrate"]))
        module: dict[str, Any] = {}
        exec(HANDLER, module)  # noqa: S102 - the code as Lambda would run it
        module["handle"](event, None)
        (request,) = told
        assert (request.get_method(), request.full_url) == ("PUT", EVENT["ResponseURL"])
        assert isinstance(request.data, bytes)
        return client.invoked, json.loads(request.data)

    return run


def test_the_hook_fits_inline_code() -> None:
    assert len(HANDLER) < INLINE_CODE_LIMIT


def test_a_deployment_creates_roles_then_migrates(run_hook: Hook) -> None:
    invoked, answer = run_hook(EVENT, None)
    assert invoked == ["roles", "migrate"]
    assert answer == {
        "Status": "SUCCESS",
        "Reason": "done",
        "PhysicalResourceId": "migrations",
        "StackId": "stack",
        "RequestId": "request",
        "LogicalResourceId": "run",
    }


@pytest.mark.parametrize(("failing", "invoked"), [("roles", ["roles"]), ("migrate", ["roles", "migrate"])])
def test_a_failure_fails_the_deployment_and_says_why(
    run_hook: Hook, failing: str, invoked: list[str]
) -> None:
    found, answer = run_hook(EVENT, failing)
    assert found == invoked
    assert answer["Status"] == "FAILED"
    assert answer["Reason"] == f'{failing} failed: {{"errorMessage": "relation exists"}}'


def test_deleting_the_stack_runs_nothing(run_hook: Hook) -> None:
    invoked, answer = run_hook(EVENT | {"RequestType": "Delete"}, "migrate")
    assert (invoked, answer["Status"]) == ([], "SUCCESS")


class Cluster:
    """A database whose master, as on RDS, may create roles and databases and is no superuser."""

    def __init__(self, server: PostgresServer) -> None:
        self.suffix = uuid4().hex[:8]
        self._server = server
        self._admin = server.access.superuser_url("postgres")
        self.master, self.database = f"master_{self.suffix}", f"rds_{self.suffix}"

    def create(self) -> None:
        with psycopg.connect(self._admin, autocommit=True) as admin:
            admin.execute(
                sql.SQL("CREATE ROLE {} LOGIN CREATEROLE CREATEDB PASSWORD 'm'").format(
                    sql.Identifier(self.master)
                )
            )
            admin.execute(
                sql.SQL("CREATE DATABASE {} OWNER {}").format(
                    sql.Identifier(self.database), sql.Identifier(self.master)
                )
            )

    def drop(self) -> None:
        self._server.drop_database(self.database)

    def connect(self, role: str, password: str) -> psycopg.Connection[tuple[Any, ...]]:
        address = f"postgresql://{role}:{password}@127.0.0.1:{self._server.access.port}/{self.database}"
        return psycopg.connect(address, connect_timeout=5)

    def role(self, name: str) -> str:
        return f"{name}_{self.suffix}"


@pytest.fixture
def cluster(postgres: PostgresServer) -> Iterator[Cluster]:
    made = Cluster(postgres)
    made.create()
    yield made
    made.drop()


def test_roles_can_log_in_and_the_owner_may_create_tables(cluster: Cluster) -> None:
    owner, app = cluster.role("owner"), cluster.role("app")
    with cluster.connect(cluster.master, "m") as connection:
        create_roles(connection, [(owner, "o'1"), (app, "a-1")])
    with cluster.connect(owner, "o%271") as connection:
        connection.execute("CREATE TABLE orders (id bigint)")
    with cluster.connect(app, "a-1") as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("CREATE TABLE mine (id bigint)")


def test_no_role_is_a_superuser_or_bypasses_row_level_security(cluster: Cluster) -> None:
    roles = [(cluster.role(name), "p") for name in ("owner", "app", "platform")]
    with cluster.connect(cluster.master, "m") as connection:
        create_roles(connection, roles)
        found = connection.execute(
            "SELECT rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolcanlogin FROM pg_roles "
            "WHERE rolname = ANY (%s)",
            ([role for role, _ in roles],),
        ).fetchall()
    assert found == [(False, False, False, False, True)] * 3


def test_again_with_another_password_changes_only_the_password(cluster: Cluster) -> None:
    owner = cluster.role("owner")
    with cluster.connect(cluster.master, "m") as connection:
        create_roles(connection, [(owner, "first")])
    with cluster.connect(owner, "first") as connection:
        connection.execute("CREATE TABLE orders (id bigint)")
    with cluster.connect(cluster.master, "m") as connection:
        create_roles(connection, [(owner, "second")])
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        cluster.connect(owner, "first")
    with cluster.connect(owner, "second") as connection:
        assert connection.execute("SELECT count(*) FROM orders").fetchone() == (0,)


def test_a_failure_leaves_no_role_behind(cluster: Cluster) -> None:
    owner, somebody_elses = cluster.role("owner"), "tradewind_app"
    with (
        cluster.connect(cluster.master, "m") as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        create_roles(connection, [(owner, "o"), (somebody_elses, "p")])
    with cluster.connect(cluster.master, "m") as connection:
        left = connection.execute("SELECT count(*) FROM pg_roles WHERE rolname = %s", (owner,)).fetchone()
    assert left == (0,)
