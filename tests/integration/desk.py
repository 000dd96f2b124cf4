"""The platform's API on a fresh database, as its callers meet it: HTTP API events in, answers out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import dict_row

from infra.local.postgres import DatabaseUrls
from ingress import api_keys
from ingress.api import Api
from ingress.manifest import load_manifest
from ingress.platform import Platform
from tests.fakes import FakeQueues
from tests.integration.harness import add_tenant, local_settings
from tradewind.tasks.dispatch import Dispatcher
from tradewind.tenancy.database import Connections

LIMIT = 64 * 1024
INGEST = "analytics-attribution-touchpoint-ingest"
TOUCH = {"occurred_at": "2026-11-20T12:00:00Z", "visitor_id": "v-1", "landing_page": "/?utm_medium=email"}
ROLE = "arn:aws:sts::000000000000:assumed-role/shop/session"


@dataclass
class Objects:
    """A payload store of one process."""

    kept: dict[str, bytes] = field(default_factory=dict)

    def put(self, key: str, body: bytes) -> None:
        self.kept[key] = body


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    body: dict[str, Any]
    headers: Mapping[str, str]


@dataclass
class Desk:
    """Tenants acme and bolt, and a key of acme's that may do everything."""

    urls: DatabaseUrls

    def __post_init__(self) -> None:
        limits = {"TRADEWIND_MAX_BODY_BYTES": str(LIMIT), "TRADEWIND_MAX_MESSAGE_BYTES": str(LIMIT // 2)}
        self.settings = local_settings(self.urls, **limits)
        self.connections = Connections(self.urls.platform)
        self.tenants = {slug: add_tenant(self.urls, slug) for slug in ("acme", "bolt")}
        self.queues, self.objects = FakeQueues(), Objects()
        dispatcher = Dispatcher(self.queues, "test")  # type: ignore[arg-type]
        self.platform = Platform(self.settings, self.connections, dispatcher)
        self.api = Api(self.settings, self.connections, dispatcher, self.objects, load_manifest())
        self.token = self.key("events:publish", "tasks:run", "runs:read")

    def key(self, *scopes: str, tenant: str = "acme") -> str:
        fields = {"tenant": tenant, "name": "a test's", "scopes": list(scopes)}
        token: str = api_keys.create_api_key(self.platform, fields)["token"]
        return token

    def ask(
        self,
        route: str,
        target: str,
        body: Any = None,
        *,
        token: str | None = "",
        key: str | None = "request-1",
        iam: str | None = None,
        encoded: bool = False,
        **headers: str | None,
    ) -> Reply:
        """``body``: text goes as it is, all else as JSON. An empty ``token`` is the desk's own; None sends none."""
        given = {
            "content-type": "application/json",
            "authorization": None if token is None else f"Bearer {token or self.token}",
            "idempotency-key": key,
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        name = "type" if "{type}" in route else "id"
        event: dict[str, Any] = {
            "routeKey": route,
            "pathParameters": {name: target},
            "headers": {each: value for each, value in given.items() if value is not None},
            "body": body if isinstance(body, str | None) else json.dumps(body),
            "isBase64Encoded": encoded,
            "requestContext": {"authorizer": {"iam": {"userArn": iam}}} if iam else {},
        }
        answer = self.api.answer(event)
        return Reply(answer["statusCode"], json.loads(answer["body"]), answer["headers"])

    def publish(self, body: Any = TOUCH, kind: str = "touchpoint.recorded", **about: Any) -> Reply:
        return self.ask("POST /events/{type}", kind, body, **about)

    def run(self, body: Any, task: str = "commerce-sync-order", **about: Any) -> Reply:
        return self.ask("POST /tasks/{id}/runs", task, body, **about)

    def look_up(self, run_id: str, **about: Any) -> Reply:
        return self.ask("GET /runs/{id}", run_id, **about)

    def set_status(self, slug: str, status: str) -> None:
        with psycopg.connect(self.urls.platform) as connection:
            connection.execute("UPDATE tenants SET status = %s WHERE slug = %s", (status, slug))

    def query(self, statement: str, *params: Any) -> list[dict[str, Any]]:
        with psycopg.connect(self.urls.reader, row_factory=dict_row) as connection:
            return connection.execute(statement.encode(), params).fetchall()

    def counts(self) -> tuple[int, int, int]:
        """(inbox rows, outbox rows, messages sent)"""
        inbox, outbox = (
            len(self.query(f"SELECT 1 AS x FROM {name}")) for name in ("webhook_inbox", "outbox")
        )
        return inbox, outbox, len(self.queues.sent)

    def message(self) -> dict[str, Any]:
        """The one message that was sent."""
        [entry] = self.queues.sent
        read: dict[str, Any] = json.loads(entry.body)
        return read

    @property
    def acme(self) -> UUID:
        return self.tenants["acme"]
