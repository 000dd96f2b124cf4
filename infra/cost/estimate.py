"""From an inventory, the registry's routes, traffic and prices to lines of dollars. Pure; decimals throughout."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, Decimal
from enum import StrEnum
from itertools import chain

from infra.cost.data import Measured, Prices, Traffic, Work
from infra.cost.inventory import HOURS_A_MONTH, Inventory
from tradewind.tasks.registry import Registry

MILLION = Decimal(1_000_000)
ORDERS_AIM = Decimal(25)
"""Dollars per million orders, database and cache left out, the NAT's traffic included."""

MB_A_CORE = Decimal(1769)
"""Memory at which Lambda gives one whole core, from AWS's documentation."""
GB = Decimal(2**30)
KB_A_GB = Decimal(2**20)
SQS_CHUNK_KB = Decimal(64)
EXPRESS_STEP_MS = Decimal(100)
RECEIVER, RELAY = "ingress-receiver", "ingress-relay"


class Section(StrEnum):
    """What a line is counted under."""

    ORDERS = "per million orders"
    ORDERS_NETWORK = "per million orders: network"
    PAGES = "per million requests of storefronts' pages at each door, ten touches or events in one"
    IDLE = "per idle month"
    IDLE_NETWORK = "per idle month: network"
    IDLE_DATABASE = "per idle month: database and cache"


@dataclass(frozen=True, slots=True)
class Line:
    """``usd`` for ``quantity`` units; the quantity already stands for a million orders or a month."""

    section: Section
    name: str
    quantity: Decimal
    unit: str
    usd: Decimal


@dataclass(frozen=True, slots=True)
class Paths:
    """What the registry says of an order's way: tasks by topic, steps by starter (with a condition or not), and
    the tasks whose schedule runs once for each tenant.
    """

    tasks: Mapping[str, tuple[str, ...]]
    steps: Mapping[str, tuple[tuple[str, bool], ...]] = field(default_factory=dict)
    each_tenant: frozenset[str] = frozenset()
    only_due: frozenset[str] = frozenset()
    """Those of them that run for the tenants alone that have something to do: none, where nothing happens."""

    @classmethod
    def of(cls, registry: Registry, provider: str) -> Paths:
        return cls(
            tasks={topic: tuple(tasks) for topic, tasks in registry.routes().get(provider, {}).items()},
            steps={
                workflow.starter: tuple((step.task, step.when is not None) for step in workflow.steps)
                for workflow in registry.workflows
            },
            each_tenant=frozenset(task.id for task in registry if task.each_tenant),
            only_due=frozenset(task.id for task in registry if any(clock.only_due for clock in task.crons)),
        )


@dataclass(frozen=True, slots=True)
class Call:
    """``times`` invocations of a function for one reason, per order or per month."""

    function: str
    source: str
    times: Decimal


