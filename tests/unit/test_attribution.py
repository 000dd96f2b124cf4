"""Attribution against values computed by hand and from the formulas' definitions."""

from __future__ import annotations

from datetime import timedelta
from fractions import Fraction
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commerce.order_sync.attribution import (
    AttributionSettings,
    Model,
    Touch,
    attribute,
    select_touches,
    weights,
)
from tests.fakes import NOON

DEFAULTS = AttributionSettings()


def touches(*days_before: float) -> list[Touch]:
    return [Touch(UUID(int=at), "paid", NOON - timedelta(days=days)) for at, days in enumerate(days_before)]


def cents(model: Model, revenue: int, *days_before: float) -> list[int]:
    found = attribute(revenue, touches(*days_before), NOON, DEFAULTS)
    return [credit.revenue_cents for credit in found if credit.model is model]


@pytest.mark.parametrize(
    ("model", "days", "expected"),
    [
        (Model.FIRST_TOUCH, (9, 5, 1), [10_000, 0, 0]),
        (Model.LAST_TOUCH, (9, 5, 1), [0, 0, 10_000]),
        (Model.LINEAR, (9, 5, 1), [3_334, 3_333, 3_333]),
        (Model.LINEAR, (1,), [10_000]),
        # 40 / 20 / 40; the middle shared equally; one touch all; two touches half and half.
        (Model.POSITION_BASED, (9,), [10_000]),
        (Model.POSITION_BASED, (9, 1), [5_000, 5_000]),
        (Model.POSITION_BASED, (9, 5, 1), [4_000, 2_000, 4_000]),
        (Model.POSITION_BASED, (9, 5, 3, 1), [4_000, 1_000, 1_000, 4_000]),
        # Weights 1/4, 1/2, 1 at 14, 7 and 0 days: 1/7, 2/7, 4/7 of 100.00 are 14.2857, 28.5714, 57.1428.
        (Model.TIME_DECAY, (14, 7, 0), [1_429, 2_857, 5_714]),
        # 2 ** -0.5 = 0.70710678: 0.70710678 / 1.70710678 = 0.41421356.
        (Model.TIME_DECAY, (3.5, 0), [4_142, 5_858]),
        (Model.TIME_DECAY, (2, 2), [5_000, 5_000]),
    ],
)
def test_each_model_splits_as_its_definition_says(
    model: Model, days: tuple[float, ...], expected: list[int]
) -> None:
    assert cents(model, 10_000, *days) == expected


def test_half_life_is_the_tenants() -> None:
    own = AttributionSettings.of({"attribution": {"half_life_hours": 24, "position_percent": [30, 30]}})
    assert weights(Model.TIME_DECAY, touches(2, 1, 0), NOON, own) == [Fraction(1, 4), Fraction(1, 2), 1]
    assert weights(Model.POSITION_BASED, touches(3, 2, 1), NOON, own) == [30, 40, 30]


@given(
    revenue=st.integers(0, 10**9),
    days=st.lists(st.floats(0, 30, allow_nan=False), min_size=1, max_size=50),
)
def test_every_model_sums_to_the_revenue_exactly(revenue: int, days: list[float]) -> None:
    ordered = sorted(days, reverse=True)
    for model in Model:
        found = cents(model, revenue, *ordered)
        assert sum(found) == revenue
        assert min(found) >= 0


def test_window_has_both_ends_and_nothing_after_the_conversion() -> None:
    inside = touches(30, 0)
    outside = [
        Touch(UUID(int=8), "paid", NOON - timedelta(days=30, microseconds=1)),
        Touch(UUID(int=9), "paid", NOON + timedelta(microseconds=1)),
    ]
    assert select_touches([*outside, *inside], NOON) == inside


def test_equal_instants_are_ordered_by_id_and_the_latest_fifty_are_kept() -> None:
    same = [Touch(UUID(int=at), "paid", NOON) for at in (3, 1, 2)]
    assert [touch.id.int for touch in select_touches(same, NOON)] == [1, 2, 3]
    many = [Touch(UUID(int=at), "paid", NOON - timedelta(hours=at)) for at in range(60)]
    kept = select_touches(many, NOON)
    assert len(kept) == 50
    assert kept[0].occurred_at == NOON - timedelta(hours=49)
