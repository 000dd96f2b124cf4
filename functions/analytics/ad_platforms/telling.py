"""Tell one platform one event: claim, commit, call, record.

What a dead worker left, or a call whose answer was lost, is told again with the same id for as long as the platform
drops the second; what it would count twice is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from analytics.ad_platforms.model import (
    SkipReason,
    is_known_still,
    is_repeatable,
    skip_reason,
    without_purchase,
)
from analytics.ad_platforms.repository import Claim, Entry, Ledger
from tradewind.advertising import ConversionApis
from tradewind.clock import Clock
from tradewind.errors import LeaseHeldError, ProviderUnavailableError, TradewindError
from tradewind.loglines import count_line
from tradewind.tasks.run import Run
from tradewind.tasks.task import LEASE_MARGIN
from tradewind.tenancy.database import TenantDb

HELD = timedelta(seconds=30)


class Outcome(StrEnum):
    """``known`` was told before; ``unknown`` may have been, and is not told again."""

    ACKNOWLEDGED = "acknowledged"
    KNOWN = "known"
    UNKNOWN = "unknown"
    SKIPPED = "skipped"
    NOT_CONNECTED = "not_connected"
    BACKFILLED = "backfilled"


@dataclass(frozen=True, slots=True)
class Told:
    """What became of an event at one platform. ``value_cents`` is the value that it was told."""

    destination: str
    event_id: str
    outcome: Outcome
    reason: str | None = None
    value_cents: int = 0


def tell(
    run: Run,
    db: TenantDb,
    apis: ConversionApis,
    clock: Clock,
    entry: Entry,
    refused: SkipReason | None = None,
) -> Told:
    """Tell a platform, or note why not. ``refused`` is a reason that its caller has found."""
    now = clock.now()
    reason = refused or skip_reason(entry.destination, entry.event, now)
    if reason is not None:
        return _skip(db, entry, reason, now)
    prepared = apis.prepare(entry.destination, entry.event)
    repeatable = is_repeatable(entry.destination, entry.event.name)
    with db.begin() as tx:
        ledger = Ledger(tx)
        claim = ledger.claim(entry, prepared, run.id, now, run.deadline + LEASE_MARGIN, repeatable=repeatable)
        if claim.first_told_at is None:
            return _not_taken(ledger, run, entry, claim, now)
        if not is_known_still(entry.destination, claim.first_told_at, now):
            ledger.leave(entry, run.id, now)
            return _told(entry, Outcome.UNKNOWN)
    try:
        receipt = apis.send(prepared)
    except TradewindError as error:
        _note(db, run, entry, error, clock.now())
        raise
    with db.begin() as tx:
        Ledger(tx).mark_acknowledged(entry, run.id, receipt, clock.now())
    return _told(entry, Outcome.ACKNOWLEDGED, value_cents=prepared.value_cents)


def tell_refund(
    run: Run, db: TenantDb, apis: ConversionApis, clock: Clock, entry: Entry, order_id: int
) -> Told:
    """Tell a platform a refund where it was told the purchase. Where not, that is noted under the order's lock: whoever
    tells the purchase looks there afterwards, and one of the two sees the other.
    """
    with db.begin() as tx:
        ledger = Ledger(tx)
        ledger.lock_order(order_id)
        reason = without_purchase(ledger.list_purchases(order_id).get(entry.destination))
        if reason is not None:
            ledger.skip(entry, reason, clock.now())
    return tell(run, db, apis, clock, entry) if reason is None else _told(entry, Outcome.SKIPPED, reason)


def _skip(db: TenantDb, entry: Entry, reason: SkipReason, now: datetime) -> Told:
    with db.begin() as tx:
        Ledger(tx).skip(entry, reason, now)
    return _told(entry, Outcome.SKIPPED, reason)


def _not_taken(ledger: Ledger, run: Run, entry: Entry, claim: Claim, now: datetime) -> Told:
    if claim.held_by_another:
        raise LeaseHeldError(f"{entry.event.name} at {entry.destination}", entry.subject, HELD)
    if claim.before in {"claimed", "sent"}:
        ledger.leave(entry, run.id, now)
        return _told(entry, Outcome.UNKNOWN)
    return _told(entry, Outcome.SKIPPED if claim.before == "skipped" else Outcome.KNOWN)


def _note(db: TenantDb, run: Run, entry: Entry, error: TradewindError, now: datetime) -> None:
    """What a failed call leaves: it was not told, or nobody knows."""
    with db.begin() as tx:
        if isinstance(error, ProviderUnavailableError) and error.outcome_unknown:
            Ledger(tx).mark_sent(entry, run.id, now)
        else:
            Ledger(tx).mark_failed(entry, run.id, type(error).__name__, now)


def _told(entry: Entry, outcome: Outcome, reason: str | None = None, *, value_cents: int = 0) -> Told:
    count_line("AdEvent", destination=entry.destination, outcome=outcome)
    return Told(entry.destination, entry.event.id, outcome, reason, value_cents)
