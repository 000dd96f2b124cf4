"""A test over time and beside its visitors' past: values by hand, from R's lm, or from GrowthBook's engine."""

from __future__ import annotations

import json
import math
from datetime import date, timedelta
from typing import Any

import pytest

from commerce.ab_conversions.repository import Cohort, Past
from commerce.ab_testing.course import adjusted_for_past, course_of, days_of, merged, traffic_of
from commerce.ab_testing.explaining import explain
from commerce.ab_testing.model import AbTest, Goal, Metric, Mode, Standing, Status, Variant
from commerce.ab_testing.reporting import Observed, final_report
from commerce.ab_testing.statistics.samples import mean_of
from commerce.ab_testing.statistics.trend import find_trend
from tests.conftest import ROOT

REFERENCE = json.loads((ROOT / "tests" / "data" / "growthbook" / "reference.json").read_text())
CUPED = [case for case in REFERENCE["cases"] if case["kind"] == "cuped"]
DAY = date(2026, 11, 1)
MONTH = timedelta(days=30)
VARIANTS = (Variant("control", "As it is", 5000, True), Variant("bold", "Bold", 5000, False))
TEST = AbTest("hero", "Hero", Status.COMPLETED, Mode.MANUAL, Goal.PURCHASE, Metric.RATE, 0.95, VARIANTS)


def shares(day: int, **converted: int) -> list[Cohort]:
    """A hundred visitors of each variant on a day, so many of whom converted."""
    return [
        Cohort(DAY + timedelta(days=day), name, 100, float(number), float(number))
        for name, number in converted.items()
    ]


def days(*pairs: tuple[int, int]) -> list[Cohort]:
    return [
        each for at, (control, bold) in enumerate(pairs) for each in shares(at, control=control, bold=bold)
    ]


@pytest.mark.parametrize("case", CUPED)
def test_change_with_the_past_taken_out_agrees_with_growthbook(case: dict[str, Any]) -> None:
    pasts = [Past("control", *case["control"]), Past("bold", *case["variant"])]
    for told in (each for each in case["welch"] if each["scale"] == "relative"):
        found = adjusted_for_past(pasts, "control", "bold", MONTH, 1 - told["alpha"])
        assert found is not None
        assert (found.uplift, found.p_value) == pytest.approx((told["estimate"], told["p_value"]), rel=5e-5)
        assert found.interval == pytest.approx(tuple(told["interval"]), rel=5e-5)
        assert 0 < found.noise_left < 1


def test_without_a_weeks_past_nothing_is_taken_out() -> None:
    pasts = [Past("control", *CUPED[0]["control"]), Past("bold", *CUPED[0]["variant"])]
    assert adjusted_for_past(pasts, "control", "bold", timedelta(days=6, hours=23), 0.95) is None
    assert adjusted_for_past(pasts[:1], "control", "bold", MONTH, 0.95) is None
    strangers = [Past("control", 100, 10, 10, 0, 0, 0), Past("bold", 100, 12, 12, 0, 0, 0)]
    assert adjusted_for_past(strangers, "control", "bold", MONTH, 0.95) is None


def test_trend_is_the_weighted_line() -> None:
    """Equal errors of 0.1 over four days: the slope's error is 0.1 / sqrt(5), z = sqrt(5), p = 0.0253.
    Unequal ones: lm(c(1, 3, 2) ~ c(0, 1, 2), weights = c(1, 1, 4)) has the slope 1/3 by hand below.
    """
    rising = find_trend([(0, 0.1, 0.1), (1, 0.2, 0.1), (2, 0.3, 0.1), (3, 0.4, 0.1)])
    assert rising is not None
    assert (rising.a_day, rising.p_value) == pytest.approx((0.1, math.erfc(math.sqrt(5 / 2))))
    # Mean of x: (0 + 1 + 8) / 6 = 1.5, of y: (1 + 3 + 8) / 6 = 2; sum of w dx dy = 1.5 - 0.5 + 0 = 1, of w dx^2 = 3.5.
    weighed = find_trend([(0, 1.0, 1.0), (1, 3.0, 1.0), (2, 2.0, 0.5)])
    assert weighed is not None
    assert weighed.a_day == pytest.approx(1 / 3.5)
    assert find_trend([(0, 1.0, 1.0), (1, 3.0, 0.0), (2, 2.0, 0.5)]) is None


