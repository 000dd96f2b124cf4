"""The statistics against GrowthBook's engine, textbook values and simulations with a known truth."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from commerce.ab_testing.statistics.bayes import Prior, compare
from commerce.ab_testing.statistics.bootstrap import DRAWS, Amounts, drawn_again
from commerce.ab_testing.statistics.cuped import History, adjust, coefficient
from commerce.ab_testing.statistics.frequentist import always_valid, pooled_p_value, pooled_z, welch
from commerce.ab_testing.statistics.multiple import holm
from commerce.ab_testing.statistics.ratio import Mismatch, judge, sample_ratio_mismatch
from commerce.ab_testing.statistics.report import analyse
from commerce.ab_testing.statistics.samples import Sample, effect_of, mean_of, proportion, ratio_of
from commerce.ab_testing.statistics.trend import find_drift, find_novelty
from tests.conftest import ROOT

REFERENCE = json.loads((ROOT / "tests" / "data" / "growthbook" / "reference.json").read_text())
FOUR_DIGITS = 5e-5


def samples_of(case: dict[str, Any]) -> tuple[Sample, Sample]:
    control, variant = case["control"], case["variant"]
    match case["kind"]:
        case "proportion":
            return proportion(*control), proportion(*variant)
        case "mean":
            return mean_of(*control), mean_of(*variant)
        case "ratio":
            return ratio_of(*control), ratio_of(*variant)
        case _:
            return adjust(History(*control), History(*variant))


CASES = [pytest.param(each, id=f"{each['kind']}-{at}") for at, each in enumerate(REFERENCE["cases"])]


def close(expected: float | list[float]) -> Any:
    return pytest.approx(expected, rel=FOUR_DIGITS, abs=1e-9)


@pytest.mark.parametrize("case", CASES)
def test_bayesian_comparison_agrees_with_growthbook(case: dict[str, Any]) -> None:
    control, variant = samples_of(case)
    for told in case["bayes"]:
        prior = None if told["prior"] is None else Prior(*told["prior"])
        found = compare(control, variant, prior=prior, relative=told["scale"] == "relative")
        assert found is not None
        assert found.chance_to_win == close(told["chance_to_win"])
        assert found.uplift == close(told["uplift"])
        assert list(found.interval) == close(told["interval"])
        assert [found.expected_loss_of_control, found.expected_loss] == close(told["risk"])


@pytest.mark.parametrize("case", CASES)
def test_welch_and_always_valid_intervals_agree_with_growthbook(case: dict[str, Any]) -> None:
    control, variant = samples_of(case)
    for told in case["welch"]:
        found = welch(control, variant, confidence=1 - told["alpha"], relative=told["scale"] == "relative")
        assert found is not None
        assert (found.estimate, found.p_value) == (close(told["estimate"]), close(told["p_value"]))
        assert list(found.interval) == close(told["interval"])
    for told in case["always_valid"]:
        about = {"confidence": 1 - told["alpha"], "relative": told["scale"] == "relative"}
        sequential = always_valid(control, variant, **about, tuned_to=told["tuned_to"])
        assert sequential is not None
        assert sequential.p_value == close(told["p_value"])
        assert list(sequential.interval) == close(told["interval"])


def test_cuped_coefficient_agrees_with_growthbook() -> None:
    told = [case for case in REFERENCE["cases"] if case["kind"] == "cuped"]
    assert len(told) == 2
    for case in told:
        assert coefficient(History(*case["control"]), History(*case["variant"])) == close(case["theta"])


@pytest.mark.parametrize("told", REFERENCE["sample_ratio"])
def test_sample_ratio_mismatch_agrees_with_growthbook(told: dict[str, Any]) -> None:
    assert sample_ratio_mismatch(told["visitors"], told["weights"]) == close(told["p_value"])


@pytest.mark.parametrize(
    ("p_value", "judged"),
    [
        (0.0009, Mismatch.CRITICAL),
        (0.001, Mismatch.WARNING),
        (0.049, Mismatch.WARNING),
        (0.05, Mismatch.NONE),
    ],
)
def test_mismatch_is_judged_by_its_p_value(p_value: float, judged: Mismatch) -> None:
    assert judge(p_value) is judged


def test_too_few_visitors_and_a_variant_without_weight_are_no_mismatch() -> None:
    assert sample_ratio_mismatch([9, 0], [50, 50]) == 1.0
    assert sample_ratio_mismatch([50, 50, 7], [50, 50, 0]) == 1.0
    with pytest.raises(ValueError, match="zip"):
        sample_ratio_mismatch([1], [1, 2])


def test_pooled_z_gives_the_textbook_value() -> None:
    """NIST/SEMATECH e-Handbook 7.3.3: 32 of 120 against 53 of 120; z = 2.832 by hand with the pooled share 85/240."""
    found = pooled_z(proportion(120, 32), proportion(120, 53))
    assert found is not None
    z = (53 - 32) / 120 / math.sqrt(85 / 240 * 155 / 240 * 2 / 120)
    assert z == pytest.approx(2.8343, abs=5e-4)
    assert found.p_value == pytest.approx(math.erfc(z / math.sqrt(2)), rel=1e-12)
    assert found.estimate == pytest.approx(0.175)


def test_shares_are_compared_although_no_one_of_the_control_did_it() -> None:
    """The chi-square of the table 5, 95 and 0, 100 is 200 (5 * 100 - 95 * 0)^2 / (5 * 195 * 100 * 100) = 5.1282."""
    assert pooled_p_value(proportion(100, 0), proportion(100, 5)) == pytest.approx(0.02354, abs=5e-6)


@pytest.mark.parametrize(("control", "variant"), [((0, 0), (9, 1)), ((9, 0), (9, 0)), ((9, 9), (9, 9))])
def test_shares_of_nobody_and_equal_ones_of_all_tell_nothing(
    control: tuple[int, int], variant: tuple[int, int]
) -> None:
    assert pooled_p_value(proportion(*control), proportion(*variant)) == 1


def test_holm_gives_what_r_gives() -> None:
    """p.adjust(c(0.01, 0.02, 0.03, 0.04, 0.05), "holm") and one that is not in order."""
    assert holm([0.01, 0.02, 0.03, 0.04, 0.05]) == pytest.approx([0.05, 0.08, 0.09, 0.09, 0.09])
    assert holm([0.6, 0.001, 0.02]) == pytest.approx([0.6, 0.003, 0.04])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


@pytest.mark.parametrize(
    ("control", "variant"),
    [
        (proportion(0, 0), proportion(10, 1)),
        (proportion(1, 0), proportion(10, 1)),
        (proportion(10, 0), proportion(10, 1)),
        (proportion(10, 10), proportion(10, 5)),
        (mean_of(5, 500, 50_000), mean_of(5, 400, 40_000)),
        (Sample(10, 0.0, 1.0, 0.0), Sample(10, 1.0, 1.0, 1.0)),
    ],
)
def test_nothing_is_said_where_nothing_can_be_said(control: Sample, variant: Sample) -> None:
    assert compare(control, variant) is None
    assert welch(control, variant) is None
    assert always_valid(control, variant) is None
    assert analyse(control, {"b": variant}) == {}


def test_a_share_above_one_is_refused() -> None:
    with pytest.raises(ValueError, match="between 0 and visitors, 3; it is 4"):
        proportion(3, 4)


def test_lower_is_better_turns_chance_and_losses_round() -> None:
    control, variant = proportion(1000, 100), proportion(1000, 120)
    higher, lower = compare(control, variant), compare(control, variant, lower_is_better=True)
    assert higher is not None
    assert lower is not None
    assert higher.chance_to_win + lower.chance_to_win == pytest.approx(1)
    assert (lower.expected_loss, lower.expected_loss_of_control) == (
        higher.expected_loss_of_control,
        higher.expected_loss,
    )
    assert higher.chance_above(0) == pytest.approx(higher.chance_to_win)
    assert higher.chance_above(higher.uplift) == pytest.approx(0.5)


def test_expected_loss_is_the_mean_of_the_wrong_side() -> None:
    """Against the posterior's own draws."""
    found = compare(proportion(1000, 100), proportion(1000, 110))
    assert found is not None
    draws = np.random.default_rng(3).normal(found.uplift, found.deviation, 4_000_000)
    assert found.expected_loss == pytest.approx(np.maximum(0, -draws).mean(), rel=5e-3)


