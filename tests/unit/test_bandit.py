"""Posteriors and allocation against closed forms and values by hand."""

from __future__ import annotations

import math

import pytest

from commerce.ab_testing.bandit import (
    Algorithm,
    Arm,
    Belief,
    Beta,
    Kind,
    Normal,
    UninformativeError,
    allocate,
    believe,
    posteriors_of,
    to_weights,
)

CLOSE = 1e-7


def chance(posteriors: list[Beta] | list[Normal]) -> list[float]:
    return [belief.chance_to_be_best for belief in believe(posteriors, 0.95)]


def loss(posteriors: list[Beta] | list[Normal]) -> list[float]:
    return [belief.expected_loss for belief in believe(posteriors, 0.95)]


def test_chance_of_two_betas_is_the_integral_by_hand() -> None:
    """X ~ Beta(1, 2), Y ~ Beta(2, 1): P(Y > X) is the integral of 2y(2y - y^2) over [0, 1] = 4/3 - 1/2."""
    assert chance([Beta(1, 2), Beta(2, 1)]) == pytest.approx([1 / 6, 5 / 6], abs=CLOSE)
    assert chance([Beta(1, 1), Beta(2, 1)]) == pytest.approx([1 / 3, 2 / 3], abs=CLOSE)


def test_loss_of_two_betas_is_the_integral_by_hand() -> None:
    """E max(X, Y) is 1 less the integral of (2x - x^2) x^2 = 7/10; the means are 1/3 and 2/3."""
    assert loss([Beta(1, 2), Beta(2, 1)]) == pytest.approx([0.7 - 1 / 3, 0.7 - 2 / 3], abs=CLOSE)


def test_chance_of_integer_betas_is_millers_sum() -> None:
    """E. Miller, "Formulas for Bayesian A/B Testing" (2015), equation 6."""

    def log_beta(a: float, b: float) -> float:
        return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)

    a, b = (61, 941), (81, 921)
    wins = sum(
        math.exp(
            log_beta(a[0] + i, b[1] + a[1])
            - math.log(b[1] + i)
            - log_beta(1 + i, b[1])
            - log_beta(a[0], a[1])
        )
        for i in range(b[0])
    )
    assert chance([Beta(*a), Beta(*b)])[1] == pytest.approx(wins, abs=CLOSE)


def test_equal_arms_are_equally_likely_the_best() -> None:
    assert chance([Beta(5, 7)] * 3) == pytest.approx([1 / 3] * 3, abs=CLOSE)


def test_two_normals_have_their_closed_forms() -> None:
    """P(N(1,1) > N(0,1)) = Phi(1 / sqrt 2); E max = Phi(d) + sqrt 2 phi(d) with d = 1 / sqrt 2."""
    d = 1 / math.sqrt(2)
    phi = 0.5 * (1 + math.erf(d / math.sqrt(2)))
    greatest = phi + math.sqrt(2) * math.exp(-d * d / 2) / math.sqrt(2 * math.pi)
    posteriors = [Normal(0, 1), Normal(1, 1)]
    assert chance(posteriors) == pytest.approx([1 - phi, phi], abs=CLOSE)
    assert loss(posteriors) == pytest.approx([greatest, greatest - 1], abs=CLOSE)


def test_narrow_arm_among_wide_ones_is_not_missed() -> None:
    """N(0, 1e-5) against N(0, 1): each is the greater half the time, and E max = phi(0) of the wide one."""
    beliefs = believe([Normal(0, 1e-5), Normal(0, 1)], 0.95)
    assert [each.chance_to_be_best for each in beliefs] == pytest.approx([0.5, 0.5], abs=1e-6)
    assert [each.expected_loss for each in beliefs] == pytest.approx(
        [1 / math.sqrt(2 * math.pi)] * 2, abs=1e-5
    )


def test_interval_is_the_posteriors_own() -> None:
    """Beta(2, 1) has the distribution function x^2."""
    belief = believe([Beta(2, 1), Beta(1, 1)], 0.90)[0]
    assert (belief.mean, belief.low, belief.high) == pytest.approx((2 / 3, math.sqrt(0.05), math.sqrt(0.95)))


