"""What each function does for one order, as the cost model needs it: processor, database, calls, bytes of log.

Real handlers over the kernel on a real Postgres, with queues that record and a shop that answers at once: calls to
providers and AWS are counted here and priced by their assumed times in ``infra/cost/traffic.json``. An order's life is
the one of the traffic model: created, paid, three updates, fulfilled. Two of the updates tell what the payment and the
parcel have told in the same second, as Shopify's do.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, Self

import psycopg

from infra.local.postgres import DatabaseUrls
from ingress.fan_out import FanOut
from ingress.manifest import load_manifest
from ingress.relay import Relay
from tests.bench import doors
from tests.bench.kernel import quietly
from tests.fakes import FakeMachines, FakeQueues, a_fulfillment, an_order, body_of
from tests.integration.door import Door
from tests.integration.harness import Context, House
from tests.integration.headquarters import Headquarters
from tradewind.aws.queues import Entry
from tradewind.ports import ShopifyOrder, ShopifyVisit
from tradewind.tasks.message import Source
from tradewind.tasks.registry import REGISTRY
from tradewind.tasks.runtime import Runtime

ORDERS = 60
MEASURED = Path("infra/cost/measured.json")
METHOD = (
    "`make bench`: means over {orders} orders' lives (the fan-out: {schedules} runs; a schedule's task: {idle} for a "
    "tenant with nothing to do; pages' doors: {requests} requests of ten) of the real handlers over the kernel on "
    "PostgreSQL 18 and one core, with recorded queues and a shop that answers at once. Each order has a "
    "customer of its own, three earlier touches and a creator's code. Calls to providers and AWS are counted here "
    "and priced by their times in traffic.json. Processor time is scaled to the share of a core that the function's "
    "memory buys."
)
SCHEDULES, IDLE, REQUESTS = 24, 5, 200
SWEEP = "commerce-order-reconciliation"


_TOLD = "SELECT FROM webhook_inbox WHERE provider = 'tradewind' AND state = 'unrouted' LIMIT 1"


@dataclass(slots=True)
class Work:
    """Sums over calls of one function for one reason."""

    calls: int = 0
    cpu_s: float = 0.0
    database_s: float = 0.0
    provider_calls: int = 0
    aws_calls: int = 0
    log_bytes: int = 0


class Statements:
    """Time spent waiting for Postgres, by wrapping the driver's one way to run a statement."""

    def __init__(self) -> None:
        self.waited_s = 0.0
        self._execute = psycopg.Connection.execute

    def __enter__(self) -> Self:
        execute, counter = self._execute, self

        def timed(connection: Any, *args: Any, **kwargs: Any) -> Any:
            begun, cpu = time.perf_counter(), time.thread_time()
            try:
                return execute(connection, *args, **kwargs)
            finally:
                own = time.thread_time() - cpu
                counter.waited_s += time.perf_counter() - begun - own

        psycopg.Connection.execute = timed  # type: ignore[method-assign, assignment]
        return self

    def __exit__(self, *_: object) -> None:
        psycopg.Connection.execute = self._execute  # type: ignore[method-assign]


