"""One message through one task: claim, check, call, finish. What a failure means is decided here, by its kind."""

from __future__ import annotations

import dataclasses
import json
import random
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel, ValidationError

from tradewind.crash import Point, reached
from tradewind.errors import (
    ErrorKind,
    InvalidPayloadError,
    LeaseHeldError,
    NotFoundError,
    PausedError,
    RateLimitedError,
    TerminalError,
    kind_of,
)
from tradewind.loglines import MILLISECONDS, metric_fields
from tradewind.observability import logger
from tradewind.tasks.dispatch import Dispatcher
from tradewind.tasks.ledger import Claim, Failure, Ledger, Outcome
from tradewind.tasks.message import REPLAY_MARK, Message, Source, message_key, shard_of
from tradewind.tasks.run import Continuation, Outbox, Run, follow_up
from tradewind.tasks.scope import Process, Scope
from tradewind.tasks.task import LEASE_MARGIN, Task
from tradewind.tenancy.database import FenceLostError, Session

_LEASE_POLL = timedelta(seconds=2)
_PAUSE_POLL = timedelta(minutes=5)
_INBOX_BODY = """
SELECT body, claim FROM webhook_inbox
WHERE provider <> 'api' AND (inbox_id = %(inbox_id)s OR (%(inbox_id)s::uuid IS NULL AND event_id = %(event_id)s))
ORDER BY received_at DESC LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class Done:
    """The run has ended well, now or before. ``again`` says that its stored result was returned."""

    result: Any
    again: bool = False


@dataclass(frozen=True, slots=True)
class TryAgain:
    """The message is to come back after ``wait``."""

    wait: timedelta
    error: Exception


@dataclass(frozen=True, slots=True)
class Dead:
    """The run has ended for good, now or before."""

    error: Exception


End = Done | TryAgain | Dead


class Worker:
    """Works messages of one task. ``direct`` invocations leave attempts and dead letters to their caller."""

    def __init__(self, task: Task, process: Process, log_stream: str | None = None) -> None:
        self._task = task
        self._process = process
        self._log_stream = log_stream
        self._dispatcher = Dispatcher(process.queues, process.settings.stage)
        self._factories = {name: provider.load() for name, provider in task.providers.items()}

    def work(self, message: Message, deadline: datetime, *, direct: bool = False, force: bool = False) -> End:
        """Work one message to an end. Raises only where even the ledger cannot be reached (RetryableError)."""
        session = Session(self._process.connections)
        try:
            ledger = Ledger(session, self._process.settings.admission_bound)
            margin = self._process.settings.shortened(LEASE_MARGIN)
            lease = deadline - self._process.clock.now() + margin
            claim = ledger.claim(self._task.id, message, lease, force=force)
            reached(Point.RUN_CLAIMED)
            if claim.outcome is not Outcome.CLAIMED:
                return self._not_claimed(message, claim, direct=direct)
            return self._attempt(message, claim, ledger, session, deadline, direct=direct)
        finally:
            session.close()

    def _not_claimed(  # noqa: PLR0911 - one end for each outcome
        self, message: Message, claim: Claim, *, direct: bool
    ) -> End:
        match claim.outcome:
            case Outcome.SUCCEEDED:
                return Done(claim.result, again=True)
            case Outcome.WAITING | Outcome.RETRYING:
                return Done(None, again=True)
            case Outcome.FAILED:
                return Dead(
                    TerminalError(f"{self._task.id} for {message.cause} failed before: {claim.error}")
                )
            case Outcome.UNINSTALLED if direct:
                return Dead(TerminalError("the tenant has uninstalled; run it with force"))
            case Outcome.UNINSTALLED:
                logger().info("the tenant has uninstalled, message dropped")
                return Done(None, again=True)
            case Outcome.PUT_BACK:
                logger().info("paused, message put back among the held ones")
                return Done(None, again=True)
            case Outcome.PAUSED if direct:
                return Dead(PausedError(self._task.id))
            case Outcome.PAUSED:
                return TryAgain(_PAUSE_POLL, PausedError(self._task.id))
            case Outcome.UNKNOWN_TENANT:
                return Dead(NotFoundError("tenant", message.tenant_id))
            case _:
                error = LeaseHeldError(self._task.id, message.cause, claim.lease_left)
                return TryAgain(min(claim.lease_left, _LEASE_POLL), error)

    def _attempt(
        self,
        message: Message,
        claim: Claim,
        ledger: Ledger,
        session: Session,
        deadline: datetime,
        *,
        direct: bool,
    ) -> End:
        run = self._run(message, claim, ledger, session, deadline)
        try:
            if claim.attempt > self._task.retry.attempts and not direct:
                raise TerminalError(
                    f"attempt {claim.attempt - 1} ended without a word, and no attempt is left"
                )
            return self._call(message, claim, ledger, session, run)
        except FenceLostError as error:
            logger().warning("run was taken over, nothing committed", extra={"error": str(error)})
            return TryAgain(_LEASE_POLL, error)
        except Exception as error:  # noqa: BLE001 - the one place where every failure is classified
            session.settle() if kind_of(error) is not ErrorKind.UNEXPECTED else session.roll_back()
            return self._failed(message, claim, ledger, session, run, error, direct=direct)

    def _call(self, message: Message, claim: Claim, ledger: Ledger, session: Session, run: Run) -> End:
        assert claim.tenant is not None  # noqa: S101 - a claimed run has its tenant
        begun = self._process.clock.now()
        outbox = Outbox(self._task.id, self._task.starts, run)
        scope = Scope(self._process, session, claim.tenant, run, outbox)
        arguments = {name: factory(scope) for name, factory in self._factories.items()}
        if self._task.payload_name is not None:
            arguments[self._task.payload_name] = self._payload(message)
        outcome = self._task.function(**arguments)
        reached(Point.TASK_RETURNED)
        rows = self._finish(message, claim, ledger, run, outbox, outcome)
        reached(Point.RUN_FINISHED)
        self._dispatcher.flush(session, rows)
        self._report(message, begun, ended=not isinstance(outcome, Continuation))
        return Done(None if isinstance(outcome, Continuation) else to_plain(outcome))

    def _finish(
        self, message: Message, claim: Claim, ledger: Ledger, run: Run, outbox: Outbox, outcome: Any
    ) -> list[dict[str, Any]]:
        if not isinstance(outcome, Continuation):
            return ledger.finish(
                message,
                claim,
                state="succeeded",
                result=to_plain(outcome),
                steps=run.steps,
                checkpoint=None,
                continuation=None,
                children=0,
                outbox=outbox.rows,
            )
        again = self._continuation(message, run, outcome.wait)
        children = [self._child(run, child) for child in run.children]
        waiting = outcome.state == "waiting"
        return ledger.finish(
            message,
            claim,
            state=outcome.state,
            result=None,
            steps=run.steps,
            checkpoint=outcome.checkpoint,
            continuation=again if waiting else None,
            children=len(children) if waiting else 0,
            outbox=[*outbox.rows, *children, *([] if waiting else [again])],
        )

    def _continuation(self, message: Message, run: Run, wait: timedelta | None) -> dict[str, Any]:
        """The same run as a new message, one hop further."""
        hops = run.hops + 1
        row = json.loads(message.to_json())
        row |= {"key": message_key(run.id, "hop", hops), "hops": hops, "claim": None}
        row["due_at"] = None
        if wait is not None:
            row["due_at"] = (self._process.clock.now() + self._process.settings.shortened(wait)).isoformat()
        return {**row, "shard": self._shard(message)}

    def _child(self, run: Run, child: Mapping[str, Any]) -> dict[str, Any]:
        cause = f"{run.id}/{child['step']}"
        row = follow_up(run, self._task.id, child["target"], child["payload"], cause, None, None)
        return {**row, "parent_run": str(run.id), "parent_step": child["step"]}

    def _shard(self, message: Message) -> int:
        return shard_of(message.entity or message.cause, self._task.cap)

    def _payload(self, message: Message) -> BaseModel:
        raw = message.payload
        if raw is None and message.claim is not None:
            raw = json.loads(self._process.payloads.get(message.claim))
        try:
            return self._task.payload.model_validate(raw or {})
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            field = ".".join(str(part) for part in first["loc"]) or "payload"
            raise InvalidPayloadError(field, first["msg"], f"expected by {self._task.id}") from error

    def _run(
        self, message: Message, claim: Claim, ledger: Ledger, session: Session, deadline: datetime
    ) -> Run:
        return Run(
            id=claim.run_id,
            message=message,
            attempt=claim.attempt,
            fence=claim.fence,
            hops=claim.hops,
            deadline=deadline,
            checkpoint=claim.checkpoint,
            save=lambda checkpoint: ledger.save_checkpoint(message, claim, checkpoint),
            load_children=lambda: ledger.children(message, claim),
            load_webhook=lambda: self._webhook_body(message, session),
        )

    def _webhook_body(self, message: Message, session: Session) -> Mapping[str, Any] | None:
        """The body in the message, else the inbox's: a workflow's step finds it by the event that is its cause. What
        the platform's own applications ask for is no webhook.
        """
        if message.source in {Source.EVENT, Source.MANUAL}:
            return None
        if message.inbox_id is not None and message.payload is not None:
            return message.payload
        if message.inbox_id is None and message.source is not Source.WORKFLOW:
            return None
        event_id = message.cause.split(REPLAY_MARK, 1)[0]
        with session.transaction(message.tenant_id) as transaction:
            row = transaction.fetch_one(_INBOX_BODY, {"inbox_id": message.inbox_id, "event_id": event_id})
        session.settle()
        if row is None or (row["body"] is None and row["claim"] is None):
            return None
        body = row["body"] if row["body"] is not None else self._process.payloads.get(row["claim"])
        parsed: Mapping[str, Any] = json.loads(bytes(body))
        return parsed

    def _failed(
        self,
        message: Message,
        claim: Claim,
        ledger: Ledger,
        session: Session,
        run: Run,
        error: Exception,
        *,
        direct: bool,
    ) -> End:
        kind = kind_of(error)
        failure = Failure(
            kind=kind,
            error_class=type(error).__name__,
            message=str(error),
            stack="".join(traceback.format_exception(error)) if kind is ErrorKind.UNEXPECTED else None,
            log_stream=self._log_stream,
        )
        plan = plan_failure(self._task, error, claim.attempt, random.random(), direct=direct)  # noqa: S311 - jitter
        fields = {"error_class": failure.error_class, "error": failure.message, "kind": kind}
        if plan is None:
            rows = ledger.fail(message, claim, failure, keep_message=not direct, steps=run.steps)
            reached(Point.RUN_FAILED)
            stack = {"stack": failure.stack} if failure.stack else {}
            dead = metric_fields("DeadLetter", 1, task=self._task.id)
            logger().error("run failed for good", extra=fields | stack | dead)
            self._dispatcher.flush(session, rows)
            return Dead(error)
        counted = not isinstance(error, RateLimitedError | LeaseHeldError)
        ledger.retry(message, claim, failure, plan, counted=counted, steps=run.steps)
        reached(Point.RUN_GIVEN_BACK)
        log = logger().exception if kind is ErrorKind.UNEXPECTED else logger().warning
        log("run will be tried again", extra=fields | {"wait_s": round(plan.total_seconds(), 3)})
        return TryAgain(plan, error)

    def _report(self, message: Message, begun: datetime, *, ended: bool) -> None:
        now = self._process.clock.now()
        since_accepted = (now - message.accepted_at).total_seconds()
        fields: dict[str, Any] = {"seconds": round((now - begun).total_seconds(), 4)}
        if ended and message.inbox_id is not None and message.source is Source.WEBHOOK:
            fields |= metric_fields(
                "WebhookToDone", round(since_accepted * 1000), MILLISECONDS, task=self._task.id
            )
        else:
            fields["since_accepted_s"] = round(since_accepted, 3)
        logger().info("run succeeded" if ended else "run continues", extra=fields)


def plan_failure(
    task: Task, error: Exception, attempt: int, chance: float, *, direct: bool
) -> timedelta | None:
    """How long to wait before another try, or None where there is none. Pure.

    A rate limit waits as long as the provider says, a held lease (of a workflow's step) a moment, and neither counts as
    an attempt; a terminal error is never tried again; anything else waits by the task's backoff until its attempts are
    used. A direct call leaves attempts to its caller.
    """
    if isinstance(error, RateLimitedError):
        return error.wait
    if isinstance(error, LeaseHeldError):
        return min(error.wait, _LEASE_POLL)
    if isinstance(error, TerminalError) or (attempt >= task.retry.attempts and not direct):
        return None
    return task.retry.backoff.wait(max(1, attempt), chance)


def to_plain(value: Any) -> Any:
    """A task's result as JSON-ready data: models and dataclasses become objects."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return json.loads(json.dumps(dataclasses.asdict(value), default=str))
    return value
