"""Markov chains, Shapley values, regressions, trees: by hand, and against other implementations on public journeys."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from analytics.ml_training.learning.features import COUNTS, Encoding, features
from analytics.ml_training.learning.journeys import (
    DAY,
    LONGEST,
    TOUCH,
    Journeys,
    from_paths,
    read_journeys,
    split_by_time,
)
from analytics.ml_training.learning.logistic import LogisticModel
from analytics.ml_training.learning.markov import Chain, MarkovModel
from analytics.ml_training.learning.models import Fitted, UnreadableModelError, load_model
from analytics.ml_training.learning.scoring import area_under_curve, log_loss, score
from analytics.ml_training.learning.shapley import (
    EXACT_UP_TO,
    ShapleyModel,
    exact_values,
    sampled_values,
    shapley_values,
    values_of,
)
from analytics.ml_training.learning.trees import Growing, TreesModel
from tests.conftest import ROOT

REFERENCE: dict[str, Any] = json.loads((ROOT / "tests/data/journeys/reference.json").read_text())
A, B, C = 0, 1, 2


@pytest.fixture(scope="module")
def public() -> Journeys:
    """The public journeys, each as often as it came."""
    paths: list[tuple[int, ...]] = []
    converted: list[bool] = []
    for path, conversions, nulls in REFERENCE["paths"]:
        paths += [tuple(path)] * (conversions + nulls)
        converted += [True] * conversions + [False] * nulls
    return from_paths(paths, converted, tuple(REFERENCE["names"]))


def few(*journeys: tuple[str, bool]) -> Journeys:
    """Journeys of the channels a, b and c, written as letters."""
    paths = [tuple("abc".index(letter) for letter in path) for path, _ in journeys]
    return from_paths(paths, [converted for _, converted in journeys], ("a", "b", "c"))


@pytest.mark.parametrize("order", [1, 2, 3])
def test_removal_effects_are_those_of_another_implementation(public: Journeys, order: int) -> None:
    effects = Chain.of(public, order).removal_effects(len(public.names))
    known = REFERENCE["markov"][str(order)]
    assert_allclose(effects, [known[name] for name in public.names], rtol=0, atol=1e-6)


def test_shapley_values_are_those_of_another_implementation(public: Journeys) -> None:
    values = shapley_values(public)
    assert_allclose(values, [REFERENCE["shapley"][name] for name in public.names], rtol=0, atol=1e-6)
    assert values.sum() == pytest.approx(public.conversions)


def test_regression_is_that_of_another_implementation(public: Journeys) -> None:
    known = REFERENCE["logistic"]
    model = LogisticModel.fit(public, COUNTS, known["penalty"])
    assert_allclose(model.beta, [known["intercept"], *known["coefficients"]], rtol=0, atol=1e-6)
    assert model.epochs <= 20


def test_trees_are_those_of_another_implementation(public: Journeys) -> None:
    known = REFERENCE["trees"]
    growing = Growing.of(TreesModel.begin(public, COUNTS), public, public)
    for _ in range(known["trees"]):
        growing.grow(public.converted, known["smallest_leaf"])
    first = np.cumsum([0, *(conversions + nulls for _, conversions, nulls in REFERENCE["paths"][:-1])])
    assert_allclose(growing.model.predict(public)[first], known["predicted"], rtol=0, atol=1e-6)


def test_removal_effect_by_hand() -> None:
    """start -> a 2/3 or b 1/3; a -> b 1/2 or conversion 1/2; b -> conversion 1/2 or null 1/2: in all 2/3."""
    chain = Chain.of(few(("a", True), ("ab", True), ("b", False)), 1)
    assert chain.conversion_rate() == pytest.approx(2 / 3)
    assert_allclose(chain.removal_effects(3), [1 - (1 / 6) / (2 / 3), 1 - (1 / 3) / (2 / 3), 0.0])


def test_order_two_tells_what_came_before() -> None:
    """Only a-then-b converts: after c, b is null, which order one cannot know."""
    journeys = few(("ab", True), ("ab", True), ("cb", False), ("cb", False))
    assert_allclose(Chain.of(journeys, 1).removal_effects(3), [0.5, 1.0, 0.5])
    assert_allclose(Chain.of(journeys, 2).removal_effects(3), [1.0, 1.0, 0.0])
    longer = MarkovModel.fit(journeys, 2).predict(journeys)
    assert longer[0] > 0.5 > longer[2]


def test_channel_that_follows_itself_loops_and_changes_no_effect() -> None:
    plain, looping = few(("ab", True), ("b", False)), few(("aaab", True), ("b", False))
    assert_allclose(Chain.of(plain, 1).removal_effects(3), Chain.of(looping, 1).removal_effects(3))


def test_shapley_by_hand() -> None:
    """Two conversions of a alone, three of a and b together: 2 + 3/2 and 3/2; what did not convert adds nothing."""
    journeys = few(("a", True), ("a", True), ("ab", True), ("ba", True), ("bab", True), ("c", False))
    assert_allclose(shapley_values(journeys), [3.5, 1.5, 0.0])
    assert ShapleyModel.fit(journeys).weights(journeys) == {"a": 0.7, "b": 0.3}


def test_closed_form_is_the_definition(public: Journeys) -> None:
    bits = np.unique(
        [sum(1 << channel for channel in set(path)) for path, won, _ in REFERENCE["paths"] if won],
        return_counts=False,
    )
    worth_of = {int(mask): 0.0 for mask in bits}
    for path, won, _ in REFERENCE["paths"]:
        if won:
            worth_of[sum(1 << channel for channel in set(path))] += won
    used = [at for at in range(len(public.names)) if any(mask >> at & 1 for mask in worth_of)][:5]

    def worth(inside: frozenset[int]) -> float:
        mask = sum(1 << used[at] for at in inside)
        return sum(won for key, won in worth_of.items() if key & ~mask == 0)

    small = {key: won for key, won in worth_of.items() if key & ~sum(1 << at for at in used) == 0}
    expected = np.zeros(len(used))
    for key, won in small.items():
        members = [at for at, channel in enumerate(used) if key >> channel & 1]
        expected[members] += won / len(members)
    assert_allclose(exact_values(len(used), worth), expected, atol=1e-9)


def test_more_channels_than_are_summed_over_are_sampled_with_a_seed() -> None:
    channels = EXACT_UP_TO + 3

    def worth(inside: frozenset[int]) -> float:
        return float(sum(inside)) + 12.0 * ({0, 1, 2} <= inside)

    values = values_of(channels, worth, seed=7)
    assert_allclose(values, values_of(channels, worth, seed=7), rtol=0)
    assert not np.array_equal(values, sampled_values(channels, worth, 8))
    assert values.sum() == pytest.approx(worth(frozenset(range(channels))))
    assert_allclose(values, [4.0, 5.0, 6.0, *range(3, channels)], atol=0.4)
    assert_allclose(values_of(3, lambda inside: float(len(inside))), [1, 1, 1])


def test_touches_are_read_in_order_and_the_latest_fifty_kept() -> None:
    rows = [(1, 0, 1 + at % 2, at * DAY, 59 * DAY) for at in range(60)]
    rows += [(2, 1, 3, 10 * DAY, 11 * DAY), (2, 1, 2, 4 * DAY, 11 * DAY)]
    journeys = read_journeys(np.array(rows, TOUCH)[::-1].tobytes(), ("a", "b", "c"))
    assert journeys.converted.tolist() == [True, False]
    assert journeys.lengths.tolist() == [2, LONGEST]
    assert journeys.channels[:2].tolist() == [B, C]
    assert journeys.ages[:3].tolist() == [6.0, 0.0, 49.0]
    assert read_journeys(b"", ("a",)).begins.tolist() == [0]


def test_the_latest_judge_and_nothing_is_shuffled() -> None:
    journeys = few(*[("a", at % 2 == 0) for at in range(100)])
    split = split_by_time(journeys)
    assert (len(split.train), len(split.validation), len(split.held_out)) == (64, 16, 20)
    assert split.train.ended.max() < split.validation.ended.min() < split.held_out.ended.min()


def test_features_by_hand() -> None:
    journeys = few(("aab", True), ("c", False))
    long = np.log([4, 2])[:, None]
    assert_allclose(features(journeys, COUNTS), np.c_[[[2, 1, 0], [0, 0, 1]], long])
    decayed = features(journeys, Encoding(half_life=1))
    assert_allclose(decayed, np.c_[[[0.25 + 0.5, 1, 0], [0, 0, 1]], long])
    placed = features(journeys, Encoding(ends=(40, 40)))
    assert_allclose(placed, np.c_[[[0.6, 0.4, 0], [0, 0, 1]], long])
    two = features(few(("ab", True)), Encoding(ends=(50, 40)))
    assert_allclose(two[:, :2], [[50 / 90, 40 / 90]])
    assert_allclose(features(journeys, COUNTS, without=A)[0], [0, 1, 0, np.log(2)])


def test_scores_by_hand() -> None:
    told, came = np.array([0.8, 0.4, 0.4, 0.1]), np.array([True, True, False, False])
    assert log_loss(told, came) == pytest.approx(-np.log([0.8, 0.4, 0.6, 0.9]).mean())
    assert area_under_curve(told, came) == pytest.approx(3.5 / 4)
    assert area_under_curve(told, np.array([True] * 4)) is None
    assert score(told, came, 0.5).base == pytest.approx(np.log(2))
    assert np.isfinite(log_loss(np.array([0.0, 1.0]), np.array([True, False])))


def test_stored_models_tell_the_same(public: Journeys) -> None:
    growing = Growing.of(TreesModel.begin(public, COUNTS), public, public)
    growing.grow(public.converted)
    models: dict[str, Fitted] = {
        "markov-3": MarkovModel.fit(public, 3),
        "shapley": ShapleyModel.fit(public),
        "logistic": LogisticModel.fit(public, Encoding(half_life=7), 1.0),
        "trees": growing.model,
    }
    for algorithm, model in models.items():
        document = json.loads(json.dumps(model.document()))
        stored = load_model(algorithm, document, public.names)
        assert_allclose(stored.predict(public), model.predict(public), rtol=0)
        assert sum(stored.weights(public).values()) == pytest.approx(1.0)
        with pytest.raises(UnreadableModelError, match="knows the channels alpha"):
            load_model(algorithm, document, ("a", "b"))
        with pytest.raises(UnreadableModelError, match=algorithm):
            load_model(algorithm, {"names": 5}, public.names)
    with pytest.raises(UnreadableModelError, match="forest"):
        load_model("forest", {}, public.names)


def test_journey_unlike_any_other_is_told_the_known_rate() -> None:
    seen = few(*[("a", at % 2 == 0) for at in range(40)])
    for model in (MarkovModel.fit(seen, 3), ShapleyModel.fit(seen)):
        assert_allclose(model.predict(few(("c", True))), [0.5])
