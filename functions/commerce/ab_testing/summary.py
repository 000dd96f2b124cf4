"""What people are told of tests, pure: texts in Slack's markup, and the series that a chart shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from commerce.ab_testing.model import AbTest, Finding, Metric, Standing
from tradewind.ports import Note

MOST_TESTS = 40
"""Of one message; Slack takes fifty blocks."""
CONVERGED = 0.95
"""A test has converged where one variant is the best with this probability."""
WHOLE = 10_000


@dataclass(frozen=True, slots=True)
class Point:
    """A variant at an instant, as somebody measured it; the last four against the control."""

    test_id: str
    variant_id: str
    measured_at: datetime
    mean: float
    low: float
    high: float
    chance_to_be_best: float
    weight: int
    uplift: float | None = None
    p_value: float | None = None
    any_time_low: float | None = None
    any_time_high: float | None = None


@dataclass(frozen=True, slots=True)
class WeightChange:
    """A variant's weight before and after a time, in basis points, and how often it changed."""

    test_id: str
    variant_id: str
    before: int
    after: int
    changes: int


def escape(text: str) -> str:
    """A name as text: what Slack would take for markup is shown as it is."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def told(test: AbTest, value: float, currency: str) -> str:
    """A metric's value: a share in percent, or money a visitor."""
    return paid(value, currency) if test.metric is Metric.REVENUE else f"{value:.2%}"


def paid(cents: float, currency: str) -> str:
    """What a visitor comes to on average, which is no amount that anybody pays."""
    return f"{cents / 100:,.2f} {currency}"


def what(test: AbTest) -> str:
    if test.metric is Metric.REVENUE:
        return "revenue per visitor"
    return f"share of visitors with {test.goal.replace('_', ' ')}"


def lived(test: AbTest, event: str, said: Sequence[str] = ()) -> Note:
    """A test was created, started or has ended, with what is to be said of it in plain words."""
    variants = ", ".join(f"{escape(variant.name)} {variant.weight / 100:g} %" for variant in test.variants)
    lines = [f"*{escape(test.name)}* ({test.id}) {event}.", f"Variants: {variants}. Goal: {what(test)}."]
    if test.winner_id is not None:
        lines.append(f"Winner: *{name_of(test, test.winner_id)}*.")
    lines += [f"• {escape(line)}" for line in said]
    return Note(f"A/B test {event}: {test.name}", ("\n".join(lines),))


def harmed(findings: Sequence[Finding], tests: Mapping[str, AbTest]) -> Note:
    """What was found wrong."""
    lines = []
    for each in findings[:MOST_TESTS]:
        test = tests[each.test_id]
        sign = ":rotating_light:" if each.level == "critical" else ":warning:"
        consequence = {"warn": "look at it", "pause": "paused", "stop": "stopped"}[each.action]
        lines.append(
            f"{sign} *{escape(test.name)}*, {name_of(test, each.variant_id)}: {each.metric.replace('_', ' ')}"
            f" {each.variant_value:.4g} against {each.control_value:.4g} (p = {each.p_value:.2g}): {consequence}"
        )
    return Note("A/B tests: something is wrong", tuple(lines))


def plain_name(test: AbTest, variant_id: str) -> str:
    return next((each.name for each in test.variants if each.id == variant_id), variant_id)


def name_of(test: AbTest, variant_id: str) -> str:
    return escape(plain_name(test, variant_id))


@dataclass(frozen=True, slots=True)
class Section:
    """What is said of one test, in plain words without markup."""

    title: str
    about: str
    lines: tuple[str, ...]
    remarks: tuple[str, ...] = ()
    winner: str | None = None


@dataclass(frozen=True, slots=True)
class Summary:
    """A summary as people get it, on whatever way. ``more`` tests are left out."""

    headline: str
    sections: tuple[Section, ...]
    more: int = 0


def as_note(summary: Summary) -> Note:
    """In Slack's markup."""
    sections = [_marked(section) for section in summary.sections]
    if summary.more:
        sections.append(f"... and {summary.more} more.")
    return Note(summary.headline, tuple(sections))


def _marked(section: Section) -> str:
    lines = [f"*{escape(section.title)}* · {escape(section.about)}"]
    lines += [f"• {escape(line)}" for line in section.lines]
    lines += [f"_{escape(remark)}_" for remark in section.remarks]
    if section.winner is not None:
        lines.append(f":trophy: *{escape(section.winner)}* wins; end the test to keep it.")
    return "\n".join(lines)


