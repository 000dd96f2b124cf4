"""A container's side: what takes longer than a Lambda may, for one tenant, while a state machine waits on a task token.

The state machine tells it in its environment for whom and for what to work (TRADEWIND_TENANT, TRADEWIND_RUN) and whom
to tell of it (TRADEWIND_TASK_TOKEN). It beats while it works. SIGTERM, by which Fargate announces an interruption two
minutes ahead, asks its work to save what it has and to raise InterruptedWorkError. Every other failure is told by its
kind, as a Lambda's is, and the machine's retriers decide. The same command runs on Fargate and under the local agent.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import FrameType
from typing import Any
from uuid import UUID

from tradewind.aws.callbacks import TaskToken, TokenGoneError
from tradewind.aws.client import AwsClient, AwsUnavailableError
from tradewind.aws.container import adopt_credentials
from tradewind.clock import Clock
from tradewind.errors import MisconfiguredError, NotFoundError, RateLimitedError, RetryableError, kind_of
from tradewind.loglines import metric_fields
from tradewind.observability import bound, logger
from tradewind.ports import PayloadStore
from tradewind.settings import Settings, current_settings
from tradewind.tasks.scope import SettledPayloads, system_process
from tradewind.tenancy.database import Session, TenantDb
from tradewind.tenancy.secrets import database_url
from tradewind.tenancy.tenant import Tenant

INTERRUPTED = "Interrupted"
LIMIT = timedelta(minutes=30)
"""A state machine that stops waiting does not stop its container: one that hangs ends itself."""
EXIT_AT_LIMIT = 124
BEAT, CHECKPOINT, SPAN = timedelta(seconds=20), timedelta(minutes=5), timedelta(minutes=25)
_TENANT = "SELECT to_jsonb(t) AS tenant FROM tenants t"


class InterruptedWorkError(RetryableError):
    """The container was told to stop, and what it had done is saved: another one goes on from there."""


@dataclass(frozen=True, slots=True)
class Container:
    """What a container's work is given. ``run`` is the run that asked for it; progress is to be saved every
    ``checkpoint_every``, and handed to the next container after ``span``.
    """

    tenant: Tenant
    run: UUID
    session: Session
    payloads: PayloadStore
    clock: Clock
    stop_asked: Callable[[], bool]
    note: Callable[[str, Mapping[str, Any]], None]
    checkpoint_every: timedelta = CHECKPOINT
    span: timedelta = SPAN


Work = Callable[[Container], Mapping[str, Any]]


class Pulse:
    """Beats for a token until it is left; where nobody listens any more, the work is asked to stop."""

    def __init__(self, token: TaskToken, stop: threading.Event, beat: timedelta) -> None:
        self._token = token
        self._stop = stop
        self._beat = beat
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(self._beat.total_seconds()):
            try:
                self._token.beat()
            except TokenGoneError:
                self._stop.set()
                return
            except (AwsUnavailableError, RateLimitedError) as error:
                logger().warning("heartbeat not sent", extra={"error": repr(error)})


def serve(name: str, work: Work) -> int:
    """Do the work and tell the state machine how it went. ``name`` begins its metrics' names.

    Returns the exit code: 0 where the machine has been told, 1 where nobody could be. Raises MisconfiguredError where
    the environment lacks what the machine sets.
    """
    stop = threading.Event()
    _listen(stop)
    timer = threading.Timer(LIMIT.total_seconds(), os._exit, (EXIT_AT_LIMIT,))
    timer.daemon = True
    timer.start()
    adopt_credentials(os.environ)
    settings = current_settings()
    token = TaskToken(AwsClient(settings.region, settings.endpoint_url), _required("TRADEWIND_TASK_TOKEN"))
    tenant_id, run = UUID(_required("TRADEWIND_TENANT")), UUID(_required("TRADEWIND_RUN"))
    with bound(tenant_id=str(tenant_id), run=str(run)):
        try:
            with Pulse(token, stop, _seconds(os.environ, "TRADEWIND_CONTAINER_BEAT_S", BEAT)):
                outcome = _work(work, settings, tenant_id, run, stop)
            ended = metric_fields(f"{name}Ended", 1, state=str(outcome.get("state")))
            logger().info("container's work ended", extra={"outcome": outcome, **ended})
            token.succeed(outcome)
        except TokenGoneError as error:
            logger().warning("nobody waits for this container", extra={"error": str(error)})
            return 1
        except InterruptedWorkError as error:
            logger().warning("container interrupted", extra={"error": str(error)})
            return _tell(token, INTERRUPTED, str(error))
        except Exception as error:  # noqa: BLE001 - the machine decides by the kind, as it does of a task's
            logger().exception("container's work failed", extra=metric_fields(f"{name}Failed", 1))
            return _tell(token, kind_of(error), f"{type(error).__name__}: {error}")
    return 0


def _listen(stop: threading.Event) -> None:
    def ask(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask)


def _tell(token: TaskToken, error: str, cause: str) -> int:
    try:
        token.fail(error, cause)
    except (TokenGoneError, AwsUnavailableError) as failure:
        logger().warning("failure not told", extra={"error": repr(failure)})
        return 1
    return 0


def _work(
    work: Work, settings: Settings, tenant_id: UUID, run: UUID, stop: threading.Event
) -> Mapping[str, Any]:
    process = system_process(
        settings, database_url(settings, AwsClient(settings.region, settings.endpoint_url))
    )
    session = Session(process.connections)
    try:
        return work(
            Container(
                tenant=_find_tenant(session, tenant_id),
                run=run,
                session=session,
                payloads=SettledPayloads(session, process.payloads),
                clock=process.clock,
                stop_asked=stop.is_set,
                note=lambda message, about: logger().info(message, extra=dict(about)),
                checkpoint_every=_seconds(os.environ, "TRADEWIND_CONTAINER_CHECKPOINT_S", CHECKPOINT),
                span=_seconds(os.environ, "TRADEWIND_CONTAINER_SPAN_S", SPAN),
            )
        )
    finally:
        session.close()


def _find_tenant(session: Session, tenant_id: UUID) -> Tenant:
    with TenantDb(session, tenant_id).begin() as tx:
        row = tx.fetch_one(_TENANT)
    session.settle()
    if row is None:
        raise NotFoundError("tenant", tenant_id)
    return Tenant.from_row(row["tenant"])


def _seconds(environment: Mapping[str, str], name: str, otherwise: timedelta) -> timedelta:
    text = environment.get(name, "")
    if text and not (text.isdigit() and int(text)):
        raise MisconfiguredError(f"{name} is {text!r}; set a positive whole number of seconds")
    return timedelta(seconds=int(text)) if text else otherwise


def _required(name: str) -> str:
    value = os.environ.get(name, "")
    if not value:
        raise MisconfiguredError(f"{name} is not set; the state machine sets it for each container")
    return value
