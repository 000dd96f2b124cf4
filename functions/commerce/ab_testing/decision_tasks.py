"""Deciding on A/B tests: the clock that starts and ends them, the winner, the end, and what stops them before."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from commerce.ab_conversions.repository import Conversions, Outcomes
from commerce.ab_testing.counting import EVENTS_KEPT, rebuild
from commerce.ab_testing.course import HORIZONS, LOOK_BACK
from commerce.ab_testing.explaining import explain
from commerce.ab_testing.guarding import check_ratio, evaluate
from commerce.ab_testing.measuring import measure
from commerce.ab_testing.model import AbTest, Measurement, Metric, Status, find_winner
from commerce.ab_testing.payloads import Guarding, Schedule
from commerce.ab_testing.reporting import FinalReport, Observed, final_report, measured_of
from commerce.ab_testing.repository import Tests
from commerce.ab_testing.standing_repository import Standings
from commerce.ab_testing.summary import harmed, lived
from commerce.ab_testing.tasks import LIFE_EVENT, handle_test_started, require_test
from tradewind.clock import Clock
from tradewind.contracts.ab_tests import AbTestEnded, AbTestStarted
from tradewind.ports import Messenger
from tradewind.tasks.retry import Retry, exponential
from tradewind.tasks.run import Outbox, Run
from tradewind.tasks.task import task
from tradewind.tasks.telling import tell
from tradewind.tasks.triggers import Cron, Event
from tradewind.tenancy.database import TenantDb, Transaction
from tradewind.tenancy.tenant import Tenant


@dataclass(frozen=True, slots=True)
class Ended:
    """A test's end. ``corrected`` is how many numbers the last count has changed; ``changed`` is false for one that was
    over before.
    """

    test_id: str
    status: str
    changed: bool
    winner_variant_id: str | None
    corrected: int
    told: str
    report: FinalReport


@dataclass(frozen=True, slots=True)
class Scheduled:
    """What a run of the scheduler has begun: ids of tests, and winners by test."""

    started: list[str]
    ended: list[str]
    looked_at: list[str]
    winners: dict[str, str]


@dataclass(frozen=True, slots=True)
class Guarded:
    """Tests that were looked at, what was found new, and which tests were paused or stopped for it."""

    tests: list[str]
    findings: list[str]
    paused: list[str]
    stopped: list[str]


@task(
    "ab-handle-test-ended",
    on=Event("ab.testEnded"),
    retry=LIFE_EVENT,
    entity="test_id",
    memory=512,
    layers=("statistics",),
)
def handle_test_ended(
    payload: AbTestEnded, tenant: Tenant, db: TenantDb, messenger: Messenger, clock: Clock
) -> Ended:
    """Complete a test: nobody new is assigned, it is counted a last time, and what it showed names the winner.

    A winner that a person names stands; else the numbers may name one, by the same rule as while it ran. The result
    holds the final report, and Slack is told it in plain words.
    """
    now = clock.now()
    with db.begin() as tx:
        require_test(tx, payload.test_id)
        ended = Tests(tx).end(payload.test_id, payload.ended_at or now, payload.winner_variant_id)
        corrected = 0
        if ended:
            conversions = Conversions(tx)
            conversions.settle_orders(conversions.list_converted(payload.test_id))
            first = (now - EVENTS_KEPT).date()
            last_count = rebuild(tx, first, now.date(), now, "aggregation", payload.test_id, through=now)
            corrected = len(last_count)
            _look(tx, require_test(tx, payload.test_id), now)
        test = require_test(tx, payload.test_id)
        report = _conclude(tx, test, now)
    said = explain(test, report, tenant.currency)
    told = tell(messenger, f"ab-ended:{test.id}", lived(test, "ended", said))
    return Ended(test.id, test.status, ended, test.winner_id, corrected, told, report)


@task(
    "ab-test-scheduler",
    schedule=Cron("*/5 * * * *"),
    each_tenant=True,
    retry=Retry(attempts=3, backoff=exponential(2, 30)),
    cap=1,
    concurrency=10,
    memory=512,
    starts=("ab-handle-test-started", "ab-handle-test-ended"),
    layers=("statistics",),
)
def schedule_tests(payload: Schedule, db: TenantDb, clock: Clock, outbox: Outbox) -> Scheduled:
    """Start tests whose start has passed, end those whose end has, and flag winners: 50 tests a run.

    A winner is flagged and not ended: it is the best with the test's confidence, at a loss below a hundredth of the
    control's value, once every variant has 100 visitors and 10 conversions.
    """
    now, room = clock.now(), payload.limit
    with db.begin() as tx:
        standings = Standings(tx)
        starts = standings.choose_due_starts(now, room)
        ends = standings.choose_due_ends(now, room - len(starts))
        looked_at = standings.choose_unmeasured(room - len(starts) - len(ends))
        found = {test_id: _look(tx, require_test(tx, test_id), now) for test_id in looked_at}
    for due in starts:
        told = AbTestStarted(test_id=due.test_id, started_at=due.due_at)
        outbox.start(handle_test_started, told, key=due.test_id)
    for due in ends:
        outbox.start(
            handle_test_ended, AbTestEnded(test_id=due.test_id, ended_at=due.due_at), key=due.test_id
        )
    winners = {test_id: winner for test_id, winner in found.items() if winner is not None}
    return Scheduled([due.test_id for due in starts], [due.test_id for due in ends], looked_at, winners)


@task(
    "ab-evaluate-guardrails",
    schedule=Cron("45 * * * *"),
    each_tenant=True,
    retry=Retry(attempts=3, backoff=exponential(2, 30)),
    cap=1,
    concurrency=10,
    memory=512,
    starts=("ab-handle-test-ended",),
    layers=("statistics",),
)
def evaluate_guardrails(
    payload: Guarding, run: Run, db: TenantDb, messenger: Messenger, clock: Clock, outbox: Outbox
) -> Guarded:
    """Look for harm that running tests do, and once a day whether visitors came by the weights: warn, pause, stop.

    A finding counts once a day: who lets a test go on after it was paused is not overruled within the hour.
    """
    now = run.moment(clock)
    with_ratio = now.hour == 0 if payload.sample_ratio is None else payload.sample_ratio
    with db.begin() as tx:
        standings = Standings(tx)
        tests = [test for test in Tests(tx).list_live() if test.status is Status.RUNNING]
        known, rules = standings.list_standings(), standings.list_guardrails()
        found = [each for test in tests for each in evaluate(test, known[test.id], rules.get(test.id, []))]
        if with_ratio:
            found += [each for test in tests for each in check_ratio(test, known[test.id])]
        new = standings.save_findings(found, now.date())
        stopped = sorted({each.test_id for each in new if each.action == "stop"})
        paused = sorted({each.test_id for each in new if each.action == "pause"} - set(stopped))
        standings.pause(paused)
    for test_id in stopped:
        outbox.start(handle_test_ended, AbTestEnded(test_id=test_id, ended_at=now), key=test_id)
    if new:
        tell(messenger, f"ab-harm:{run.id}", harmed(new, {test.id: test for test in tests}))
    found_new = [f"{each.test_id} {each.variant_id} {each.metric} {each.level}" for each in new]
    return Guarded([test.id for test in tests], found_new, paused, stopped)


def _look(tx: Transaction, test: AbTest, now: datetime) -> str | None:
    """Measure a test, keep what is seen, and flag the winner where there is one."""
    standings = Standings(tx)
    measured: list[Measurement] = measure(test, standings.list_standings(test.id).get(test.id, []))
    winner = find_winner(test, measured) if measured else None
    standings.save_measurements({test.id: measured}, {test.id: str(test.metric)}, now)
    standings.mark_measured(test.id, now, winner)
    return winner


def _conclude(tx: Transaction, test: AbTest, now: datetime) -> FinalReport:
    """The final report: from the sums, and from what each visitor came to, day by day and beside their past."""
    outcomes, measured = Outcomes(tx), measured_of(test)
    first = outcomes.first_order_at()
    known_for = timedelta() if first is None or test.started_at is None else test.started_at - first
    observed = Observed(
        outcomes.list_cohorts(test.id, measured),
        outcomes.list_pasts(test.id, measured, LOOK_BACK),
        known_for,
        outcomes.list_amounts(test.id) if test.metric is Metric.REVENUE else (),
        outcomes.list_lifetimes(test.id, HORIZONS, now),
    )
    return final_report(test, Standings(tx).list_standings(test.id).get(test.id, []), observed)
