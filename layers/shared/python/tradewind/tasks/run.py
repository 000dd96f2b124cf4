"""The run as its task sees it: who asked, which attempt, how far it came, and what follows from it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

from pydantic import BaseModel

from tradewind.clock import Clock
from tradewind.errors import TerminalError
from tradewind.tasks.message import Lane, Message, Source, message_key, shard_of

MAX_HOPS = 1000
"""A long run that has been handed on this often is circling; it ends as a dead letter."""


class Target(Protocol):
    """A task that can be started: a ``Task`` of the same domain, or a ``TaskRef`` from ``tradewind.contracts``."""

    @property
    def id(self) -> str: ...
    @property
    def payload(self) -> type[BaseModel]: ...
    @property
    def cap(self) -> int: ...
    @property
    def entity(self) -> str | None: ...
    @property
    def backfill(self) -> bool: ...


class UndeclaredFollowUpError(TerminalError):
    """A task starts another one that its decorator does not name, so that its role may not send there."""


@dataclass(frozen=True, slots=True)
class ChildResult:
    """How a child ended: its result, or its error's class and message."""

    step: str
    result: Any
    error: str | None


@dataclass(slots=True)
class Continuation:
    """What a task returns to go on in a new message (``Run.continue_with`` and ``Run.wait_for_children``)."""

    checkpoint: Mapping[str, Any]
    state: str
    wait: timedelta | None = None


@dataclass(slots=True)
class Run:
    """One attempt of one run. ``checkpoint`` is what earlier messages of the run saved, or None."""

    id: UUID
    message: Message
    attempt: int
    fence: int
    hops: int
    deadline: datetime
    checkpoint: Mapping[str, Any] | None
    save: Callable[[Mapping[str, Any]], None]
    load_children: Callable[[], tuple[ChildResult, ...]]
    load_webhook: Callable[[], Mapping[str, Any] | None]
    steps: list[dict[str, Any]] = field(default_factory=list)
    children: list[dict[str, Any]] = field(default_factory=list)

    @property
    def source(self) -> Source:
        return self.message.source

    @property
    def cause(self) -> str:
        return self.message.cause

    @property
    def correlation_id(self) -> str:
        return self.message.correlation_id

    @property
    def accepted_at(self) -> datetime:
        """When the webhook, event or person's request that began all this was accepted."""
        return self.message.accepted_at

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Record a step's outcome and duration with the run, for the person who later asks what happened."""
        record: dict[str, Any] = {"name": name, "outcome": "failed"}
        self.steps.append(record)
        begun = time.monotonic()
        try:
            yield
            record["outcome"] = "done"
        finally:
            record["seconds"] = round(time.monotonic() - begun, 4)

    def moment(self, clock: Clock) -> datetime:
        """What a run counts from: a scheduled one's slot (never now: a late run must cover the same time), else now."""
        return self.accepted_at if self.source is Source.SCHEDULE else clock.now()

    def time_left(self, now: datetime) -> timedelta:
        return self.deadline - now

    def save_checkpoint(self, checkpoint: Mapping[str, Any]) -> None:
        """Save progress now, under the run's fence: a crash resumes from here."""
        self.save(checkpoint)
        self.checkpoint = checkpoint

    def continue_with(self, checkpoint: Mapping[str, Any], *, wait: timedelta | None = None) -> Continuation:
        """Return this to hand the same run to a new message, with its progress; after a ``wait`` where it looks for
        something again, at most 15 minutes.
        """
        if self.hops >= MAX_HOPS:
            raise TerminalError(f"run was handed on {self.hops} times; it does not come to an end")
        return Continuation(checkpoint, "retrying", wait)

    def start_child(self, target: Target, step: str, payload: BaseModel) -> None:
        """Start a child through the outbox. ``step`` names it within this run; a second of that name is the same."""
        self.children.append({"target": target, "step": step, "payload": payload})

    def wait_for_children(self, checkpoint: Mapping[str, Any]) -> Continuation:
        """Return this after ``start_child``: the run goes on, as a new message, when the last child has ended."""
        if not self.children:
            return self.continue_with(checkpoint)
        return Continuation(checkpoint, "waiting")

    def children_results(self) -> tuple[ChildResult, ...]:
        """The ended children's results or errors, by step name."""
        return self.load_children()

    def webhook_body(self) -> Mapping[str, Any] | None:
        """The JSON of the webhook that began this run; None where there was none or its retention has passed."""
        return self.load_webhook()


class Outbox:
    """Follow-ups, written in the transaction that ends the run and sent after its commit."""

    def __init__(self, task_id: str, starts: tuple[str, ...], run: Run) -> None:
        self._task_id = task_id
        self._starts = starts
        self._run = run
        self.rows: list[dict[str, Any]] = []

    def start(
        self,
        target: Target,
        payload: BaseModel,
        *,
        key: str = "",
        due_at: datetime | None = None,
        source: Source | None = None,
    ) -> None:
        """Start ``target`` once per run and ``key``, when the run has ended well (not before ``due_at``).

        Raises UndeclaredFollowUpError where the task's ``starts`` does not name the target.
        """
        if target.id not in self._starts:
            raise UndeclaredFollowUpError(
                f"{self._task_id} starts {target.id}; add it to starts=(...) of the task"
            )
        cause = f"{self._run.message.cause}/{self._task_id}" + (f"/{key}" if key else "")
        self.rows.append(follow_up(self._run, self._task_id, target, payload, cause, due_at, source))


def follow_up(
    run: Run,
    task_id: str,
    target: Target,
    payload: BaseModel,
    cause: str,
    due_at: datetime | None,
    source: Source | None,
) -> dict[str, Any]:
    """An outbox row that starts ``target``, keyed by this run, the target and the cause."""
    message = run.message
    body = payload.model_dump(mode="json")
    entity = None if target.entity is None else str(body[target.entity])
    backfill = target.backfill and message.lane is Lane.BACKFILL
    return {
        "tenant_id": str(message.tenant_id),
        "key": message_key(message.tenant_id, task_id, message.cause, target.id, cause, run.hops),
        "task": target.id,
        "lane": Lane.BACKFILL if backfill else Lane.LIVE,
        "shard": shard_of(entity or cause, target.cap),
        "cause": cause,
        "source": source or (Source.BACKFILL if message.source is Source.BACKFILL else Source.TASK),
        "entity": entity,
        "payload": body,
        "inbox_id": None,
        "correlation_id": message.correlation_id,
        "hops": 0,
        "due_at": None if due_at is None else due_at.isoformat(),
        "accepted_at": message.accepted_at.isoformat(),
    }
