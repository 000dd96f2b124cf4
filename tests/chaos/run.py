"""The two runs over one scenario, and what is left of each."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, get_type_hints
from uuid import UUID

from infra.local.cloud import OwnCloud
from tests.chaos import errands
from tests.chaos.disturbance import Emulator, Orders, Relay, flush_valkey, gone, let_calls_fail
from tests.chaos.scenario import MENDABLE, Poison, Scenario
from tests.chaos.stage import Cast
from tests.chaos.tables import (
    Tables,
    briefly,
    dead_letters,
    lying_messages,
    read_tables,
    unfinished,
    why_dead,
)
from tests.e2e.cloud import Cloud
from tradewind.ports import Shopify
from tradewind.tasks.registry import Registry

POLL_S, MANY, MANY_POLL_S = 0.5, 20, 2.0
TELL_S = 20.0
LEAD_S = 3.0
GONE_S = 3.0
"""Long enough that the receiver sets webhooks aside."""
READABLE_TASK = "commerce-sync-order"
_ENDED_SWEEPS = """
SELECT d.tenant_id, d.task, d.cause, d.error_class, d.attempts
FROM dead_letter d JOIN task_run r USING (tenant_id, run_id)
WHERE d.state = 'open' AND d.tenant_id = ANY (%s)
  AND (r.source IN ('schedule', 'backfill') OR d.task LIKE 'analytics-send-%%')
"""
LASTING = set(Poison) - MENDABLE
Letters = Counter[tuple[int | None, str, str]]


class StuckError(AssertionError):
    """Something has not ended in time; the message shows what."""


@dataclass(slots=True)
class Ground:
    """What both runs stand on."""

    own: OwnCloud
    cloud: Cloud
    emulator: Emulator
    orders: Orders
    registry: Registry
    now: datetime

    def drain(self, patience_s: float) -> None:
        """Wait until every run and message has ended and no queue holds anything. Raises StuckError."""
        begun = told = time.monotonic()
        while True:
            left = unfinished(self.cloud) or [f"{name} holds {held}" for name, held in self._lying().items()]
            left = left or unfinished(self.cloud)  # what a queue held a moment ago may be a run by now
            if not left:
                return
            now = time.monotonic()
            if now > begun + patience_s:
                raise StuckError(
                    f"not at rest after {patience_s:g} s:\n{briefly(left)}\n{self.cloud.tables(None)}"
                )
            if now > told + TELL_S:
                told = now
                print(f"after {now - begun:.0f} s there are open\n{briefly(left, 3)}")
            time.sleep(POLL_S if len(left) < MANY else MANY_POLL_S)

    def _lying(self) -> dict[str, int]:
        return lying_messages(self.cloud)

    def ids(self, cast: Cast) -> list[UUID]:
        return [tenant.id for tenant in cast.tenants]


@dataclass(slots=True)
class Storm:
    """The disturbed run's results."""

    deliveries: int = 0
    events: list[str] = field(default_factory=list)
    letters: Letters = field(default_factory=Counter)
    expected_letters: Letters = field(default_factory=Counter)
    left_letters: Letters = field(default_factory=Counter)
    lasting_letters: Letters = field(default_factory=Counter)
    surprises: list[str] = field(default_factory=list)
    """What the attempts of dead letters that nobody expected ended with."""
    tables: Tables | None = None
    deaths: Counter[str] = field(default_factory=Counter)
    subscriptions: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    calls: list[Mapping[str, Any]] = field(default_factory=list)


def run_undisturbed(ground: Ground, scenario: Scenario) -> Tables:
    """Every webhook once, in order, without a fault."""
    begun = time.monotonic()
    cast = Cast.register(ground.cloud, scenario, "calm", withheld=False)
    cast.deliver_in_order()
    cast.show_pages()
    print(f"undisturbed: delivered after {time.monotonic() - begun:.1f} s")
    with Relay(ground.cloud):
        ground.drain(scenario.size.patience_s)
        errands.lose_subscriptions(cast)
        errands.fire_schedules(ground.cloud, ground.registry, ground.now, ground.ids(cast))
        errands.start_backfills(cast)
        ground.drain(scenario.size.patience_s)
        errands.fire_last(ground.cloud, ground.registry, ground.now, ground.ids(cast))
        cast.end_tests()
        ground.drain(scenario.size.patience_s)
    print(f"undisturbed: at rest after {time.monotonic() - begun:.1f} s")
    tables = read_tables(ground.cloud, ground.ids(cast))
    ground.cloud.pause([tenant.id for tenant in cast.tenants])
    return tables


def run_disturbed(ground: Ground, scenario: Scenario) -> Storm:
    """The same webhooks while everything goes wrong; then what was poisoned is mended and replayed."""
    try:
        return _disturbed(ground, scenario)
    finally:
        ground.orders.disarm()
        ground.cloud.sandbox.delete("/faults").raise_for_status()


