"""Telling people of tests: each morning what runs, and what optimization has done, with a chart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from commerce.ab_testing.charts import Line, Panel, draw
from commerce.ab_testing.model import AbTest, Metric, Mode
from commerce.ab_testing.payloads import LookBack
from commerce.ab_testing.repository import Tests
from commerce.ab_testing.standing_repository import Standings
from commerce.ab_testing.summary import Point, as_note, daily, optimized, what
from commerce.ab_testing.summary_repository import Measurements
from commerce.ab_testing.telling import NOBODY, mail
from tradewind.clock import Clock
from tradewind.ports import EmailSender, Messenger, Note, Picture
from tradewind.tasks.retry import Retry, exponential
from tradewind.tasks.run import Run
from tradewind.tasks.task import task
from tradewind.tasks.triggers import Cron
from tradewind.tenancy.database import TenantDb
from tradewind.tenancy.tenant import Tenant

METRICS = Retry(attempts=3, backoff=exponential(2, 30))
CENTS = 100


@dataclass(frozen=True, slots=True)
class Told:
    """Of which tests a summary was posted, what became of it, and to how many it went by e-mail."""

    tests: list[str]
    posted: str
    mailed: str = NOBODY


@task(
    "ab-daily-metrics-summary",
    schedule=Cron("0 8 * * *"),
    each_tenant=True,
    retry=METRICS,
    cap=1,
    concurrency=10,
    memory=1024,
    layers=("charts", "templates"),
)
def daily_metrics_summary(
    payload: LookBack,
    run: Run,
    tenant: Tenant,
    db: TenantDb,
    messenger: Messenger,
    email: EmailSender,
    clock: Clock,
) -> Told:
    """Tell how the running tests stand: in Slack, with a chart of what variants are worth, and by e-mail."""
    now = run.moment(clock)
    with db.begin() as tx:
        tests = Tests(tx).list_live()
        standings = Standings(tx).list_standings()
        ids = [test.id for test in tests]
        points = Measurements(tx).points_since(ids, now - timedelta(days=payload.days or 14))
    if not tests:
        return Told([], "nothing runs")
    summary = daily(tests, standings, _latest(points), now, tenant.currency)
    panels = [_worth(test, points[test.id], tenant.currency) for test in tests if test.id in points]
    note, key = _with_chart(as_note(summary), panels, "What each variant is worth"), f"ab-daily:{now.date()}"
    mailed = mail(email, tenant, key, summary)
    return Told([test.id for test in tests], messenger.post(key, note), mailed)


@task(
    "ab-optimization-summary",
    schedule=Cron("0 9 * * *"),
    each_tenant=True,
    retry=METRICS,
    cap=1,
    concurrency=10,
    memory=1024,
    layers=("charts", "templates"),
)
def optimization_summary(
    payload: LookBack,
    run: Run,
    tenant: Tenant,
    db: TenantDb,
    messenger: Messenger,
    email: EmailSender,
    clock: Clock,
) -> Told:
    """Tell in Slack and by e-mail what a day of optimization did: weights, lift, convergence, what to do, a chart."""
    now = run.moment(clock)
    since = now - timedelta(days=payload.days or 1)
    with db.begin() as tx:
        tests = [test for test in Tests(tx).list_live() if test.mode is not Mode.MANUAL]
        measurements, ids = Measurements(tx), [test.id for test in tests]
        points = measurements.points_since(ids, since)
        changes = measurements.weight_changes_since(ids, since)
    if not tests:
        return Told([], "nothing is optimized")
    summary = optimized(tests, changes, _latest(points), tenant.currency)
    panels = [_weights(test, points[test.id]) for test in tests if test.id in points]
    note, key = _with_chart(as_note(summary), panels, "Weights of variants"), f"ab-optimization:{now.date()}"
    mailed = mail(email, tenant, key, summary)
    return Told([test.id for test in tests], messenger.post(key, note), mailed)


def _latest(points: Mapping[str, Sequence[Point]]) -> dict[str, list[Point]]:
    """The last point of each variant."""
    return {
        test_id: list({point.variant_id: point for point in each}.values())
        for test_id, each in points.items()
    }


def _with_chart(note: Note, panels: Sequence[Panel], title: str) -> Note:
    if not panels:
        return note
    return replace(note, picture=Picture("ab-tests.png", title, draw(panels)))


def _worth(test: AbTest, points: Sequence[Point], currency: str) -> Panel:
    """A metric in its unit: percent, or money."""
    money = test.metric is Metric.REVENUE
    scale = 1 / CENTS if money else CENTS
    lines = []
    for name, each in _by_variant(test, points):
        lines.append(
            Line(
                name,
                _times(each),
                tuple(point.mean * scale for point in each),
                tuple(point.low * scale for point in each),
                tuple(point.high * scale for point in each),
            )
        )
    told = what(test)
    subtitle = f"{told[0].upper()}{told[1:]}, with the {test.confidence:.0%} interval of what is known"
    return Panel(test.name, subtitle, currency if money else "%", tuple(lines))


def _weights(test: AbTest, points: Sequence[Point]) -> Panel:
    lines = [
        Line(name, _times(each), tuple(point.weight / CENTS for point in each), stepped=True)
        for name, each in _by_variant(test, points)
    ]
    return Panel(test.name, "Share of new visitors", "%", tuple(lines))


def _by_variant(test: AbTest, points: Sequence[Point]) -> list[tuple[str, list[Point]]]:
    """Names with their points, the control first, whose colour is the first."""
    ordered = sorted(test.variants, key=lambda variant: not variant.is_control)
    found = [(variant.name, [p for p in points if p.variant_id == variant.id]) for variant in ordered]
    return [(name, each) for name, each in found if each]


def _times(points: Sequence[Point]) -> tuple[datetime, ...]:
    return tuple(point.measured_at for point in points)
