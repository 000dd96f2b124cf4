"""Lambda's side: any AWS event becomes messages, and their ends become what AWS expects back."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Protocol
from uuid import UUID, uuid4

from tradewind.aws.client import AwsClient
from tradewind.clock import parse_instant
from tradewind.crash import Point, reached
from tradewind.errors import (
    ErrorKind,
    InvalidPayloadError,
    LeaseHeldError,
    NotFoundError,
    RateLimitedError,
    RetryableError,
    TerminalError,
    TradewindError,
    UnexpectedError,
    kind_of,
)
from tradewind.loglines import metric_fields
from tradewind.observability import bound, logger
from tradewind.settings import current_settings
from tradewind.tasks.message import Lane, Message, Source, check_keys, message_key, read_message
from tradewind.tasks.poison import keep_poison
from tradewind.tasks.scope import Process, system_process
from tradewind.tasks.task import Task
from tradewind.tasks.worker import Dead, Done, End, TryAgain, Worker
from tradewind.tenancy.database import Session
from tradewind.tenancy.secrets import database_url
from tradewind.tenancy.tenant import PLATFORM_TENANT

_HAND_BACK = timedelta(0)
_FIND_TENANT = "SELECT tenant_id_of(%(slug)s) AS tenant_id"
_SAFETY = timedelta(seconds=1)


class LambdaContext(Protocol):
    """The part of Lambda's context object that the runtime reads."""

    aws_request_id: str
    log_stream_name: str

    def get_remaining_time_in_millis(self) -> int: ...


def prepare(task: Task) -> None:
    """Import all that a task's first call would: its providers' modules and its payload's validators. Nothing is
    opened.
    """
    for provider in task.providers.values():
        provider.load()
    task.payload.model_rebuild()
    logger()


def handle(task: Task, event: Any, context: LambdaContext) -> Any:
    """Lambda's entry for a task."""
    runtime = Runtime(task, _process(), context)
    if isinstance(event, Mapping) and "Records" in event:
        return runtime.work_batch(event["Records"])
    return runtime.invoke(event)


@cache
def _process() -> Process:
    settings = current_settings()
    return system_process(settings, database_url(settings, AwsClient(settings.region, settings.endpoint_url)))


