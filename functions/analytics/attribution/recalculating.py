"""Computing conversions anew by the hundred thousand: fetched packed, computed over arrays, copied in, chunk by chunk.

While a chunk is written, the next one is read beside it. Only what differs from what stands is locked and written, a
part of the chunk in each transaction; what somebody else has computed since it was read is newer, and left as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analytics.attribution.repository import Conversions, Taken
from analytics.attribution.statistics.chunk import Chunk, credit_chunk, select_journeys
from analytics.attribution.statistics.comparing import Changes, compare, places_of
from tradewind.contracts.attribution import AttributionSettings
from tradewind.tenancy.database import TenantDb

CHUNK = 200_000
"""Conversions that are read at a time: the fewer the chunks, the fewer the times that the touches of a month are passed
over. With five touches each some 60 MB, and as much for the one that is read beside it.
"""
WRITTEN_AT_ONCE = 25_000
"""Conversions that are locked and written in one transaction."""
_FIRST = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a recalculation came: the last conversion's time and order, and what was done."""

    after_at: datetime = _FIRST
    after_id: int = 0
    conversions: int = 0
    changed: int = 0

    @classmethod
    def of(cls, checkpoint: Mapping[str, Any] | None) -> Progress:
        """As a checkpoint keeps it; the beginning where there is none."""
        if not checkpoint:
            return cls()
        return cls(**{**checkpoint, "after_at": datetime.fromisoformat(checkpoint["after_at"])})

    def checkpoint(self) -> dict[str, Any]:
        return {**asdict(self), "after_at": self.after_at.isoformat()}


@dataclass(frozen=True, slots=True)
class Range:
    """Which conversions are computed, by which settings, how many at a time."""

    since: datetime
    until: datetime
    settings: Mapping[str, Any]
    size: int = CHUNK


@dataclass(frozen=True, slots=True)
class Fetched:
    """A chunk as it was read, packed: conversions, touches, and digests of the credits that stand."""

    taken: Taken
    numbers: AttributionSettings
    conversions: bytes
    touches: bytes
    standing: bytes


def recalculate(db: TenantDb, asked: Range, progress: Progress) -> Iterator[Progress]:
    """Compute a range's conversions anew, from where it had come to; how far that is, after each chunk."""
    with db.aside() as other, ThreadPoolExecutor(1) as pool:

        def read(after: Progress | Taken) -> Future[Fetched | None]:
            return pool.submit(fetch_chunk, other, asked, after)

        coming = read(progress)
        while (fetched := coming.result()) is not None:
            coming = read(fetched.taken)
            computed, changed = write_chunk(db, fetched)
            progress = replace(
                progress,
                after_at=fetched.taken.last_at,
                after_id=fetched.taken.last_id,
                conversions=progress.conversions + computed,
                changed=progress.changed + changed,
            )
            yield progress


def fetch_chunk(db: TenantDb, asked: Range, after: Progress | Taken) -> Fetched | None:
    """Read the next conversions with what may lead to them; None at the range's end."""
    after_at, after_id = (
        (after.after_at, after.after_id) if isinstance(after, Progress) else (after.last_at, after.last_id)
    )
    with db.begin() as tx:
        conversions = Conversions(tx)
        taken = conversions.take_chunk(asked.since, asked.until, after_at, after_id, asked.size)
        if taken is None:
            return None
        numbers = AttributionSettings.of(asked.settings, conversions.list_weights())
        return Fetched(
            taken,
            numbers,
            conversions.pack_conversions(),
            conversions.pack_touches(taken.first_at, taken.last_at, numbers),
            conversions.pack_standing(),
        )


def write_chunk(db: TenantDb, fetched: Fetched) -> tuple[int, int]:
    """Compute a chunk and write what differs; how many conversions were computed, and how many rows changed."""
    chunk = Chunk.of(fetched.conversions)
    journeys = select_journeys(fetched.touches, chunk, fetched.numbers)
    computed = credit_chunk(chunk, journeys, fetched.numbers)
    changes = compare(chunk, journeys, computed, fetched.standing)
    places, unlocked, changed = changes.places, 0, 0
    for part in np.array_split(places, -(-len(places) // WRITTEN_AT_ONCE)) if len(places) else ():
        locked, rows = _write_part(db, chunk, changes.only(part), journeys.counts)
        unlocked, changed = unlocked + len(part) - locked, changed + rows
    return len(chunk.order_ids) - unlocked, changed


def _write_part(db: TenantDb, chunk: Chunk, changes: Changes, touches: NDArray[np.int64]) -> tuple[int, int]:
    """Write these orders' changes; how many orders nobody else had computed, and how many rows changed."""
    places = changes.places
    with db.begin() as tx:
        conversions = Conversions(tx)
        order_ids, calculated = chunk.order_ids[places], chunk.calculated[places]
        locked = conversions.lock_computed(order_ids.tolist(), calculated.tolist())
        if len(locked) < len(places):
            changes = changes.only(places_of(chunk, locked))
        changed = _write(conversions, chunk, changes, touches)
        if conversions.wants_credits():
            conversions.tell_of_credits(locked)
    return len(locked), changed


def _write(conversions: Conversions, chunk: Chunk, changes: Changes, touches: NDArray[np.int64]) -> int:
    ids: Callable[[Any], list[int]] = lambda places: chunk.order_ids[places].tolist()  # noqa: E731 - a short name
    changed = 0
    if any(len(places) for places, _ in changes.rows):
        changed += conversions.write_credits(changes.copy())
    if len(changes.gone_places):
        changed += conversions.drop_credits(ids(changes.gone_places), changes.gone_windows.tolist())
    if len(changes.counted):
        changed += conversions.count_touches(ids(changes.counted), touches[changes.counted].tolist())
    return changed
