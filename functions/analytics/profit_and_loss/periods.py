"""The days of a statement, pure: local days, both ends with it, and those that it is compared with."""

from __future__ import annotations

import calendar
from datetime import date
from typing import Literal

from analytics.metrics.model import DAY, Period, midnight
from analytics.profit_and_loss.model import Span


def span_of(start: date, end: date, zone: str) -> Span:
    return Span(start, end, midnight(start, zone), midnight(end + DAY, zone))


def month_of(day: date, zone: str) -> Span:
    """The calendar month that holds a day."""
    last = calendar.monthrange(day.year, day.month)[1]
    return span_of(day.replace(day=1), day.replace(day=last), zone)


def month_before(day: date, zone: str) -> Span:
    """The calendar month before that of a day."""
    return month_of(day.replace(day=1) - DAY, zone)


def span_of_day(period: Period) -> Span:
    return Span(period.starts_on, period.starts_on, period.opened_at, period.closes_at)


def before(span: Span, zone: str, compare: Literal["previous", "year"]) -> Span:
    """The days before, as many (of a whole month: the month before), or the same dates a year earlier; the 29th of
    February has the 28th.
    """
    if compare == "year":
        return span_of(_year_before(span.start), _year_before(span.end), zone)
    if span == month_of(span.start, zone):
        return month_of(span.start - DAY, zone)
    length = span.end - span.start + DAY
    return span_of(span.start - length, span.end - length, zone)


def _year_before(day: date) -> date:
    last = calendar.monthrange(day.year - 1, day.month)[1]
    return day.replace(year=day.year - 1, day=min(day.day, last))
