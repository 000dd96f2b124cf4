"""The models that compete: what they have in common, and how a stored one is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from analytics.ml_training.learning.journeys import Floats, Journeys
from analytics.ml_training.learning.logistic import LogisticModel
from analytics.ml_training.learning.markov import MarkovModel
from analytics.ml_training.learning.shapley import ShapleyModel
from analytics.ml_training.learning.trees import TreesModel


class Fitted(Protocol):
    """A model that has learnt. ``names`` are the channels it knows, by their places in journeys."""

    @property
    def names(self) -> tuple[str, ...]: ...
    def predict(self, journeys: Journeys) -> Floats: ...
    def weights(self, journeys: Journeys) -> dict[str, float]: ...
    def document(self) -> dict[str, Any]: ...


class UnreadableModelError(ValueError):
    """A stored model is damaged, or of a kind or of channels that this code does not know."""


_KINDS: Mapping[str, Callable[[dict[str, Any]], Fitted]] = {
    "markov-1": MarkovModel.load,
    "markov-2": MarkovModel.load,
    "markov-3": MarkovModel.load,
    "shapley": ShapleyModel.load,
    "logistic": LogisticModel.load,
    "trees": TreesModel.load,
}
ALGORITHMS = tuple(_KINDS)
"""From the simplest on: of two that predict alike the simpler one is chosen."""


def load_model(algorithm: str, document: dict[str, Any], names: tuple[str, ...]) -> Fitted:
    """A stored model for journeys of channels ``names``. Raises UnreadableModelError."""
    try:
        model = _KINDS[algorithm](document)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise UnreadableModelError(f"{algorithm}: {error!r}") from error
    if model.names != names:
        raise UnreadableModelError(f"{algorithm}: knows the channels {', '.join(model.names)}")
    return model
