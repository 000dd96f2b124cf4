"""Training of the attribution models: what asks for it, tenant by tenant. The work itself is done in a container."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from analytics.ml_training.model import AT_ONCE, MACHINE, ROUND, Reason, State
from analytics.ml_training.payloads import TrainingRequest
from analytics.ml_training.repository import Trainings
from tradewind.clock import Clock
from tradewind.errors import InvalidPayloadError
from tradewind.ports import LongMachines
from tradewind.tasks.message import Source
from tradewind.tasks.retry import Retry, fixed
from tradewind.tasks.run import Continuation, Run
from tradewind.tasks.task import task
from tradewind.tasks.triggers import Cron
from tradewind.tenancy.database import TenantDb
from tradewind.tenancy.tenant import Tenant

TURN = timedelta(minutes=1)
"""How long a training waits whose turn has not come."""
_SLUG = 40


@dataclass(frozen=True, slots=True)
class TrainingAsked:
    """``state`` is ``requested`` where a container trains, ``skipped`` where there is too little to learn from.
    ``execution`` is the name of the state machine's execution that runs the container.
    """

    training_id: UUID
    state: State
    reason: Reason | None = None
    execution: str | None = None


@task(
    "analytics-attribution-ml-training",
    schedule=Cron("0 4 * * *", name="analytics-attribution-ml-training-scheduled", machine=ROUND),
    each_tenant=True,
    retry=Retry(attempts=2, backoff=fixed(60)),
    cap=1,
    concurrency=5,
)
def attribution_ml_training(
    payload: TrainingRequest,
    run: Run,
    tenant: Tenant,
    db: TenantDb,
    long_machines: LongMachines,
    clock: Clock,
) -> TrainingAsked | Continuation:
    """Have a container learn each channel's part in conversions from the tenant's journeys of 90 days.

    A tenant with too little data gets no container. Asked by the nightly round, it notes the training, and the round
    runs the container; otherwise it has one started, and waits for its turn where many train already.
    """
    until = payload.until or run.moment(clock)
    if until > clock.now():
        raise InvalidPayloadError("until", f"{until.isoformat()} lies ahead", "name a time that has passed")
    with db.begin() as tx:
        reason = Trainings(tx).why_not(until)
    if reason is not None:
        return TrainingAsked(run.id, State.SKIPPED, reason)
    asked_by_round = run.source is Source.WORKFLOW
    if not asked_by_round and long_machines.count_running(MACHINE, AT_ONCE) >= AT_ONCE:
        return run.continue_with(run.checkpoint or {}, wait=TURN)
    with db.begin() as tx:
        Trainings(tx).request(run.id, until, may_use=payload.use)
    execution = f"{tenant.slug[:_SLUG]}-{run.id}"
    if not asked_by_round:
        long_machines.start(MACHINE, execution, {"tenant": str(tenant.id), "training": str(run.id)})
    return TrainingAsked(run.id, State.REQUESTED, None, execution)
