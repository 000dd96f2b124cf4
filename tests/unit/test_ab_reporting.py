"""A test's final report: GrowthBook's engine (gbstats 0.8.0) gives the expected numbers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from commerce.ab_testing.model import AbTest, Goal, Metric, Mode, Standing, Status, Variant
from commerce.ab_testing.reporting import final_report

HALVES = (Variant("control", "Control", 5000, True), Variant("bold", "Bold", 5000, False))
TEST = AbTest("hero", "Hero", Status.COMPLETED, Mode.MANUAL, Goal.PURCHASE, Metric.RATE, 0.95, HALVES)
CONTROL = Standing("control", visitors=1000, purchasers=50)
BOLD = Standing("bold", visitors=1000, purchasers=90)


def test_rates_are_compared_by_every_method() -> None:
    report = final_report(TEST, [CONTROL, BOLD])
    [bold] = report.variants
    assert (report.metric, report.sample_ratio_p_value) == ("conversion_rate", 1.0)
    assert (bold.variant_id, bold.visitors) == ("bold", 1000)
    assert (bold.uplift, bold.chance_to_win) == pytest.approx((0.8, 0.9954047), rel=5e-5)
    assert bold.interval == pytest.approx((0.19806446, 1.40193554), rel=5e-5)
    assert bold.expected_loss == pytest.approx(0.00044264, rel=5e-5)
    assert bold.p_value == bold.adjusted_p_value == pytest.approx(0.00926358, rel=5e-5)
    assert bold.any_time == pytest.approx((-0.15936133, 1.75936133), rel=5e-5)
    assert bold.any_time_p_value == pytest.approx(0.15482125, rel=5e-5)


def test_revenue_is_compared_by_its_mean_and_variance() -> None:
    """1,000 visitors each; 50 spend 200 and 50 spend 220: uplift 10 %, variance as of the sums by hand."""
    test = replace(TEST, metric=Metric.REVENUE)
    control = replace(CONTROL, revenue_cents=10_000, squares=2_000_000.0)
    bold = Standing("bold", visitors=1000, purchasers=50, revenue_cents=11_000, squares=2_420_000.0)
    [found] = final_report(test, [control, bold]).variants
    of_control = (2_000_000 - 10_000**2 / 1000) / 999 / 1000
    of_bold = (2_420_000 - 11_000**2 / 1000) / 999 / 1000
    error = (of_bold / 10**2 + of_control * 11**2 / 10**4) ** 0.5
    assert found.uplift == pytest.approx(0.1)
    assert found.interval == pytest.approx((0.1 - 1.959964 * error, 0.1 + 1.959964 * error), rel=1e-6)


def test_a_split_that_is_not_the_weights_is_told_unless_the_weights_moved() -> None:
    crooked = [CONTROL, replace(BOLD, visitors=1200)]
    assert final_report(TEST, crooked).sample_ratio_p_value == pytest.approx(2.0e-5, rel=0.05)
    assert final_report(replace(TEST, mode=Mode.THOMPSON), crooked).sample_ratio_p_value == 1.0


def test_nothing_is_said_of_a_variant_that_nobody_saw() -> None:
    assert final_report(TEST, [CONTROL, Standing("bold")]).variants == []
    assert final_report(TEST, []).variants == []
