"""What the kernel itself costs a message: processor time, and round trips to the database beyond the task's own."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import Any, Self

import psycopg
from pydantic import BaseModel

from tests.bench.figures import Spread, digits
from tests.integration.harness import House
from tradewind.observability import logger
from tradewind.tasks.registry import REGISTRY
from tradewind.tasks.retry import Retry
from tradewind.tasks.task import Task, task
from tradewind.tenancy.database import TenantDb

MESSAGES = 400
ROUNDS = 5


class Nothing(BaseModel):
    """A payload without a field that matters."""

    number: int = 0


def _declare() -> tuple[Task, Task]:
    @task("bench-empty", retry=Retry(1))
    def empty(payload: Nothing) -> None:
        """Do nothing: what remains is the kernel's."""

    @task("bench-one-statement", retry=Retry(1))
    def one_statement(payload: Nothing, db: TenantDb) -> None:
        """One transaction with one statement: begin, statement and commit are the task's own."""
        with db.begin() as tx:
            tx.execute("SELECT 1")

    return empty, one_statement


class RoundTrips:
    """Counts what is sent to Postgres while it is entered."""

    def __init__(self) -> None:
        self.count = 0
        self._execute = psycopg.Connection.execute

    def __enter__(self) -> Self:
        execute, counter = self._execute, self

        def counted(connection: Any, *args: Any, **kwargs: Any) -> Any:
            counter.count += 1
            return execute(connection, *args, **kwargs)

        psycopg.Connection.execute = counted  # type: ignore[method-assign, assignment]
        return self

    def __exit__(self, *_: object) -> None:
        psycopg.Connection.execute = self._execute  # type: ignore[method-assign]


def quietly(act: Callable[[], object]) -> int:
    """Run with the log kept in memory; returns how many bytes were logged."""
    written = io.StringIO()
    handler = logger().registered_handler
    before = handler.setStream(written)  # type: ignore[attr-defined]
    try:
        with redirect_stdout(written):
            act()
    finally:
        handler.setStream(before)  # type: ignore[attr-defined]
    return len(written.getvalue().encode())


def measure(house: House, messages: int = MESSAGES, rounds: int = ROUNDS) -> dict[str, Any]:
    """Per message; processor time is this process's own, Postgres not included."""
    empty, one_statement = _declare()
    try:
        told = {made.id: _measured(house, made, messages, rounds) for made in (empty, one_statement)}
    finally:
        for made in (empty, one_statement):
            REGISTRY._tasks.pop(made.id, None)
    own = 3
    return {
        "cpu_ms_per_message": told["bench-empty"]["cpu_ms"],
        "wall_ms_per_message": told["bench-empty"]["wall_ms"],
        "round_trips_per_message": told["bench-empty"]["round_trips"],
        "round_trips_over_the_tasks_own": told["bench-one-statement"]["round_trips"] - own,
        "aims": {"cpu_ms_per_message": 1, "round_trips_over_the_tasks_own": 3},
        "messages": messages,
        "rounds": rounds,
    }


def _measured(house: House, made: Task, messages: int, rounds: int) -> dict[str, Any]:
    worker = house.worker(made)

    def work(count: int) -> None:
        for _ in range(count):
            worker.work(house.message(made, {"number": 1}), house.deadline())

    quietly(lambda: work(50))
    with RoundTrips() as trips:
        quietly(lambda: work(10))
    cpu, wall = [], []
    for _ in range(rounds):
        cpu_begun, begun = time.process_time(), time.perf_counter()
        quietly(lambda: work(messages))
        cpu.append((time.process_time() - cpu_begun) / messages * 1000)
        wall.append((time.perf_counter() - begun) / messages * 1000)
    return {
        "cpu_ms": digits(Spread.of(cpu).median),
        "wall_ms": digits(Spread.of(wall).median),
        "round_trips": trips.count / 10,
    }
