"""Attribution against values computed by hand and from the formulas' definitions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import ROOT
from tests.fakes import NOON
from tradewind.contracts.attribution import (
    CHANNEL_CODES,
    AttributionSettings,
    Journey,
    Model,
    Order,
    Touch,
    attribute,
    convert,
    select_touches,
    weights,
)

DEFAULTS = AttributionSettings()


def touches(*days_before: float, channels: str = "paid") -> list[Touch]:
    names = channels.split() * len(days_before)
    return [
        Touch(UUID(int=at), names[at], NOON - timedelta(days=days)) for at, days in enumerate(days_before)
    ]


def cents(model: Model, revenue: int, *days_before: float) -> list[int]:
    return list(attribute(revenue, touches(*days_before), DEFAULTS)[model].cents)


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
    assert weights(Model.TIME_DECAY, touches(2, 1, 0), own) == [250_000_000, 500_000_000, 1_000_000_000]
    assert weights(Model.POSITION_BASED, touches(3, 2, 1), own) == [30, 40, 30]


@given(
    revenue=st.integers(0, 10**9),
    days=st.lists(st.floats(0, 30, allow_nan=False), min_size=1, max_size=50),
)
def test_every_model_sums_to_the_revenue_exactly(revenue: int, days: list[float]) -> None:
    ordered = sorted(days, reverse=True)
    for model in DEFAULTS.written_models:
        found = cents(model, revenue, *ordered)
        assert sum(found) == revenue
        assert min(found) >= 0


def test_window_has_both_ends_and_nothing_after_the_conversion() -> None:
    inside = touches(30, 0)
    outside = [
        Touch(UUID(int=8), "paid", NOON - timedelta(days=30, microseconds=1)),
        Touch(UUID(int=9), "paid", NOON + timedelta(microseconds=1)),
    ]
    assert select_touches([*outside, *inside], NOON, DEFAULTS) == inside


def test_equal_instants_are_ordered_by_id_and_the_latest_fifty_are_kept() -> None:
    same = [Touch(UUID(int=at), "paid", NOON) for at in (3, 1, 2)]
    assert [touch.id.int for touch in select_touches(same, NOON, DEFAULTS)] == [1, 2, 3]
    many = [Touch(UUID(int=at), "paid", NOON - timedelta(hours=at)) for at in range(60)]
    kept = select_touches(many, NOON, DEFAULTS)
    assert len(kept) == 50
    assert kept[0].occurred_at == NOON - timedelta(hours=49)


def order(**changes: Any) -> Order:
    told = {"visitor_id": "v-1", "customer_id": None, "total_cents": 10_000, "remaining_cents": 10_000}
    return Order(order_id=1, currency="USD", placed_at=NOON, **{**told, **changes})


def windows(found: Sequence[Touch], settings: AttributionSettings, **changes: Any) -> dict[int, Any]:
    """By window: each written model's cents."""
    conversion = convert(order(**changes), Journey(list(found), bought_before=False), settings)
    return {
        window.days: {model: list(share.cents) for model, share in window.shares.items()}
        for window in conversion.windows
    }


def test_each_window_divides_the_whole_revenue_among_its_own_touches() -> None:
    found = windows(touches(29, 20, 10, 3, 0.5), DEFAULTS)
    assert {days: found[days][Model.LINEAR] for days in found} == {
        1: [10_000],
        7: [5_000, 5_000],
        14: [3_334, 3_333, 3_333],
        28: [2_500] * 4,
        30: [2_000] * 5,
    }
    assert found[28][Model.POSITION_BASED] == [4_000, 1_000, 1_000, 4_000]


def test_window_without_a_touch_has_no_credit_and_the_longest_decides_on_the_conversion() -> None:
    late = convert(order(), Journey(touches(8), bought_before=True), DEFAULTS)
    assert ([window.days for window in late.windows], late.touches, late.first_purchase) == (
        [14, 28, 30],
        1,
        False,
    )
    assert late.row()["status"] == "attributed"
    none = convert(order(), Journey(touches(31), bought_before=False), DEFAULTS)
    assert (none.windows, none.row()["status"]) == ([], "unattributed")


@pytest.mark.parametrize("days", [1, 7, 14, 28, 30])
def test_windows_edge_counts_and_what_lies_beyond_it_does_not(days: int) -> None:
    own = AttributionSettings.of({"attribution": {"windows_days": [days], "default_window_days": days}})
    edge = Touch(UUID(int=1), "paid", NOON - timedelta(days=days))
    beyond = Touch(UUID(int=2), "paid", edge.occurred_at - timedelta(microseconds=1))
    assert windows([edge, beyond], own)[days][Model.LINEAR] == [10_000]
    assert windows([beyond], own) == {}


@pytest.mark.parametrize(
    ("channels", "expected"),
    [
        ("paid email direct", [0, 10_000, 0]),
        ("paid direct direct", [10_000, 0, 0]),
        ("direct direct direct", [0, 0, 10_000]),  # nothing else: the last touch
        ("direct direct email", [0, 0, 10_000]),
    ],
)
def test_last_non_direct_passes_over_direct_touches(channels: str, expected: list[int]) -> None:
    found = attribute(10_000, touches(3, 2, 1, channels=channels), DEFAULTS)
    assert list(found[Model.LAST_NON_DIRECT].cents) == expected