def test_always_valid_interval_covers_the_truth_at_all_of_two_hundred_looks() -> None:
    """In 400 tests of no effect a fixed 95 % interval misses somewhere in a third of them, this one in at most 5 %."""
    chance = np.random.default_rng(11)
    visitors = np.arange(100, 20_100, 100)
    missed = {welch: 0, always_valid: 0}
    for _ in range(400):
        arms = [np.cumsum(chance.binomial(100, 0.1, len(visitors))) for _ in range(2)]
        looks = [
            (proportion(int(n), int(a)), proportion(int(n), int(b)))
            for n, a, b in zip(visitors, *arms, strict=True)
        ]
        for method in missed:
            verdicts = [method(a, b, relative=False) for a, b in looks]
            missed[method] += any(v is not None and not v.interval[0] <= 0 <= v.interval[1] for v in verdicts)
    assert missed[welch] > 100
    assert missed[always_valid] <= 20


def test_history_takes_noise_out_and_leaves_the_difference() -> None:
    """With a correlation r the variance falls to 1 - r squared of itself."""
    chance = np.random.default_rng(5)

    def visitors(shift: float) -> History:
        before = chance.normal(100, 20, 20_000)
        after = before + shift + chance.normal(0, 10, 20_000)
        return History(
            20_000, after.sum(), (after**2).sum(), before.sum(), (before**2).sum(), (after * before).sum()
        )

    control, variant = visitors(0), visitors(3)
    plain = effect_of(control.plain, variant.plain, relative=False)
    adjusted = effect_of(*adjust(control, variant), relative=False)
    assert plain is not None
    assert adjusted is not None
    assert adjusted.estimate == pytest.approx(3, abs=4 * adjusted.error)
    assert adjusted.error**2 / plain.error**2 == pytest.approx(1 - 400 / 500, rel=0.05)


