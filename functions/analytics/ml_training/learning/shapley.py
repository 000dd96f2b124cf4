"""Attribution by Shapley values: a set of channels is worth the conversions of journeys whose channels lie inside it.

With that worth a journey adds to every set that holds its channels alike, so each of its channels gets an equal part of
it, and the values of any number of channels are exact without a sum over their orders. Source: Zhao, Mahboobi and
Bagheri, "Shapley value methods for attribution modeling in online advertising" (2018), section 3. ``sampled_values``
takes a worth of any kind, by orders drawn with a seed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import Any, Self

import numpy as np

from analytics.ml_training.learning.journeys import Floats, Journeys, Whole
from analytics.ml_training.learning.markov import PRIOR, normalised

EXACT_UP_TO = 12
"""Channels whose sets are summed over, 4,096 of them; beyond, orders are drawn."""
ORDERS = 2_000
Worth = Callable[[frozenset[int]], float]


def sets_of(journeys: Journeys) -> Whole:
    """Each journey's channels as bits. Raises ValueError beyond 62 channels, which have no room in a number."""
    if len(journeys.names) > 62:  # noqa: PLR2004 - bits of a number
        raise ValueError(f"{len(journeys.names)} channels; at most 62 are told apart")
    bits = np.left_shift(np.int64(1), journeys.channels.astype(np.int64))
    return np.bitwise_or.reduceat(bits, journeys.begins[:-1])


def shapley_values(journeys: Journeys) -> Floats:
    """Each channel's part of the conversions, which sum to all of them."""
    found, times = np.unique(sets_of(journeys)[journeys.converted], return_counts=True)
    inside = (found[:, None] >> np.arange(len(journeys.names))) & 1
    parts: Floats = (inside * (times / np.maximum(1, inside.sum(axis=1)))[:, None]).sum(axis=0)
    return parts


def values_of(channels: int, worth: Worth, seed: int = 0) -> Floats:
    """Shapley values of any worth: exact up to ``EXACT_UP_TO`` channels, beyond it from ``ORDERS`` orders drawn with
    ``seed``.
    """
    return exact_values(channels, worth) if channels <= EXACT_UP_TO else sampled_values(channels, worth, seed)


def exact_values(channels: int, worth: Worth) -> Floats:
    """By the definition: the mean over all orders of what a channel adds to those before it."""
    values = np.zeros(channels)
    for channel in range(channels):
        others = [other for other in range(channels) if other != channel]
        for size in range(channels):
            share = 1 / (channels * comb(channels - 1, size))
            for before in map(frozenset, combinations(others, size)):
                values[channel] += share * (worth(before | {channel}) - worth(before))
    return values


def sampled_values(channels: int, worth: Worth, seed: int, orders: int = ORDERS) -> Floats:
    """From orders drawn with ``seed``, each also backwards, which halves the error; they sum to the worth of all."""
    chance = np.random.default_rng(seed)
    values = np.zeros(channels)
    for _ in range(orders // 2):
        drawn = chance.permutation(channels)
        for order in (drawn, drawn[::-1]):
            before, had = frozenset[int](), worth(frozenset())
            for channel in order.tolist():
                before |= {channel}
                has = worth(before)
                values[channel] += has - had
                had = has
    return values / (orders // 2 * 2)


@dataclass(frozen=True, slots=True)
class ShapleyModel:
    """Channels' ``values``, and how often journeys of a set of channels convert: (bits, conversions, journeys)."""

    names: tuple[str, ...]
    values: tuple[float, ...]
    rate: float
    sets: tuple[tuple[int, int, int], ...]

    @classmethod
    def fit(cls, journeys: Journeys) -> ShapleyModel:
        found, place = np.unique(sets_of(journeys), return_inverse=True)
        seen = np.bincount(place)
        won = np.bincount(place[journeys.converted], minlength=len(found))
        sets = tuple(zip(found.tolist(), won.tolist(), seen.tolist(), strict=True))
        values = tuple(map(float, shapley_values(journeys)))
        return cls(journeys.names, values, journeys.conversions / len(journeys), sets)

    def predict(self, journeys: Journeys) -> Floats:
        """How likely each journey converts, by its set of channels; the known rate where a set was seen rarely."""
        table = np.array(self.sets, np.int64).reshape(-1, 3)
        asked = sets_of(journeys)
        place = np.minimum(np.searchsorted(table[:, 0], asked), len(table) - 1)
        known = table[place, 0] == asked
        conversions, seen = np.where(known, table[place, 1], 0), np.where(known, table[place, 2], 0)
        return (conversions + PRIOR * self.rate) / (seen + PRIOR)

    def weights(self, _journeys: Journeys) -> dict[str, float]:
        """Shapley values, normalised."""
        return normalised(self.names, np.array(self.values))

    def document(self) -> dict[str, Any]:
        return {
            "names": list(self.names),
            "values": list(self.values),
            "rate": self.rate,
            "sets": [list(each) for each in self.sets],
        }

    @classmethod
    def load(cls, document: dict[str, Any]) -> Self:
        """Raises KeyError, TypeError and ValueError for what is no such document."""
        sets = tuple((int(bits), int(won), int(seen)) for bits, won, seen in document["sets"])
        values = tuple(float(each) for each in document["values"])
        return cls(tuple(document["names"]), values, float(document["rate"]), sets)