@pytest.mark.parametrize(
    ("channels", "expected"),
    [
        # 0.6, 0.1 and 0.3 of 100.00.
        ("paid email social", [6_000, 1_000, 3_000]),
        # 0.6, 0.6, 0.1: 6/13, 6/13, 1/13 of 100.00 are 46.1538, 46.1538, 7.6923: the cent left over goes to the first.
        ("paid paid email", [4_616, 4_615, 769]),
        ("direct referral direct", [3_334, 3_333, 3_333]),  # nothing learnt of any of them
        ("direct paid direct", [0, 10_000, 0]),
    ],
)
def test_data_driven_credits_by_what_was_learnt(channels: str, expected: list[int]) -> None:
    own = AttributionSettings.of({}, {"paid": 0.6, "email": 0.1, "social": 0.3})
    found = attribute(10_000, touches(3, 2, 1, channels=channels), own)
    assert list(found[Model.DATA_DRIVEN].cents) == expected


def test_model_that_has_learnt_nothing_or_is_switched_off_is_not_written() -> None:
    assert Model.DATA_DRIVEN not in attribute(100, touches(1), DEFAULTS)
    own = AttributionSettings.of({"attribution": {"enabled_models": ["linear"], "default_model": "linear"}})
    [window] = convert(order(), Journey(touches(0.5), bought_before=False), own).windows[:1]
    assert list(window.shares) == [Model.LINEAR]
    assert window.row(1)["cents"] == [[None], [None], (10_000,), [None], [None], [None], [None]]


def test_default_model_and_window_are_always_written() -> None:
    own = AttributionSettings.of(
        {
            "attribution": {
                "enabled_models": ["linear"],
                "windows_days": [1],
                "default_window_days": 7,
                "default_model": "last_touch",
            }
        }
    )
    assert own.models == (Model.LAST_TOUCH, Model.LINEAR)
    assert own.windows == (1, 7)


@pytest.mark.parametrize(
    "told",
    [
        {"half_life_hours": 0},
        {"half_life_hours": "long"},
        {"windows_days": [0, 91, "7"], "default_window_days": 0},
        {"position_percent": [80, 40]},
        {"position_percent": [0, 0]},
        {"position_percent": "half"},
        {"default_model": "best"},
    ],
)
def test_setting_that_cannot_be_keeps_its_default(told: dict[str, Any]) -> None:
    own = AttributionSettings.of({"attribution": told})
    assert (own.half_life, own.ends, own.default_model, own.default_window) == (
        timedelta(days=7),
        (40, 40),
        Model.TIME_DECAY,
        30,
    )
    assert 30 in own.windows


def test_touches_of_one_channel_in_a_row_collapse_into_the_latest_where_a_tenant_wants_that() -> None:
    own = AttributionSettings.of({"attribution": {"collapse_consecutive": True}})
    found = touches(9, 8, 7, 6, 5, channels="paid")
    assert select_touches(found, NOON, own) == found[-1:]
    assert select_touches([], NOON, own) == []
    mixed = touches(9, 8, 7, 6, channels="paid email")
    assert select_touches(mixed, NOON, own) == mixed


def test_refund_leaves_the_credits_and_scales_the_cents() -> None:
    before = convert(order(), Journey(touches(3, 2, 1), bought_before=False), DEFAULTS).windows[-1]
    after = convert(
        order(remaining_cents=5_000), Journey(touches(3, 2, 1), bought_before=False), DEFAULTS
    ).windows[-1]
    assert {model: share.credits for model, share in after.shares.items()} == {
        model: share.credits for model, share in before.shares.items()
    }
    assert after.shares[Model.POSITION_BASED].cents == (2_000, 1_000, 2_000)
    assert {sum(share.cents) for share in after.shares.values()} == {5_000}
    gone = convert(order(remaining_cents=0), Journey(touches(1), bought_before=False), DEFAULTS)
    assert gone.windows[-1].shares[Model.LINEAR].cents == (0,)


def test_short_half_life_leaves_a_weight_to_old_touches_alone() -> None:
    own = AttributionSettings.of({"attribution": {"half_life_hours": 1}})
    assert list(attribute(100, touches(29, 28.9, 28.9), own)[Model.TIME_DECAY].cents) == [8, 46, 46]


@pytest.mark.parametrize(
    ("changes", "converts"),
    [
        ({}, True),
        ({"visitor_id": None}, False),
        ({"visitor_id": None, "customer_id": 7}, True),
        ({"total_cents": 0}, False),
    ],
)
def test_conversion_needs_a_value_and_somebody(changes: dict[str, Any], converts: bool) -> None:
    assert order(**changes).converts is converts


def test_codes_and_models_are_stored_as_the_views_read_them() -> None:
    """The order chain, the recalculation and the views must mean the same by a place."""
    text = (ROOT / "layers/shared/python/tradewind/migrations/0003-orders.sql").read_text()
    view = text[
        text.index("CREATE VIEW attribution_results") : text.index("GRANT SELECT ON attribution_results")
    ]
    models = re.findall(r"\((\d), '(\w+)'\)", view)
    assert [(int(place), name) for place, name in models] == [
        (at, str(each)) for at, each in enumerate(Model, 1)
    ]
    [channels] = re.findall(r"ARRAY\[([^\]]+)\]", view)
    assert re.findall(r"'(\w+)'", channels) == list(CHANNEL_CODES)
    assert list(CHANNEL_CODES.values()) == [1, 2, 3, 4, 5, 6, 7, 8]