@dataclass
class Shop:
    """The functions of one stage in this process, and what each was seen doing."""

    urls: DatabaseUrls
    seen: dict[str, Work] = field(default_factory=lambda: defaultdict(Work))
    door: Door = field(init=False)

    def __post_init__(self) -> None:
        self.door = Door(self.urls)
        self.enter("acme")

    def enter(self, tenant: str) -> None:
        """Work for another tenant from now on, seen apart."""
        self.seen = defaultdict(Work)
        self.manifest = load_manifest()
        self.house = House(self.urls, self.door.settings, self.door.tenants[tenant])
        self.hq = Headquarters(self.house)
        self.machines = FakeMachines(lambda payload: {})

    def close(self) -> None:
        self.hq.connections.close()
        self.house.close()

    @contextmanager
    def watched(self, key: str) -> Iterator[None]:
        """Add what happens inside to ``key``."""
        work = self.seen[key]
        queues = (self.house.queues, self.door.queues, self.hq.queues)
        calls = sum(map(aws_calls, queues)) + len(self.machines.started)
        asked = len(self.house.shopify.calls)
        with Statements() as statements:
            cpu = time.process_time()
            yield
            work.cpu_s += time.process_time() - cpu
        work.calls += 1
        work.database_s += statements.waited_s
        work.aws_calls += sum(map(aws_calls, queues)) + len(self.machines.started) - calls
        work.provider_calls += len(self.house.shopify.calls) - asked

    def call(self, key: str, act: Callable[[], object]) -> None:
        """Watch ``act`` and count what it logs."""

        def watched() -> None:
            with self.watched(key):
                act()

        self.seen[key].log_bytes += quietly(watched)

    def webhook(self, topic: str, body: Mapping[str, Any], cause: str) -> None:
        """A delivery through the receiver, and each of its messages through the task's own runtime."""
        self.door.queues.sent.clear()
        raw = json.dumps(body).encode()
        self.call("ingress-receiver@webhook", lambda: self.door.post(raw, topic=topic, webhook_id=cause))
        for entry in list(self.door.queues.sent):
            self.work("webhook", entry)
        self.follow_events()

    def follow_events(self) -> None:
        """What the tasks have published, as the relay routes it, message by message, and what that publishes."""
        while True:
            with self.hq.platform.session() as session:
                relay = Relay(self.hq.platform, self.manifest, session)
                if self.house.query(_TOLD):
                    self.call("ingress-relay@event", relay.route_waiting)
            waiting = [*self.house.queues.sent, *self.hq.queues.sent]
            self.house.queues.sent.clear()
            self.hq.queues.sent.clear()
            if not waiting:
                return
            for entry in waiting:
                self.work("event", entry)

    def work(self, source: str, entry: Entry) -> None:
        """One queue message through its task's own runtime."""
        task_id = entry.queue.removeprefix("tradewind-test-").removesuffix(".fifo")
        self.run(f"{task_id}@{source}", task_id, entry.key, entry.body, entry.group)

    def run(self, key: str, task_id: str, name: str, body: str, group: str) -> None:
        """One queue message through the task's own runtime."""
        runtime = self.runtime(task_id)
        record = {
            "messageId": name,
            "receiptHandle": name,
            "body": body,
            "attributes": {"MessageGroupId": group},
            "eventSourceARN": f"arn:aws:sqs:us-east-1:000000000000:tradewind-test-{task_id}.fifo",
        }
        self.call(key, lambda: runtime.work_batch([record]))

    def step(self, task_id: str, order_id: int, at: datetime, cause: str) -> None:
        event = {
            "tenant": str(self.house.tenant_id),
            "cause": cause,
            "source": Source.WORKFLOW,
            "correlation_id": cause,
            "accepted_at": at.isoformat(),
            "payload": {"order_id": order_id, "changed_at": at.isoformat()},
        }
        runtime = self.runtime(task_id)
        self.call(f"{task_id}@workflow", lambda: runtime.invoke(event))
        self.follow_events()

    def runtime(self, task_id: str) -> Runtime:
        task = REGISTRY.get(task_id)
        runtime = Runtime(task, self.house.process, Context(left=task.timeout + timedelta(seconds=1)))
        factories = runtime._worker._factories
        factories |= self.house.worker(task)._factories
        if "machines" in factories:
            factories["machines"] = lambda _: self.machines
        return runtime


def aws_calls(queues: FakeQueues) -> int:
    """Requests: what is sent goes in one call here, since a webhook has one task."""
    return len(queues.sent) + len(queues.waits)


def live(shop: Shop, number: int, placed: datetime) -> None:
    """One order's life through receiver, tasks and workflow steps."""
    order_id, name = 100_000 + number, f"{number}-{placed.timestamp():.0f}"
    visitor = f"visitor-{order_id}"
    for days in (1, 3, 8):
        shop.house.write(
            "INSERT INTO attribution_touchpoints (dedupe_hash, visitor_id, channel, occurred_at) "
            f"VALUES ('{visitor}-{days}', '{visitor}', 'email', '{(placed - timedelta(days=days)).isoformat()}')"
        )
    base = an_order()
    assert base.customer is not None
    order = an_order(
        order_id,
        placed_at=placed,
        updated_at=placed,
        discount_codes=("BO",),
        attributes={"visitor_id": visitor},
        customer=replace(base.customer, id=order_id),
        visit=ShopifyVisit(placed - timedelta(minutes=9), "/?utm_source=google&utm_medium=cpc", None),
    )
    tell = _Teller(shop, name)
    tell("orders/create", order)
    for step in ("commerce-sync-order", "commerce-order-attribution", "commerce-order-commission",
                 "commerce-order-review-email"):  # fmt: skip
        shop.step(step, order_id, placed, f"create-{name}")
    paid = replace(order, updated_at=placed + timedelta(seconds=3), financial_status="paid")
    tell("orders/paid", paid)
    tell("orders/updated", paid)
    noted = replace(paid, updated_at=placed + timedelta(minutes=40), tags=("vip",))
    tell("orders/updated", noted)
    sent_at = placed + timedelta(hours=20)
    sent = replace(
        noted,
        updated_at=sent_at,
        fulfillment_status="fulfilled",
        fulfillments=(a_fulfillment(order_id, sent_at),),
    )
    tell("fulfillments/create", sent)
    tell("orders/updated", sent)


