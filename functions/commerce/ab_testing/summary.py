"""What people are told of tests, pure: texts in Slack's markup, and the series that a chart shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from commerce.ab_testing.model import AbTest, Finding, Measurement, Metric, Standing
from tradewind.ports import Note

MOST_TESTS = 40
"""Of one message; Slack takes fifty blocks."""
CONVERGED = 0.95
"""A test has converged where one variant is the best with this probability."""
WHOLE = 10_000


@dataclass(frozen=True, slots=True)
class Point:
    """A variant at an instant, as somebody measured it."""

    test_id: str
    variant_id: str
    measured_at: datetime
    mean: float
    low: float
    high: float
    chance_to_be_best: float
    weight: int


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
    if test.metric is Metric.REVENUE:
        return f"{value / 100:,.2f} {currency}"
    return f"{value:.2%}"


def what(test: AbTest) -> str:
    if test.metric is Metric.REVENUE:
        return "revenue per visitor"
    return f"share of visitors with {test.goal.replace('_', ' ')}"


def lived(test: AbTest, event: str) -> Note:
    """A test was created, started or has ended."""
    variants = ", ".join(f"{escape(variant.name)} {variant.weight / 100:g} %" for variant in test.variants)
    lines = [f"*{escape(test.name)}* ({test.id}) {event}.", f"Variants: {variants}. Goal: {what(test)}."]
    if test.winner_id is not None:
        lines.append(f"Winner: *{name_of(test, test.winner_id)}*.")
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


def name_of(test: AbTest, variant_id: str) -> str:
    return escape(next((each.name for each in test.variants if each.id == variant_id), variant_id))


def daily(
    tests: Sequence[AbTest],
    standings: Mapping[str, Sequence[Standing]],
    latest: Mapping[str, Sequence[Point]],
    now: datetime,
    currency: str,
) -> Note:
    """Every running test: how long, how many came, what each variant is worth, and who is likely the best."""
    sections = [
        _daily(test, standings.get(test.id, ()), latest.get(test.id, ()), now, currency)
        for test in tests[:MOST_TESTS]
    ]
    if len(tests) > MOST_TESTS:
        sections.append(f"... and {len(tests) - MOST_TESTS} more.")
    return Note(f"A/B tests: {len(tests)} running", tuple(sections))


def _daily(
    test: AbTest, standings: Sequence[Standing], latest: Sequence[Point], now: datetime, currency: str
) -> str:
    days = 0 if test.started_at is None else max(0, (now - test.started_at) // timedelta(days=1))
    lines = [f"*{escape(test.name)}* · {days} days · {what(test)}"]
    points = {point.variant_id: point for point in latest}
    control = points.get(test.control.id)
    for standing in standings:
        point = points.get(standing.variant_id)
        seen = f"{standing.visitors:,} visitors, {standing.reached(test.goal):,} converted"
        line = f"• {name_of(test, standing.variant_id)}: {seen}"
        if point is not None:
            line += f" · {told(test, point.mean, currency)}"
            if control is not None and control.mean > 0 and point is not control:
                line += f" ({point.mean / control.mean - 1:+.1%})"
            line += f" · best with {point.chance_to_be_best:.0%}"
        lines.append(line)
    if not points:
        lines.append("_Too little is known to compare._")
    if test.winner_id is not None:
        lines.append(f":trophy: *{name_of(test, test.winner_id)}* wins; end the test to keep it.")
    return "\n".join(lines)


def optimized(
    tests: Sequence[AbTest],
    changes: Mapping[str, Sequence[WeightChange]],
    latest: Mapping[str, Sequence[Point]],
    currency: str,
) -> Note:
    """What a day of optimization has done: weights, estimated lift, convergence, and what to do."""
    sections = [
        _optimized(test, changes.get(test.id, ()), latest.get(test.id, ()), currency)
        for test in tests[:MOST_TESTS]
    ]
    if len(tests) > MOST_TESTS:
        sections.append(f"... and {len(tests) - MOST_TESTS} more.")
    return Note(f"A/B tests: {len(tests)} optimized", tuple(sections))


def _optimized(test: AbTest, changes: Sequence[WeightChange], latest: Sequence[Point], currency: str) -> str:
    lines = [f"*{escape(test.name)}* · {test.mode} · {what(test)}"]
    lines += [
        f"• {name_of(test, each.variant_id)}: {each.before / 100:g} % → {each.after / 100:g} %"
        f" in {each.changes} changes"
        for each in changes
    ]
    lift = estimated_lift(latest)
    if lift is not None:
        best = max(latest, key=lambda point: point.chance_to_be_best)
        lines.append(
            f"Estimated lift over equal weights: {lift:+.1%}. Likely the best:"
            f" {name_of(test, best.variant_id)} ({best.chance_to_be_best:.0%}, {told(test, best.mean, currency)})."
        )
    lines.append(f"_{recommend(test, latest)}_")
    return "\n".join(lines)


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
        return f"End it: {name_of(test, test.winner_id)} has won."
    if not latest:
        return "Wait: too few visitors or buyers to say anything."
    if max(point.chance_to_be_best for point in latest) >= CONVERGED:
        return "Converged: one variant is likely the best; it wins when the others have enough conversions."
    return "Keep it running: no variant is clearly the best yet."


def points_of(test_id: str, measured: Sequence[Measurement], at: datetime) -> list[Point]:
    """A measurement of now as the points that a summary shows."""
    return [
        Point(
            test_id,
            each.variant_id,
            at,
            each.mean,
            each.low,
            each.high,
            each.chance_to_be_best,
            each.weight_after,
        )
        for each in measured
    ]
