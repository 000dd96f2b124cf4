"""Computing conversions anew by the hundred thousand: fetched packed, computed over arrays, copied in, chunk by chunk.

A chunk is one transaction and bounds the memory. What somebody else has computed since a chunk was read is newer, and
left as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from analytics.attribution.repository import Conversions
from analytics.attribution.statistics.chunk import Chunk, credit_chunk, select_journeys
from tradewind.contracts.attribution import AttributionSettings
from tradewind.tenancy.database import TenantDb

CHUNK = 50_000
"""Conversions; with five touches each some 20 MB."""
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


def recalculate_chunk(
    db: TenantDb,
    settings: Mapping[str, Any],
    since: datetime,
    until: datetime,
    progress: Progress,
    size: int = CHUNK,
) -> Progress | None:
    """Compute the next conversions of a range anew; how far that came, None at the range's end."""
    with db.begin() as tx:
        conversions = Conversions(tx)
        taken = conversions.take_chunk(since, until, progress.after_at, progress.after_id, size)
        if taken is None:
            return None
        numbers = AttributionSettings.of(settings, conversions.list_weights())
        chunk = Chunk.of(conversions.pack_conversions())
        touches = conversions.pack_touches(taken.first_at, taken.last_at, numbers)
        journeys = select_journeys(touches, chunk, numbers)
        computed, changed = conversions.write_chunk(credit_chunk(chunk, journeys, numbers))
    return replace(
        progress,
        after_at=taken.last_at,
        after_id=taken.last_id,
        conversions=progress.conversions + computed,
        changed=progress.changed + changed,
    )
