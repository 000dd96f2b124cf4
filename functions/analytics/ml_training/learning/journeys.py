"""Journeys as arrays: every visitor's touches up to a conversion, or up to where they ended without one."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]
TOUCH = np.dtype(
    [("journey", ">i4"), ("converted", "i1"), ("channel", ">i2"), ("instant", ">i8"), ("ended", ">i8")]
)
"""A touch as it is packed: its journey's number, whether that converted, the channel's code from 1 on, its time and
that of the journey's end, both in microseconds since 2000."""
LONGEST = 50
"""Touches of one journey that count: the latest, as in attribution itself."""
DAY = 86_400 * 10**6


@dataclass(frozen=True, slots=True)
class Journeys:
    """Journeys in order of their ends. Journey ``at`` has the touches ``begins[at]`` to ``begins[at + 1]``, oldest
    first: ``channels`` are places in ``names``, ``ages`` days before the journey's own last touch (not before its end:
    a journey that did not convert ends with its last touch, and the age would tell it).
    """

    channels: NDArray[np.int16]
    ages: Floats
    begins: Whole
    converted: NDArray[np.bool_]
    ended: Whole
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.converted)

    @property
    def lengths(self) -> Whole:
        """How many touches each has, one at least."""
        return np.diff(self.begins)

    @property
    def owners(self) -> Whole:
        """Each touch's journey."""
        return np.repeat(np.arange(len(self)), self.lengths)

    @property
    def conversions(self) -> int:
        return int(self.converted.sum())

    @property
    def present(self) -> tuple[str, ...]:
        """The channels that any touch has."""
        return tuple(self.names[at] for at in np.unique(self.channels))

    def part(self, first: int, last: int) -> Journeys:
        """Those from ``first`` to before ``last``."""
        low, high = self.begins[first], self.begins[last]
        return Journeys(
            self.channels[low:high],
            self.ages[low:high],
            self.begins[first : last + 1] - low,
            self.converted[first:last],
            self.ended[first:last],
            self.names,
        )

    @property
    def fingerprint(self) -> str:
        """What a checkpoint knows its data by."""
        digest = hashlib.sha256(repr(self.names).encode())
        for array in (self.channels, self.ages, self.begins, self.converted, self.ended):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


def read_journeys(packed: bytes, names: tuple[str, ...]) -> Journeys:
    """Journeys of records of ``TOUCH`` in any order, by their ends; of more than fifty touches the latest fifty."""
    records = np.frombuffer(packed, TOUCH)
    number = records["journey"].astype(np.int64)
    ended, instant = records["ended"].astype(np.int64), records["instant"].astype(np.int64)
    placed = np.lexsort((records["channel"], instant, number, ended))
    records, number, ended, instant = records[placed], number[placed], ended[placed], instant[placed]
    first = np.flatnonzero(np.r_[True, number[1:] != number[:-1]]) if len(number) else np.empty(0, np.int64)
    ends = np.r_[first[1:], len(number)] if len(first) else np.zeros(0, np.int64)
    lengths = ends - first
    kept = np.arange(len(number)) >= np.repeat(ends, lengths) - LONGEST
    counts = np.minimum(lengths, LONGEST)
    last_touch = np.repeat(instant[ends - 1] if len(ends) else np.empty(0, np.int64), lengths)
    ages = (last_touch - instant) / DAY
    return Journeys(
        channels=(records["channel"].astype(np.int16) - 1)[kept],
        ages=ages[kept],
        begins=np.r_[0, np.cumsum(counts)].astype(np.int64),
        converted=records["converted"][first].astype(bool) if len(first) else np.zeros(0, bool),
        ended=ended[first] if len(first) else np.zeros(0, np.int64),
        names=names,
    )


@dataclass(frozen=True, slots=True)
class Split:
    """Journeys by time: what is learnt from, what chooses among the learnt, and what judges the choice."""

    train: Journeys
    validation: Journeys
    held_out: Journeys

    @property
    def judged(self) -> int:
        return len(self.held_out)


def split_by_time(journeys: Journeys) -> Split:
    """The latest fifth judges, and of the rest the latest fifth chooses. Never shuffled: tomorrow is predicted from
    yesterday, and never the other way round.
    """
    judged = len(journeys) * 4 // 5
    learnt = judged * 4 // 5
    return Split(
        journeys.part(0, learnt), journeys.part(learnt, judged), journeys.part(judged, len(journeys))
    )


def from_paths(
    paths: list[tuple[int, ...]], converted: list[bool], names: tuple[str, ...], gaps: Any = 1.0
) -> Journeys:
    """Journeys of channels' places, one touch ``gaps`` days after the other, in the order given."""
    lengths = np.array([len(path) for path in paths], np.int64)
    begins = np.r_[0, np.cumsum(lengths)].astype(np.int64)
    channels = np.array([channel for path in paths for channel in path], np.int16)
    ages = np.concatenate([np.arange(length)[::-1] * gaps for length in lengths]).astype(np.float64)
    return Journeys(
        channels, ages, begins, np.array(converted, bool), np.arange(len(paths), dtype=np.int64), names
    )
