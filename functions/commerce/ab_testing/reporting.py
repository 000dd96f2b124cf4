"""A test's final report: every variant against the control, by every method, in the model's types."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from commerce.ab_conversions.repository import AmountCount, Cohort, Lifetime, Past
from commerce.ab_testing.course import (
    Adjusted,
    Course,
    Horizon,
    Traffic,
    adjusted_for_past,
    course_of,
    days_of,
    horizons_of,
    traffic_of,
)
from commerce.ab_testing.guarding import ratio_p_value
from commerce.ab_testing.model import AbTest, Metric, Standing
from commerce.ab_testing.statistics.bootstrap import Amounts, drawn_again
from commerce.ab_testing.statistics.report import Analysis, analyse
from commerce.ab_testing.statistics.samples import Sample, mean_of, proportion


@dataclass(frozen=True, slots=True)
class VariantReport:
    """A variant's relative change against the control. ``interval`` is Bayesian, at the test's confidence, and
    holds for the end alone; ``any_time`` holds at every look there was. ``adjusted_p_value`` is Holm's. ``with_past``
    takes out what visitors bought before the test; ``drawn_again`` is the bootstrap's interval, which supposes nothing
    of the amounts; ``horizons`` is what visitors have come to be worth.
    """

    variant_id: str
    visitors: int
    uplift: float
    interval: tuple[float, float]
    chance_to_win: float
    expected_loss: float
    p_value: float
    adjusted_p_value: float
    any_time: tuple[float, float]
    any_time_p_value: float
    with_past: Adjusted | None = None
    course: Course | None = None
    drawn_again: tuple[float, float] | None = None
    horizons: tuple[Horizon, ...] = ()


@dataclass(frozen=True, slots=True)
class FinalReport:
    """``sample_ratio_p_value`` is below 0.001 where the comparison cannot be trusted; 1 where weights moved."""

    metric: str
    sample_ratio_p_value: float
    variants: list[VariantReport]
    traffic: Traffic | None = None


@dataclass(frozen=True, slots=True)
class Observed:
    """A test's visitors one by one, as sums: by day, and with their past, which is ``known_for`` so long."""

    cohorts: Sequence[Cohort] = ()
    pasts: Sequence[Past] = ()
    known_for: timedelta = timedelta()
    amounts: Sequence[AmountCount] = ()
    lifetimes: Sequence[Lifetime] = ()


NOTHING = Observed()


def measured_of(test: AbTest) -> str:
    """What a visitor came to, by the name that ``Outcomes`` has for it."""
    return "revenue" if test.metric is Metric.REVENUE else str(test.goal)


def final_report(test: AbTest, standings: Sequence[Standing], observed: Observed = NOTHING) -> FinalReport:
    """Compare what each variant has come to; one of which nothing can be said is left out."""
    samples = {standing.variant_id: sample_of(test, standing) for standing in standings}
    control_id = test.control.id
    control = samples.pop(control_id, None)
    found = {} if control is None else analyse(control, samples, confidence=test.confidence)
    days = days_of(observed.cohorts)
    variants = []
    for variant_id, each in found.items():
        known = (observed.pasts, control_id, variant_id, observed.known_for, test.confidence)
        report = _report(variant_id, samples[variant_id], each)
        course = course_of(days, control_id, variant_id)
        report = replace(
            report,
            with_past=adjusted_for_past(*known),
            course=course if days else None,
            drawn_again=_drawn_again(observed.amounts, control_id, variant_id, test.confidence),
            horizons=horizons_of(observed.lifetimes, control_id, variant_id, test.confidence),
        )
        variants.append(report)
    return FinalReport(str(test.metric), ratio_p_value(test, standings), variants, traffic_of(days))


def _drawn_again(
    counted: Sequence[AmountCount], control_id: str, variant_id: str, confidence: float
) -> tuple[float, float] | None:
    control, variant = (
        Amounts([each.amount for each in own], [each.visitors for each in own])
        for wanted in (control_id, variant_id)
        for own in [[each for each in counted if each.variant_id == wanted]]
    )
    return drawn_again(control, variant, confidence=confidence)


def sample_of(test: AbTest, standing: Standing) -> Sample:
    """A variant's sums as a mean with its variance."""
    visitors = standing.present(test.goal)
    if test.metric is Metric.REVENUE:
        return mean_of(visitors, standing.revenue_cents, standing.squares)
    return proportion(visitors, standing.reached(test.goal))


def _report(variant_id: str, sample: Sample, found: Analysis) -> VariantReport:
    return VariantReport(
        variant_id=variant_id,
        visitors=sample.size,
        uplift=found.bayesian.uplift,
        interval=found.bayesian.interval,
        chance_to_win=found.bayesian.chance_to_win,
        expected_loss=found.bayesian.expected_loss,
        p_value=found.fixed_horizon.p_value,
        adjusted_p_value=found.adjusted_p_value,
        any_time=found.any_time.interval,
        any_time_p_value=found.any_time.p_value,
    )
