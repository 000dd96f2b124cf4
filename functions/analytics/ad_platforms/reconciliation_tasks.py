"""Every day: were the ad platforms told of every purchase and refund that they ought to know, once, with its value?"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import product
from typing import Any, TypeVar

from analytics.ad_platforms.model import TAKE_REFUNDS
from analytics.ad_platforms.reconciliation import (
    DayCount,
    DayOrder,
    DayRefund,
    exclusion_of,
    exclusion_of_refund,
    note_of,
)
from analytics.ad_platforms.reconciliation_repository import Days as ToldDays
from analytics.metrics.model import Period, closed_days
from analytics.metrics.payloads import Days
from tradewind.advertising import EventName
from tradewind.clock import Clock
from tradewind.loglines import log_line, metric_fields
from tradewind.ports import Messenger
from tradewind.tasks.retry import Retry, exponential
from tradewind.tasks.run import Run
from tradewind.tasks.task import task
from tradewind.tasks.telling import tell
from tradewind.tasks.triggers import Cron
from tradewind.tenancy.database import TenantDb
from tradewind.tenancy.tenant import Tenant

Told = TypeVar("Told", DayOrder, DayRefund)
RECONCILE = Retry(attempts=3, backoff=exponential(5, 120))


@dataclass(frozen=True, slots=True)
class DayAtPlatform:
    """A day's purchases or refunds at one platform; money in cents of the tenant's currency. ``differing`` are the
    first such orders, or refunds.
    """

    day: str
    destination: str
    event: EventName
    expected: int
    sent: int
    acknowledged: int
    expected_cents: int
    acknowledged_cents: int
    excluded: dict[str, int]
    differences: int
    differing: list[int]


@dataclass(frozen=True, slots=True)
class Compared:
    """``posted`` is what became of telling the tenant's people, by day that differs."""

    days: list[DayAtPlatform]
    posted: dict[str, str]


@task(
    "analytics-reconcile-ad-events",
    schedule=Cron("40 6 * * *", payload={"days": 3}),
    each_tenant=True,
    retry=RECONCILE,
    timeout=timedelta(minutes=5),
    cap=1,
    concurrency=10,
)
def reconcile_ad_events(
    payload: Days, run: Run, tenant: Tenant, db: TenantDb, messenger: Messenger, clock: Clock
) -> Compared:
    """Compare what ad platforms ought to know of the last local days with what they were told and have taken.

    Three days each time: GA4 takes events for 72 hours, and what is replayed late mends its day. A difference is
    logged, counted as a metric with an alarm, and told the tenant's people once as long as it stays the same.
    """
    days = closed_days(run.moment(clock), tenant.zone, payload.days, payload.last_day)
    compared: list[DayAtPlatform] = []
    posted: dict[str, str] = {}
    for day in days:
        counts = _compare(db, tenant, day)
        compared += [_as_told(day, each) for each in counts]
        if any(each.differences for each in counts):
            posted[day.starts_on.isoformat()] = _alert(tenant, messenger, day, counts)
    return Compared(compared, posted)


def _compare(db: TenantDb, tenant: Tenant, day: Period) -> list[DayCount]:
    """Count a day at every connected platform, and note it."""
    with db.begin() as tx:
        told = ToldDays(tx)
        connections = told.pick_connections()
        counts = [DayCount(each) for each in sorted(connections)]
        refunds = [DayCount(each, EventName.REFUND) for each in sorted(connections) if each in TAKE_REFUNDS]
        settings, currency = tenant.settings, tenant.currency
        for count, order in _pairs(counts, lambda after: told.pick_orders(day, after)):
            count.add(
                order,
                exclusion_of(order, count.destination, connections[count.destination], settings),
                currency,
            )
        for count, refund in _pairs(refunds, lambda after: told.pick_refunds(day, after)):
            why = exclusion_of_refund(refund, count.destination, connections[count.destination], settings)
            count.add(refund, why, currency)
        counted = [*counts, *refunds]
        for count in counted:
            told.save(day, count, currency)
    return counted


def _pairs(counts: list[DayCount], pick: Callable[[int], list[Told]]) -> Iterator[tuple[DayCount, Told]]:
    """Everything of a day, page after page, with each platform's count; nothing is read where no platform counts."""
    page = pick(0) if counts else []
    while page:
        for one, count in product(page, counts):
            yield count, one
        page = pick(page[-1].id)


def _alert(tenant: Tenant, messenger: Messenger, day: Period, counts: list[DayCount]) -> str:
    """One log line with its metric for each platform, one message for the day as it stands."""
    for count in counts:
        if count.differences:
            fields: dict[str, Any] = {"day": day.starts_on.isoformat(), "differing": count.differing}
            fields["event"] = count.event
            fields |= {"expected": count.expected, "sent": count.sent, "acknowledged": count.acknowledged}
            metric = metric_fields("AdEventDifference", count.differences, destination=count.destination)
            log_line("error", "ad events differ", tenant=tenant.slug, **fields, **metric)
    note = note_of(day.starts_on, counts, tenant.currency)
    stands = hashlib.sha256("\n".join(note.sections).encode()).hexdigest()[:16]
    return tell(messenger, f"ad-events:{day.starts_on}:{stands}", note)


def _as_told(day: Period, count: DayCount) -> DayAtPlatform:
    return DayAtPlatform(
        day.starts_on.isoformat(),
        count.destination,
        count.event,
        count.expected,
        count.sent,
        count.acknowledged,
        count.expected_cents,
        count.acknowledged_cents,
        count.excluded,
        count.differences,
        count.differing,
    )
