"""Unit costs from Shopify, for tenants whose configuration takes them from there."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from analytics.profit_and_loss.configs import CogsConfig
from analytics.profit_and_loss.payloads import CostSync
from analytics.profit_and_loss.repository import Books
from tradewind.catalogue import Catalogue
from tradewind.clock import Clock
from tradewind.tasks.retry import Retry, exponential
from tradewind.tasks.run import Continuation, Run
from tradewind.tasks.task import task
from tradewind.tasks.triggers import Cron
from tradewind.tenancy.database import TenantDb

BATCH = Retry(attempts=3, backoff=exponential(5, 120))
ENOUGH = timedelta(seconds=30)
OVERLAP = timedelta(days=1)
"""Read again what changed so long before: the variant of a new item may have come after its cost."""
DAILY = timedelta(hours=23, minutes=30)


@dataclass(frozen=True, slots=True)
class CostsRead:
    """``outcome`` is ``read``, ``not_due``, or ``elsewhere`` where the costs are not Shopify's."""

    outcome: str
    items: int = 0
    written: int = 0


@task(
    "analytics-sync-product-costs",
    schedule=Cron("20 * * * *"),
    each_tenant=True,
    retry=BATCH,
    timeout=timedelta(minutes=3),
    cap=1,
    concurrency=10,
)
def sync_product_costs(
    payload: CostSync, run: Run, db: TenantDb, catalogue: Catalogue, clock: Clock
) -> CostsRead | Continuation:
    """Read the unit costs that changed at Shopify, hourly or daily as the tenant's COGS configuration says.

    A cost holds from when it was read; of a tenant that never read any it is what earlier orders' goods cost as well.
    """
    with db.begin() as tx:
        books = Books(tx)
        cogs, mark = books.configs().rules.cogs, books.costs_read_until()
    begun = run.checkpoint or {"cursor": None, "begun_at": clock.now().isoformat(), "items": 0, "written": 0}
    begun_at = datetime.fromisoformat(begun["begun_at"])
    if run.checkpoint is None and (outcome := reason_not_to(cogs, mark, begun_at, payload)) is not None:
        return CostsRead(outcome)
    since = None if payload.full or mark is None else mark - OVERLAP
    cursor, items, written = begun["cursor"], begun["items"], begun["written"]
    while True:
        page = catalogue.list_item_costs(updated_from=since, cursor=cursor)
        with db.begin() as tx:
            written += Books(tx).save_item_costs(page.costs, begun_at)
        items, cursor = items + len(page.costs), page.next_cursor
        if cursor is None:
            break
        if run.time_left(clock.now()) < ENOUGH:
            return run.continue_with({**begun, "cursor": cursor, "items": items, "written": written})
    with db.begin() as tx:
        Books(tx).mark_costs_read(begun_at)
    return CostsRead("read", items, written)


def reason_not_to(cogs: CogsConfig, mark: datetime | None, now: datetime, asked: CostSync) -> str | None:
    """Why nothing is read now; None where it is."""
    if cogs.source != "shopify" or not cogs.shopify.sync_enabled:
        return "elsewhere"
    due = mark is None or cogs.shopify.frequency != "daily" or now - mark >= DAILY
    return None if due or asked.full else "not_due"
