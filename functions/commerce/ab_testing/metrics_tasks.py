"""Counting A/B tests: hourly folds, the six-hourly comparison, and the nightly rebuild that wins."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from commerce.ab_testing.counting import EVENTS_KEPT, find_differences, fold, rebuild
from commerce.ab_testing.payloads import Aggregation, Days, Fold
from commerce.ab_testing.repository import Metrics, Tests
from tradewind.clock import Clock
from tradewind.errors import NotFoundError
from tradewind.ports import HotCounters
from tradewind.tasks.retry import Retry, exponential
from tradewind.tasks.run import Run
from tradewind.tasks.task import task
from tradewind.tasks.triggers import Cron
from tradewind.tenancy.database import TenantDb

METRICS = Retry(attempts=3, backoff=exponential(2, 30))
RECONCILE = Retry(attempts=5, backoff=exponential(5, 120))
DAY = timedelta(days=1)
MEASUREMENTS_KEPT = timedelta(days=90)
"""As far as a summary's chart may go back."""


@dataclass(frozen=True, slots=True)
class Aggregated:
    """What a fold has added, and which tests it was for."""

    hours: int
    counts: int
    again: int
    tests: list[str]


@dataclass(frozen=True, slots=True)
class Synced:
    """What was folded, and how many numbers of the last days differ from what was kept."""

    hours: int
    counts: int
    discrepancies: int
    tests: list[str]


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """Days counted anew, as ISO dates, and how many numbers were wrong."""

    first_day: str
    last_day: str
    corrected: int
    tests: list[str]


@task(
    "ab-hourly-metrics-aggregation",
    schedule=Cron("15 * * * *"),
    each_tenant=True,
    retry=METRICS,
    cap=1,
    concurrency=10,
)
def hourly_metrics_aggregation(
    payload: Fold, db: TenantDb, counters: HotCounters, clock: Clock
) -> Aggregated:
    """Fold the counters of full hours into the days' metrics, each hour once."""
    folded = fold(db, counters, clock.now(), timedelta(minutes=payload.grace_minutes))
    with db.begin() as tx:
        tests = [test.id for test in Tests(tx).list_live()]
    return Aggregated(folded.hours, folded.counts, folded.again, tests)


@task(
    "ab-sync-redis-to-postgres",
    schedule=Cron("0 */6 * * *"),
    each_tenant=True,
    retry=METRICS,
    cap=1,
    concurrency=10,
)
def sync_redis_to_postgres(payload: Days, db: TenantDb, counters: HotCounters, clock: Clock) -> Synced:
    """Fold what the counters hold of full hours, and note where the last days differ from the raw events."""
    now = clock.now()
    folded = fold(db, counters, now)
    with db.begin() as tx:
        differences = find_differences(tx, now.date() - (payload.days - 1) * DAY, now.date(), now)
        Metrics(tx).save_differences(differences, "sync", corrected=False)
        tests = Tests(tx).mark_synced()
    return Synced(folded.hours, folded.counts, len(differences), tests)


@task(
    "ab-nightly-reconciliation",
    schedule=Cron("0 2 * * *"),
    each_tenant=True,
    retry=RECONCILE,
    timeout=timedelta(minutes=4),
    cap=1,
    concurrency=10,
)
def nightly_reconciliation(
    payload: Days, run: Run, db: TenantDb, counters: HotCounters, clock: Clock
) -> Rebuilt:
    """Count yesterday anew from raw events, note and correct each number that differs.

    The day before is counted too: events may come 48 hours late.
    """
    fold(db, counters, clock.now())
    slot = run.moment(clock)
    first, last = slot.date() - payload.days * DAY, slot.date() - DAY
    with db.begin() as tx:
        differences = rebuild(tx, first, last, clock.now(), "reconciliation")
        Metrics(tx).forget_measurements(clock.now() - MEASUREMENTS_KEPT)
        tests = [test.id for test in Tests(tx).list_live()]
    return Rebuilt(first.isoformat(), last.isoformat(), len(differences), tests)


@task(
    "ab-aggregate-test-metrics",
    retry=RECONCILE,
    timeout=timedelta(minutes=4),
    cap=1,
    concurrency=10,
    entity="test_id",
)
def aggregate_test_metrics(
    payload: Aggregation, db: TenantDb, counters: HotCounters, clock: Clock
) -> Rebuilt:
    """Count one test anew from its raw events: today, since yesterday, or every day whose events are kept."""
    fold(db, counters, clock.now())
    now = clock.now()
    back = {"hourly": timedelta(), "daily": DAY, "full": EVENTS_KEPT}[payload.period]
    with db.begin() as tx:
        if Tests(tx).find(payload.test_id) is None:
            raise NotFoundError("A/B test", payload.test_id)
        first = (now - back).date()
        differences = rebuild(tx, first, now.date(), now, "aggregation", payload.test_id)
    return Rebuilt(first.isoformat(), now.date().isoformat(), len(differences), [payload.test_id])