def daily(
    tests: Sequence[AbTest],
    standings: Mapping[str, Sequence[Standing]],
    latest: Mapping[str, Sequence[Point]],
    now: datetime,
    currency: str,
) -> Summary:
    """Every running test: how long, how many came, what each variant is worth, who is likely the best, and whether
    chance alone explains it.
    """
    sections = [
        _daily(test, standings.get(test.id, ()), latest.get(test.id, ()), now, currency)
        for test in tests[:MOST_TESTS]
    ]
    headline = f"A/B tests: {len(tests)} running"
    return Summary(headline, tuple(sections), max(0, len(tests) - MOST_TESTS))


def _daily(
    test: AbTest, standings: Sequence[Standing], latest: Sequence[Point], now: datetime, currency: str
) -> Section:
    days = 0 if test.started_at is None else max(0, (now - test.started_at) // timedelta(days=1))
    points = {point.variant_id: point for point in latest}
    control = points.get(test.control.id)
    lines = []
    for standing in standings:
        point = points.get(standing.variant_id)
        line = f"{plain_name(test, standing.variant_id)}: "
        line += f"{standing.visitors:,} visitors, {standing.reached(test.goal):,} converted"
        if point is not None:
            line += f" · {told(test, point.mean, currency)}"
            if control is not None and control.mean > 0 and point is not control:
                line += f" ({point.mean / control.mean - 1:+.1%})"
            line += f" · best with {point.chance_to_be_best:.0%}{_tested(point)}"
        lines.append(line)
    return Section(
        title=test.name,
        about=f"{days} days · {what(test)}",
        lines=tuple(lines),
        remarks=() if points else ("Too little is known to compare.",),
        winner=None if test.winner_id is None else plain_name(test, test.winner_id),
    )


def _tested(point: Point) -> str:
    """The frequentist view: how often chance alone shows as much, and what holds whenever one looks."""
    if point.p_value is None or point.any_time_low is None or point.any_time_high is None:
        return ""
    return (
        f" · p = {point.p_value:.2g}, whenever one looks between {point.any_time_low:+.1%}"
        f" and {point.any_time_high:+.1%}"
    )


def optimized(
    tests: Sequence[AbTest],
    changes: Mapping[str, Sequence[WeightChange]],
    latest: Mapping[str, Sequence[Point]],
    currency: str,
) -> Summary:
    """What a day of optimization has done: weights, estimated lift, convergence, and what to do."""
    sections = [
        _optimized(test, changes.get(test.id, ()), latest.get(test.id, ()), currency)
        for test in tests[:MOST_TESTS]
    ]
    headline = f"A/B tests: {len(tests)} optimized"
    return Summary(headline, tuple(sections), max(0, len(tests) - MOST_TESTS))


def _optimized(
    test: AbTest, changes: Sequence[WeightChange], latest: Sequence[Point], currency: str
) -> Section:
    lines = [
        f"{plain_name(test, each.variant_id)}: {each.before / 100:g} % → {each.after / 100:g} %"
        f" in {each.changes} changes"
        for each in changes
    ]
    remarks = []
    lift = estimated_lift(latest)
    if lift is not None:
        best = max(latest, key=lambda point: point.chance_to_be_best)
        remarks.append(
            f"Estimated lift over equal weights: {lift:+.1%}. Likely the best:"
            f" {plain_name(test, best.variant_id)} ({best.chance_to_be_best:.0%}, {told(test, best.mean, currency)})."
        )
    remarks.append(recommend(test, latest))
    return Section(test.name, f"{test.mode} · {what(test)}", tuple(lines), tuple(remarks))


def estimated_lift(latest: Sequence[Point]) -> float | None:
    """What a visitor is worth under the present weights, against equal ones; None where nothing is known."""
    if not latest:
        return None
    equal = sum(point.mean for point in latest) / len(latest)
    weighted = sum(point.mean * point.weight / WHOLE for point in latest)
    return weighted / equal - 1 if equal > 0 else None


def recommend(test: AbTest, latest: Sequence[Point]) -> str:
    """What to do about a test."""
    if test.winner_id is not None:
        return f"End it: {plain_name(test, test.winner_id)} has won."
    if not latest:
        return "Wait: too few visitors or buyers to say anything."
    if max(point.chance_to_be_best for point in latest) >= CONVERGED:
        return "Converged: one variant is likely the best; it wins when the others have enough conversions."
    return "Keep it running: no variant is clearly the best yet."
