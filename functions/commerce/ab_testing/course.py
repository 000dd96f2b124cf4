"""How a test went over time, and what was known of its visitors before: from sums by day to plain statements, pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from commerce.ab_conversions.repository import Cohort, Lifetime, Past
from commerce.ab_testing.statistics.cuped import FEWEST_DAYS, History, adjust
from commerce.ab_testing.statistics.frequentist import welch
from commerce.ab_testing.statistics.samples import Sample, effect_of, mean_of
from commerce.ab_testing.statistics.trend import find_drift, find_novelty, find_trend

LOOK_BACK = timedelta(days=28)
"""How far before its start a test looks for what its visitors bought."""
QUARTER = 4
HORIZONS = (30, 60, 90)
"""Days after which a visitor's lifetime value is looked at."""


@dataclass(frozen=True, slots=True)
class Adjusted:
    """A change with the visitors' past taken out. ``noise_left`` is the part of the variance that remains."""

    uplift: float
    interval: tuple[float, float]
    p_value: float
    noise_left: float


@dataclass(frozen=True, slots=True)
class Course:
    """A variant's change by the day on which visitors were first seen, against the control.

    ``a_day`` is what it changes a day, ``early`` and ``stable`` where a lift of the first days falls, ``first`` and
    ``last`` its quarters; each is None where nothing can be said.
    """

    days: int
    a_day: float | None = None
    trend_p_value: float | None = None
    is_novelty: bool = False
    early: float | None = None
    stable: float | None = None
    first: float | None = None
    last: float | None = None
    drift_p_value: float | None = None


@dataclass(frozen=True, slots=True)
class Horizon:
    """What a visitor had bought so many ``days`` after being seen first (cents): the control's, the variant's."""

    days: int
    control: float
    variant: float
    change: float
    interval: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Traffic:
    """All variants together in a test's first and last quarter: visitors a day, and what one came to."""

    first_visitors: float
    last_visitors: float
    first_level: float
    last_level: float


Days = Mapping[date, Mapping[str, Sample]]


def days_of(cohorts: Sequence[Cohort]) -> dict[date, dict[str, Sample]]:
    """Samples by day and variant, in the days' order."""
    found: dict[date, dict[str, Sample]] = {}
    for each in sorted(cohorts, key=lambda cohort: cohort.day):
        found.setdefault(each.day, {})[each.variant_id] = mean_of(each.visitors, each.total, each.squares)
    return found


def adjusted_for_past(
    pasts: Sequence[Past], control_id: str, variant_id: str, known_for: timedelta, confidence: float
) -> Adjusted | None:
    """None where orders were known for less than a week before the start, or the past explains nothing."""
    by_variant = {past.variant_id: past for past in pasts}
    if known_for < timedelta(days=FEWEST_DAYS) or not {control_id, variant_id} <= by_variant.keys():
        return None
    control, variant = (_history(by_variant[each]) for each in (control_id, variant_id))
    if min(control.visitors, variant.visitors) < 2:  # noqa: PLR2004 - a variance needs two
        return None
    plain = effect_of(control.plain, variant.plain)
    samples = adjust(control, variant)
    better, found = effect_of(*samples), welch(*samples, confidence=confidence)
    if plain is None or better is None or found is None or better.error == plain.error:
        return None
    return Adjusted(found.estimate, found.interval, found.p_value, (better.error / plain.error) ** 2)


def _history(past: Past) -> History:
    return History(
        past.visitors, past.total, past.squares, past.before_total, past.before_squares, past.products
    )


def course_of(days: Days, control_id: str, variant_id: str) -> Course:
    """Daily changes are told against the control's mean of all days: one day of few buyers has none of its own."""
    both = [
        (at, of_day[control_id], of_day[variant_id])
        for at, of_day in enumerate(days.values())
        if {control_id, variant_id} <= of_day.keys()
    ]
    level = merged([control for _, control, _ in both]).mean if both else 0.0
    if level == 0:
        return Course(len(both))
    daily = [
        (float(at), (variant.mean - control.mean) / level, _error(control, variant) / level)
        for at, control, variant in both
    ]
    trend, novelty = find_trend(daily), find_novelty([change for _, change, _ in daily])
    quarter = max(1, len(both) // QUARTER)
    first, last = both[:quarter], both[-quarter:]
    drift = None
    if len(both) >= QUARTER:
        drift = find_drift(_both_merged(first), _both_merged(last))
    return Course(
        days=len(both),
        a_day=None if trend is None else trend.a_day,
        trend_p_value=None if trend is None else trend.p_value,
        is_novelty=novelty is not None and novelty.is_novelty,
        early=None if novelty is None else novelty.early,
        stable=None if novelty is None else novelty.stable,
        first=None if drift is None else drift.first,
        last=None if drift is None else drift.last,
        drift_p_value=None if drift is None else drift.p_value,
    )


def horizons_of(
    lifetimes: Sequence[Lifetime], control_id: str, variant_id: str, confidence: float
) -> tuple[Horizon, ...]:
    """The horizons of which something can be said, the nearest first."""
    by_days: dict[int, dict[str, Sample]] = {}
    for each in sorted(lifetimes, key=lambda lifetime: lifetime.days):
        sample = mean_of(each.visitors, each.total, each.squares)
        by_days.setdefault(each.days, {})[each.variant_id] = sample
    found = []
    for days, samples in by_days.items():
        if {control_id, variant_id} <= samples.keys():
            control, variant = samples[control_id], samples[variant_id]
            verdict = welch(control, variant, confidence=confidence)
            if verdict is not None:
                told = (control.mean, variant.mean, verdict.estimate, verdict.interval)
                found.append(Horizon(days, *told))
    return tuple(found)


def traffic_of(days: Days) -> Traffic | None:
    """None for a test of fewer than four days."""
    if len(days) < QUARTER:
        return None
    quarter = len(days) // QUARTER
    whole = [merged(list(of_day.values())) for of_day in days.values()]
    first, last = merged(whole[:quarter]), merged(whole[-quarter:])
    return Traffic(first.size / quarter, last.size / quarter, first.mean, last.mean)


def merged(samples: Sequence[Sample]) -> Sample:
    """Several samples as one: sums add up."""
    size = sum(sample.size for sample in samples)
    total = sum(sample.size * sample.mean for sample in samples)
    squares = sum((sample.size - 1) * sample.variance + sample.size * sample.mean**2 for sample in samples)
    return mean_of(size, total, squares)


def _both_merged(days: Sequence[tuple[int, Sample, Sample]]) -> tuple[Sample, Sample]:
    return merged([control for _, control, _ in days]), merged([variant for _, _, variant in days])


def _error(control: Sample, variant: Sample) -> float:
    """Of a difference; 0 where a side has one visitor alone or no variance, so that the day weighs nothing."""
    if min(control.variance, variant.variance) <= 0:
        return 0.0
    return math.sqrt(control.variance / control.size + variant.variance / variant.size)
