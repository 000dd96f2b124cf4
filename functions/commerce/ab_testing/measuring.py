"""From what was counted to what it is worth, and to new weights: the model's types in, the model's types out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from commerce.ab_testing.bandit import (
    EPSILON,
    Algorithm,
    Arm,
    Belief,
    Kind,
    UninformativeError,
    allocate,
    believe,
    posteriors_of,
)
from commerce.ab_testing.model import AbTest, Measurement, Metric, Mode, Standing
from commerce.ab_testing.reporting import sample_of
from commerce.ab_testing.statistics.report import Analysis, analyse

ALGORITHMS = {Mode.MAB: Algorithm.EPSILON_GREEDY, Mode.THOMPSON: Algorithm.THOMPSON}
"""What a test's mode means."""


def arms_of(test: AbTest, standings: Sequence[Standing]) -> list[Arm]:
    """The variants as arms, by the test's metric and goal."""
    arms = []
    for standing in standings:
        visitors = standing.present(test.goal)
        if test.metric is Metric.REVENUE:
            cents = float(standing.revenue_cents)
            arms.append(Arm(visitors, standing.purchasers, cents, standing.squares, Kind.MEAN))
        else:
            arms.append(Arm(visitors, standing.reached(test.goal)))
    return arms


def measure(test: AbTest, standings: Sequence[Standing]) -> list[Measurement]:
    """What each variant is thought to be worth; weights as they are. Empty where the numbers say nothing yet."""
    arms = arms_of(test, standings)
    if not any(arm.visitors for arm in arms):
        return []
    try:
        beliefs = believe(posteriors_of(arms), test.confidence)
    except UninformativeError:
        return []
    weights = {variant.id: variant.weight for variant in test.variants}
    samples = {standing.variant_id: sample_of(test, standing) for standing in standings}
    control = samples.pop(test.control.id, None)
    tested = {} if control is None else analyse(control, samples, confidence=test.confidence)
    return [
        Measurement(
            variant_id=standing.variant_id,
            visitors=arm.visitors,
            conversions=arm.conversions,
            mean=belief.mean,
            low=belief.low,
            high=belief.high,
            chance_to_be_best=belief.chance_to_be_best,
            expected_loss=belief.expected_loss,
            weight_before=weights[standing.variant_id],
            weight_after=weights[standing.variant_id],
            **_tested(tested.get(standing.variant_id)),
        )
        for standing, arm, belief in zip(standings, arms, beliefs, strict=True)
    ]


def _tested(analysis: Analysis | None) -> dict[str, float]:
    if analysis is None:
        return {}
    low, high = analysis.any_time.interval
    p_value = analysis.adjusted_p_value
    return {
        "uplift": analysis.fixed_horizon.estimate,
        "p_value": p_value,
        "any_time_low": low,
        "any_time_high": high,
    }


def reweigh(
    measured: Sequence[Measurement], algorithm: Algorithm, epsilon: float = EPSILON
) -> list[Measurement]:
    """The same with the weights that the algorithm gives."""
    beliefs = [
        Belief(each.mean, each.low, each.high, each.chance_to_be_best, each.expected_loss)
        for each in measured
    ]
    weights = allocate(beliefs, algorithm, epsilon=epsilon)
    return [replace(each, weight_after=weight) for each, weight in zip(measured, weights, strict=True)]
