"""Metrics: what each hour, day and week brought, counted again while late news may still come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from analytics.metrics.model import (
    WEEK,
    Figures,
    Period,
    change_percent,
    closed_days,
    closed_hours,
    week_before,
    week_of,
)
from analytics.metrics.payloads import Days, Hours, Week
from analytics.metrics.repository import Metrics
from analytics.profit_and_loss.payloads import StatementRequest
from analytics.profit_and_loss.periods import span_of_day
from analytics.profit_and_loss.repository import Books
from analytics.profit_and_loss.tasks import close_days, generate_pl_statement
from analytics.reports.payloads import WeekToTell
from analytics.reports.tasks import send_weekly_report
from tradewind.clock import Clock
from tradewind.contracts.attribution import AttributionSettings
from tradewind.errors import InvalidPayloadError
from tradewind.tasks.message import Source
from tradewind.tasks.retry import Retry, exponential
from tradewind.tasks.run import Outbox, Run
from tradewind.tasks.task import task
from tradewind.tasks.triggers import Cron
from tradewind.tenancy.database import TenantDb
from tradewind.tenancy.tenant import Tenant

METRICS = Retry(attempts=3, backoff=exponential(10, 120))
LATE_ORDERS = timedelta(minutes=10)
"""So long after a week's end its last orders have arrived."""


@dataclass(frozen=True, slots=True)
class Counted:
    """A period's headline; the rest stands in its row. Money in cents of the tenant's currency."""

    starts_at: datetime
    starts_on: date
    orders: int
    net_sales_cents: int

    @classmethod
    def of(cls, figures: Figures) -> Counted:
        period = figures.period
        return cls(period.opened_at, period.starts_on, figures.orders, figures.net_sales_cents)


@dataclass(frozen=True, slots=True)
class CountedPeriods:
    """The oldest first."""

    periods: list[Counted]


@dataclass(frozen=True, slots=True)
class WeekSummary:
    """A week beside the one before it: changes in whole percent, 100 where something came of nothing."""

    week_on: date
    orders: int
    net_sales_cents: int
    average_order_cents: int
    customers: int
    new_customers: int
    attributed_cents: int
    orders_change_percent: int
    net_sales_change_percent: int
    new_customers_change_percent: int


@dataclass(frozen=True, slots=True)
class WeekPostponed:
    """The tenant's week is not over yet; its summary is due then."""

    week_on: date
    due_at: datetime


@task(
    "analytics-hourly-metrics-rollup",
    schedule=Cron("5 * * * *"),
    each_tenant=True,
    retry=METRICS,
    cap=1,
)
def hourly_metrics_rollup(
    payload: Hours, run: Run, tenant: Tenant, db: TenantDb, clock: Clock
) -> CountedPeriods:
    """Count the last full hour, and the one before it again: orders, revenue, customers, touchpoints by source."""
    periods = closed_hours(run.moment(clock), tenant.zone, payload.hours)
    return CountedPeriods([Counted.of(each) for each in count(db, tenant, periods)])


@task(
    "analytics-aggregate-daily-metrics",
    schedule=Cron("0 2 * * *"),
    each_tenant=True,
    retry=METRICS,
    cap=1,
    starts=("analytics-generate-pl-statement",),
)
def aggregate_daily_metrics(
    payload: Days, run: Run, tenant: Tenant, db: TenantDb, clock: Clock, outbox: Outbox
) -> CountedPeriods:
    """Close the tenant's last completed local day, and the two before it again.

    Revenue, returns, customers, profit, and the ten sources that brought the most. Then the month's statement is made.
    """
    periods = closed_days(run.moment(clock), tenant.zone, payload.days, payload.last_day)
    counted = CountedPeriods([Counted.of(each) for each in count(db, tenant, periods)])
    with db.begin() as tx:
        close_days(Books(tx), [span_of_day(each) for each in periods], tenant.currency)
    outbox.start(generate_pl_statement, StatementRequest(), key="month")
    return counted


@task(
    "analytics-weekly-metrics-summary",
    schedule=Cron("0 8 * * 1"),
    each_tenant=True,
    retry=METRICS,
    cap=1,
    starts=("analytics-weekly-metrics-summary", "analytics-send-weekly-report"),
)
def weekly_metrics_summary(
    payload: Week, run: Run, tenant: Tenant, db: TenantDb, clock: Clock, outbox: Outbox
) -> WeekSummary | WeekPostponed:
    """Count the tenant's last week, Monday to Sunday, beside the week before it, and have its people told.

    Where the week still lasts, west of UTC-8, the summary starts itself again at its end.
    """
    now = run.moment(clock)
    monday = payload.week_on or week_before(now)
    week = week_of(monday, tenant.zone)
    if week.closes_at > clock.now():
        if payload.week_on is not None and run.source is not Source.TASK:
            raise InvalidPayloadError("week_on", f"the week of {monday} is not over", "an earlier Monday")
        due_at = week.closes_at + LATE_ORDERS
        outbox.start(weekly_metrics_summary, Week(week_on=monday), key=monday.isoformat(), due_at=due_at)
        return WeekPostponed(monday, due_at)
    periods = [week_of(monday - WEEK, tenant.zone), week]
    before, counted = count(db, tenant, periods)
    outbox.start(send_weekly_report, WeekToTell(week_on=monday), key=f"report/{monday}")
    return summary_of(before, counted)


def count(db: TenantDb, tenant: Tenant, periods: Sequence[Period]) -> list[Figures]:
    """Count periods anew, in the tenant's currency and by its attribution model; the oldest first."""
    with db.begin() as tx:
        return Metrics(tx).save(periods, tenant.currency, AttributionSettings.of(tenant.settings))


def summary_of(before: Figures, week: Figures) -> WeekSummary:
    return WeekSummary(
        week_on=week.period.starts_on,
        orders=week.orders,
        net_sales_cents=week.net_sales_cents,
        average_order_cents=week.average_order_cents,
        customers=week.customers,
        new_customers=week.new_customers,
        attributed_cents=week.attributed_cents,
        orders_change_percent=change_percent(before.orders, week.orders),
        net_sales_change_percent=change_percent(before.net_sales_cents, week.net_sales_cents),
        new_customers_change_percent=change_percent(before.new_customers, week.new_customers),
    )
