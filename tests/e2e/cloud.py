"""The local cloud as the end-to-end tests see it: from outside, over HTTP, boto3, SQL and the command line."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID, uuid4

import boto3
import httpx
import psycopg
import pytest
from botocore.config import Config
from psycopg.rows import dict_row

from infra.local import State, paths

PATIENCE_S = 60.0
POLL_S = 0.1
Found = TypeVar("Found")
Row = dict[str, Any]

_TOLD = {
    "task_run": "task, cause, source, state, attempt, hops, error_class, error_message",
    "task_attempt": "number, error_kind, error_class, message",
    "outbox": "task, lane, cause, state, delivery, hops",
    "dead_letter": "task, cause, state, error_class, error_message",
    "orders": "shopify_order_id, status, total_cents, refunded_cents, shopify_updated_at",
    "webhook_inbox": "topic, event_id, state, deliveries, claim",
}


class FunctionError(Exception):
    """A function's own failure: its class and message, as the caller of Lambda gets them."""


class Cloud:
    """A running local cloud. ``authorizes``: it was started to check every call against the IAM policies."""

    def __init__(self, state: State, *, authorizes: bool) -> None:
        self.state = state
        self.authorizes = authorizes
        self.http = httpx.Client(trust_env=False, timeout=15)
        self.sandbox = httpx.Client(base_url=f"{state.sandbox_url}/_sandbox", trust_env=False, timeout=15)
        self.client = cache(self._client)

    def _client(self, service: str, role: str | None = None) -> Any:
        """A client with the rights of an administrator, or of a function's role."""
        keys: dict[str, Any] = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
        if role is not None:
            given = self.client("sts").assume_role(RoleArn=role, RoleSessionName="test")["Credentials"]
            keys = {
                "aws_access_key_id": given["AccessKeyId"],
                "aws_secret_access_key": given["SecretAccessKey"],
                "aws_session_token": given["SessionToken"],
            }
        return boto3.client(
            service,
            endpoint_url=self.state.aws_endpoint_url,
            region_name=self.state.region,
            **keys,
            config=Config(
                inject_host_prefix=False, retries={"total_max_attempts": 1}, read_timeout=60, proxies={}
            ),
        )

    def query(self, statement: str, *params: Any) -> list[Row]:
        """Read as the reader role, which sees every tenant."""
        with psycopg.connect(self.state.database_url, row_factory=dict_row) as connection:
            return connection.execute(statement.encode(), params).fetchall()

    def invoke(self, function: str, event: Mapping[str, Any]) -> Any:
        """Invoke a function of the stage and return its result. Raises FunctionError."""
        answer = self.client("lambda").invoke(
            FunctionName=f"tradewind-local-{function}", Payload=json.dumps(event).encode()
        )
        result = json.loads(answer["Payload"].read() or b"null")
        if answer.get("FunctionError"):
            raise FunctionError(f"{result.get('errorType')}: {result.get('errorMessage')}")
        return result

    def machine(self, name: str) -> str:
        return f"arn:aws:states:{self.state.region}:{self.state.account}:stateMachine:tradewind-local-{name}"

    def queue_url(self, name: str) -> str:
        return f"{self.state.aws_endpoint_url}/{self.state.account}/tradewind-local-{name}"

    def execute(self, machine: str, document: Mapping[str, Any]) -> Row:
        """Start an execution, wait for its end and return it as it is described."""
        states = self.client("stepfunctions")
        started = states.start_execution(stateMachineArn=self.machine(machine), input=json.dumps(document))

        def ended() -> Row | None:
            described: Row = states.describe_execution(executionArn=started["executionArn"])
            return described if described["status"] != "RUNNING" else None

        return self.wait_for(f"the end of {machine}", ended)

    def operate(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run ``python -m infra.operate`` as the make targets do."""
        return self.command("infra.operate", *arguments, stdin=stdin)

    def command(
        self, module: str, *arguments: str, stdin: str = "", **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a module as the make targets do."""
        path = os.pathsep.join(map(str, (paths.FUNCTIONS, paths.KERNEL, paths.CHECKOUT)))
        inherited = {name: value for name, value in os.environ.items() if name != "STAGE"}
        return subprocess.run(
            [str(paths.PYTHON), "-m", module, *arguments],
            cwd=paths.CHECKOUT,
            env=inherited | {"PYTHONPATH": path, **environment},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S * 3,
            check=False,
        )

    def wait_for(
        self, what: str, find: Callable[[], Found | None], *, tenant_id: UUID | None = None
    ) -> Found:
        """Ask until there is an answer that is not None, empty or false; fail with the tenant's tables."""
        deadline = time.monotonic() + PATIENCE_S
        while not (found := find()):
            if time.monotonic() > deadline:
                pytest.fail(f"no sign of {what} within {PATIENCE_S:g} s\n{self.tables(tenant_id)}")
            time.sleep(POLL_S)
        return found

    def tables(self, tenant_id: UUID | None) -> str:
        """What a person would look at: the latest rows of the kernel's tables, of one tenant or of all."""
        told = []
        for table, columns in _TOLD.items():
            rows = self.query(
                f"SELECT {columns} FROM {table} WHERE %s::uuid IS NULL OR tenant_id = %s LIMIT 30",
                tenant_id,
                tenant_id,
            )
            told += [f"{table}:", *(f"  {json.dumps(row, default=str)}" for row in rows)]
        return "\n".join(told)

    def pause(self, tenants: list[UUID]) -> None:
        """Have no schedule work for some tenants any more."""
        with psycopg.connect(self.state.platform_database_url) as connection:
            connection.execute("UPDATE tenants SET status = 'paused' WHERE tenant_id = ANY (%s)", (tenants,))

    def calls(self, shop: str) -> list[Row]:
        """What the sandbox received for a shop, oldest first, as far as it still knows."""
        listed: list[Row] = []
        last = 0
        while True:
            answer = self.sandbox.get("/calls", params={"shop": shop, "after": last}).json()
            if not answer["calls"]:
                return listed
            listed += answer["calls"]
            last = answer["last"]

    def fail_calls(self, shop: str, kind: str, calls: int) -> None:
        """Have the next ``calls`` of a shop fail."""
        plan = {"shop": shop, "kinds": [kind], "rate": 1, "remaining": calls, "hold_seconds": 6}
        assert self.sandbox.post("/faults", json=plan).status_code == 200

    def register(self, name: str = "shop", *, app: str = "default", settings: Row | None = None) -> Tenant:
        """A tenant of its own with a shop of its own, registered through the admin function."""
        slug = f"{name}-{uuid4().hex[:8]}"
        tenant = Tenant(self, slug, f"{slug}.myshopify.com", f"shpss_{uuid4().hex}", app)
        answer = self.invoke(
            "ingress-admin",
            {
                "action": "register-tenant",
                "slug": slug,
                "shop": tenant.shop,
                "app": app,
                "webhook_url": self.state.webhook_url,
                "credentials": tenant.secrets,
                "settings": settings or {},
            },
        )
        tenant.id = UUID(answer["tenant_id"])
        return tenant


@dataclass
class Tenant:
    """A registered tenant, and Shopify on its behalf."""

    cloud: Cloud
    slug: str
    shop: str
    secret: str
    app: str = "default"
    id: UUID = field(default=UUID(int=0))

    @property
    def secrets(self) -> dict[str, str]:
        name = self.slug
        return {
            "app_secret": self.secret,
            "access_token": f"shpat_{name}",
            "refresh_token": f"shprt_{name}",
        }

    def put(self, order: Row) -> None:
        """Set an order's present state at Shopify."""
        answer = self.cloud.sandbox.put(f"/shopify/{self.shop}/orders/{order['id']}", json=order)
        assert answer.status_code == 200, answer.text

    def deliver(
        self,
        topic: str,
        body: Row | bytes,
        *,
        event: str | None = None,
        secret: str | None = None,
        shop: str | None = None,
        app: str | None = None,
        **headers: str | None,
    ) -> httpx.Response:
        """Post a signed webhook. ``event`` is the delivery's and the event's id; a header of None is left out."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        event_id = event or uuid4().hex
        path = "" if (app or self.app) == "default" else f"/{app or self.app}"
        sent: dict[str, str | None] = {
            "Content-Type": "application/json",
            "X-Shopify-Topic": topic,
            "X-Shopify-Shop-Domain": shop or self.shop,
            "X-Shopify-API-Version": "2026-07",
            "X-Shopify-Webhook-Id": event_id,
            "X-Shopify-Event-Id": event_id,
            "X-Shopify-Hmac-Sha256": sign(raw, secret or self.secret),
        }
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        given = {name: value for name, value in sent.items() if value is not None}
        return self.cloud.http.post(
            f"{self.cloud.state.webhook_url}/webhooks/shopify{path}", content=raw, headers=given
        )

    def send(self, topic: str, body: Row, task: str) -> str:
        """Deliver a webhook, expect it accepted, and wait until ``task`` has ended well; the event's id."""
        event = uuid4().hex
        answer = self.deliver(topic, body, event=event)
        assert (answer.status_code, answer.json()["status"]) == (200, "accepted"), answer.text
        self.finished(task, event)
        return event

    def finished(self, task: str, correlation: str, *, state: str = "succeeded") -> Row:
        """The run of a task under a correlation id, once it has ended, which must be as ``state`` says."""

        def ended() -> Row | None:
            rows = self.rows("task_run", "task = %s AND correlation_id = %s", task, correlation)
            return next((row for row in rows if row["state"] in {"succeeded", "failed"}), None)

        run = self.cloud.wait_for(f"the end of {task} for {correlation}", ended, tenant_id=self.id)
        assert run["state"] == state, f"{run['error_message']}\n{self.cloud.tables(self.id)}"
        return run

    def wait_for(self, what: str, find: Callable[[], Found | None]) -> Found:
        return self.cloud.wait_for(what, find, tenant_id=self.id)

    def rows(self, table: str, where: str = "true", *params: Any, order: str = "1") -> list[Row]:
        """This tenant's rows of a table."""
        return self.cloud.query(
            f"SELECT * FROM {table} WHERE tenant_id = %s AND ({where}) ORDER BY {order}", self.id, *params
        )

    def received(self) -> list[Row]:
        """What came in from outside; beside it lie events of our own."""
        return self.rows("webhook_inbox", "provider = 'shopify'")

    def runs(self) -> list[Row]:
        """Runs but those that begin at their own time: what an order's event starts, and what a schedule does."""
        return self.rows("task_run", "task NOT LIKE 'analytics-%%' AND source <> 'schedule'", order="run_id")

    def order(self, order_id: int) -> Row:
        """The one stored order with this id."""
        (row,) = self.rows("orders", "shopify_order_id = %s", order_id)
        return row

    def attribution(self, order_id: int) -> dict[str, dict[str, int]]:
        """Cents by model and channel."""
        found: dict[str, dict[str, int]] = {}
        for row in self.rows("attribution_results", "shopify_order_id = %s AND window_days = 30", order_id):
            found.setdefault(row["model"], {})[row["channel"]] = row["revenue_cents"]
        return found

    def write(self, statement: str, *params: Any) -> None:
        """Write as the application role, bound to this tenant."""
        with psycopg.connect(self.cloud.state.app_database_url) as connection:
            connection.execute("SELECT set_config('app.tenant_id', %s, true)", (str(self.id),))
            connection.execute(statement.encode(), params)


def sign(raw: bytes, secret: str) -> str:
    """Shopify's signature: base64 of HMAC-SHA256 over the raw body."""
    return base64.b64encode(hmac.digest(secret.encode(), raw, hashlib.sha256)).decode()


def pids_of(group: int, handler: str) -> list[int]:
    """The processes of a process group whose command line names a handler."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes().split(b"\0")
            if handler.encode() in command and os.getpgid(int(entry.name)) == group:
                found.append(int(entry.name))
        except OSError:
            # It ended meanwhile.
            continue
    return found
