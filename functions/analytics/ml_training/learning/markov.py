"""Attribution by a Markov chain with removal effects, of order one to three, by linear algebra.

States are the last ``order`` touches of a journey (fewer at its beginning), a start, a conversion and a null that every
journey without one ends in. The removal effect of a channel is the share of conversions that is lost when every arrival
at it ends in null. Source: Anderl, Becker, von Wangenheim and Schumann, "Mapping the customer journey", International
Journal of Research in Marketing 33 (2016).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import splu

from analytics.ml_training.learning.journeys import Floats, Journeys, Whole

PRIOR = 10.0
"""How many journeys' worth the shorter memory counts where a longer one has seen few."""


def keys_of(journeys: Journeys, order: int) -> Whole:
    """Each touch's state as a number: its last ``order`` channels as digits, the latest the lowest; 0 where there was
    no touch yet.
    """
    base = len(journeys.names) + 1
    at = np.arange(len(journeys.channels)) - journeys.begins[journeys.owners]
    keys = np.zeros(len(journeys.channels), np.int64)
    for back in range(order):
        earlier = np.roll(journeys.channels, back).astype(np.int64) + 1
        keys += np.where(at >= back, earlier, 0) * base**back
    return keys


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain's counts. ``arrivals`` are [from, to, times] with the start as number ``len(keys)``."""

    keys: Whole
    arrivals: tuple[Whole, Whole, Whole]
    conversions: Whole
    nulls: Whole
    base: int

    @classmethod
    def of(cls, journeys: Journeys, order: int) -> Chain:
        keys, state = np.unique(keys_of(journeys, order), return_inverse=True)
        state = state.astype(np.int64)
        first = np.zeros(len(state), bool)
        first[journeys.begins[:-1]] = True
        came_from = np.where(first, len(keys), np.roll(state, 1))
        moves, times = np.unique(came_from * len(keys) + state, return_counts=True)
        last = state[journeys.begins[1:] - 1]
        won = np.bincount(last[journeys.converted], minlength=len(keys))
        lost = np.bincount(last[~journeys.converted], minlength=len(keys))
        arrivals = (moves // len(keys), moves % len(keys), times)
        return cls(keys, arrivals, won, lost, len(journeys.names) + 1)

    def conversion_rate(self, removed: int | None = None) -> float:
        """The probability of a conversion from the start, with every arrival at channel ``removed`` sent to null."""
        size = len(self.keys)
        origin, target, times = self.arrivals
        whole = np.bincount(origin, times, minlength=size + 1).astype(np.float64)
        whole[:size] += self.conversions + self.nulls
        stays = np.ones(len(times), bool) if removed is None else self.keys[target] % self.base != removed + 1
        share = times / whole[origin]
        moves = sparse.coo_array(
            (share[stays], (origin[stays], target[stays])), shape=(size + 1, size + 1)
        ).tocsc()
        ends = np.r_[self.conversions, 0.0] / whole
        reached = splu(sparse.eye_array(size + 1, format="csc") - moves).solve(ends)
        return float(reached[size])

    def removal_effects(self, channels: int) -> Floats:
        """Each channel's: the share of all conversions that its removal costs."""
        before = self.conversion_rate()
        if before <= 0:
            return np.zeros(channels)
        left = np.array([self.conversion_rate(channel) for channel in range(channels)])
        effects: Floats = np.clip(1 - left / before, 0.0, 1.0)
        return effects


@dataclass(frozen=True, slots=True)
class MarkovModel:
    """What attribution takes from a chain (``effects`` by channel), and how likely a journey converts that ends in a
    state: ``ends[length - 1]`` has states of that many touches with their conversions and journeys.
    """

    order: int
    names: tuple[str, ...]
    effects: tuple[float, ...]
    rate: float
    ends: tuple[tuple[tuple[int, int, int], ...], ...]

    @classmethod
    def fit(cls, journeys: Journeys, order: int) -> MarkovModel:
        effects = Chain.of(journeys, order).removal_effects(len(journeys.names))
        last = journeys.begins[1:] - 1
        ends = tuple(
            _ends(keys_of(journeys, memory)[last], journeys.converted) for memory in range(1, order + 1)
        )
        rate = journeys.conversions / len(journeys)
        return cls(order, journeys.names, tuple(map(float, effects)), rate, ends)

    def predict(self, journeys: Journeys) -> Floats:
        """How likely each journey converts, by its last touches; what a longer memory has seen rarely, a shorter one
        tells.
        """
        last = journeys.begins[1:] - 1
        told = np.full(len(journeys), self.rate)
        for memory, ends in enumerate(self.ends, start=1):
            table = np.array(ends, np.int64).reshape(-1, 3)
            keys = keys_of(journeys, memory)[last]
            place = np.minimum(np.searchsorted(table[:, 0], keys), len(table) - 1)
            known = table[place, 0] == keys
            conversions = np.where(known, table[place, 1], 0)
            seen = np.where(known, table[place, 2], 0)
            told = (conversions + PRIOR * told) / (seen + PRIOR)
        return told

    def weights(self, _journeys: Journeys) -> dict[str, float]:
        """Removal effects, normalised."""
        return normalised(self.names, np.array(self.effects))

    def document(self) -> dict[str, Any]:
        return {
            "order": self.order,
            "names": list(self.names),
            "effects": list(self.effects),
            "rate": self.rate,
            "ends": [[list(end) for end in ends] for ends in self.ends],
        }

    @classmethod
    def load(cls, document: dict[str, Any]) -> Self:
        """Raises KeyError, TypeError and ValueError for what is no such document."""
        ends = tuple(tuple((int(k), int(c), int(n)) for k, c, n in each) for each in document["ends"])
        effects = tuple(float(each) for each in document["effects"])
        return cls(int(document["order"]), tuple(document["names"]), effects, float(document["rate"]), ends)


def _ends(keys: Whole, converted: NDArray[np.bool_]) -> tuple[tuple[int, int, int], ...]:
    known, place = np.unique(keys, return_inverse=True)
    seen = np.bincount(place, minlength=len(known))
    won = np.bincount(place[converted], minlength=len(known))
    return tuple(zip(known.tolist(), won.tolist(), seen.tolist(), strict=True))


def normalised(names: tuple[str, ...], parts: Floats) -> dict[str, float]:
    """Parts as shares that sum to one; of channels without a part there is none. All zero where all are."""
    whole = float(parts.sum())
    return (
        {name: float(part) / whole for name, part in zip(names, parts, strict=True) if part > 0}
        if whole
        else {}
    )
