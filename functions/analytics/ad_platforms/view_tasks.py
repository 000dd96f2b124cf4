"""View-through: what ad platforms credit to ads that were seen and not clicked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from analytics.ad_platforms.payloads import ViewDays
from analytics.ad_platforms.spend_model import span_of
from analytics.ad_platforms.spend_repository import Spend
from tradewind.clock import Clock
from tradewind.errors import NotFoundError, TerminalError
from tradewind.spending import AdAccount, AdReports, Span
from tradewind.tasks.retry import Retry, exponential
from tradewind.tasks.run import Continuation, Run
from tradewind.tasks.task import task
from tradewind.tasks.triggers import Cron
from tradewind.tenancy.database import TenantDb
from tradewind.tenancy.tenant import Tenant

SCHEDULE = "analytics-attribution-vta-sync-scheduled"
NEXT = timedelta(hours=12)
"""The schedule asks nightly; what is due by noon is due at the next."""
ENOUGH = timedelta(seconds=20)
"""Less time than this is not enough for another account."""


@dataclass(frozen=True, slots=True)
class Viewed:
    """How many campaign days were written; accounts of a platform without credentials, and those that were refused."""

    rows: int
    not_connected: list[str]
    refused: list[str]


@dataclass(slots=True)
class Progress:
    """The last account that is done, and what was found."""

    done: str
    first: date
    last: date
    rows: int
    not_connected: list[str]
    refused: list[str]

    def to_checkpoint(self) -> dict[str, Any]:
        return {
            "done": self.done,
            "first": self.first.isoformat(),
            "last": self.last.isoformat(),
            "rows": self.rows,
            "not_connected": self.not_connected,
            "refused": self.refused,
        }

    @classmethod
    def of(cls, checkpoint: Mapping[str, Any]) -> Progress:
        first, last = date.fromisoformat(checkpoint["first"]), date.fromisoformat(checkpoint["last"])
        lists = checkpoint["not_connected"], checkpoint["refused"]
        return cls(checkpoint["done"], first, last, checkpoint["rows"], *lists)


@task(
    "analytics-attribution-vta-sync",
    schedule=Cron("30 2 * * *", name=SCHEDULE, payload={"days": 7}, only_due=True),
    each_tenant=True,
    retry=Retry(attempts=3, backoff=exponential(10, 120)),
    timeout=timedelta(minutes=2),
    cap=1,
    concurrency=10,
)
def attribution_vta_sync(
    payload: ViewDays, run: Run, tenant: Tenant, db: TenantDb, reports: AdReports, clock: Clock
) -> Viewed | Continuation:
    """Take over what Meta, TikTok and Google credit to views in the last seven days, account by account.

    Only tenants that have named an account are asked. A platform without credentials is left out, one that refuses does
    not keep the others from being asked.
    """
    moment = run.moment(clock)
    if run.checkpoint:
        progress = Progress.of(run.checkpoint)
    else:
        span = span_of(moment, tenant.zone, payload.last_day, payload.days)
        progress = Progress("", span.first, span.last, 0, [], [])
    with db.begin() as tx:
        accounts = Spend(tx).pick_all_accounts()
        if accounts:
            Spend(tx).schedule_next(SCHEDULE, moment + NEXT)
    for account in accounts:
        name = f"{account.platform}/{account.id}"
        if name <= progress.done:
            continue
        if run.time_left(clock.now()) < ENOUGH:
            return run.continue_with(progress.to_checkpoint())
        _take(account, name, progress, db, reports)
        progress.done = name
        run.save_checkpoint(progress.to_checkpoint())
    return Viewed(progress.rows, progress.not_connected, progress.refused)


def _take(account: AdAccount, name: str, progress: Progress, db: TenantDb, reports: AdReports) -> None:
    """Ask for one account's days and write them. Passing faults are raised."""
    span = Span(progress.first, progress.last)
    try:
        days = reports.fetch_views(account, span)
    except NotFoundError:
        progress.not_connected.append(name)
        return
    except TerminalError as error:
        progress.refused.append(f"{name}: {error}"[:300])
        return
    with db.begin() as tx:
        progress.rows += Spend(tx).replace_views(account, span, days)
