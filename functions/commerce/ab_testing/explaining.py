"""A final report in plain words, for people who are no statisticians; pure."""

from __future__ import annotations

from collections.abc import Iterator

from commerce.ab_testing.course import Adjusted, Course, Horizon, Traffic
from commerce.ab_testing.model import AbTest
from commerce.ab_testing.reporting import FinalReport, VariantReport
from commerce.ab_testing.statistics.ratio import CRITICAL_BELOW
from commerce.ab_testing.summary import paid, plain_name, told

SURE = 0.05
"""What chance makes more often than this is not called a change."""


def explain(test: AbTest, report: FinalReport, currency: str) -> list[str]:
    """A few sentences for each variant, then what casts doubt on all of them."""
    lines = [line for variant in report.variants for line in _of_variant(test, variant, currency)]
    if not lines:
        lines.append("Too little is known to compare the variants.")
    if report.traffic is not None:
        lines.append(_of_traffic(test, report.traffic, currency))
    if report.sample_ratio_p_value < CRITICAL_BELOW:
        lines.append(
            f"Visitors did not come by the weights (p = {report.sample_ratio_p_value:.2g}): something is wrong with the"
            " test itself, do not trust the comparison."
        )
    return lines


def _of_variant(test: AbTest, variant: VariantReport, currency: str) -> Iterator[str]:
    name, control = plain_name(test, variant.variant_id), plain_name(test, test.control.id)
    low, high = variant.interval
    yield (
        f"{name} against {control}: {variant.uplift:+.1%}, with {test.confidence:.0%} certainty between {low:+.1%} and"
        f" {high:+.1%}; better with {variant.chance_to_win:.1%}."
    )
    low, high = variant.any_time
    yield (
        f"Chance alone shows as much with p = {variant.adjusted_p_value:.2g}; whoever looked every day may rely on"
        f" {low:+.1%} to {high:+.1%}."
    )
    if variant.drawn_again is not None:
        low, high = variant.drawn_again
        yield f"Visitors drawn again and again, whatever they spend (bootstrap), say {low:+.1%} to {high:+.1%}."
    if variant.with_past is not None:
        yield _of_past(variant.with_past)
    for horizon in variant.horizons:
        yield _of_horizon(horizon, currency)
    if variant.course is not None:
        yield from _of_course(variant.course)


def _of_horizon(horizon: Horizon, currency: str) -> str:
    low, high = horizon.interval
    ours, theirs = (paid(cents, currency) for cents in (horizon.variant, horizon.control))
    return (
        f"After {horizon.days} days a visitor has come to {ours} instead of {theirs}: {horizon.change:+.1%}, between"
        f" {low:+.1%} and {high:+.1%}."
    )


def _of_past(adjusted: Adjusted) -> str:
    low, high = adjusted.interval
    return (
        f"What visitors bought in the four weeks before taken into account (CUPED): {adjusted.uplift:+.1%}, between"
        f" {low:+.1%} and {high:+.1%} (p = {adjusted.p_value:.2g}); {1 - adjusted.noise_left:.0%} of the noise is gone."
    )


def _of_course(course: Course) -> Iterator[str]:
    if course.is_novelty and course.early is not None and course.stable is not None:
        yield (
            f"The lift looks like a novelty: {course.early:+.1%} in the first days, {course.stable:+.1%} in the long"
            " run."
        )
    if course.a_day is not None and course.trend_p_value is not None:
        if course.trend_p_value < SURE:
            way = "grew" if course.a_day > 0 else "fell"
            yield (
                f"The effect {way} by {abs(course.a_day):.1%} a day (p = {course.trend_p_value:.2g}): what it is now"
                " may not be what it will be."
            )
        else:
            yield f"The effect kept its size over {course.days} days (trend: p = {course.trend_p_value:.2g})."
    if course.drift_p_value is not None and course.drift_p_value < SURE:
        yield (
            f"It drifted from {course.first:+.1%} in the first quarter of the test to {course.last:+.1%} in the last"
            f" (p = {course.drift_p_value:.2g}): look for what changed meanwhile."
        )


def _of_traffic(test: AbTest, traffic: Traffic, currency: str) -> str:
    return (
        f"All variants together, first and last quarter: {traffic.first_visitors:,.0f} and"
        f" {traffic.last_visitors:,.0f} new visitors a day, {told(test, traffic.first_level, currency)} and"
        f" {told(test, traffic.last_level, currency)} each."
    )
