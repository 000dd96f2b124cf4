"""A process dies at each crash point in turn that a long run passes: pages, checkpoints, children. Nothing is lost or
doubled.

The chaos suite kills real processes at points that every message passes; here every single passage is one case.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import pytest
from pydantic import BaseModel

from commerce.order_sync.tasks import sync_order_batch
from ingress.relay import Relay
from tests.fakes import NOON, an_order
from tests.integration.harness import House
from tests.integration.headquarters import Headquarters, a_manifest
from tests.integration.test_arrival_order import TABLES, tables_of
from tradewind.crash import Point, install
from tradewind.tasks.message import Lane, Message, Source, message_from
from tradewind.tasks.registry import REGISTRY
from tradewind.tasks.run import Continuation, Run
from tradewind.tasks.task import Task
from tradewind.tasks.worker import Done
from tradewind.tenancy.database import TenantDb

MOST_TURNS = 200


class ProcessDiedError(BaseException):
    """What ``os._exit`` is to a real function: no handler of the kernel may catch it."""


@dataclass
class Death:
    """A process dies at the passage with number ``at``, once; None counts passages only."""

    at: int | None
    passed: list[Point] = field(default_factory=list)

    def __call__(self, point: Point) -> None:
        self.passed.append(point)
        if len(self.passed) - 1 == self.at:
            raise ProcessDiedError(point)


@dataclass
class Line:
    """A queue and its workers: each message is delivered until it is done, and the relay looks after what was lost."""

    house: House
    desk: Headquarters
    deaths: int = 0

    def run(self, first: Message) -> None:
        """Work until nothing is left. Raises AssertionError where it does not come to an end."""
        waiting = [first]
        for _ in range(MOST_TURNS):
            waiting += [message_from(json.loads(entry.body)) for entry in self._taken()]
            if not waiting:
                if not self._repair():
                    return
                continue
            if self._deliver(waiting[0]):
                waiting.pop(0)
        raise AssertionError("it does not come to an end")

    def _taken(self) -> list[Any]:
        taken, self.house.queues.sent = self.house.queues.sent, []
        return taken

    def _deliver(self, message: Message) -> bool:
        """Whether the message is acknowledged; a process that dies leaves its lease behind, which runs out."""
        try:
            end = self.house.worker(REGISTRY.get(message.task)).work(message, self.house.deadline())
        except ProcessDiedError:
            self.deaths += 1
            self.desk.write(
                "UPDATE task_run SET lease_until = now() - interval '1 s' WHERE lease_until IS NOT NULL"
            )
            return False
        assert isinstance(end, Done), end
        return True

    def _repair(self) -> int:
        """How many messages the relay has sent again; it may die too."""
        try:
            with self.desk.platform.session() as session:
                relay = Relay(self.desk.platform, a_manifest(), session)
                return relay.send_unsent(timedelta(0)) + relay.send_lost(timedelta(0))
        except ProcessDiedError:
            self.deaths += 1
            return 1


@pytest.fixture
def line(house: House) -> Iterator[Line]:
    desk = Headquarters(house, house.queues)
    yield Line(house, desk)
    desk.connections.close()


def every_death(
    line: Line, first: Callable[[], Message], look: Callable[[], Any], clear: Callable[[], None]
) -> None:
    """Run undisturbed, then once for each passage of a crash point with a death there; each ends in the same tables."""
    count = Death(None)
    passages = with_hook(count, lambda: line.run(first()))
    expected = look()
    assert len(passages) > 10
    for at, point in enumerate(passages):
        clear()
        before = line.deaths
        with_hook(Death(at), lambda: line.run(first()))
        assert line.deaths == before + 1, f"nobody died at passage {at}, {point}"
        assert look() == expected, f"after a death at passage {at}, {point}"


def with_hook(death: Death, work: Callable[[], None]) -> list[Point]:
    remove = install(death)
    try:
        work()
    finally:
        remove()
    return death.passed


def test_backfill_resumes_after_a_death_at_every_point(line: Line) -> None:
    house = line.house
    house.write("INSERT INTO creators (creator_id, name, code) VALUES (%s, 'Bo', 'BO')", UUID(int=7))
    for at in range(7):
        moment = NOON - timedelta(minutes=60 - at)
        house.shopify.put(an_order(3000 + at, placed_at=moment, updated_at=moment, discount_codes=("BO",)))

    def first() -> Message:
        about = {"lane": Lane.BACKFILL, "source": Source.BACKFILL, "cause": "backfill"}
        return house.message(sync_order_batch, {"limit": 3}, **about)  # type: ignore[arg-type]

    def look() -> Any:
        runs = house.query("SELECT state, result->'orders' AS orders FROM task_run")
        letters = house.query("SELECT count(*)::int AS n FROM dead_letter")
        return tables_of(house), runs, letters

    def clear() -> None:
        for table in reversed(TABLES):
            house.write(f"DELETE FROM {table}")
        forget_runs(line)

    every_death(line, first, look, clear)
    assert look()[1:] == ([{"state": "succeeded", "orders": 7}], [{"n": 0}])


class Part(BaseModel):
    """A child's share."""

    number: int


def test_parent_with_checkpoints_and_children_ends_alike_after_a_death_at_every_point(
    line: Line, make_task: Callable[..., Task]
) -> None:
    house = line.house
    begun: list[str] = []

    def keep(db: TenantDb, name: str) -> None:
        with db.begin() as tx:
            tx.execute(
                "INSERT INTO reviews (review_id, rating) VALUES (%(id)s, 5) ON CONFLICT DO NOTHING",
                {"id": uuid5(NAMESPACE_URL, name)},
            )

    def child(payload: Part, db: TenantDb) -> int:
        keep(db, f"child {payload.number}")
        return payload.number * 10

    child_task = make_task(child, "test-child")

    def parent(run: Run, db: TenantDb) -> Continuation | dict[str, Any]:
        stage = (run.checkpoint or {"stage": 0})["stage"]
        if stage == 0:
            begun.append("first")
            keep(db, "first")
            run.save_checkpoint({"stage": 1})
        if stage <= 1:
            begun.append("second")
            keep(db, "second")
            for number in (1, 2):
                run.start_child(child_task, f"part-{number}", Part(number=number))
            return run.wait_for_children({"stage": 2})
        return {each.step: each.result for each in run.children_results()}

    made = make_task(parent, "test-parent", starts=("test-child",))

    def look() -> Any:
        runs = house.query("SELECT task, state, result FROM task_run ORDER BY task, cause")
        kept = house.query("SELECT review_id FROM reviews ORDER BY 1")
        letters = house.query("SELECT count(*)::int AS n FROM dead_letter")
        assert begun.count("first") <= 2, "what a checkpoint holds is not done again"
        return runs, kept, letters

    def clear() -> None:
        begun.clear()
        house.write("DELETE FROM reviews")
        forget_runs(line)

    every_death(line, lambda: house.message(made, {}, cause="parent"), look, clear)
    runs, kept, letters = look()
    assert [(run["task"], run["state"]) for run in runs] == [
        ("test-child", "succeeded"),
        ("test-child", "succeeded"),
        ("test-parent", "succeeded"),
    ]
    assert runs[2]["result"] == {"part-1": 10, "part-2": 20}
    assert (len(kept), letters) == (4, [{"n": 0}])


def forget_runs(line: Line) -> None:
    for table in ("outbox", "task_attempt", "task_run"):
        line.desk.write(f"DELETE FROM {table}")