class Runtime:
    """One invocation of one task's Lambda."""

    def __init__(self, task: Task, process: Process, context: LambdaContext) -> None:
        self._task = task
        self._process = process
        self._context = context
        self._worker = Worker(task, process, context.log_stream_name)

    def work_batch(self, records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Work an SQS batch: groups side by side, each in order; answer the messages that must come again.

        In a FIFO queue a failing message keeps its group waiting: it gets its backoff as visibility and the rest of
        its group none, so that they follow directly behind it. Other groups are not touched.
        """
        groups: dict[str, list[Mapping[str, Any]]] = {}
        for record in records:
            groups.setdefault(record["attributes"].get("MessageGroupId", record["messageId"]), []).append(
                record
            )
        failed: list[str] = []
        waits: list[tuple[str, timedelta]] = []

        def work_group(group: list[Mapping[str, Any]]) -> None:
            for at, record in enumerate(group):
                wait = self._work_record(record)
                if wait is not None:
                    waits.append((record["receiptHandle"], wait))
                    waits.extend((later["receiptHandle"], _HAND_BACK) for later in group[at + 1 :])
                    failed.extend(later["messageId"] for later in group[at:])
                    return

        first, *others = groups.values()
        threads = [
            threading.Thread(target=contextvars.copy_context().run, args=(work_group, group))
            for group in others
        ]
        for thread in threads:
            thread.start()
        contextvars.copy_context().run(work_group, first)
        for thread in threads:
            thread.join()
        if waits:
            self._give_back(records[0]["eventSourceARN"].rsplit(":", 1)[-1], waits)
            reached(Point.VISIBILITY_SET)
        reached(Point.BATCH_ENDED)
        return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in failed]}

    def _work_record(self, record: Mapping[str, Any]) -> timedelta | None:
        """Work one record; None acknowledges it, a wait gives it back."""
        now = self._process.clock.now()
        whole = self._process.settings.shortened(self._task.timeout)
        if self._deadline(now) - now < whole - _SAFETY * 5:
            return _HAND_BACK
        try:
            message = read_message(record["body"])
        except InvalidPayloadError as error:
            keep_poison(self._process.connections, self._task.id, record, error)
            reached(Point.POISON_KEPT)
            dead = metric_fields("DeadLetter", 1, task=self._task.id)
            logger().error(
                "message cannot be read, kept as a dead letter", extra={"error": str(error), **dead}
            )
            return None
        with bound(**_about(self._task, message)):
            try:
                end = self._worker.work(message, self._deadline(now))
            except TradewindError as error:
                logger().warning("message handed back", extra={"error": repr(error)})
                return self._unworked(record)
            except Exception:  # noqa: BLE001 - whatever broke, the message must come again
                logger().exception("message handed back after a fault of the kernel")
                return self._unworked(record)
        return end.wait if isinstance(end, TryAgain) else None

    def _unworked(self, record: Mapping[str, Any]) -> timedelta:
        """How long a message waits that even the ledger could not be asked about: longer from time to time, since the
        queue gives it up after a number of receives, and a database may be away for hours.
        """
        receives = int((record.get("attributes") or {}).get("ApproximateReceiveCount", 1))
        return self._task.retry.backoff.wait(max(1, receives), 0.0)

    def _give_back(self, queue: str, waits: Sequence[tuple[str, timedelta]]) -> None:
        try:
            self._process.queues.set_visibility(queue, waits)
        except TradewindError as error:
            # The messages come again after the queue's own visibility: later than wished, not lost.
            logger().warning("visibility not changed", extra={"error": repr(error)})

    def invoke(self, event: Any) -> Any:
        """A direct invocation: a state machine's step, or a person's run. Returns the result or raises the kind."""
        if not isinstance(event, Mapping):
            raise TerminalError("event: expected an object with tenant and payload")
        message = self._direct_message(event)
        now = self._process.clock.now()
        with bound(**_about(self._task, message)):
            try:
                end = self._worker.work(
                    message, self._deadline(now), direct=True, force=bool(event.get("force"))
                )
            except TradewindError as error:
                raise as_kind(error) from error
            reached(Point.CALL_ENDED)
            return _result_of(end)

    def _direct_message(self, event: Mapping[str, Any]) -> Message:
        now = self._process.clock.now()
        cause = str(event.get("cause") or f"manual:{uuid4()}")
        accepted = event.get("accepted_at")
        payload = event.get("payload") or {}
        if not isinstance(payload, Mapping):
            raise TerminalError("payload: expected an object")
        entity = payload.get(self._task.entity) if self._task.entity else None
        tenant_id = self._tenant_id(event.get("tenant"))
        try:
            message = Message(
                tenant_id=tenant_id,
                task=self._task.id,
                cause=cause,
                key=message_key(tenant_id, self._task.id, cause),
                source=Source(event.get("source") or Source.MANUAL),
                correlation_id=str(event.get("correlation_id") or self._context.aws_request_id),
                accepted_at=parse_instant(accepted) if accepted else now,
                payload=payload,
                entity=None if entity is None else str(entity),
                lane=Lane.BACKFILL if self._task.backfill else Lane.LIVE,
            )
            check_keys(message)
        except (ValueError, TypeError, InvalidPayloadError) as error:
            raise TerminalError(f"event has an unusable field: {error}") from error
        return message

    def _tenant_id(self, tenant: Any) -> UUID:
        if self._task.scope == "platform" and not tenant:
            return PLATFORM_TENANT
        if not tenant:
            raise TerminalError("tenant: is missing; give the tenant's slug or id")
        try:
            return UUID(str(tenant))
        except ValueError:
            pass
        session = Session(self._process.connections)
        try:
            found = session.call(_FIND_TENANT, {"slug": str(tenant).replace("\x00", "\ufffd")})[0][
                "tenant_id"
            ]
        except TradewindError as error:
            raise as_kind(error) from error
        finally:
            session.close()
        if found is None:
            raise as_kind(NotFoundError("tenant", tenant))
        return UUID(str(found))

    def _deadline(self, now: datetime) -> datetime:
        return now + timedelta(milliseconds=self._context.get_remaining_time_in_millis()) - _SAFETY


def _about(task: Task, message: Message) -> dict[str, Any]:
    return {
        "tenant_id": str(message.tenant_id),
        "task": task.id,
        "cause": message.cause,
        "entity": message.entity,
        "correlation_id": message.correlation_id,
        "source": message.source,
    }


def _result_of(end: End) -> Any:
    match end:
        case Done(result):
            return result
        case TryAgain(_, LeaseHeldError() as error):
            raise error
        case TryAgain(wait, RateLimitedError() as error):
            raise RateLimitedError(error.limit, wait)
        case TryAgain(_, error) | Dead(error):
            raise as_kind(error) from error


def as_kind(error: Exception) -> TradewindError:
    """The error under its kind's own name, as a state machine's retriers match it."""
    text = f"{type(error).__name__}: {error}"
    match kind_of(error):
        case ErrorKind.RETRYABLE:
            return RetryableError(text)
        case ErrorKind.TERMINAL:
            return TerminalError(text)
        case ErrorKind.RATE_LIMITED if isinstance(error, RateLimitedError):
            return RateLimitedError(error.limit, error.wait)
        case _:
            return UnexpectedError(text)