def _disturbed(ground: Ground, scenario: Scenario) -> Storm:
    storm, begun = Storm(), time.monotonic()
    cast = Cast.register(ground.cloud, scenario, "storm", withheld=True)
    chance = random.Random(f"storm:{scenario.seed}")
    ground.orders.arm(chance, scenario.size.kills)
    let_calls_fail(ground.cloud, scenario.seed)
    with Relay(ground.cloud):
        _rage(ground, cast, storm, chance)
        ground.drain(scenario.size.patience_s)
        storm.events.append(f"at rest after {time.monotonic() - begun:.1f} s")
        storm.letters = dead_letters(ground.cloud, ground.ids(cast))
        storm.expected_letters += _letters_of(ground, cast, set(Poison)) + _used_up(ground, cast)
        unexpected = storm.letters - storm.expected_letters
        storm.surprises = why_dead(ground.cloud, ground.ids(cast), unexpected)
        cast.mend()
        ground.cloud.sandbox.delete("/faults").raise_for_status()
        _replay(ground, cast, storm.letters)
        ground.drain(scenario.size.patience_s)
        storm.events.append(f"replayed after {time.monotonic() - begun:.1f} s")
        errands.fire_last(ground.cloud, ground.registry, ground.now, ground.ids(cast))
        cast.end_tests()
        ground.drain(scenario.size.patience_s)
    storm.deaths = ground.orders.by_point()
    storm.lasting_letters = Counter(
        {letter: count for letter, count in storm.expected_letters.items() if letter[0] is None}
    ) + _letters_of(ground, cast, LASTING)
    storm.left_letters = dead_letters(ground.cloud, ground.ids(cast))
    storm.tables = read_tables(ground.cloud, ground.ids(cast))
    storm.subscriptions = {
        tenant.shop: ground.cloud.sandbox.get(f"/shopify/{tenant.shop}/subscriptions").json()["subscriptions"]
        for tenant in cast.tenants
    }
    storm.calls = [call for tenant in cast.tenants for call in ground.cloud.calls(tenant.shop)]
    return storm


def run_without_postgres(ground: Ground, scenario: Scenario, seconds: float) -> tuple[list[int], Tables]:
    """Every webhook once and under load, while Postgres is away for some seconds; the answers, and the tables' end."""
    cast = Cast.register(ground.cloud, scenario, "outage", withheld=False)
    answers: list[int] = []
    load = threading.Thread(
        target=lambda: answers.extend(cast.deliver_once(seconds + 2 * LEAD_S)), daemon=True
    )
    with Relay(ground.cloud), ThreadPoolExecutor(1) as pool:
        load.start()
        pages = pool.submit(cast.show_pages)
        time.sleep(LEAD_S)
        with gone(ground.own, "postgres"):
            time.sleep(seconds)
        load.join()
        pages.result()
        errands.lose_subscriptions(cast)
        errands.fire_schedules(ground.cloud, ground.registry, ground.now, ground.ids(cast))
        errands.start_backfills(cast)
        ground.drain(scenario.size.patience_s)
        errands.fire_last(ground.cloud, ground.registry, ground.now, ground.ids(cast))
        cast.end_tests()
        ground.drain(scenario.size.patience_s)
    return answers, read_tables(ground.cloud, ground.ids(cast))


def _rage(ground: Ground, cast: Cast, storm: Storm, chance: random.Random) -> None:
    """Deliver everything, and let the disturbances come when their share of it is delivered."""
    reached = threading.Condition()
    share = 0.0

    def progress(done: float) -> None:
        nonlocal share
        with reached:
            share = done
            reached.notify_all()

    outcome: list[int | BaseException] = []

    def deliver() -> None:
        try:
            outcome.append(cast.deliver_disturbed(chance, progress))
        except BaseException as error:  # noqa: BLE001 - raised again below, in the test's own thread
            outcome.append(error)
        progress(1.0)

    delivering = threading.Thread(target=deliver, daemon=True)
    firing = _Firing(ground, cast)
    begun = time.monotonic()
    delivering.start()
    for at, name, action in _disturbances(ground, cast, storm, firing):
        with reached:
            while share < at:
                reached.wait()
        action()
        storm.events.append(f"{time.monotonic() - begun:7.1f} s  {share:4.0%}  {name}")
    delivering.join()
    firing.end()
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    storm.deliveries = outcome[0]
    storm.events.append(f"{time.monotonic() - begun:7.1f} s  100%  all delivered")


class _Firing:
    """All schedules, one after the other, while everything else goes on."""

    def __init__(self, ground: Ground, cast: Cast) -> None:
        self._pool = ThreadPoolExecutor(1)
        self._work = lambda: errands.fire_schedules(
            ground.cloud, ground.registry, ground.now, ground.ids(cast)
        )
        self._fired: Future[None] | None = None

    def start(self) -> None:
        self._fired = self._pool.submit(self._work)

    def end(self) -> None:
        """Wait for the last; raises what made it fail."""
        self._pool.shutdown()
        if self._fired is not None:
            self._fired.result()


