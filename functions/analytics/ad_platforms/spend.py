"""Bring a platform's spend up to date, account by account: ask, write, go on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from analytics.ad_platforms.spend_model import Plan, plan_of, span_of
from analytics.ad_platforms.spend_repository import Spend
from tradewind.clock import Clock
from tradewind.spending import AdReports, Pending, SpendPlatform, TooMuchDataError
from tradewind.tasks.run import Continuation, Run
from tradewind.tenancy.database import TenantDb
from tradewind.tenancy.tenant import Tenant

LOOK_AGAIN = timedelta(seconds=15)
ENOUGH = timedelta(seconds=15)
"""Less time than this is not enough for another piece."""


@dataclass(frozen=True, slots=True)
class Synced:
    """How many campaign days were written."""

    platform: str
    rows: int


@dataclass(frozen=True, slots=True)
class Asked:
    """What a run was asked for: a platform, and days unless they follow from the clock."""

    platform: SpendPlatform
    last: date | None
    days: int | None


def sync_spend(
    asked: Asked, run: Run, tenant: Tenant, db: TenantDb, reports: AdReports, clock: Clock
) -> Synced | Continuation:
    """All active accounts of a platform. Progress is saved after each piece; a report in the making is looked at again
    in a message of its own; one that is too large is asked for in halves.
    """
    plan = Plan.of(run.checkpoint) if run.checkpoint else _plan(asked, run, tenant, db, clock)
    while plan.pieces:
        piece = plan.pieces[0]
        try:
            answer = reports.fetch(piece.account, piece.span, piece.report)
        except TooMuchDataError:
            if piece.span.days == 1:
                raise
            plan = plan.halved()
            run.save_checkpoint(plan.to_checkpoint())
            continue
        if isinstance(answer, Pending):
            waiting = plan.pending(answer.id)
            return run.continue_with(waiting.to_checkpoint(), wait=LOOK_AGAIN)
        with db.begin() as tx:
            plan = plan.done(Spend(tx).replace_days(piece, answer))
        run.save_checkpoint(plan.to_checkpoint())
        if plan.pieces and run.time_left(clock.now()) < ENOUGH:
            return run.continue_with(plan.to_checkpoint())
    return Synced(asked.platform, plan.rows)


def _plan(asked: Asked, run: Run, tenant: Tenant, db: TenantDb, clock: Clock) -> Plan:
    with db.begin() as tx:
        accounts = Spend(tx).pick_accounts(asked.platform)
    return plan_of(accounts, span_of(run.moment(clock), tenant.zone, asked.last, asked.days))
