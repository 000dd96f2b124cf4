"""A training between its units: what it resumes, what it chooses, and what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from random import Random
from typing import Any

import pytest

from analytics.ml_training.learning.journeys import Journeys, from_paths
from analytics.ml_training.learning.training import Learning, unfit
from analytics.ml_training.model import CODE, Learnt, Reason, Used, judge

NAMES = ("direct", "paid", "email")
LEARNT = Learnt(
    algorithm="shapley",
    samples=1000,
    conversions=300,
    since=datetime(2026, 8, 1, tzinfo=UTC),
    until=datetime(2026, 11, 1, tzinfo=UTC),
    weights={"paid": 1.0},
    held_out=0.5,
    base=0.6,
)


def journeys(number: int, *, paid: float = 0.6, other: float = 0.1, channels: int = 3) -> Journeys:
    """Journeys that convert more often with a paid touch."""
    chance = Random(3)
    paths = [tuple(chance.randrange(channels) for _ in range(chance.randint(1, 6))) for _ in range(number)]
    converted = [chance.random() < (paid if 1 in path else other) for path in paths]
    return from_paths(paths, converted, NAMES)


def finish(learning: Learning) -> list[str]:
    return list(learning.steps())


def test_the_same_journeys_give_the_same_model_bit_by_bit() -> None:
    first, second = Learning(journeys(800)), Learning(journeys(800))
    assert finish(first) == finish(second)
    assert first.progress.document() == second.progress.document()
    chosen = first.choose()
    assert chosen.losses[chosen.algorithm] <= min(chosen.losses.values()) + 1e-9
    weights = chosen.model.weights(first.split.train)
    assert max(weights, key=weights.__getitem__) == "paid"


@pytest.mark.parametrize("units", [1, 5, 12, 17, 20])
def test_interrupted_training_goes_on_where_it_was_and_ends_the_same(units: int) -> None:
    whole = Learning(journeys(800))
    every = finish(whole)
    first = Learning(journeys(800))
    done = list(islice(first.steps(), units))
    saved = json.loads(json.dumps(first.progress.document()))
    second = Learning(journeys(800), saved)
    assert done + finish(second) == every
    assert json.dumps(second.progress.document()) == json.dumps(whole.progress.document())


def test_checkpoint_of_other_code_other_journeys_or_damaged_is_set_aside() -> None:
    learning = Learning(journeys(800))
    finish(learning)
    good: dict[str, Any] = learning.progress.document()
    assert len(Learning(journeys(800), good).progress.fits) == len(good["fits"]) > 0
    unusable: tuple[Any, ...] = (
        {**good, "code": CODE + 1},
        {**good, "data": "of others"},
        {**good, "fits": None},
        {"code": CODE},
        [],
        "nonsense",
        None,
    )
    for bad in unusable:
        assert Learning(journeys(800), bad).progress.fits == {}, bad


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (journeys(99), Reason.TOO_FEW_SAMPLES),
        (journeys(100), None),
        (journeys(300, paid=0, other=0), Reason.NO_CONVERSIONS),
        (journeys(300, paid=1, other=1), Reason.ONLY_CONVERSIONS),
        (journeys(300, channels=1, other=0.5), Reason.ONE_CHANNEL),
    ],
)
def test_what_there_is_nothing_to_learn_from_is_refused(given: Journeys, reason: Reason | None) -> None:
    assert unfit(given) == reason


def test_conversions_of_the_last_days_alone_teach_nothing() -> None:
    late = from_paths([(0, 1)] * 200, [False] * 170 + [True] * 30, NAMES)
    assert unfit(late) == Reason.ONE_SIDED


@pytest.mark.parametrize(
    ("changes", "used", "reason"),
    [
        ({}, None, None),
        ({}, Used(3, 0.51), None),
        ({}, Used(3, 0.5), Reason.NO_BETTER_THAN_USED),
        ({}, Used(3, None), None),
        ({"held_out": 0.6}, None, Reason.NO_BETTER_THAN_RATE),
        ({"weights": {}}, None, Reason.NO_BETTER_THAN_RATE),
        ({"conversions": 299}, None, Reason.TOO_FEW_CONVERSIONS),
    ],
)
def test_model_is_used_where_it_is_better(
    changes: dict[str, Any], used: Used | None, reason: Reason | None
) -> None:
    assert judge(replace(LEARNT, **changes), used) == reason


def test_stored_model_is_judged_on_the_held_out_journeys() -> None:
    learning = Learning(journeys(800))
    finish(learning)
    chosen = learning.choose()
    loss = learning.loss_of(chosen.algorithm, chosen.model.document())
    assert loss == learning.metrics(chosen)["held_out"]["log_loss"]
    assert learning.loss_of("shapley", {"sets": "damaged"}) is None