class _Teller:
    """Has the shop know a state, then delivers the webhook that tells of it."""

    def __init__(self, shop: Shop, name: str) -> None:
        self._shop, self._name, self._count = shop, name, 0

    def __call__(self, topic: str, order: ShopifyOrder) -> None:
        self._shop.house.shopify.put(order)
        body = body_of(order) | {"addresses": [{"line": "x" * 100}] * 110}
        if topic == "fulfillments/create":
            body = {
                "id": order.id,
                "order_id": order.id,
                "created_at": order.updated_at.isoformat(),
                "updated_at": order.updated_at.isoformat(),
                "status": "success",
            }
        self._count += 1
        cause = f"create-{self._name}" if topic == "orders/create" else f"{self._name}-{self._count}"
        self._shop.webhook(topic, body, cause)


def measure(urls: DatabaseUrls, orders: int = ORDERS) -> dict[str, Any]:
    """``measured.json``'s content."""
    shop = Shop(urls)
    shop.house.write("INSERT INTO creators (name, code) VALUES ('Bo', 'BO')")
    begin = datetime.now(UTC).replace(microsecond=0) - timedelta(days=12)
    for number in range(10):
        live(shop, number, begin + timedelta(minutes=number))
    shop.seen.clear()
    for number in range(10, orders + 10):
        live(shop, number, begin + timedelta(minutes=number))
    fan_out(shop, begin)
    seen = dict(shop.seen)
    pages(shop)
    seen |= shop.seen
    shop.close()
    idle(shop)
    seen |= shop.seen
    shop.close()
    return {
        "measured_on": datetime.now(UTC).date().isoformat(),
        "method": METHOD.format(orders=orders, schedules=SCHEDULES, idle=IDLE, requests=REQUESTS),
        "work": {
            key: told(work, orders if key.endswith("@event") else None) for key, work in sorted(seen.items())
        },
    }


def fan_out(shop: Shop, begin: datetime) -> None:
    """A schedule's fan-out and the relay's minute, on a database with orders in it."""
    hq, manifest = shop.hq, shop.manifest
    [schedule] = [name for name, about in manifest.schedules.items() if about["task"] == SWEEP]
    for number in range(SCHEDULES):
        slot = begin + timedelta(hours=number)
        shop.call(
            "ingress-fan-out@schedule",
            lambda slot=slot: FanOut(hq.platform, manifest).run(schedule, slot.isoformat(), slot),  # type: ignore[misc]
        )
        shop.call("ingress-relay@schedule", lambda: sweep(hq, manifest))
        hq.queues.sent.clear()


def idle(shop: Shop) -> None:
    """Every task with a clock, for a tenant that has nothing for it to do."""
    shop.enter("bolt")
    for task in REGISTRY:
        for clock in task.crons[:1]:
            for number in range(-1, IDLE):
                slot = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=number)
                about: dict[str, Any] = {"source": Source.SCHEDULE, "accepted_at": slot}
                message = shop.house.message(task, clock.payload, cause=f"idle-{task.id}-{number}", **about)
                shop.run(f"{task.id}@schedule", task.id, message.cause, message.to_json(), "g")
                if number < 0:  # the first reads what the process keeps from then on
                    shop.seen.pop(f"{task.id}@schedule")
                shop.house.queues.sent.clear()


def pages(shop: Shop) -> None:
    """A request of a storefront's page at each of its doors."""
    with doors.opened(shop.house) as opened:
        for name, send in opened.items():
            for number in range(REQUESTS):
                shop.call(f"{name}@page", partial(send, number))


def sweep(hq: Headquarters, manifest: Any) -> None:
    """What the relay does each minute."""
    with hq.platform.session() as session:
        relay = Relay(hq.platform, manifest, session)
        relay.send_unsent()
        relay.send_lost()
        relay.route_waiting()
        hq.platform.release(session, limit=2000)
        relay.purge()


def told(work: Work, orders: int | None = None) -> dict[str, str]:
    """Means a call, as decimals in text; and how many calls an order causes, where that is not known beforehand."""

    def mean(total: float, places: str = "0.01") -> str:
        return str(Decimal(str(total / work.calls)).quantize(Decimal(places)))

    found = {
        "cpu_ms": mean(work.cpu_s * 1000),
        "database_ms": mean(work.database_s * 1000),
        "log_bytes": mean(work.log_bytes, "1"),
    }
    if work.provider_calls:
        found["provider_calls"] = mean(work.provider_calls)
    if work.aws_calls:
        found["aws_calls"] = mean(work.aws_calls)
    if orders:
        found["times_an_order"] = str(Decimal(work.calls / orders).quantize(Decimal("0.01")))
    return found