def test_rates_posterior_counts_one_more_of_each() -> None:
    assert posteriors_of([Arm(100, 7), Arm(0, 0)]) == [Beta(8, 94), Beta(1, 1)]


def test_revenues_posterior_has_the_moments_by_hand() -> None:
    """10 visitors, 2 buyers at 100 and 300; 10 visitors without any. Pooled: mean 200, variance 10,000.

    First arm: rate Beta(3, 9): mean 1/4, variance 27/1872. Value: weight 3, mean (200 + 400) / 3 = 200, shape 3, scale
    10,000 + 20,000 / 2 + 0 = 20,000; variance 20,000 / (2 * 3). Second: rate Beta(1, 11): mean 1/12, variance 11/1872;
    value mean 200, variance 10,000 / (1 * 1).
    """
    first, second = posteriors_of([Arm(10, 2, 400, 100_000, Kind.MEAN), Arm(10, 0, 0, 0, Kind.MEAN)])
    value = 20_000 / 6
    variance = value / 16 + 40_000 * 27 / 1872 + value * 27 / 1872
    assert isinstance(first, Normal)
    assert (first.mean, first.deviation) == pytest.approx((50, math.sqrt(variance)))
    other = 10_000 / 144 + 40_000 * 11 / 1872 + 10_000 * 11 / 1872
    assert isinstance(second, Normal)
    assert (second.mean, second.deviation) == pytest.approx((200 / 12, math.sqrt(other)))


@pytest.mark.parametrize("buyers", [0, 3])
def test_without_a_buyer_or_with_free_orders_alone_revenue_says_nothing(buyers: int) -> None:
    with pytest.raises(UninformativeError, match="nobody has paid"):
        posteriors_of([Arm(500, buyers, 0, 0, Kind.MEAN)] * 2)


def test_one_price_for_all_is_no_obstacle() -> None:
    arms = [
        Arm(1000, 50, 50 * 100, 50 * 100**2, Kind.MEAN),
        Arm(1000, 100, 100 * 100, 100 * 100**2, Kind.MEAN),
    ]
    assert chance(posteriors_of(arms))[1] > 0.999  # type: ignore[arg-type]


def beliefs(*chances: float) -> list[Belief]:
    return [Belief(each, 0, 1, each, 0) for each in chances]


@pytest.mark.parametrize(
    ("chances", "weights"),
    [  # floor 5 %: 500 + (10,000 - 500 n) * chance
        ((1.0, 0.0), [9500, 500]),
        ((0.5, 0.5), [5000, 5000]),
        ((0.2, 0.3, 0.5), [2200, 3050, 4750]),
        ((1 / 3, 1 / 3, 1 / 3), [3334, 3333, 3333]),
        ((0.0, 0.0, 0.0, 1.0), [500, 500, 500, 8500]),
    ],
)
def test_thompson_gives_each_its_chance_above_the_floor(
    chances: tuple[float, ...], weights: list[int]
) -> None:
    assert allocate(beliefs(*chances), Algorithm.THOMPSON) == weights


def test_more_arms_than_floors_share_equally() -> None:
    assert allocate(beliefs(*([0.04] * 25)), Algorithm.THOMPSON) == [400] * 25


@pytest.mark.parametrize(
    ("epsilon", "weights"),
    [  # greedy share 1 - e + e / 2, then 500 + 9,000 * share
        (0.1, [950, 9050]),
        (0.0, [500, 9500]),
        (1.0, [5000, 5000]),
    ],
)
def test_epsilon_greedy_explores_with_epsilon(epsilon: float, weights: list[int]) -> None:
    assert allocate(beliefs(0.3, 0.7), Algorithm.EPSILON_GREEDY, epsilon=epsilon) == weights


@pytest.mark.parametrize("arms", range(2, 21))
def test_weights_sum_to_the_whole_and_none_is_below_the_floor(arms: int) -> None:
    chances = [2 * (at + 1) / (arms * (arms + 1)) for at in range(arms)]
    weights = allocate(beliefs(*chances), Algorithm.THOMPSON)
    assert sum(weights) == 10_000
    assert min(weights) >= 500


def test_rounding_goes_to_the_first() -> None:
    assert to_weights([1 / 7] * 7) == [1432, *([1428] * 6)]
