"""The demo's past and what a training on it must come to: by hand, and against the training itself."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from analytics.ml_training.learning.journeys import Journeys, from_paths
from analytics.ml_training.learning.training import Learning
from infra.local.demo.past import CHANNELS, Journey, divide, expect_training, plan_past

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
PAST = plan_past(7, NOW, 1_500)


def journeys() -> Journeys:
    paths = [tuple(CHANNELS.index(channel) for channel in each.channels) for each in PAST]
    return from_paths(paths, [each.converts for each in PAST], CHANNELS)


def test_ends_are_in_order_and_the_seed_tells_the_same_past() -> None:
    ends = [each.ended_at for each in PAST]
    assert ends == sorted(ends)
    assert NOW - timedelta(days=86) < ends[0] < ends[-1] < NOW - timedelta(days=3)
    assert plan_past(7, NOW, 1_500) == PAST


def test_expected_scores_are_those_of_the_training() -> None:
    learning = Learning(journeys())
    for _ in learning.steps():
        pass
    chosen = learning.choose()
    metrics, expected = learning.metrics(chosen), expect_training(PAST)
    assert metrics["journeys"] == expected.parts
    assert metrics["held_out"]["base"] == pytest.approx(expected.base, abs=1e-12)
    for name, loss in expected.losses.items():
        assert chosen.losses[name] == pytest.approx(loss, abs=1e-12)


def test_losses_by_hand() -> None:
    """Of 25 journeys, all paid, every second one converts: 16 teach (8 convert), 4 choose (2), 5 judge (3). The rate
    is a half, and so is (8 + 10 / 2) / (16 + 10): every loss is log 2.
    """
    one = [Journey(n, (("paid", NOW + timedelta(hours=n)),), 100 if n % 2 == 0 else None) for n in range(25)]
    expected = expect_training(one)
    assert (expected.samples, expected.conversions) == (25, 13)
    assert expected.parts == {"train": 16, "validation": 4, "held_out": 5}
    assert expected.base == pytest.approx(0.6931471805599453)
    assert expected.losses == pytest.approx({"markov-1": 0.6931471805599453, "shapley": 0.6931471805599453})


@pytest.mark.parametrize(
    ("cents", "channels", "weights", "shares"),
    [
        (100, ("paid", "email"), {"paid": 0.75, "email": 0.25}, [75, 25]),
        (100, ("paid", "paid", "paid"), {"paid": 1.0}, [34, 33, 33]),
        (100, ("direct", "social"), {"paid": 1.0}, [50, 50]),
        (101, ("direct", "paid"), {"paid": 1.0}, [0, 101]),
        (10, ("paid", "email", "email"), {"paid": 0.5, "email": 0.25}, [5, 3, 2]),
        (11, ("email", "paid"), {"paid": 2 / 3, "email": 1 / 3}, [4, 7]),
    ],
)
def test_cents_by_hand(
    cents: int, channels: tuple[str, ...], weights: dict[str, float], shares: list[int]
) -> None:
    assert divide(cents, channels, weights) == shares
