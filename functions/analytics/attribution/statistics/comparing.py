"""What of a chunk's credits is to be written: the rows that stand otherwise, or not at all, and those that are gone."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from hashlib import md5
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analytics.attribution.statistics.chunk import Chunk, Journeys, Written
from analytics.attribution.statistics.copying import HEADER, STANDING, TRAILER


@dataclass(frozen=True, slots=True)
class Changes:
    """Places of orders in the chunk beside what is to be written of them. ``gone`` are windows without a touch."""

    rows: list[tuple[NDArray[np.int64], NDArray[Any]]]
    gone_places: NDArray[np.int64]
    gone_windows: NDArray[np.int64]
    counted: NDArray[np.int64]
    """Places of orders that have another number of touches than before."""

    @property
    def places(self) -> NDArray[np.int64]:
        """Every order of which something is written."""
        return np.unique(np.concatenate([self.gone_places, self.counted, *(each for each, _ in self.rows)]))

    def only(self, places: NDArray[np.int64]) -> Changes:
        """Those of these orders alone."""
        kept = np.isin(self.gone_places, places)
        rows = [(chosen, records, np.isin(chosen, places)) for chosen, records in self.rows]
        return Changes(
            [(chosen[inside], records[inside]) for chosen, records, inside in rows],
            self.gone_places[kept],
            self.gone_windows[kept],
            self.counted[np.isin(self.counted, places)],
        )

    def copy(self) -> Iterator[bytes]:
        """The rows as a binary COPY takes them."""
        yield HEADER
        for _, records in self.rows:
            yield records.tobytes()
        yield TRAILER


def standing_of(packed: bytes) -> NDArray[Any]:
    """Records of ``STANDING`` by the places of their orders."""
    stands = np.frombuffer(packed, STANDING)
    return stands[np.argsort(stands["place"], kind="stable")]


def standing_part(stands: NDArray[Any], begin: int, end: int) -> NDArray[Any]:
    """What stands of the orders from one place on and before another, in places of their own."""
    first, last = np.searchsorted(stands["place"], (begin, end))
    part = stands[first:last].copy()
    part["place"] -= begin
    return part


def compare(chunk: Chunk, journeys: Journeys, computed: Iterable[Written], stands: NDArray[Any]) -> Changes:
    """What differs from what stands, which is given as records of ``STANDING``."""
    keys = zip(stands["place"].tolist(), stands["window"].tolist(), strict=True)
    digests: dict[tuple[int, int], bytes] = dict(zip(keys, stands["digest"].tolist(), strict=True))
    rows = []
    for written in computed:
        differs = _differing(written, digests)
        if differs.all():
            rows.append((written.places, written.records))
        elif differs.any():
            rows.append((written.places[differs], written.records[differs]))
    gone = list(digests)
    return Changes(
        rows,
        np.array([place for place, _ in gone], np.int64),
        np.array([window for _, window in gone], np.int64),
        np.flatnonzero(journeys.counts != chunk.touches),
    )


def _differing(written: Written, digests: dict[tuple[int, int], bytes]) -> NDArray[np.bool_]:
    """Which rows do not stand as they are; what is found is taken out of ``digests``."""
    if not digests:
        return np.ones(len(written.places), bool)
    size, at, days = written.records.dtype.itemsize, written.shares_at, written.days
    content = memoryview(written.records.tobytes())
    return np.array(
        [
            digests.pop((place, days), None)
            != md5(content[row * size + at : (row + 1) * size], usedforsecurity=False).digest()
            for row, place in enumerate(written.places.tolist())
        ],
        bool,
    )


def places_of(chunk: Chunk, order_ids: Collection[int]) -> NDArray[np.int64]:
    """Where in the chunk these orders are."""
    return np.flatnonzero(np.isin(chunk.order_ids, np.array(list(order_ids), np.int64)))
