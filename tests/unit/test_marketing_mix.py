"""A marketing-mix model: its parts by hand, and what it finds in days whose truth is known."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.linalg import lstsq

from analytics.ml_training.learning.mix import WIDTH, _fit, adstock, fit_mix, mean_error, saturate
from analytics.ml_training.model import DayOfSpend, Reason, from_first, why_no_mix

DAYS = 240
WEEKDAYS = [at % 7 for at in range(DAYS)]


def days_of_a_shop(noise: float = 4_000.0) -> tuple[np.ndarray, dict[str, np.ndarray], dict[str, float]]:
    """Revenue of 100,000 cents a day and what two of three platforms bring, which is told too."""
    chance = np.random.default_rng(11)
    spend = {
        name: np.where(chance.random(DAYS) < 0.7, chance.uniform(2_000, 40_000, DAYS), 0.0)
        for name in ("meta", "google_ads", "tiktok")
    }
    brought = {
        "meta": 90_000 * saturate(adstock(spend["meta"], 0.5), 40_000),
        "google_ads": 60_000 * saturate(adstock(spend["google_ads"], 0.0), 20_000),
    }
    week = 8_000 * np.sin(np.array(WEEKDAYS))
    revenue = 100_000 + week + sum(brought.values()) + chance.normal(0, noise, DAYS)
    return revenue, spend, {name: float(part.sum()) for name, part in brought.items()}


def test_adstock_and_saturation_by_hand() -> None:
    assert_allclose(adstock(np.array([100.0, 0, 0, 40]), 0.5), [100, 50, 25, 52.5])
    assert_allclose(adstock(np.array([100.0, 0]), 0.0), [100, 0])
    assert_allclose(saturate(np.array([0.0, 30, 90]), 30), [0, 0.5, 0.75])


def test_coefficients_are_those_of_least_squares_with_the_prior_as_rows() -> None:
    chance = np.random.default_rng(2)
    design = np.c_[np.ones(50), chance.random((50, 3))]
    revenue = chance.random(50)
    free, left, *_ = lstsq(design, revenue)
    assert_allclose(_fit(design, revenue, 4).beta, free, atol=1e-6)
    ridge = left / (50 - 4) / WIDTH**2
    prior = np.diag(np.sqrt([0, ridge, ridge, ridge]))
    known, *_ = lstsq(np.r_[design, prior], np.r_[revenue, np.zeros(4)])
    assert_allclose(_fit(design, revenue, 1).beta, known, atol=1e-6)


def test_contributions_hold_the_truth_and_what_brings_nothing_is_told_so() -> None:
    revenue, spend, truth = days_of_a_shop()
    mix = fit_mix(WEEKDAYS, revenue, spend)
    found = {each.channel: each for each in mix.contributions}
    for name, cents in truth.items():
        assert found[name].low_cents < cents < found[name].high_cents, name
        assert found[name].known
        assert found[name].cents == pytest.approx(cents, rel=0.25)
    assert not found["tiktok"].known
    assert found["tiktok"].low_cents <= 0 <= found["tiktok"].high_cents
    assert mix.r2 > 0.9
    assert mix.mape is not None
    assert mix.mape < 5
    assert mix.held_out_mape is not None
    assert mix.held_out_mape < 6
    assert (
        mix.base_cents + sum(each.cents for each in mix.contributions)
        == mix.revenue_cents
        == round(revenue.sum())
    )
    assert found["meta"].spend_cents == round(spend["meta"].sum())
    assert fit_mix(WEEKDAYS, revenue, spend) == mix


def test_lingering_of_a_channel_is_found_where_there_is_no_noise() -> None:
    revenue, spend, _ = days_of_a_shop(noise=1.0)
    found = {each.channel: each for each in fit_mix(WEEKDAYS, revenue, spend).contributions}
    assert (found["meta"].lingering, found["google_ads"].lingering) == (0.5, 0.0)


def test_channel_that_is_the_same_every_day_or_costs_nothing_is_left_out() -> None:
    revenue, spend, _ = days_of_a_shop()
    odd = {"meta": spend["meta"], "google_ads": np.full(DAYS, 500.0), "tiktok": np.zeros(DAYS)}
    mix = fit_mix(WEEKDAYS, revenue, odd)
    assert mix.left_out == {"google_ads": "same_every_day", "tiktok": "no_spend"}
    assert [each.channel for each in mix.contributions] == ["meta"]
    nothing = fit_mix(WEEKDAYS, revenue, {"tiktok": np.zeros(DAYS)})
    assert (nothing.contributions, nothing.base_cents) == ((), nothing.revenue_cents)
    flat = fit_mix(WEEKDAYS, np.full(DAYS, 100.0), spend)
    assert flat.r2 == 0.0


def test_error_is_of_days_on_which_something_came() -> None:
    assert mean_error(np.array([100.0, 0, 200]), np.array([90.0, 50, 250])) == pytest.approx(17.5)
    assert mean_error(np.zeros(3), np.ones(3)) is None


def some_days(number: int, revenue: int, spend: int) -> list[DayOfSpend]:
    first = date(2026, 1, 1)
    return [DayOfSpend(first + timedelta(days=at), revenue, {"meta": spend}) for at in range(number)]


@pytest.mark.parametrize(
    ("days", "reason"),
    [
        (some_days(56, 1, 1), None),
        (some_days(55, 1, 1), Reason.TOO_FEW_DAYS),
        (some_days(90, 0, 1), Reason.NO_REVENUE),
        (some_days(90, 1, 0), Reason.NO_SPEND),
        ([], Reason.NO_REVENUE),
    ],
)
def test_days_that_say_nothing_are_told_so(days: list[DayOfSpend], reason: Reason | None) -> None:
    assert why_no_mix(days) == reason


def test_days_before_the_shop_opened_are_none() -> None:
    days = [*some_days(3, 0, 0), *some_days(2, 5, 0)]
    assert from_first(days) == days[3:]
    assert from_first(days[:3]) == []
