"""Computing conversions anew by the hundred thousand: fetched packed, computed over arrays, copied in, chunk by chunk.

Two chunks are worked on side by side, each over a connection of its own: while one is computed, Postgres reads or
writes the other. Only what differs from what stands is locked and written, a part of the chunk in each transaction;
what somebody else has computed since it was read is newer, and left as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analytics.attribution.repository import Conversions
from analytics.attribution.statistics.chunk import Chunk, Journeys, credit_chunk, select_journeys
from analytics.attribution.statistics.comparing import (
    Changes,
    compare,
    places_of,
    standing_of,
    standing_part,
)
from tradewind.contracts.attribution import AttributionSettings
from tradewind.tenancy.database import QueryError, TenantDb

CHUNK = 200_000
"""Conversions that are read at a time: the fewer the chunks, the fewer the times that the touches of a month are passed
over. With five touches each some 60 MB.
"""
ABREAST = 2
"""Chunks that are worked on side by side: as many as Postgres is sure to have cores."""
WRITTEN_AT_ONCE = 25_000
"""Conversions that are computed at once, and locked and written in one transaction."""
_FIRST = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a recalculation came: before which time everything is computed, and what was done."""

    done_before: datetime = _FIRST
    conversions: int = 0
    changed: int = 0

    @classmethod
    def of(cls, checkpoint: Mapping[str, Any] | None) -> Progress:
        """As a checkpoint keeps it; the beginning where there is none."""
        if not checkpoint:
            return cls()
        return cls(**{**checkpoint, "done_before": datetime.fromisoformat(checkpoint["done_before"])})

    def checkpoint(self) -> dict[str, Any]:
        return {**asdict(self), "done_before": self.done_before.isoformat()}


@dataclass(frozen=True, slots=True)
class Range:
    """Which conversions are computed, by which settings, how many at a time at most."""

    since: datetime
    until: datetime
    settings: Mapping[str, Any]
    size: int = CHUNK


@dataclass(frozen=True, slots=True)
class Fetched:
    """A chunk as it was read: conversions, what led to them, and digests of the credits that stand."""

    numbers: AttributionSettings
    chunk: Chunk
    journeys: Journeys
    standing: NDArray[Any]


@dataclass(frozen=True, slots=True)
class Part:
    """What is written in one transaction: conversions, what differs, how many touches each has now, and whether none of
    their credits stood.
    """

    chunk: Chunk
    changes: Changes
    touches: NDArray[np.int64]
    all_new: bool


def recalculate(db: TenantDb, asked: Range, progress: Progress) -> Iterator[Progress]:
    """Compute a range's conversions anew, from where it had come to; how far that is, after each chunk."""
    with db.begin() as tx:
        since = max(asked.since, progress.done_before)
        begins = Conversions(tx).cut_range(since, asked.until, asked.size, ABREAST)

    def compute(between: tuple[datetime, datetime]) -> tuple[int, int]:
        with db.aside() as own:
            return write_chunk(own, fetch_chunk(own, asked.settings, *between))

    chunks = list(pairwise([*begins, asked.until]))
    pool = ThreadPoolExecutor(ABREAST)
    try:
        for (_, until), (computed, changed) in zip(chunks, pool.map(compute, chunks), strict=True):
            progress = Progress(until, progress.conversions + computed, progress.changed + changed)
            yield progress
    finally:
        pool.shutdown(cancel_futures=True)


def fetch_chunk(db: TenantDb, settings: Mapping[str, Any], since: datetime, until: datetime) -> Fetched:
    """Read the conversions between two times with what may lead to them."""
    with db.begin() as tx:
        conversions = Conversions(tx)
        numbers = AttributionSettings.of(settings, conversions.list_weights())
        chunk = Chunk.of(conversions.take_chunk(since, until, numbers))
        touches = conversions.pack_touches(since, until, numbers)
        standing = conversions.pack_standing()
    return Fetched(numbers, chunk, select_journeys(touches, chunk, numbers), standing_of(standing))


def write_chunk(db: TenantDb, fetched: Fetched) -> tuple[int, int]:
    """Compute a chunk and write what differs; how many conversions were computed, and how many rows changed."""
    computed, changed = 0, 0
    for begin in range(0, len(fetched.chunk), WRITTEN_AT_ONCE):
        end = min(begin + WRITTEN_AT_ONCE, len(fetched.chunk))
        chunk, journeys = fetched.chunk.part(begin, end), fetched.journeys.part(begin, end)
        credited = credit_chunk(chunk, journeys, fetched.numbers)
        standing = standing_part(fetched.standing, begin, end)
        part = Part(chunk, compare(chunk, journeys, credited, standing), journeys.counts, not len(standing))
        unlocked, rows = _write_part(db, part)
        computed, changed = computed + len(chunk) - unlocked, changed + rows
    return computed, changed


def _write_part(db: TenantDb, part: Part) -> tuple[int, int]:
    """Write what differs; how many orders somebody else had computed, and how many rows changed.

    Where all should be new and a row stands by now, it is written again as if nothing were known.
    """
    if not len(part.changes.places):
        return 0, 0
    if part.all_new:
        with suppress(QueryError):
            return _write_once(db, part)
    return _write_once(db, replace(part, all_new=False))


def _write_once(db: TenantDb, part: Part) -> tuple[int, int]:
    places = part.changes.places
    with db.begin() as tx:
        conversions = Conversions(tx)
        order_ids, calculated = part.chunk.order_ids[places].tolist(), part.chunk.calculated[places].tolist()
        locked = conversions.lock_computed(order_ids, calculated, *part.chunk.times)
        if len(locked) < len(places):
            part = replace(part, changes=part.changes.only(places_of(part.chunk, locked)))
        changed = _write(conversions, part)
        if conversions.wants_credits():
            conversions.tell_of_credits(locked)
    return len(places) - len(locked), changed


def _write(conversions: Conversions, part: Part) -> int:
    ids: Callable[[Any], list[int]] = lambda places: part.chunk.order_ids[places].tolist()  # noqa: E731 - a short name
    changes, changed = part.changes, 0
    if any(len(places) for places, _ in changes.rows):
        changed += conversions.write_credits(changes.copy(), all_new=part.all_new)
    if len(changes.gone_places):
        changed += conversions.drop_credits(ids(changes.gone_places), changes.gone_windows.tolist())
    if len(changes.counted):
        changed += conversions.count_touches(ids(changes.counted), part.touches[changes.counted].tolist())
    return changed