class Estimate:
    """The lines of one stage. Raises CostDataError where a price or a measurement is missing."""

    def __init__(
        self, inventory: Inventory, paths: Paths, traffic: Traffic, measured: Measured, prices: Prices
    ) -> None:
        self._inventory = inventory
        self._paths = paths
        self._traffic = traffic
        self._measured = measured
        self._prices = prices

    def lines(self, tenants: int) -> list[Line]:
        """An order's lines for a million, and a month without an order for this many tenants."""
        return [*self._order_lines(), *self._page_lines(), *self._idle_lines(Decimal(tenants))]

    def milliseconds(self, call: Call) -> Decimal:
        """What Lambda bills for one invocation, starts included, in whole milliseconds."""
        work, traffic = self._measured.of(call.function, call.source), self._traffic
        took = self._running(call.function, work)
        if call.source == "webhook":
            took += sum((self.step_milliseconds(step) for step in self._chain(call.function)), Decimal(0))
        return _up(took + traffic.cold_share * traffic.cold_start_ms)

    def step_milliseconds(self, step: Call) -> Decimal:
        """What one step adds to its workflow, by the share of orders that take it."""
        running = self._running(step.function, self._measured.of(step.function, step.source))
        return step.times * (running + self._traffic.step_overhead_ms)

    def order_calls(self) -> list[Call]:
        """Every invocation that one order causes, a message's second coming included."""
        again = 1 + self._traffic.retried_share
        calls = [Call(RECEIVER, "webhook", sum(self._traffic.webhooks.values(), Decimal(0)))]
        for task, times in self._deliveries().items():
            calls.append(Call(task, "webhook", times * again))
            calls += [
                Call(step.function, step.source, step.times * times * again) for step in self._chain(task)
            ]
        return [*calls, *self._events()]

    def _events(self) -> list[Call]:
        """What the order's own events start: of the deployed functions, as often as it was measured."""
        return [
            Call(function, "event", self._measured.of(function, "event").times_an_order)
            for function in self._measured.started_by("event")
            if function in self._inventory.memory_mb
        ]

    def _deliveries(self) -> dict[str, Decimal]:
        """Messages per order by task. Raises KeyError where no task takes a topic of the traffic."""
        found: dict[str, Decimal] = {}
        for topic, times in self._traffic.webhooks.items():
            for task in self._paths.tasks[topic]:
                found[task] = found.get(task, Decimal(0)) + times
        return found

    def _chain(self, starter: str) -> list[Call]:
        share = self._traffic.discount_code_share
        return [
            Call(task, "workflow", share if conditional else Decimal(1))
            for task, conditional in self._paths.steps.get(starter, ())
        ]

    def _running(self, function: str, work: Work) -> Decimal:
        traffic = self._traffic
        slower = max(Decimal(1), MB_A_CORE / self._inventory.memory_mb[function])
        return (
            work.cpu_ms * slower
            + work.database_ms * traffic.database_factor
            + work.provider_calls * traffic.provider_call_ms
            + work.aws_calls * traffic.aws_call_ms
        )

    def _line(self, section: Section, name: str, rate: str, quantity: Decimal) -> Line:
        price = self._prices.rate(rate)
        return Line(section, name, quantity, price.unit, price.of(quantity))

    def _lambda(
        self, section: Section, calls: Iterable[Call], scale: Decimal, of: str = ""
    ) -> Iterator[Line]:
        """Requests in one line, GB-seconds in one a function and source."""
        known = list(calls)
        times = sum((call.times for call in known), Decimal(0)) * scale
        yield self._line(section, f"Lambda requests{of}", "lambda_request", times)
        for call in known:
            gb = self._inventory.memory_mb[call.function] / 1024
            seconds = call.times * scale * self.milliseconds(call) / 1000
            name = f"Lambda {call.function} ({call.source}, {self.milliseconds(call)} ms)"
            yield self._line(section, name, "lambda_gb_second_arm64", gb * seconds)

    def _lambda_log_bytes(self, calls: Iterable[Call]) -> Decimal:
        bytes_in_all = Decimal(0)
        for call in calls:
            own = self._measured.of(call.function, call.source).log_bytes
            platform = (
                Decimal(0) if call.function in self._inventory.quiet else self._traffic.lambda_log_bytes
            )
            bytes_in_all += call.times * (own + platform)
        return bytes_in_all

    def _queue_requests(self, messages: Decimal) -> Decimal:
        """Send and receive by chunks of 64 KB, one delete; another receive and a new visibility for each retry."""
        chunks = _up(self._traffic.webhook_kb / SQS_CHUNK_KB)
        return messages * (2 * chunks + 1 + self._traffic.retried_share * (chunks + 1))

    def _order_lines(self) -> Iterator[Line]:
        traffic, calls = self._traffic, self.order_calls()
        section, webhooks = Section.ORDERS, sum(traffic.webhooks.values(), Decimal(0))
        told = sum((call.times for call in self._events() if call.function != RELAY), Decimal(0))
        messages = sum(self._deliveries().values(), told)
        invocations = sum((call.times for call in calls), Decimal(0))
        yield self._line(section, "API Gateway HTTP API requests", "http_api_request", webhooks * MILLION)
        yield from self._lambda(section, calls, MILLION)
        yield from self._workflows()
        yield self._line(
            section, "SQS requests", "sqs_fifo_request", self._queue_requests(messages) * MILLION
        )
        steps = sum((call.times for call in calls if call.source == "workflow"), Decimal(0))
        for name, size in (
            ("Logs of functions", self._lambda_log_bytes(calls)),
            ("Logs of the workflow", steps * traffic.state_log_bytes * self._inventory.traced_workflows),
            ("Logs of the API", webhooks * traffic.access_log_bytes * self._inventory.access_logs),
        ):
            yield self._line(section, name, "log_gb", size * MILLION / GB)
        opened = invocations * traffic.kms_calls_per_invocation
        yield self._line(section, "KMS requests", "kms_request", opened * MILLION)
        read = invocations * traffic.cold_share
        yield self._line(section, "Secrets Manager requests", "secret_request", read * MILLION)
        large = webhooks * traffic.oversized_share * MILLION
        yield self._line(section, "S3 writes of large bodies", "s3_put", large)
        yield self._line(section, "S3 reads of large bodies", "s3_get", large)
        yield from self._order_network(calls, messages - told)

    def _workflows(self) -> Iterator[Line]:
        """Express bills an execution, and its memory by 64 MB for each 100 ms begun."""
        memory = self._traffic.express_memory_mb / 1024
        for starter, times in self._deliveries().items():
            steps = self._chain(starter)
            if not steps:
                continue
            runs = times * (1 + self._traffic.retried_share) * MILLION
            took = sum((self.step_milliseconds(step) for step in steps), Decimal(0))
            billed = _up(took / EXPRESS_STEP_MS) * EXPRESS_STEP_MS
            yield self._line(Section.ORDERS, "Step Functions Express requests", "express_request", runs)
            name = f"Step Functions Express duration ({billed} ms)"
            yield self._line(Section.ORDERS, name, "express_gb_second", runs * memory * billed / 1000)

    def _page_lines(self) -> Iterator[Line]:
        """Each door for itself: a page's request is kept by one statement and starts nothing at once."""
        for function in self._measured.started_by("page"):
            if function in self._inventory.memory_mb:
                call, door = Call(function, "page", Decimal(1)), function.removeprefix("ingress-")
                yield self._line(Section.PAGES, f"API Gateway, {door}", "http_api_request", MILLION)
                yield from self._lambda(Section.PAGES, [call], MILLION, f", {door}")
                logs = self._lambda_log_bytes([call])
                logs += self._traffic.access_log_bytes * self._inventory.access_logs
                yield self._line(Section.PAGES, f"Logs, {door}", "log_gb", logs * MILLION / GB)

    def _order_network(self, calls: Iterable[Call], messages: Decimal) -> Iterator[Line]:
        traffic, section = self._traffic, Section.ORDERS_NETWORK
        asked = (call.times * self._measured.of(call.function, call.source).provider_calls for call in calls)
        provider = sum(asked, Decimal(0)) * MILLION / KB_A_GB
        sent = messages * traffic.webhook_kb * MILLION / KB_A_GB
        private = self._inventory.endpoint_zones > 0
        through = provider * (traffic.provider_in_kb + traffic.provider_out_kb)
        yield self._line(section, "NAT traffic", "nat_gb", through + (Decimal(0) if private else sent))
        yield self._line(
            section, "Transfer to providers", "internet_out_gb", provider * traffic.provider_out_kb
        )
        yield self._line(section, "Endpoint traffic", "endpoint_gb", sent if private else Decimal(0))

    def _scheduled(self, tenants: Decimal) -> list[Call]:
        """What clocks cause in a month: what they invoke, and a run for each tenant where they fan out."""
        calls: dict[str, Decimal] = {}
        for clock in self._inventory.clocks:
            calls[clock.function] = calls.get(clock.function, Decimal(0)) + clock.runs
            if clock.task is not None:
                runs = clock.runs * self._runs(clock.task, tenants)
                calls[clock.task] = calls.get(clock.task, Decimal(0)) + runs
        return [Call(function, "schedule", times) for function, times in calls.items()]

    def _runs(self, task: str, tenants: Decimal) -> Decimal:
        """How often one slot of its clock runs a task."""
        if task in self._paths.only_due:
            return Decimal(0)
        return tenants if task in self._paths.each_tenant else Decimal(1)

    def _idle_lines(self, tenants: Decimal) -> Iterator[Line]:
        inventory, section, calls = self._inventory, Section.IDLE, self._scheduled(tenants)
        yield from self._lambda(section, calls, Decimal(1))
        runs = sum((clock.runs for clock in inventory.clocks), Decimal(0))
        yield self._line(section, "Scheduler invocations", "scheduler_invocation", runs)
        tasks = {clock.task for clock in inventory.clocks}
        messages = sum((call.times for call in calls if call.function in tasks), Decimal(0))
        yield self._line(
            section, "SQS requests of schedules", "sqs_fifo_request", self._queue_requests(messages)
        )
        name = f"SQS idle polls of {inventory.mappings} mappings"
        yield self._line(section, name, "sqs_fifo_request", self.idle_polls())
        yield self._line(section, "Logs", "log_gb", self._lambda_log_bytes(calls) / GB)
        yield from self._watching()
        yield self._line(section, "KMS key", "kms_key_month", Decimal(inventory.keys))
        yield self._line(section, "Secrets", "secret_month", Decimal(inventory.secrets))
        yield from self._idle_network()
        yield from self._idle_database()

    def idle_polls(self) -> Decimal:
        """Receives of empty queues in a month: mappings x pollers x seconds of the month / seconds of a poll."""
        pollers = self._inventory.mappings * self._traffic.idle_pollers
        return pollers * HOURS_A_MONTH * 3600 / self._traffic.long_poll_s

    def _watching(self) -> Iterator[Line]:
        """Alarms and metrics. A query alarm bills every metric that it scans: one a task."""
        tasks = Decimal(len(set(chain.from_iterable(self._paths.tasks.values()))))
        inventory, section = self._inventory, Section.IDLE
        scanned = inventory.query_alarms * tasks
        yield self._line(section, "Custom metrics", "metric_month", tasks)
        yield self._line(section, "Alarms", "alarm_month", Decimal(inventory.alarms))
        yield self._line(section, "Alarms over queries", "alarm_month", scanned)
        yield self._line(section, "Dashboard", "dashboard_month", Decimal(inventory.dashboards))

    def _idle_network(self) -> Iterator[Line]:
        section, nats = Section.IDLE_NETWORK, self._inventory.nat_gateways * HOURS_A_MONTH
        yield self._line(section, "NAT gateways", "nat_hour", nats)
        yield self._line(section, "Public addresses", "public_address_hour", nats)
        zones = self._inventory.endpoint_zones * HOURS_A_MONTH
        yield self._line(section, "Interface endpoints, each in its zones", "endpoint_hour", zones)

    def _idle_database(self) -> Iterator[Line]:
        inventory, section = self._inventory, Section.IDLE_DATABASE
        capacity = inventory.database_min_acu * inventory.database_instances * HOURS_A_MONTH
        yield self._line(section, "Aurora, minimum capacity", "aurora_acu_hour", capacity)
        kept = inventory.caches * self._traffic.cache_minimum_gb * HOURS_A_MONTH
        yield self._line(section, "ElastiCache, minimum", "valkey_gb_hour", kept)


def total(lines: Iterable[Line], *sections: Section) -> Decimal:
    return sum((line.usd for line in lines if line.section in sections), Decimal(0))


def _up(number: Decimal) -> Decimal:
    return number.to_integral_value(rounding=ROUND_CEILING)