def test_history_that_explains_nothing_changes_nothing() -> None:
    flat = History(10, 50, 300, 0, 0, 0)
    assert coefficient(flat, flat) == 0
    assert adjust(flat, flat) == (flat.plain, flat.plain)


def test_a_lift_that_fades_is_a_novelty_and_one_that_stays_is_none() -> None:
    fading = [0.05 + 0.30 * math.exp(-day / 2) for day in range(14)]
    found = find_novelty(fading)
    assert found is not None
    assert (found.stable, found.lasting_days, found.fit) == pytest.approx((0.05, 2, 1), rel=1e-3)
    assert found.is_novelty
    steady = find_novelty([0.10, 0.11, 0.09, 0.10, 0.11, 0.09, 0.10, 0.10])
    assert steady is None or not steady.is_novelty
    growing = find_novelty([0.30 - 0.25 * math.exp(-day / 2) for day in range(14)])
    assert growing is not None
    assert not growing.is_novelty
    assert find_novelty(fading[:6]) is None
    assert find_novelty([0.1] * 9) is None


def test_drift_compares_the_first_quarter_with_the_last() -> None:
    first = (proportion(2000, 200), proportion(2000, 260))
    last = (proportion(2000, 200), proportion(2000, 195))
    found = find_drift(first, last)
    assert found is not None
    assert (found.first, found.last) == pytest.approx((0.3, -0.025))
    errors = [
        math.sqrt(0.13 * 0.87 / 2000 / 0.01 + 0.09 / 2000 * 0.13**2 / 0.0001),
        math.sqrt(0.0975 * 0.9025 / 2000 / 0.01 + 0.09 / 2000 * 0.0975**2 / 0.0001),
    ]
    z = 0.325 / math.hypot(*errors)
    assert found.p_value == pytest.approx(math.erfc(z / math.sqrt(2)), rel=1e-9)
    assert find_drift(first, (proportion(0, 0), proportion(0, 0))) is None


def test_several_variants_are_adjusted_and_one_is_not() -> None:
    control, good, better = proportion(5000, 500), proportion(5000, 560), proportion(5000, 590)
    alone = analyse(control, {"good": good})
    both = analyse(control, {"good": good, "better": better, "empty": proportion(0, 0)})
    assert alone["good"].adjusted_p_value == alone["good"].fixed_horizon.p_value
    assert set(both) == {"good", "better"}
    assert both["better"].adjusted_p_value == pytest.approx(2 * both["better"].fixed_horizon.p_value)
    assert both["good"].adjusted_p_value == both["good"].fixed_horizon.p_value


FEW_BUYERS = Amounts([0, 30, 90], [180, 12, 8]), Amounts([0, 30, 120], [170, 20, 10])


@pytest.mark.parametrize(
    ("confidence", "low", "high"),
    # scipy.stats.bootstrap, percentile, 50,000 resamples of the 200 amounts of each; seeds 1 to 3 differ by 0.02.
    [(0.95, -0.125, 2.310), (0.90, -0.023, 1.935)],
)
def test_bootstrap_agrees_with_scipys(confidence: float, low: float, high: float) -> None:
    found = drawn_again(*FEW_BUYERS, confidence=confidence)
    assert found == pytest.approx((low, high), abs=0.04)
    assert found == drawn_again(*FEW_BUYERS, confidence=confidence), "the same data tell the same"


def test_bootstrap_says_nothing_of_a_control_that_may_have_sold_nothing() -> None:
    """Of a thousand visitors one bought: a third of all draws leave the control without."""
    assert drawn_again(Amounts([0, 50], [999, 1]), FEW_BUYERS[1]) is None
    assert drawn_again(Amounts([0], [1]), FEW_BUYERS[1]) is None
    assert drawn_again(Amounts([], []), FEW_BUYERS[1]) is None


def test_bootstrap_of_many_amounts_is_the_normal_interval() -> None:
    """20,000 visitors of whom 5,000 bought for 1 to 5,000: by hand, the mean is 625.125, its error 8.83; the ratio of
    two such is within 1.96 x 8.83 x sqrt(2) / 625.125 = 3.9 % of 1.
    """
    many = Amounts([0, *range(1, 5001)], [15_000, *[1] * 5000])
    assert DRAWS * 5001 > 10_000_000, "fewer draws are made"
    assert drawn_again(many, many) == pytest.approx((-0.0384, 0.0399), abs=0.006)
