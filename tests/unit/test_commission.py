from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from commerce.order_sync.commission import (
    DEFAULT_TIERS,
    Creator,
    Tier,
    compute_commission,
    match_creator,
    tier_at,
    tiers_of,
)
from commerce.order_sync.model import OrderState, OrderStatus
from tests.fakes import NOON

BO = Creator(UUID(int=1), "BoKnows", None)
ORDER = OrderState(
    order_id=1,
    currency="USD",
    net_cents=9_000,
    total_cents=10_200,
    refunded_cents=0,
    refunded_net_cents=0,
    status=OrderStatus.OPEN,
    discount_codes=("BOKNOWS",),
    visitor_id=None,
    customer_id=None,
    email=None,
    landing_page=None,
    referrer_url=None,
    utm={},
    visited_at=None,
    placed_at=NOON,
    fulfilled_at=None,
    delivered_at=None,
    updated_at=NOON,
)


def order(**changes: Any) -> OrderState:
    return replace(ORDER, **changes)


@pytest.mark.parametrize(
    ("lifetime", "tier"),
    [
        (0, "bronze"),
        (99_999, "bronze"),
        (100_000, "silver"),
        (500_000, "gold"),
        (1_500_000, "platinum"),
        (5_000_000, "diamond"),
        (10**12, "diamond"),
    ],
)
def test_tier_is_reached_by_sales_before_the_order(lifetime: int, tier: str) -> None:
    assert tier_at(lifetime, DEFAULT_TIERS).name == tier


@pytest.mark.parametrize(
    ("changes", "lifetime", "rate", "earned", "left", "state"),
    [
        ({}, 0, 1_000, 900, 900, "pending"),
        ({}, 500_000, 1_500, 1_350, 1_350, "pending"),
        ({"refunded_net_cents": 3_000}, 0, 1_000, 900, 600, "pending"),
        ({"refunded_net_cents": 9_000}, 0, 1_000, 900, 0, "reversed"),
        ({"refunded_net_cents": 9_500}, 0, 1_000, 900, 0, "reversed"),
        ({"status": OrderStatus.CANCELLED}, 0, 1_000, 900, 0, "reversed"),
        # 10 % of 33.35 is 3.335: half up to 3.34; a third refunded (11.12) leaves 334 * 2223 / 3335 = 222.63
        ({"net_cents": 3_335, "refunded_net_cents": 1_112}, 0, 1_000, 334, 223, "pending"),
    ],
)
def test_commission_at_the_orders_rate_less_refunds(
    changes: dict[str, Any], lifetime: int, rate: int, earned: int, left: int, state: str
) -> None:
    found = compute_commission(order(**changes), BO, lifetime, DEFAULT_TIERS)
    assert found is not None
    assert (found.rate, found.earned_cents, found.commission_cents, found.state) == (
        rate,
        earned,
        left,
        state,
    )


def test_creators_own_rate_beats_the_tier() -> None:
    found = compute_commission(order(), replace(BO, rate=2_500), 10**9, DEFAULT_TIERS)
    assert found is not None
    assert (found.rate, found.earned_cents, found.tier) == (2_500, 2_250, "diamond")


@pytest.mark.parametrize("net", [0, -1])
def test_order_without_net_sales_pays_nothing(net: int) -> None:
    assert compute_commission(order(net_cents=net), BO, 0, DEFAULT_TIERS) is None


def test_first_code_that_is_anyones_wins_whatever_its_case() -> None:
    cy = Creator(UUID(int=2), "cy", None)
    assert match_creator(["SALE10", "CY", "boknows"], [BO, cy]) == cy
    assert match_creator(["SALE10"], [BO, cy]) is None


def test_tiers_are_the_tenants() -> None:
    own = {
        "commission_tiers": [
            {"name": "high", "from_cents": 50, "rate_basis_points": 3000},
            {"name": "low", "from_cents": 0, "rate_basis_points": 100},
        ]
    }
    assert tiers_of(own) == (Tier("low", 0, 100), Tier("high", 50, 3000))
    assert tiers_of({}) == DEFAULT_TIERS
