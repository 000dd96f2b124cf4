"""Orders as A/B tests' conversions: those that no page told of, and what becomes of them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from commerce.ab_conversions.repository import Conversions
from commerce.ab_testing.payloads import OrderLookBack, OrderToMatch
from commerce.ab_testing.repository import Metrics, Tests
from tradewind.clock import Clock
from tradewind.errors import NotFoundError
from tradewind.tasks.retry import Retry, exponential
from tradewind.tasks.run import Run
from tradewind.tasks.task import task
from tradewind.tasks.triggers import Cron
from tradewind.tenancy.database import TenantDb, Transaction

RECONCILE = Retry(attempts=5, backoff=exponential(5, 120))


@dataclass(frozen=True, slots=True)
class Matched:
    """From when orders were looked at, and for which tests."""

    since: str
    tests: list[str]


@dataclass(frozen=True, slots=True)
class OrderReport:
    """One order's conversions before and after, and by what it could be matched."""

    order_id: int
    status: str
    has_visitor: bool
    has_session: bool
    has_customer: bool
    before: list[dict[str, Any]]
    after: list[dict[str, Any]]


@task(
    "ab-order-reconciliation",
    schedule=Cron("15 * * * *"),
    each_tenant=True,
    retry=RECONCILE,
    timeout=timedelta(minutes=2),
    cap=1,
    concurrency=10,
)
def order_reconciliation(payload: OrderLookBack, run: Run, db: TenantDb, clock: Clock) -> Matched:
    """Turn orders of the last hours that no page told of into conversions, and settle those that changed."""
    now = run.moment(clock)
    since = now - timedelta(hours=payload.look_back_hours)
    with db.begin() as tx:
        _reconcile(tx, since, now)
        tests = [test.id for test in Tests(tx).list_live()]
    return Matched(since.isoformat(), tests)


@task(
    "ab-order-reconciliation-manual",
    retry=RECONCILE,
    cap=1,
    concurrency=10,
    entity="order_id",
)
def order_reconciliation_manual(payload: OrderToMatch, db: TenantDb, clock: Clock) -> OrderReport:
    """Do the same for one order, and tell by what it was matched, what it is worth, and what it was before."""
    now = clock.now()
    with db.begin() as tx:
        conversions = Conversions(tx)
        traces = conversions.list_order(payload.order_id)
        if traces is None:
            raise NotFoundError("order", payload.order_id)
        before = conversions.list_conversions(payload.order_id)
        _reconcile(tx, now, now, payload.order_id)
        after = conversions.list_conversions(payload.order_id)
    return OrderReport(
        payload.order_id,
        traces.status,
        traces.has_visitor,
        traces.has_session,
        traces.has_customer,
        [asdict(each) for each in before],
        [asdict(each) for each in after],
    )


def _reconcile(tx: Transaction, since: datetime, now: datetime, only_order: int | None = None) -> None:
    conversions, metrics = Conversions(tx), Metrics(tx)
    metrics.lock()
    conversions.add(since, only_order)
    if only_order is None:
        conversions.settle(since)
    else:
        conversions.settle_orders([only_order])
    metrics.refresh_purchases(now - timedelta(hours=1))
