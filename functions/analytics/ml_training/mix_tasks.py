"""What advertising brings by day: a marketing-mix model, asked for by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from analytics.metrics.model import closed_days
from analytics.ml_training.mix_repository import Mixes
from analytics.ml_training.model import DayOfSpend, LearntMix, Reason, from_first, why_no_mix
from analytics.ml_training.payloads import MixRequest
from tradewind.clock import Clock
from tradewind.tasks.retry import Retry, fixed
from tradewind.tasks.run import Run
from tradewind.tasks.task import task
from tradewind.tenancy.database import TenantDb
from tradewind.tenancy.tenant import Tenant

if TYPE_CHECKING:
    from analytics.ml_training.learning.mix import Mix


@dataclass(frozen=True, slots=True)
class MixLearnt:
    """``r2`` over all days; ``mape`` and ``held_out_mape`` in percent; contributions in cents with their intervals.
    Without a model, ``reason`` says why.
    """

    first_day: date | None
    last_day: date | None
    reason: Reason | None = None
    version: int | None = None
    r2: float | None = None
    mape: float | None = None
    held_out_mape: float | None = None
    base_cents: int | None = None
    contributions: list[dict[str, Any]] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)


@task(
    "analytics-mmm-train",
    retry=Retry(attempts=2, backoff=fixed(30)),
    timeout=timedelta(minutes=5),
    cap=1,
    concurrency=5,
    memory=1024,
    layers=("statistics",),
)
def mmm_train(payload: MixRequest, run: Run, tenant: Tenant, db: TenantDb, clock: Clock) -> MixLearnt:
    """Learn what each platform's spend brings: adstock and saturation, R2 and MAPE, contributions with intervals."""
    periods = closed_days(run.moment(clock), tenant.zone, payload.days, payload.last_day)
    opened_at, closes_at = periods[0].opened_at, periods[-1].closes_at
    with db.begin() as tx:
        days = from_first(Mixes(tx).sum_days(opened_at, closes_at, tenant.zone, tenant.currency))
    first, last = (days[0].day, days[-1].day) if days else (None, None)
    reason = why_no_mix(days)
    if reason is not None:
        return MixLearnt(first, last, reason)
    mix = _learn(days)
    with db.begin() as tx:
        mixes = Mixes(tx)
        scores = {"r2": mix.r2, "mape": mix.mape, "held_out_mape": mix.held_out_mape}
        mixes.save(run.id, LearntMix(opened_at, closes_at, mix.days, scores, asdict(mix)))
        version = mixes.version_of(run.id)
    parts = [{**asdict(each), "known": each.known} for each in mix.contributions]
    return MixLearnt(
        first,
        last,
        version=version,
        r2=mix.r2,
        mape=mix.mape,
        held_out_mape=mix.held_out_mape,
        base_cents=mix.base_cents,
        contributions=parts,
        left_out=dict(mix.left_out),
    )


def _learn(days: Sequence[DayOfSpend]) -> Mix:
    import numpy as np  # noqa: PLC0415 - needs the layer

    from analytics.ml_training.learning.mix import fit_mix  # noqa: PLC0415 - the same

    platforms = sorted({platform for day in days for platform in day.spend_cents})
    spend = {
        platform: np.array([day.spend_cents.get(platform, 0) for day in days], float)
        for platform in platforms
    }
    revenue = np.array([day.revenue_cents for day in days], float)
    return fit_mix([day.day.weekday() for day in days], revenue, spend)
