"""A journey as numbers: how much of each channel it holds, counted in one of several ways, and how long it is."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from analytics.ml_training.learning.journeys import Floats, Journeys

HALF_LIVES = (1, 3, 7, 14, 30)
"""Days, among which the half-life is tuned."""
ENDS = ((40, 40), (50, 40), (40, 50), (30, 30))
"""First and last touch's percent, among which the position weights are tuned: 40-20-40, 50-10-40, 40-10-50 and
30-40-30."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """How touches count: each as one, or less with its age (``half_life`` in days), or by its position (``ends``)."""

    half_life: int | None = None
    ends: tuple[int, int] | None = None

    @property
    def name(self) -> str:
        if self.half_life is not None:
            return f"half-life {self.half_life} d"
        if self.ends is not None:
            first, last = self.ends
            return f"position {first}-{100 - first - last}-{last}"
        return "counts"

    def touch_weights(self, journeys: Journeys) -> Floats:
        """What each touch counts."""
        if self.half_life is not None:
            decayed: Floats = np.exp2(-journeys.ages / self.half_life)
            return decayed
        if self.ends is not None:
            return _by_position(journeys, *self.ends)
        return np.ones(len(journeys.channels))

    def document(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def load(cls, document: dict[str, Any]) -> Self:
        """Raises KeyError, TypeError and ValueError for what is no such document."""
        ends, half_life = document["ends"], document["half_life"]
        return cls(
            None if half_life is None else int(half_life),
            None if ends is None else (int(ends[0]), int(ends[1])),
        )


COUNTS = Encoding()
ENCODINGS = (
    COUNTS,
    *(Encoding(half_life=days) for days in HALF_LIVES),
    *(Encoding(ends=ends) for ends in ENDS),
)


def _by_position(journeys: Journeys, first: int, last: int) -> Floats:
    """As the position model divides a conversion: one touch has all, two share by their ends, the middle the rest."""
    lengths = journeys.lengths
    owners = journeys.owners
    of = lengths[owners]
    at = np.arange(len(owners)) - journeys.begins[owners]
    middle = (100 - first - last) / np.maximum(1, of - 2)
    share = np.where(at == 0, first, np.where(at == of - 1, last, middle)) / 100
    share = np.where(of == 2, share * 100 / (first + last), share)  # noqa: PLR2004 - no middle
    return np.where(of == 1, 1.0, share)


def features(journeys: Journeys, encoding: Encoding, without: int | None = None) -> Floats:
    """A row a journey: what it holds of each channel, then the logarithm of one more than its touches.

    ``without`` leaves a channel's touches out, as if they had not been: what is left keeps its weights.
    """
    channels = len(journeys.names)
    weights = encoding.touch_weights(journeys)
    owners = journeys.owners
    present = np.ones(len(owners), bool) if without is None else journeys.channels != without
    cells = owners[present] * channels + journeys.channels[present]
    held = np.bincount(cells, weights[present], minlength=len(journeys) * channels)
    length = np.bincount(owners[present], minlength=len(journeys))
    rows: Floats = np.c_[held.reshape(len(journeys), channels), np.log1p(length)]
    return rows