def _disturbances(
    ground: Ground, cast: Cast, storm: Storm, firing: _Firing
) -> list[tuple[float, str, Callable[[], None]]]:
    """Each with the share of deliveries at which it comes.

    The emulator loses its queues before Postgres is away for the first time: what the receiver sets aside then lies in
    a queue alone, and no one could repair its loss.
    """
    own, cloud = ground.own, ground.cloud
    ids = ground.ids(cast)

    def restart(program: str, after: float = 0.0) -> None:
        with gone(own, program):
            time.sleep(after)

    def rubbish() -> None:
        task, cause = errands.put_rubbish(cloud, READABLE_TASK)
        storm.expected_letters[None, task, cause] += 1

    def give_up() -> None:
        number, task, cause = errands.give_up(cast, READABLE_TASK, "commerce")
        storm.expected_letters[number, task, cause] += 1

    return [
        (0.05, "Valkey flushed", lambda: flush_valkey(cloud)),
        (0.10, "subscriptions lost", lambda: errands.lose_subscriptions(cast)),
        (0.12, "schedules begin to fire", firing.start),
        (0.25, "emulator restarted, its queues empty", ground.emulator.restart),
        (0.35, "backfills started", lambda: errands.start_backfills(cast)),
        (0.45, "Postgres restarted", lambda: restart("postgres")),
        (0.50, "rubbish in a queue", rubbish),
        (0.55, "Valkey restarted", lambda: restart("valkey")),
        (0.60, "a queue gives up", give_up),
        (0.65, "routes forgotten", lambda: errands.forget_routes(cloud, ids)),
        (0.70, "Valkey flushed", lambda: flush_valkey(cloud)),
        (0.80, f"Postgres gone for {GONE_S:g} s", lambda: restart("postgres", GONE_S)),
    ]


def _letters_of(ground: Ground, cast: Cast, kinds: set[Poison]) -> Letters:
    """The dead letters that poisoned webhooks become, by the routes of their topics. That an order is not there, or a
    shop shut, hurts those alone that ask the shop.
    """
    routes = ground.registry.routes()["shopify"]
    return Counter(
        (sent.tenant, task, sent.event_id)
        for sent in cast.scenario.poisoned
        if sent.poison in kinds
        for task in (["ingress-shopify"] if sent.poison is Poison.UNREADABLE else routes[sent.topic])
        if sent.poison not in MENDABLE or _asks_the_shop(ground, task)
    )


def _asks_the_shop(ground: Ground, task: str) -> bool:
    return Shopify in get_type_hints(ground.registry.get(task).function).values()


def _used_up(ground: Ground, cast: Cast) -> Letters:
    """Scheduled runs that asked the shop whose token is refused; sweeps and senders whose attempts were all used up.

    A schedule's task and a backfill ask their provider several times a run, and what tells ad platforms has three
    attempts, so that with every tenth call failing and functions dying they may end as a dead letter by right. They are
    replayed with the rest. No other webhook's run is let off like this.
    """
    numbers = {tenant.id: number for number, tenant in enumerate(cast.tenants)}
    return Counter(
        (numbers[row["tenant_id"]], row["task"], row["cause"])
        for row in ground.cloud.query(_ENDED_SWEEPS, list(numbers))
        if row["error_class"] == "CredentialsRejectedError"
        or row["attempts"] >= ground.registry.get(row["task"]).retry.attempts
    )


def _replay(ground: Ground, cast: Cast, letters: Letters) -> None:
    """Through the admin function, tenant by tenant and task by task, until nothing is left of what was mended."""
    lasting = _letters_of(ground, cast, LASTING)
    for number, task, _ in sorted((letter for letter in letters - lasting if letter[0] is not None), key=str):
        assert number is not None
        asked = {"action": "replay-dead-letters", "tenant": cast.tenants[number].slug, "actor": "chaos"}
        for error_class in _mended_classes(ground, cast.tenants[number].id, task):
            chosen = {**asked, "task": task, "error_class": error_class}
            while not errands.insist(ground.cloud, "ingress-admin", chosen)["done"]:
                pass


def _mended_classes(ground: Ground, tenant: UUID, task: str) -> list[str]:
    """The error classes of a task's open dead letters, but for that of impossible bodies, which stay impossible."""
    rows = ground.cloud.query(
        "SELECT DISTINCT error_class FROM dead_letter WHERE state = 'open' AND tenant_id = %s AND task = %s",
        tenant,
        task,
    )
    return [row["error_class"] for row in rows if row["error_class"] != "InvalidPayloadError"]


def told(storm: Storm, orders: Orders) -> str:
    """What happened, for whoever has to find out why it went wrong."""
    deaths = [f"  {line}" for line in orders.deaths()]
    return "\n".join(["events:", *(f"  {line}" for line in storm.events), "deaths:", *deaths])
