"""How counts come to rest: hours are folded into days once, and days are counted anew from what was kept.

A fold is exactly once, whoever dies when: the snapshot keeps its id until it is dropped, and the id is remembered in
the transaction that adds it. A rebuild wins: what it has counted of an hour, no later fold adds again.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from commerce.ab_testing.model import (
    COUNTED,
    FOLD_GRACE,
    DayMetrics,
    Difference,
    closed_before,
    compare,
    read_counts,
)
from commerce.ab_testing.repository import Metrics
from tradewind.ports import HotCounters
from tradewind.tenancy.database import TenantDb, Transaction

CHANGED = timedelta(hours=26)
"""How far a fold looks back for conversions that have changed: beyond a day without any fold."""
EVENTS_KEPT = timedelta(days=29)
"""Days whose raw events are all there; the partition of the thirtieth may go at any moment."""


@dataclass(frozen=True, slots=True)
class Folded:
    """``hours`` were taken, ``counts`` of them added; ``again`` were found added already."""

    hours: int = 0
    counts: int = 0
    again: int = 0


def fold(db: TenantDb, counters: HotCounters, now: datetime, grace: timedelta = FOLD_GRACE) -> Folded:
    """Add every closed hour's counters to the days, one transaction each, and purchases as they are."""
    hours = counts = again = 0
    while (snapshot := counters.take(closed_before(now, grace))) is not None:
        found = read_counts(snapshot.amounts)
        with db.begin() as tx:
            metrics = Metrics(tx)
            metrics.lock()
            if metrics.begin_fold(snapshot.id, snapshot.hour, len(found)):
                metrics.add(snapshot.hour, found)
                hours, counts = hours + 1, counts + len(found)
            else:
                again += 1
        counters.drop(snapshot)
    with db.begin() as tx:
        metrics = Metrics(tx)
        metrics.lock()
        metrics.refresh_purchases(now - CHANGED)
        metrics.mark_counted(closed_before(now, grace))
    return Folded(hours, counts, again)


def find_differences(tx: Transaction, first: date, last: date, now: datetime) -> list[Difference]:
    """Where folded counts differ from what was kept. Purchases are no counts: they follow from the conversions."""
    metrics = Metrics(tx)
    metrics.lock()
    actual = metrics.list_actual(first, last, closed_before(now))
    differences = compare(metrics.list_stored(first, last), actual)
    return [each for each in differences if each.metric in COUNTED]


def rebuild(
    tx: Transaction,
    first: date,
    last: date,
    now: datetime,
    found_by: str,
    only_test: str | None = None,
    through: datetime | None = None,
) -> list[Difference]:
    """Count days anew from what was kept, note each difference, and let the new numbers stand.

    What was kept since the last closed hour is left for the next fold, but with ``through``: then it is counted now,
    and no fold adds it again. Only for a test that is over.
    """
    first = max(first, (now - EVENTS_KEPT).date())
    metrics, kept_before = Metrics(tx), through or closed_before(now)
    metrics.lock()
    metrics.refresh_purchases(now - CHANGED)
    stored = metrics.list_stored(first, last, only_test)
    actual = metrics.list_actual(first, last, kept_before, only_test)
    differences = compare(stored, actual)
    values = {(each.test_id, each.variant_id, each.day): each.values for each in actual}
    keys = sorted(values.keys() | {(each.test_id, each.variant_id, each.day) for each in stored})
    metrics.replace([DayMetrics(*key, values.get(key, {})) for key in keys], kept_before)
    metrics.save_differences(differences, found_by, corrected=True)
    return differences
