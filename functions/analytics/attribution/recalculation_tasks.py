"""Attribution computed anew: what came late counts, whatever its order was told of."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from analytics.attribution.payloads import Range
from analytics.attribution.tasks import ATTRIBUTION
from tradewind.clock import Clock
from tradewind.loglines import count_line
from tradewind.tasks.run import Continuation, Run
from tradewind.tasks.task import task
from tradewind.tasks.triggers import Cron
from tradewind.tenancy.database import TenantDb
from tradewind.tenancy.tenant import Tenant

LONG = timedelta(minutes=10)
A_CHUNK = timedelta(seconds=30)
"""What a chunk may take; with less time left a run hands itself on."""


@dataclass(frozen=True, slots=True)
class Recalculated:
    """How many conversions were computed, and how many rows of theirs have changed by it."""

    conversions: int
    changed: int


@task(
    "analytics-attribution-recalculate-recent",
    schedule=Cron(
        "0 4 * * *", name="analytics-attribution-recalculate-recent-scheduled", payload={"days": 3}
    ),
    each_tenant=True,
    retry=ATTRIBUTION,
    timeout=LONG,
    cap=1,
    concurrency=5,
    memory=1024,
    layers=("statistics",),
)
def attribution_recalculate_recent(
    payload: Range, run: Run, tenant: Tenant, db: TenantDb, clock: Clock
) -> Recalculated | Continuation:
    """Compute the credits of the last days' conversions anew, or of a whole range, chunk by chunk.

    A crash resumes at the last chunk; what stands already is not written again.
    """
    from analytics.attribution.recalculating import Progress, Range, recalculate  # noqa: PLC0415 - needs the layer

    until = payload.until or run.moment(clock)
    since = payload.since or until - timedelta(days=payload.days)
    progress = Progress.of(run.checkpoint)
    for progress in recalculate(db, Range(since, until, tenant.settings), progress):  # noqa: B020 - from where it came to
        if run.time_left(clock.now()) < A_CHUNK:
            return run.continue_with(progress.checkpoint())
        run.save_checkpoint(progress.checkpoint())
    count_line("ConversionsRecalculated", progress.conversions)
    return Recalculated(progress.conversions, progress.changed)
