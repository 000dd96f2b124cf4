"""The platform role's hands on a house's database, with queues that keep what was sent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from ingress.fan_out import FanOut
from ingress.manifest import Manifest
from ingress.platform import Platform
from ingress.replay import ReplayFilter, replay
from tests.fakes import FakeQueues
from tests.integration.harness import House
from tradewind.tasks.dispatch import Dispatcher
from tradewind.tenancy.database import Connections

HOUR = timedelta(hours=1)
SLOT = datetime(2026, 11, 20, 10, 30, tzinfo=UTC)


@dataclass
class Headquarters:
    """The platform role's hands, and queues that keep what was sent."""

    house: House
    queues: FakeQueues = field(default_factory=FakeQueues)

    def __post_init__(self) -> None:
        self.connections = Connections(self.house.urls.platform)
        dispatcher = Dispatcher(self.queues, "test")  # type: ignore[arg-type]
        self.platform = Platform(self.house.settings, self.connections, dispatcher)

    def write(self, statement: str, *params: Any) -> None:
        with psycopg.connect(self.house.urls.platform) as connection:
            connection.execute(statement.encode(), params)

    def count(self, table: str, where: str = "true") -> int:
        [row] = self.house.query(f"SELECT count(*)::int AS n FROM {table} WHERE {where}")
        found: int = row["n"]
        return found

    def causes(self) -> list[str]:
        return [json.loads(entry.body)["cause"] for entry in self.queues.sent]

    def replay(
        self,
        manifest: Manifest,
        chosen: ReplayFilter | None = None,
        *,
        dry_run: bool = False,
        limit: int = 100,
    ) -> dict[str, Any]:
        with self.platform.session() as session:
            return replay(
                self.platform,
                session,
                manifest,
                chosen or ReplayFilter(),
                "ann",
                dry_run=dry_run,
                limit=limit,
            )


def a_manifest(*ids: str, routes: Mapping[str, Any] | None = None, **schedule: Any) -> Manifest:
    about = {
        "task": "sweep",
        "cron": "30 * * * *",
        "zone": "UTC",
        "payload": {"hours": 2},
        "overlap": "skip",
        "only_due": False,
        "each_tenant": True,
    }
    return Manifest(
        tasks={
            task_id: {"cap": 10, "concurrency": 50, "backfill": False, "entity": None}
            for task_id in ("sweep", *ids)
        },
        routes=routes or {},
        schedules={"hourly": {**about, **schedule}},
    )


def record(body: str, receives: int = 1000) -> dict[str, Any]:
    return {
        "messageId": "message-1",
        "body": body,
        "attributes": {"ApproximateReceiveCount": str(receives), "MessageGroupId": "g"},
        "eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:tradewind-test-commerce-dead.fifo",
    }


def fire(hq: Headquarters, manifest: Manifest, slot: datetime, now: datetime | None = None) -> dict[str, Any]:
    return FanOut(hq.platform, manifest).run("hourly", slot.isoformat(), now or slot + timedelta(seconds=3))
