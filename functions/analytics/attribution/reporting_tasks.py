"""Attribution's daily figures, and the sweeps over what has no conversion or no touch yet."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from analytics.attribution.payloads import Missed, OrdersAgain, Retries
from analytics.attribution.reporting_repository import Days as CountedDays
from analytics.attribution.reporting_repository import Quality, Unsettled
from analytics.attribution.settling import settle
from analytics.attribution.tasks import ATTRIBUTION
from analytics.metrics.model import closed_days
from analytics.metrics.payloads import Days
from tradewind.clock import Clock
from tradewind.contracts.attribution import AttributionSettings
from tradewind.tasks.retry import Retry, fixed
from tradewind.tasks.run import Continuation, Run
from tradewind.tasks.task import task
from tradewind.tasks.triggers import Cron
from tradewind.tenancy.database import TenantDb
from tradewind.tenancy.tenant import Tenant

RETRIED_FOR = timedelta(hours=72)
PAGE, LOOK_BACK = 100, timedelta(days=30)
_FIRST = datetime(1970, 1, 1, tzinfo=UTC)
SETTLING = timedelta(minutes=30)
"""So long the order chain has before an order without a conversion is taken for one that it has missed."""


@dataclass(frozen=True, slots=True)
class Retried:
    """How many conversions without a touch were tried, got one now, and are given up for good."""

    tried: int
    attributed: int
    given_up: int


@dataclass(frozen=True, slots=True)
class Reconciled:
    """How many orders were settled: with a touch, and as unattributed."""

    orders: int
    attributed: int
    unattributed: int


@dataclass(frozen=True, slots=True)
class Summed:
    """How many rows the days' channel summaries have."""

    days: int
    rows: int


@dataclass(frozen=True, slots=True)
class Snapshots:
    """The oldest first."""

    days: list[Quality]


@task(
    "analytics-attribution-process-unattributed",
    schedule=Cron("30 * * * *", name="analytics-attribution-process-unattributed-scheduled"),
    each_tenant=True,
    retry=ATTRIBUTION,
    cap=1,
)
def attribution_process_unattributed(
    payload: Retries, run: Run, tenant: Tenant, db: TenantDb, clock: Clock
) -> Retried:
    """Look again for what led to 50 conversions without a touch; what is older than 72 hours is given up."""
    now = run.moment(clock)
    with db.begin() as tx:
        unsettled = Unsettled(tx)
        found = unsettled.pick_unattributed(now - RETRIED_FOR, now, payload.limit)
        settled = settle(run, tx, found, tenant.settings) if found else []
        unsettled.note_retries(found, now)
        given_up = unsettled.give_up(now - RETRIED_FOR)
    return Retried(len(found), sum(each.touches > 0 for each in settled), given_up)


@task(
    "analytics-attribution-order-reconciliation",
    schedule=Cron("45 * * * *", name="analytics-attribution-order-reconciliation-scheduled"),
    each_tenant=True,
    retry=ATTRIBUTION,
    cap=1,
)
def attribution_order_reconciliation(
    payload: Missed, run: Run, tenant: Tenant, db: TenantDb, clock: Clock
) -> Reconciled:
    """Settle 100 orders that convert and have no conversion; what no touch is found for stays unattributed."""
    now = run.moment(clock)
    with db.begin() as tx:
        missed = Unsettled(tx).pick_unsettled(now - LOOK_BACK, now - SETTLING, payload.limit)
        settled = settle(run, tx, missed, tenant.settings) if missed else []
    attributed = sum(each.touches > 0 for each in settled)
    return Reconciled(len(settled), attributed, len(settled) - attributed)


@task(
    "analytics-attribution-order-reconciliation-manual",
    retry=ATTRIBUTION,
    cap=1,
)
def attribution_order_reconciliation_manual(
    payload: OrdersAgain, run: Run, tenant: Tenant, db: TenantDb, clock: Clock
) -> Reconciled | Continuation:
    """Settle one order's attribution anew, or that of a range of orders, a page of 100 after the other."""
    before = run.checkpoint or {"after_at": _FIRST.isoformat(), "after_id": 0, "orders": 0, "attributed": 0}
    now, after_at = clock.now(), datetime.fromisoformat(before["after_at"])
    with db.begin() as tx:
        page = (
            Unsettled(tx).pick_range(*payload.bounds(now), after_at, before["after_id"], PAGE)
            if payload.order_id is None
            else [(payload.order_id, now)]
        )
        settled = settle(run, tx, [number for number, _ in page], tenant.settings)
    orders = before["orders"] + len(settled)
    attributed = before["attributed"] + sum(each.touches > 0 for each in settled)
    if len(page) < PAGE:
        return Reconciled(orders, attributed, orders - attributed)
    last_id, last_at = page[-1]
    return run.continue_with(
        {"after_at": last_at.isoformat(), "after_id": last_id, "orders": orders, "attributed": attributed}
    )


@task(
    "analytics-attribution-daily-metrics",
    schedule=Cron("10 2 * * *", name="analytics-attribution-daily-metrics-scheduled"),
    each_tenant=True,
    retry=Retry(attempts=2, backoff=fixed(30)),
    cap=1,
)
def attribution_daily_metrics(payload: Days, run: Run, tenant: Tenant, db: TenantDb, clock: Clock) -> Summed:
    """Sum the last local days' conversions by model, window, channel and platform, each day anew, with what they cost.

    A day's spend comes after its night: it counts from the next night on, as each day is summed three times.
    """
    days = closed_days(run.moment(clock), tenant.zone, payload.days, payload.last_day)
    with db.begin() as tx:
        written = AttributionSettings.of(tenant.settings)
        rows = sum(CountedDays(tx).save_summary(day, tenant.currency, written) for day in days)
    return Summed(len(days), rows)


@task(
    "analytics-attribution-data-quality-snapshot",
    schedule=Cron("0 6 * * *"),
    each_tenant=True,
    retry=ATTRIBUTION,
    cap=1,
)
def attribution_data_quality_snapshot(
    payload: Days, run: Run, tenant: Tenant, db: TenantDb, clock: Clock
) -> Snapshots:
    """Note how much of the last local days' orders is explained, and whether touches and webhooks came in."""
    days = closed_days(run.moment(clock), tenant.zone, payload.days, payload.last_day)
    with db.begin() as tx:
        return Snapshots([CountedDays(tx).save_quality(day) for day in days])
