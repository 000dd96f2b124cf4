"""Runs real tasks through the kernel's own worker on a real Postgres, with a fake shop and recorded
queues.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any
from uuid import UUID, uuid4

import psycopg
from psycopg.rows import dict_row

from commerce.order_sync.workflow import order_sync
from infra.local.postgres import DatabaseUrls
from tests.fakes import (
    FakeCounters,
    FakeEmailSender,
    FakeLongMachines,
    FakeMachines,
    FakeMessenger,
    FakePayloads,
    FakeQueues,
    FakeShopify,
)
from tests.played import PlayedShop
from tradewind.aws.client import AwsClient
from tradewind.aws.objects import PayloadStore
from tradewind.clock import SystemClock
from tradewind.observability import logger
from tradewind.settings import Settings, read_settings
from tradewind.tasks.message import Lane, Message, Source, message_key
from tradewind.tasks.registry import REGISTRY
from tradewind.tasks.scope import Process
from tradewind.tasks.task import Task
from tradewind.tasks.worker import Done, End, Worker, to_plain
from tradewind.tenancy.database import Connections


def local_settings(urls: DatabaseUrls, **changes: str) -> Settings:
    return read_settings(
        MappingProxyType(
            {
                "TRADEWIND_STAGE": "test",
                "TRADEWIND_ACCOUNT": "000000000000",
                "TRADEWIND_DATABASE_URL": urls.app,
                "TRADEWIND_PAYLOAD_BUCKET": "payloads",
                **changes,
            }
        )
    )


def add_tenant(urls: DatabaseUrls, slug: str, settings: Mapping[str, Any] | None = None) -> UUID:
    """A tenant with an installed shop, written as the platform role."""
    with psycopg.connect(urls.platform) as connection:
        row = connection.execute(
            "INSERT INTO tenants (slug, name, settings) VALUES (%s, %s, %s) RETURNING tenant_id",
            (slug, slug.title(), psycopg.types.json.Jsonb(dict(settings or {}))),
        ).fetchone()
        assert row is not None
        connection.execute(
            "INSERT INTO shopify_app_installations (tenant_id, shop_domain) VALUES (%s, %s)",
            (row[0], f"{slug}.myshopify.com"),
        )
    return UUID(str(row[0]))


@dataclass
class House:
    """One tenant's house: its database, its shop, and a worker for any task."""

    urls: DatabaseUrls
    settings: Settings
    tenant_id: UUID
    shopify: FakeShopify = field(default_factory=FakeShopify)
    shop: PlayedShop = field(default_factory=PlayedShop)
    queues: FakeQueues = field(default_factory=FakeQueues)
    payloads: FakePayloads = field(default_factory=FakePayloads)
    counters: FakeCounters = field(default_factory=FakeCounters)
    messenger: FakeMessenger = field(default_factory=FakeMessenger)
    email: FakeEmailSender = field(default_factory=FakeEmailSender)
    long_machines: FakeLongMachines = field(default_factory=FakeLongMachines)

    def __post_init__(self) -> None:
        self.connections = Connections(self.urls.app)
        aws = AwsClient("us-east-1", "http://127.0.0.1:9")
        self.process = Process(
            settings=self.settings,
            connections=self.connections,
            aws=aws,
            queues=self.queues,  # type: ignore[arg-type]
            payloads=PayloadStore(aws, "payloads", "us-east-1"),
            clock=SystemClock(),
        )

    def close(self) -> None:
        self.connections.close()

    def worker(self, task: Task) -> Worker:
        worker = Worker(task, self.process)
        fakes = {
            "shopify": lambda _: self.shopify,
            "catalogue": lambda _: self.shop.catalogue,
            "machines": lambda _: FakeMachines(self.run_chain),
            "long_machines": lambda _: self.long_machines,
            "payloads": lambda _: self.payloads,
            "counters": lambda _: self.counters,
            "messenger": lambda _: self.messenger,
            "email": lambda _: self.email,
        }
        for name, factory in fakes.items():
            if name in worker._factories:
                worker._factories[name] = factory
        return worker

    def run_chain(self, payload: Mapping[str, Any]) -> dict[str, Any]:
        """The order-sync chain, step by step, as the state machine runs it."""

        results: dict[str, Any] = {}
        for step in order_sync.steps:
            if step.when is None or results[step.when[0]][step.when[1]]:
                message = self.message(
                    REGISTRY.get(step.task),
                    payload["payload"],
                    cause=payload["cause"],
                    source=Source.WORKFLOW,
                )
                end = self.worker(REGISTRY.get(step.task)).work(message, self.deadline(), direct=True)
                if not isinstance(end, Done):
                    raise end.error
                results[step.task] = to_plain(end.result)
        return results

    def message(
        self,
        task: Task,
        payload: Mapping[str, Any],
        *,
        cause: str | None = None,
        source: Source = Source.WEBHOOK,
        **changes: Any,
    ) -> Message:
        made = cause or f"event-{uuid4()}"
        fields: dict[str, Any] = {
            "tenant_id": self.tenant_id,
            "task": task.id,
            "cause": made,
            "key": message_key(self.tenant_id, task.id, made),
            "source": source,
            "correlation_id": made,
            "accepted_at": datetime.now(UTC),
            "payload": payload,
            "lane": Lane.LIVE,
        }
        return Message(**{**fields, **changes})

    def deadline(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=45)

    def run(self, task: Task, payload: Mapping[str, Any], **about: Any) -> End:
        return self.worker(task).work(self.message(task, payload, **about), self.deadline())

    def query(self, statement: str, *params: Any) -> list[dict[str, Any]]:
        """Read as the reader role, which sees every tenant."""
        with psycopg.connect(self.urls.reader, row_factory=dict_row) as connection:
            return connection.execute(statement.encode(), params).fetchall()

    def write(self, statement: str, *params: Any) -> None:
        """Write as the application role, bound to the tenant."""
        with psycopg.connect(self.urls.app) as connection:
            connection.execute("SELECT set_config('app.tenant_id', %s, true)", (str(self.tenant_id),))
            connection.execute(statement.encode(), params)


@dataclass
class Context:
    """Lambda's context, with as much time left as a test says."""

    left: timedelta = timedelta(seconds=46)
    aws_request_id: str = "request-1"
    log_stream_name: str = "stream-1"

    def get_remaining_time_in_millis(self) -> int:
        return int(self.left.total_seconds() * 1000)


def printed(act: Callable[[], object]) -> list[dict[str, Any]]:
    """The JSON lines that something writes to standard output."""
    written = io.StringIO()
    handler = logger().registered_handler
    assert hasattr(handler, "setStream")
    before = handler.setStream(written)
    try:
        with redirect_stdout(written):
            act()
    finally:
        handler.setStream(before)
    return [json.loads(line) for line in written.getvalue().splitlines()]
