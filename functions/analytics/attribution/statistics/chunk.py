"""A chunk of conversions over arrays: from the touches that were fetched to the credits that are copied in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analytics.attribution.statistics.copying import (
    CONVERSION,
    TOUCH,
    CreditRecords,
)
from analytics.attribution.statistics.sharing import Touches, share
from tradewind.contracts.attribution import MAX_TOUCHES, AttributionSettings

DAY = 86_400 * 10**6
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


def instant_of(microseconds: np.int64) -> datetime:
    """A time that Postgres gives in microseconds since 2000."""
    return _EPOCH + timedelta(microseconds=int(microseconds))


@dataclass(frozen=True, slots=True)
class Chunk:
    """Orders in their places: ids, cents that refunds leave, instants in microseconds since 2000, and how many touches
    they had when they were computed last.
    """

    order_ids: NDArray[np.int64]
    revenue: NDArray[np.int64]
    placed: NDArray[np.int64]
    calculated: NDArray[np.int64]
    touches: NDArray[np.int64]

    @classmethod
    def of(cls, packed: bytes) -> Chunk:
        """From records of ``CONVERSION``."""
        records = np.frombuffer(packed, CONVERSION)
        table = (records[name].astype(np.int64) for name in CONVERSION.names or ())
        return cls(*table)

    def __len__(self) -> int:
        return len(self.order_ids)

    @property
    def times(self) -> tuple[datetime, datetime]:
        """The first order's time and the last one's."""
        return instant_of(self.placed.min()), instant_of(self.placed.max())

    def part(self, begin: int, end: int) -> Chunk:
        """The orders from one place on and before another, in places of their own."""
        return Chunk(*(getattr(self, field.name)[begin:end] for field in fields(self)))


@dataclass(frozen=True, slots=True)
class Journeys:
    """Selected touches, order by order, oldest first; order ``at`` has those from ``begins[at]`` to ``ends[at]``."""

    records: NDArray[Any]
    begins: NDArray[np.int64]
    ends: NDArray[np.int64]

    @property
    def counts(self) -> NDArray[np.int64]:
        """How many touches each order has."""
        return self.ends - self.begins

    def part(self, begin: int, end: int) -> Journeys:
        """Those of the orders from one place on and before another."""
        first, last = (self.begins[begin], self.ends[end - 1]) if end > begin else (0, 0)
        return Journeys(
            self.records[first:last], self.begins[begin:end] - first, self.ends[begin:end] - first
        )


def select_journeys(packed: bytes, chunk: Chunk, settings: AttributionSettings) -> Journeys:
    """Order the touches, count each once, keep the latest fifty, and collapse them where the tenant wants that."""
    found = np.frombuffer(packed, TOUCH)
    order = _oldest_first(found, chunk)
    found = found[order]
    place = found["place"].astype(np.int64)
    kept = np.ones(len(found), bool)
    kept[1:] = (place[1:] != place[:-1]) | (found["id"][1:] != found["id"][:-1])
    if not kept.all():
        found, place = found[kept], place[kept]
    begins, ends = _bounds(place, len(chunk))
    late = np.arange(len(place)) >= ends[place] - MAX_TOUCHES
    if settings.collapse:
        following = np.zeros(len(place), bool)
        following[:-1] = (place[1:] == place[:-1]) & (found["channel"][1:] == found["channel"][:-1])
        late &= ~following
    if not late.all():
        found, place = found[late], place[late]
        begins, ends = _bounds(place, len(chunk))
    return Journeys(found, begins, ends)


def _oldest_first(found: NDArray[Any], chunk: Chunk) -> NDArray[np.int64]:
    """Order touches by their conversion, their time and their id; ids are looked at only where times are equal."""
    place, instant = found["place"].astype(np.int64), found["instant"].astype(np.int64)
    age = chunk.placed[place] - instant
    key = place * (int(age.max(initial=0)) + 1) - age
    order = np.argsort(key, kind="stable")
    if (np.diff(key[order]) == 0).any():
        halves = np.ascontiguousarray(found["id"]).view(">u8").reshape(-1, 2)
        order = np.lexsort((halves[:, 1], halves[:, 0], key))
    return order


def _bounds(place: NDArray[np.int64], orders: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    edges = np.searchsorted(place, np.arange(orders + 1))
    return edges[:-1], edges[1:]


@dataclass(frozen=True, slots=True)
class Written:
    """Rows of credits with one number of touches in one window: the places of their orders, and their records."""

    days: int
    places: NDArray[np.int64]
    records: NDArray[Any]
    shares_at: int


def credit_chunk(chunk: Chunk, journeys: Journeys, settings: AttributionSettings) -> Iterator[Written]:
    """The chunk's rows of ``attribution_credits``, as records of a binary COPY.

    A window's touches are the last of the longest window's, so that what is computed for a number of touches serves
    every window that has as many.
    """
    records = journeys.records
    instants, channels = records["instant"].astype(np.int64), records["channel"].astype(np.int16)
    place = np.repeat(np.arange(len(chunk)), journeys.counts)
    age = chunk.placed[place] - instants
    inside = {days: np.bincount(place[age <= days * DAY], minlength=len(chunk)) for days in settings.windows}
    for number in range(1, int(journeys.counts.max(initial=0)) + 1):
        windows = {days: np.flatnonzero(counts == number) for days, counts in inside.items()}
        rows = np.unique(np.concatenate(list(windows.values())))
        if not len(rows):
            continue
        of_row = (journeys.ends[rows] - number)[:, None] + np.arange(number)
        touches = Touches(chunk.revenue[rows], instants[of_row], channels[of_row])
        form = CreditRecords(number, settings.written_models)
        made = _records(form, chunk.order_ids[rows], records["id"][of_row], touches, settings)
        for days, chosen in windows.items():
            if len(chosen):
                written = made if len(windows) == 1 else made[np.searchsorted(rows, chosen)]
                written["window"] = days
                yield Written(days, chosen, written, form.shares_at)


def _records(
    form: CreditRecords,
    order_ids: NDArray[np.int64],
    ids: NDArray[Any],
    touches: Touches,
    settings: AttributionSettings,
) -> NDArray[Any]:
    """Records of conversions with one number of touches, but for their window."""
    made = form.make(len(order_ids))
    made["order"], made["ids"]["v"], made["channels"]["v"] = order_ids, ids, touches.channels
    for model in settings.written_models:
        credit, cents = share(model, touches, settings)
        made[f"credits_{model}"]["v"] = credit
        made[f"cents_{model}"]["v"] = cents
    return made
