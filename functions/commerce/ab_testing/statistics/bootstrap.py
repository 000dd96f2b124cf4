"""What the data alone say of a change, whatever their distribution: visitors drawn again and again, with replacement.

The percentile bootstrap (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13), of both samples
apart. Most visitors came to the same, nothing: a sample drawn again is one draw of a multinomial over the amounts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DRAWS, FEWEST_DRAWS = 10_000, 1_000
"""Of thousands of different amounts fewer draws are made: there the mean is normal enough, and a draw costs more."""
SEED = 20_210_310
"""The same data tell the same, whoever asks."""
_CELLS = 10_000_000
"""Draws times different amounts: so many counts are drawn at most, a tenth of them held at once."""
FEWEST = 2


@dataclass(frozen=True, slots=True)
class Amounts:
    """How many visitors came to each amount; nothing is an amount as well."""

    amounts: Sequence[float]
    visitors: Sequence[int]

    @property
    def size(self) -> int:
        return sum(self.visitors)


def drawn_again(
    control: Amounts, variant: Amounts, *, confidence: float = 0.95
) -> tuple[float, float] | None:
    """An interval of the relative change of the mean; None where a draw may leave the control with nothing."""
    if min(control.size, variant.size) < FEWEST:
        return None
    different = max(len(control.amounts), len(variant.amounts))
    draws = min(DRAWS, max(FEWEST_DRAWS, _CELLS // different))
    chance = np.random.default_rng(SEED)
    ours, theirs = (_means(chance, each, draws) for each in (control, variant))
    if not ours.all():
        return None
    tail = (1 - confidence) / 2
    low, high = np.quantile(theirs / ours - 1, [tail, 1 - tail])
    return float(low), float(high)


def _means(chance: np.random.Generator, sample: Amounts, draws: int) -> NDArray[np.float64]:
    amounts = np.asarray(sample.amounts, dtype=np.float64)
    shares = np.asarray(sample.visitors, dtype=np.float64) / sample.size
    at_once = max(1, _CELLS // 10 // len(amounts))
    means = [
        chance.multinomial(sample.size, shares, size=min(at_once, draws - done)) @ amounts / sample.size
        for done in range(0, draws, at_once)
    ]
    return np.concatenate(means)