def test_days_of_two_variants_are_a_course() -> None:
    """Six days at 10 % against 30 %, and two at 10 % against 10 %."""
    course = course_of(days_of(days(*[(10, 30)] * 6, *[(10, 10)] * 2)), "control", "bold")
    assert course.days == 8
    assert (course.first, course.last) == pytest.approx((2.0, 0.0))
    assert course.drift_p_value is not None
    assert course.drift_p_value < 0.05
    assert course.a_day is not None
    assert course.a_day < 0
    steady = course_of(days_of(days(*[(10, 20)] * 8)), "control", "bold")
    assert (steady.a_day, steady.trend_p_value, steady.drift_p_value) == pytest.approx((0.0, 1.0, 1.0))
    assert not steady.is_novelty


def test_lift_of_the_first_days_is_called_a_novelty() -> None:
    fading = [(100, 100 + round(60 * math.exp(-day / 2)) + 5) for day in range(14)]
    cohorts = [Cohort(each.day, each.variant_id, 1000, each.total, each.squares) for each in days(*fading)]
    course = course_of(days_of(cohorts), "control", "bold")
    assert course.is_novelty
    assert course.stable == pytest.approx(0.05, abs=0.02)


def test_nothing_is_said_of_days_with_one_variant_or_without_sales() -> None:
    assert course_of(days_of(shares(0, control=10)), "control", "bold").days == 0
    assert course_of(days_of(days(*[(0, 5)] * 9)), "control", "bold").trend_p_value is None
    assert traffic_of(days_of(days((1, 1), (1, 1), (1, 1)))) is None


def test_traffic_is_visitors_a_day_and_what_one_came_to() -> None:
    found = traffic_of(days_of([*days(*[(10, 10)] * 7), *shares(7, control=30)]))
    assert found is not None
    assert (found.first_visitors, found.first_level) == pytest.approx((200.0, 0.1))
    assert (found.last_visitors, found.last_level) == pytest.approx((150.0, 50 / 300))


def test_samples_merge_to_what_they_were_before_they_were_divided() -> None:
    whole = mean_of(6, 21.0, 91.0)
    found = merged([mean_of(2, 3.0, 5.0), mean_of(4, 18.0, 86.0)])
    assert (found.size, found.mean, found.variance) == pytest.approx((6, whole.mean, whole.variance))


def test_report_is_told_in_plain_words() -> None:
    standings = [
        Standing("control", visitors=1000, purchasers=50),
        Standing("bold", visitors=1000, purchasers=90),
    ]
    observed = Observed(days(*[(10, 30)] * 6, *[(10, 10)] * 2))
    said = explain(TEST, final_report(TEST, standings, observed), "USD")
    assert said[:2] == [
        "Bold against As it is: +80.0%, with 95% certainty between +19.8% and +140.2%; better with 99.5%.",
        "Chance alone shows as much with p = 0.0093; whoever looked every day may rely on -15.9% to +175.9%.",
    ]
    assert said[2].startswith("The effect fell by ")
    assert said[3].startswith(
        "It drifted from +200.0% in the first quarter of the test to +0.0% in the last (p = "
    )
    assert said[4] == (
        "All variants together, first and last quarter: 200 and 200 new visitors a day, 20.00% and 10.00% each."
    )
    assert explain(TEST, final_report(TEST, []), "USD") == ["Too little is known to compare the variants."]
    crooked = [*standings[:1], Standing("bold", visitors=1300, purchasers=90)]
    assert explain(TEST, final_report(TEST, crooked), "USD")[-1].startswith(
        "Visitors did not come by the weights"
    )
