"""Which hours, days and weeks are over, pure: a period is a pair of instants, whatever a clock does in between."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from tradewind.errors import InvalidPayloadError

HOUR, DAY, WEEK = timedelta(hours=1), timedelta(days=1), timedelta(weeks=1)


class PeriodKind(StrEnum):
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"


@dataclass(frozen=True, slots=True)
class Period:
    """From ``opened_at`` on and before ``closes_at``; ``starts_on`` is the local date of its beginning."""

    kind: PeriodKind
    opened_at: datetime
    closes_at: datetime
    starts_on: date


@dataclass(frozen=True, slots=True)
class Figures:
    """What was counted of a period; the rest stands in its row. Money in cents of the tenant's currency."""

    period: Period
    orders: int
    net_sales_cents: int
    average_order_cents: int
    customers: int
    new_customers: int
    attributed_cents: int


def midnight(day: date, zone: str) -> datetime:
    """The instant at which a local day begins. Where clocks skip midnight it is the moment of the change; where
    midnight
    comes twice it is the first.
    """
    return datetime.combine(day, time.min, ZoneInfo(zone)).astimezone(UTC)


def day_of(day: date, zone: str) -> Period:
    """A local day: 23, 24 or 25 hours."""
    return Period(PeriodKind.DAY, midnight(day, zone), midnight(day + DAY, zone), day)


def week_of(monday: date, zone: str) -> Period:
    """A local week from Monday to Sunday. Raises InvalidPayloadError for another day."""
    if monday.weekday() != 0:
        raise InvalidPayloadError("week_on", f"{monday} is no Monday", "the date on which the week begins")
    return Period(PeriodKind.WEEK, midnight(monday, zone), midnight(monday + WEEK, zone), monday)


def closed_hours(now: datetime, zone: str, count: int) -> list[Period]:
    """The last full hours before ``now``, the oldest first; hours of UTC."""
    last = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    starts = [last - HOUR * back for back in range(count, 0, -1)]
    return [
        Period(PeriodKind.HOUR, start, start + HOUR, start.astimezone(ZoneInfo(zone)).date())
        for start in starts
    ]


def closed_days(now: datetime, zone: str, count: int, last: date | None = None) -> list[Period]:
    """The last completed local days, the oldest first; ``last`` names the last one. Raises InvalidPayloadError
    where that
    day is not over.
    """
    yesterday = now.astimezone(ZoneInfo(zone)).date() - DAY
    if last is not None and last > yesterday:
        raise InvalidPayloadError("last_day", f"{last} is not over in {zone}", f"{yesterday} or earlier")
    return [day_of((last or yesterday) - DAY * back, zone) for back in range(count - 1, -1, -1)]


def week_before(slot: datetime) -> date:
    """The Monday of the week that ended last before a Monday's slot, by UTC's calendar."""
    today = slot.astimezone(UTC).date()
    return today - DAY * today.weekday() - WEEK


def change_percent(before: int, now: int) -> int:
    """The change in whole percent of what was before, rounded half away from zero; 100 where something came of
    nothing.
    """
    if before == 0:
        return 100 if now > 0 else 0
    change, base = (now - before) * 100, abs(before)
    return (abs(change) * 2 + base) // (2 * base) * (1 if change >= 0 else -1)
