"""A storefront's page at the door of A/B tests, on a real Postgres and a real Valkey."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import commerce.ab_testing.decision_tasks
import commerce.ab_testing.metrics_tasks
import commerce.ab_testing.tasks
from infra.local.postgres import DatabaseUrls
from ingress import api_keys
from ingress.experiments import Door
from ingress.platform import Platform
from tests.fakes import FakeQueues
from tests.integration.harness import House
from tradewind.counters import EXPERIMENTS, ValkeyCounters
from tradewind.errors import RetryableError
from tradewind.tasks.dispatch import Dispatcher
from tradewind.tasks.task import Task
from tradewind.tasks.worker import Done, to_plain
from tradewind.tenancy.database import Connections

HALVES: list[dict[str, Any]] = [
    {"variant_id": "control", "name": "As it is", "is_control": True},
    {"variant_id": "bold", "name": "Bold"},
]
lifecycle = commerce.ab_testing.tasks
metrics = commerce.ab_testing.metrics_tasks
decisions = commerce.ab_testing.decision_tasks


@dataclass
class FakeEdge:
    """No limits; counts go to the tenant's counters, unless ``fails`` says that Valkey is away."""

    store: Any
    fails: bool = False
    wait: timedelta = timedelta()
    counted: list[Mapping[str, int]] = field(default_factory=list)

    def admit(self, tenant_id: UUID, events: int) -> timedelta:
        return self.wait

    def count(self, tenant_id: UUID, hour: datetime, amounts: Mapping[str, int]) -> None:
        if self.fails:
            raise RetryableError("valkey: away")
        self.counted.append(amounts)
        ValkeyCounters(self.store, tenant_id, EXPERIMENTS).add(hour, amounts)


@dataclass
class Clockwork:
    """A clock that a test sets."""

    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def now(self) -> datetime:
        return self.at


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    body: dict[str, Any]
    headers: Mapping[str, str]


class Storefront:
    """The tenant acme with a collecting key, a door, counters and tasks."""

    def __init__(self, urls: DatabaseUrls, house: House, store: Any) -> None:
        self.urls, self.house, self.store = urls, house, store
        self.connections = Connections(urls.app)
        self.platform_connections = Connections(urls.platform)
        self.edge = FakeEdge(store)
        self.door = Door(self.connections, self.edge)
        self.clock = Clockwork()
        self.counters = ValkeyCounters(store, house.tenant_id, EXPERIMENTS)
        dispatcher = Dispatcher(FakeQueues(), "test")  # type: ignore[arg-type]
        self.platform = Platform(house.settings, self.platform_connections, dispatcher)
        self.key = self.make_key("acme")

    def close(self) -> None:
        self.connections.close()
        self.platform_connections.close()

    def make_key(self, tenant: str, *scopes: str) -> str:
        about = {"tenant": tenant, "name": "page", "scopes": list(scopes) or ["ab:collect"]}
        return str(api_keys.create_api_key(self.platform, about)["token"])

    def ask(
        self,
        route: str,
        body: Any = None,
        *,
        query: Mapping[str, str] | None = None,
        key: str | None = None,
        **event: Any,
    ) -> Reply:
        headers = {"authorization": f"Bearer {self.key if key is None else key}"}
        text = body if isinstance(body, str) else json.dumps(body)
        asked = {"routeKey": route, "headers": headers, "body": text, "queryStringParameters": query, **event}
        answer = self.door.answer(asked)
        content = json.loads(answer["body"]) if answer["body"] else {}
        return Reply(answer["statusCode"], content, answer["headers"])

    def post(self, *events: Mapping[str, Any], **about: Any) -> Reply:
        return self.ask("POST /ab/events", {"events": list(events)}, **about)

    def run(self, task: Task, payload: Mapping[str, Any] | None = None, **about: Any) -> dict[str, Any]:
        """Work a task to its end; returns its result."""
        worker = self.house.worker(task)
        if "counters" in worker._factories:
            worker._factories["counters"] = lambda _: self.counters
        if "clock" in worker._factories:
            worker._factories["clock"] = lambda _: self.clock
        end = worker.work(self.house.message(task, payload or {}, **about), self.house.deadline())
        assert isinstance(end, Done), end
        found: dict[str, Any] = to_plain(end.result)
        return found

    def start(self, test_id: str = "hero", **definition: Any) -> None:
        """A test that runs since three days."""
        variants = definition.pop("variants", HALVES)
        created = {"test_id": test_id, "name": test_id.title(), "variants": variants, **definition}
        self.run(lifecycle.handle_test_created, created)
        since = (datetime.now(UTC) - timedelta(days=3)).isoformat()
        self.run(lifecycle.handle_test_started, {"test_id": test_id, "started_at": since})

    def next_hour(self) -> None:
        """Let the present hour be closed."""
        self.clock.at = datetime.now(UTC).replace(minute=0, second=0) + timedelta(hours=1, minutes=15)

    def metrics(self) -> list[tuple[Any, ...]]:
        """(test, variant, visitors, views, carts, purchases, revenue), summed over days, rows of zeros left out."""
        rows = self.house.query(
            "SELECT test_id, variant_id, sum(visitors)::int AS visitors, sum(views)::int AS views,"
            " sum(carts)::int AS carts, sum(purchases)::int AS purchases, sum(revenue_cents)::int AS cents"
            " FROM ab_daily_metrics GROUP BY 1, 2 ORDER BY 1, 2"
        )
        return [tuple(row.values()) for row in rows if any(list(row.values())[2:])]


def an_event(number: int, visitor: str, kind: str = "page_view", **changes: Any) -> dict[str, Any]:
    return {
        "event_id": f"event-{number}",
        "test_id": "hero",
        "visitor_id": visitor,
        "type": kind,
        "occurred_at": datetime.now(UTC).isoformat(),
        **changes,
    }
