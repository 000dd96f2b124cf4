"""Which slot of a cron an instant belongs to, pure. A slot is the scheduled time, never now."""

from __future__ import annotations

import zlib
from datetime import UTC, date, datetime, time, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

_FULL = {
    "minute": range(60),
    "hour": range(24),
    "day": range(1, 32),
    "month": range(1, 13),
    "weekday": range(7),
}
_YEARS_SEARCHED = 5
MAX_SPREAD = timedelta(minutes=5)


def parse_cron(expression: str) -> dict[str, frozenset[int]]:
    """Each field's values; weekdays count from Sunday = 0 (7 is Sunday too)."""
    parsed: dict[str, frozenset[int]] = {}
    for (name, whole), text in zip(_FULL.items(), expression.split(), strict=True):
        values: set[int] = set()
        for part in text.split(","):
            span, _, step = part.partition("/")
            low, high = (whole[0], whole[-1]) if span == "*" else _ends(span, whole[-1] if step else None)
            values |= {
                value % 7 if name == "weekday" else value for value in range(low, high + 1, int(step or 1))
            }
        parsed[name] = frozenset(values)
    return parsed


def _ends(span: str, open_end: int | None) -> tuple[int, int]:
    low, _, high = span.partition("-")
    return int(low), int(high) if high else int(low) if open_end is None else open_end


def local_slots(expression: str, day: date) -> list[datetime]:
    """The naive local times of a day at which the cron fires."""
    cron = parse_cron(expression)
    if (
        day.month not in cron["month"]
        or day.day not in cron["day"]
        or day.isoweekday() % 7 not in cron["weekday"]
    ):
        return []
    return [
        datetime.combine(day, time(hour, minute))
        for hour in sorted(cron["hour"])
        for minute in sorted(cron["minute"])
    ]


def previous_slot(expression: str, zone: str, now: datetime) -> datetime:
    """The latest slot at or before ``now``, in UTC. Raises ValueError for a cron that has not fired in five years.

    A local time that a clock change skips fires at the instant it would have been; one that comes twice fires once,
    the first time.
    """
    where = ZoneInfo(zone)
    day = now.astimezone(where).date()
    for _ in range(366 * _YEARS_SEARCHED):
        fired = [
            moment
            for moment in (_instant(slot, where) for slot in local_slots(expression, day))
            if moment <= now
        ]
        if fired:
            return max(fired)
        day -= timedelta(days=1)
    raise ValueError(f"cron {expression!r} does not fire")


def slot_of(cron: str, zone: str, time: str | None, now: datetime) -> datetime:
    """The slot that fired: EventBridge's time, or the latest before ``now`` where it is not given."""
    try:
        given = datetime.fromisoformat(time) if time else now
    except ValueError:
        given = now
    given = given if given.tzinfo else given.replace(tzinfo=UTC)
    return previous_slot(cron, zone, given + timedelta(seconds=59))


def next_slot(expression: str, zone: str, now: datetime) -> datetime:
    """The first slot after ``now``, in UTC."""
    where = ZoneInfo(zone)
    day = now.astimezone(where).date()
    for _ in range(366 * _YEARS_SEARCHED):
        coming = [
            moment
            for moment in (_instant(slot, where) for slot in local_slots(expression, day))
            if moment > now
        ]
        if coming:
            return min(coming)
        day += timedelta(days=1)
    raise ValueError(f"cron {expression!r} does not fire")


def local_name(slot: datetime, zone: str) -> str:
    """A slot's name: its local date and time, so that a day of 23 or 25 hours has each once."""
    return slot.astimezone(ZoneInfo(zone)).strftime("%Y-%m-%dT%H:%M")


def cause_of(schedule: str, slot: datetime, zone: str) -> str:
    """The cause of a tenant's run for a slot: whoever starts it, it is one run."""
    return f"{schedule}@{local_name(slot, zone)}"


def _instant(local: datetime, where: ZoneInfo) -> datetime:
    return local.replace(tzinfo=where, fold=0).astimezone(UTC)


def period_of(expression: str, zone: str, slot: datetime) -> timedelta:
    """How long until the slot after this one."""
    return next_slot(expression, zone, slot) - slot


def spread_of(tenant_id: UUID, window: timedelta) -> timedelta:
    """A tenant's own place in the window: the same at each slot, evenly spread over tenants."""
    return window * (zlib.crc32(tenant_id.bytes) / 2**32)


def window_for(period: timedelta, tenants: int) -> timedelta:
    """How long a fan-out may take to release its messages: shorter than the period, and nothing for a handful."""
    if tenants <= 100:  # noqa: PLR2004 - so few messages are no burst
        return timedelta()
    return min(period / 2, MAX_SPREAD)
