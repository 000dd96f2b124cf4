"""What an export holds, which time it covers and when it is due, pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from enum import StrEnum
from uuid import UUID, uuid5
from zoneinfo import ZoneInfo

from tradewind.contracts.attribution import Model
from tradewind.exporting import Destination

MOST_EXPORTS = 10
"""A tenant's, switched off ones included."""
MOST_MISSED = 10
"""Files that are made up for after a standstill, the latest ones."""
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


class Dataset(StrEnum):
    TOUCHES = "touches"
    """A row for each conversion, touch, model and window."""
    CONVERSIONS = "conversions"
    """A row for each conversion: cents by channel for each model, in the tenant's default window."""
    CHANNELS = "channels"
    """A row for each day, model, window, channel and platform."""


class Format(StrEnum):
    CSV = "csv"
    JSON = "json"
    """One object a line."""
    PARQUET = "parquet"


class Every(StrEnum):
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


SUFFIXES: Mapping[Format, tuple[str, str]] = {
    Format.CSV: ("csv", "text/csv; charset=utf-8"),
    Format.JSON: ("jsonl", "application/x-ndjson"),
    Format.PARQUET: ("parquet", "application/vnd.apache.parquet"),
}
"""A file's suffix and its content type."""
COLUMNS: Mapping[Dataset, Mapping[str, str]] = {
    Dataset.TOUCHES: {
        "order_id": "BIGINT",
        "converted_at": "TIMESTAMPTZ",
        "currency": "VARCHAR",
        "order_revenue_cents": "BIGINT",
        "first_purchase": "BOOLEAN",
        "model": "VARCHAR",
        "window_days": "INTEGER",
        "position": "INTEGER",
        "touchpoint_id": "UUID",
        "touched_at": "TIMESTAMPTZ",
        "channel": "VARCHAR",
        "platform": "VARCHAR",
        "source": "VARCHAR",
        "medium": "VARCHAR",
        "campaign": "VARCHAR",
        "type": "VARCHAR",
        "credit": "DECIMAL(10, 9)",
        "revenue_cents": "BIGINT",
        "customer_id": "BIGINT",
        "visitor_id": "VARCHAR",
    },
    Dataset.CONVERSIONS: {
        "order_id": "BIGINT",
        "converted_at": "TIMESTAMPTZ",
        "calculated_at": "TIMESTAMPTZ",
        "currency": "VARCHAR",
        "gross_revenue_cents": "BIGINT",
        "revenue_cents": "BIGINT",
        "first_purchase": "BOOLEAN",
        "status": "VARCHAR",
        "touchpoints": "INTEGER",
        **dict.fromkeys(map(str, Model), "VARCHAR"),
        "customer_id": "BIGINT",
        "visitor_id": "VARCHAR",
    },
    Dataset.CHANNELS: {
        "day": "DATE",
        "model": "VARCHAR",
        "window_days": "INTEGER",
        "channel": "VARCHAR",
        "platform": "VARCHAR",
        "touchpoints": "INTEGER",
        "conversions": "DECIMAL(14, 6)",
        "revenue_cents": "BIGINT",
    },
}
"""Each dataset's columns in order, with their types in Parquet."""
ASKED_FOR = frozenset({"customer_id", "visitor_id", "calculated_at"})
"""Columns that an export holds only where it names them: they point at a person, or differ when nothing has changed."""


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How often, and at which local hour (of days, weeks from Monday, months from the first)."""

    every: Every
    at_hour: int


@dataclass(frozen=True, slots=True)
class Export:
    """What a tenant wants brought. Without models or windows all are meant, without columns those of ``columns_of``."""

    name: str
    dataset: Dataset
    format: Format
    destination: Destination
    columns: tuple[str, ...]
    models: tuple[str, ...]
    windows: tuple[int, ...]
    rhythm: Rhythm
    look_back_days: int
    active: bool = True


@dataclass(frozen=True, slots=True)
class Span:
    """From ``since_at`` on and before ``until_at``."""

    since_at: datetime
    until_at: datetime


@dataclass(frozen=True, slots=True)
class Extract:
    """What a file holds: of the time between, these columns. ``guarded``: as a spreadsheet may open it."""

    span: Span
    columns: tuple[str, ...]
    models: tuple[str, ...]
    windows: tuple[int, ...]
    default_window: int
    guarded: bool
    as_json: bool


def columns_of(export: Export) -> tuple[str, ...]:
    """An export's columns in their order."""
    every = COLUMNS[export.dataset]
    return export.columns or tuple(name for name in every if name not in ASKED_FOR)


def extract_of(export: Export, span: Span, default_window: int) -> Extract:
    """What an export's file holds. Parquet is made of CSV that no spreadsheet opens."""
    return Extract(
        span,
        columns_of(export),
        export.models,
        export.windows,
        default_window,
        guarded=export.format is Format.CSV,
        as_json=export.format is Format.JSON,
    )


def next_due(rhythm: Rhythm, after: datetime, zone: str) -> datetime:
    """The first moment after ``after`` at which an export is due. Where clocks skip its hour it is that of the change,
    where the hour comes twice its first.
    """
    if rhythm.every is Every.HOUR:
        return after.astimezone(UTC).replace(minute=0, second=0, microsecond=0) + HOUR
    local = after.astimezone(ZoneInfo(zone)).date()
    for ahead in range(40):
        day = local + DAY * ahead
        fits = {
            Every.DAY: True,
            Every.WEEK: day.weekday() == 0,
            Every.MONTH: day.day == 1,
        }[rhythm.every]
        due = datetime.combine(day, time(rhythm.at_hour), ZoneInfo(zone)).astimezone(UTC)
        if fits and due > after:
            return due
    raise AssertionError("every month has a first")


def missed(rhythm: Rhythm, due: datetime, now: datetime, zone: str) -> tuple[list[datetime], datetime]:
    """What has come due by now, the oldest first, and what is due next."""
    found: list[datetime] = []
    while due <= now:
        found.append(due)
        due = next_due(rhythm, due, zone)
    return found[-MOST_MISSED:], due


def span_of(export: Export, due_at: datetime, zone: str) -> Span:
    """The days that a file due at a moment covers: local ones, up to the day's beginning; of an hourly export hours, up
    to the full hour.
    """
    if export.rhythm.every is Every.HOUR:
        until = due_at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        return Span(until - DAY * export.look_back_days, until)
    local = ZoneInfo(zone)
    today = due_at.astimezone(local).date()
    begins = [
        datetime.combine(day, time.min, local).astimezone(UTC)
        for day in (today - DAY * export.look_back_days, today)
    ]
    return Span(begins[0], begins[1])


def file_name(export: Export, due_at: datetime) -> str:
    """Its name says what it is and when it was due, so that making it again replaces it."""
    return f"{export.name}-{due_at.astimezone(UTC):%Y%m%dT%H%M%SZ}.{SUFFIXES[export.format][0]}"


def delivery_id(tenant_id: UUID, name: str, due_at: datetime) -> UUID:
    """What a webhook's receiver knows a file by, the same for each attempt."""
    return uuid5(tenant_id, f"export/{name}/{due_at.astimezone(UTC).isoformat()}")
