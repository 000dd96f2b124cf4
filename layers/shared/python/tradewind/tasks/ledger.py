"""The run ledger: who works on what, how often it was tried, and how it ended. Each call is one round trip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from tradewind.tasks.message import Message
from tradewind.tasks.run import ChildResult
from tradewind.tenancy.database import Jsonb, Session
from tradewind.tenancy.tenant import Tenant

_CLAIM = """
SELECT * FROM claim_run(%(tenant)s, %(task)s, %(cause)s, %(key)s, %(about)s, %(lease_s)s, %(force)s)
"""
_FINISH = """
SELECT * FROM finish_run(%(tenant)s, %(run)s, %(fence)s, %(key)s, %(lane)s, %(next)s, %(result)s, %(steps)s,
                         %(checkpoint)s, %(continuation)s, %(children)s, %(outbox)s, %(bound)s)
"""
_RETRY = """
SELECT retry_run(%(tenant)s, %(run)s, %(fence)s, %(counted)s, %(wait_s)s, %(steps)s, %(error)s)
"""
_FAIL = """
SELECT * FROM fail_run(%(tenant)s, %(run)s, %(fence)s, %(key)s, %(lane)s, %(steps)s, %(error)s, %(message)s, %(bound)s)
"""
_CHECKPOINT = "SELECT save_checkpoint(%(tenant)s, %(run)s, %(fence)s, %(checkpoint)s)"
_CHILDREN = """
SELECT r.parent_step AS step, r.result, r.error_class, r.error_message
FROM task_run r WHERE r.tenant_id = %(tenant)s AND r.parent_run = %(run)s ORDER BY r.parent_step
"""


class Outcome(StrEnum):
    """What a claim found."""

    CLAIMED = "claimed"
    LEASED = "leased"
    RETRYING = "retrying"
    WAITING = "waiting"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    UNKNOWN_TENANT = "unknown_tenant"
    UNINSTALLED = "uninstalled"
    """The tenant has left, and the message is done with."""
    PUT_BACK = "put_back"
    """Paused, and the message is held again."""
    PAUSED = "paused"
    """Paused, and the message is not the outbox's to hold."""


@dataclass(frozen=True, slots=True)
class Claim:
    """The answer to a claim. ``lease_left`` is set where another worker holds the run."""

    outcome: Outcome
    run_id: UUID
    fence: int
    attempt: int
    hops: int
    checkpoint: Mapping[str, Any] | None
    result: Any
    error: str | None
    lease_left: timedelta
    tenant: Tenant | None


@dataclass(frozen=True, slots=True)
class Failure:
    """An attempt's error as it is recorded."""

    kind: str
    error_class: str
    message: str
    stack: str | None
    log_stream: str | None

    def to_json(self) -> Jsonb:
        return Jsonb(
            {
                "kind": self.kind,
                "class": self.error_class,
                "message": self.message[:2000].replace("\x00", ""),
                "stack": None if self.stack is None else self.stack[-8000:].replace("\x00", ""),
                "log_stream": self.log_stream,
            }
        )


class Ledger:
    """The ledger through one session. ``bound`` is the admission bound of a tenant's messages in a queue."""

    def __init__(self, session: Session, bound: int) -> None:
        self._session = session
        self._bound = bound

    def claim(self, task: str, message: Message, lease: timedelta, *, force: bool = False) -> Claim:
        about = {
            "entity": message.entity,
            "source": message.source,
            "correlation_id": message.correlation_id,
            "accepted_at": message.accepted_at.isoformat(),
            "hops": message.hops,
            "parent_run": _text(message.parent_run),
            "parent_step": message.parent_step,
            "replay_of": _text(message.replay_of),
        }
        row = self._session.call(
            _CLAIM,
            {
                "tenant": message.tenant_id,
                "task": task,
                "cause": message.cause,
                "key": message.key,
                "about": Jsonb(about),
                "lease_s": lease.total_seconds(),
                "force": force,
            },
        )[0]
        return Claim(
            outcome=Outcome(row["outcome"]),
            run_id=row["run_id"],
            fence=row["fence"],
            attempt=row["attempt"],
            hops=row["hops"] or 0,
            checkpoint=row["checkpoint"],
            result=row["result"],
            error=row["error_message"],
            lease_left=timedelta(seconds=max(0.0, row["lease_left_s"] or 0.0)),
            tenant=None if row["tenant"] is None else Tenant.from_row(row["tenant"]),
        )

    def finish(  # noqa: PLR0913 - the end of a run is one statement with all of its parts
        self,
        message: Message,
        claim: Claim,
        *,
        state: str,
        result: Any,
        steps: Sequence[Mapping[str, Any]],
        checkpoint: Mapping[str, Any] | None,
        continuation: Mapping[str, Any] | None,
        children: int,
        outbox: Sequence[Mapping[str, Any]],
    ) -> list[dict[str, Any]]:
        """End the run in the transaction that the task left open. Returns the messages that may be sent now.

        Raises FenceLostError, with everything undone, where the run was taken over meanwhile.
        """
        return self._session.end_with(
            _FINISH,
            {
                **self._owned(message, claim),
                "next": state,
                "result": None if result is None else Jsonb(result),
                "steps": _steps(steps),
                "checkpoint": None if checkpoint is None else Jsonb(checkpoint),
                "continuation": None if continuation is None else Jsonb(continuation),
                "children": children,
                "outbox": Jsonb(list(outbox)),
            },
        )

    def retry(
        self,
        message: Message,
        claim: Claim,
        failure: Failure,
        wait: timedelta,
        *,
        counted: bool,
        steps: Sequence[Mapping[str, Any]],
    ) -> None:
        """Give the run back for another try; what the task committed before stays."""
        self._session.end_with(
            _RETRY,
            {
                **self._owned(message, claim),
                "counted": counted,
                "wait_s": wait.total_seconds(),
                "steps": _steps(steps),
                "error": failure.to_json(),
            },
        )

    def fail(
        self,
        message: Message,
        claim: Claim,
        failure: Failure,
        *,
        keep_message: bool,
        steps: Sequence[Mapping[str, Any]],
    ) -> list[dict[str, Any]]:
        """End the run for good; with ``keep_message`` a dead letter is written. Returns what may be sent now."""
        return self._session.end_with(
            _FAIL,
            {
                **self._owned(message, claim),
                "steps": _steps(steps),
                "error": failure.to_json(),
                "message": Jsonb(message.to_stored()) if keep_message else None,
            },
        )

    def save_checkpoint(self, message: Message, claim: Claim, checkpoint: Mapping[str, Any]) -> None:
        self._session.call(_CHECKPOINT, {**self._owned(message, claim), "checkpoint": Jsonb(checkpoint)})

    def children(self, message: Message, claim: Claim) -> tuple[ChildResult, ...]:
        with self._session.transaction(message.tenant_id) as transaction:
            rows = transaction.fetch_all(_CHILDREN, self._owned(message, claim))
        return tuple(
            ChildResult(
                row["step"],
                row["result"],
                None if row["error_class"] is None else f"{row['error_class']}: {row['error_message']}",
            )
            for row in rows
        )

    def _owned(self, message: Message, claim: Claim) -> dict[str, Any]:
        return {
            "tenant": message.tenant_id,
            "run": claim.run_id,
            "fence": claim.fence,
            "key": message.key,
            "lane": message.lane,
            "bound": self._bound,
        }


def _steps(steps: Sequence[Mapping[str, Any]]) -> Jsonb | None:
    return Jsonb(list(steps)) if steps else None


def _text(value: UUID | None) -> str | None:
    return None if value is None else str(value)
