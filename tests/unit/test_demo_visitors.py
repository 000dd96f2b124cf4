"""The demo's A/B test: what is expected of it, against figures that were worked out elsewhere."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from infra.local.demo.expectations import expect
from infra.local.demo.orders import tell_stories
from infra.local.demo.visitors import (
    BOLD,
    CONTROL,
    VISITORS,
    chance_to_be_better,
    expected_counts,
    expected_weights,
    plan_visits,
    variant_of,
)
from tradewind.contracts.experiments import Share, position_of, walk

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
STORIES = tell_stories(7, NOW, 600)
ORDERS = [order for order in expect(STORIES, NOW).orders.values() if order.tenant_slug == "alder"]
VISITS = plan_visits(7, NOW, ORDERS)


def test_published_rule_and_the_door_agree_on_every_visitors_variant() -> None:
    shares = (Share(CONTROL, 5000), Share(BOLD, 5000))
    assert {visitor: walk(shares, position_of("hero-image", visitor)) for visitor in VISITS.variants} == {
        visitor: variant_of(visitor) for visitor in VISITS.variants
    }


def test_repeated_events_count_once_and_cancelled_orders_not_at_all() -> None:
    counts = expected_counts(VISITS)
    bought = [order for each in VISITS.buyers.values() for order in each]
    assert sum(each["visitors"] for each in counts.values()) == VISITORS
    assert min(each["visitors"] for each in counts.values()) > 100
    assert len({event["event_id"] for event in VISITS.events}) == len(VISITS.events) - VISITS.repeated
    assert sum(order.status == "cancelled" for order in bought) == 4
    assert sum(order.refunded_cents > 0 for order in bought) >= 4
    assert sum(each["revenue_cents"] for each in counts.values()) == sum(
        order.remaining_cents for order in bought
    )
    assert sum(each["purchases"] for each in counts.values()) == sum(
        order.status != "cancelled" for order in bought
    )


@pytest.mark.parametrize(
    ("one", "other", "chance"),
    [
        ((1, 1), (1, 1), 0.5),
        ((1, 1), (2, 1), 2 / 3),  # of a uniform and the greater of two others
        ((1, 1), (1, 2), 1 / 3),
        ((1, 1), (3, 1), 3 / 4),
    ],
)
def test_chance_to_be_better_is_exact(one: tuple[int, int], other: tuple[int, int], chance: float) -> None:
    assert chance_to_be_better(one, other) == pytest.approx(chance, abs=1e-12)


def test_weights_keep_the_floor_and_sum_to_the_whole() -> None:
    nothing = {"visitors": 100, "purchases": 0}
    assert expected_weights({CONTROL: nothing, BOLD: nothing}) == {CONTROL: 5000, BOLD: 5000}
    clear = expected_weights({CONTROL: nothing, BOLD: {"visitors": 100, "purchases": 50}})
    assert clear == {CONTROL: 500, BOLD: 9500}
