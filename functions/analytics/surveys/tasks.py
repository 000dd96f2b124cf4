"""How customers say that they heard of the shop, from the survey that follows a purchase."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from analytics.surveys.payloads import AnswersSince
from analytics.surveys.repository import Answers
from tradewind.clock import Clock
from tradewind.surveys import Survey
from tradewind.tasks.retry import Retry, exponential
from tradewind.tasks.run import Continuation, Run
from tradewind.tasks.task import task
from tradewind.tasks.triggers import Cron
from tradewind.tenancy.database import TenantDb

FAIRING, SCHEDULE = "fairing", "analytics-attribution-fairing-bridge-scheduled"
OVERLAP = timedelta(hours=6)
"""Answers are edited for a while, and told late."""
MATCHED_FOR = timedelta(days=30)
"""So long an answer's order is looked for."""
NEXT = timedelta(minutes=30)
"""The schedule asks hourly; what is due by half past is due at the next."""
ENOUGH = timedelta(seconds=10)
"""Less time than this is not enough for another page."""


@dataclass(frozen=True, slots=True)
class Bridged:
    """``changed`` answers are new or were edited; ``matched`` have found their order by now."""

    connected: bool
    told: int = 0
    changed: int = 0
    matched: int = 0


@task(
    "analytics-attribution-fairing-bridge",
    schedule=Cron("15 * * * *", name=SCHEDULE, only_due=True),
    each_tenant=True,
    retry=Retry(attempts=3, backoff=exponential(5, 60)),
    timeout=timedelta(minutes=2),
    cap=1,
    concurrency=10,
)
def attribution_fairing_bridge(
    payload: AnswersSince, run: Run, db: TenantDb, survey: Survey, clock: Clock
) -> Bridged | Continuation:
    """Pull the survey's answers of the last day, write each once, and match them with their orders, late ones too.

    Only tenants that have stored a key are asked. Where the key is gone, nothing happens any more.
    """
    if not survey.is_connected():
        return Bridged(connected=False)
    moment = run.moment(clock)
    since = moment - timedelta(days=payload.days) - OVERLAP
    before = run.checkpoint or {"cursor": None, "told": 0, "changed": 0}
    cursor, told, changed = before["cursor"], int(before["told"]), int(before["changed"])
    with db.begin() as tx:
        Answers(tx).schedule_next(SCHEDULE, moment + NEXT)
    while True:
        page = survey.list_answers(since, cursor)
        with db.begin() as tx:
            changed += Answers(tx).save(FAIRING, page.answers)
        told, cursor = told + len(page.answers), page.cursor
        if cursor is None:
            return _matched(db, moment, told, changed)
        progress = {"cursor": cursor, "told": told, "changed": changed}
        if run.time_left(clock.now()) < ENOUGH:
            return run.continue_with(progress)
        run.save_checkpoint(progress)


def _matched(db: TenantDb, moment: datetime, told: int, changed: int) -> Bridged:
    with db.begin() as tx:
        matched = Answers(tx).match(moment - MATCHED_FOR, moment)
    return Bridged(True, told, changed, matched)
