"""When what failed is told again, and when a subscriber is given up, pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid5

MOST_SUBSCRIPTIONS = 10
"""A tenant's, those that are switched off included."""
WAITS = (
    timedelta(minutes=1),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=24),
)
"""After the first, second ... failed attempt; the sixth is the last."""
MOST_REFUSALS = 20
"""Deliveries in a row that an address refuses for good before nothing more is sent there."""


class EventType(StrEnum):
    CONVERSION_RECORDED = "conversion.recorded"
    ATTRIBUTION_CALCULATED = "attribution.calculated"
    TOUCHPOINT_RECORDED = "touchpoint.recorded"


@dataclass(frozen=True, slots=True)
class Subscription:
    name: str
    url: str
    events: tuple[EventType, ...]
    active: bool = True


@dataclass(frozen=True, slots=True)
class Claimed:
    """A subscription that this run alone tells; ``failures`` are deliveries that failed in a row before."""

    name: str
    url: str
    failures: int


@dataclass(frozen=True, slots=True)
class Telling:
    """Something to tell: what was true of it when it was read; ``data`` is None where it is not there any more."""

    id: int
    event: EventType
    subject: str
    attempts: int
    created_at: datetime
    data: Mapping[str, Any] | None


class Outcome(StrEnum):
    DELIVERED = "delivered"
    GONE = "gone"
    """What it was about is not there any more."""
    AGAIN = "again"
    """Later; what comes behind it waits, so that the order is kept."""
    DEAD = "dead"
    """Never again; what comes behind it goes on."""
    DISABLED = "disabled"
    """Never again, and nothing more is sent to this address until a person says so."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a failed attempt means. ``wait`` is only of one that is tried again."""

    outcome: Outcome
    wait: timedelta = timedelta()


def verdict_on_silence(attempts: int, asked_wait: timedelta | None) -> Verdict:
    """No usable answer at the ``attempts``-th attempt, or one that asks to wait. An address that gave none for over a
    day is taken for dead.
    """
    if attempts > len(WAITS):
        return Verdict(Outcome.DISABLED)
    return Verdict(Outcome.AGAIN, max(WAITS[attempts - 1], asked_wait or timedelta()))


def verdict_on_refusal(failures: int, *, gone: bool) -> Verdict:
    """A refusal for good, after ``failures`` deliveries that failed in a row before it."""
    return Verdict(Outcome.DISABLED if gone or failures + 1 >= MOST_REFUSALS else Outcome.DEAD)


def delivery_id(tenant_id: UUID, webhook_id: int) -> UUID:
    """What a receiver knows a webhook by, the same for each attempt."""
    return uuid5(tenant_id, f"webhook/{webhook_id}")


def body_of(telling: Telling) -> dict[str, Any]:
    """What is sent: Standard Webhooks' three fields."""
    return {
        "type": telling.event,
        "timestamp": telling.created_at.astimezone(UTC).isoformat(),
        "data": dict(telling.data or {}),
    }
