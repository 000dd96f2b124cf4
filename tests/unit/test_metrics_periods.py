"""Hours, days and weeks by the clocks of real zones."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest

from analytics.metrics.model import (
    change_percent,
    closed_days,
    closed_hours,
    day_of,
    midnight,
    week_before,
    week_of,
)
from tradewind.errors import InvalidPayloadError


@pytest.mark.parametrize(
    ("zone", "day", "opened", "hours"),
    [
        ("Europe/Berlin", date(2026, 3, 29), datetime(2026, 3, 28, 23, tzinfo=UTC), 23),
        ("Europe/Berlin", date(2026, 10, 25), datetime(2026, 10, 24, 22, tzinfo=UTC), 25),
        ("America/New_York", date(2026, 3, 8), datetime(2026, 3, 8, 5, tzinfo=UTC), 23),
        ("America/New_York", date(2026, 11, 1), datetime(2026, 11, 1, 4, tzinfo=UTC), 25),
        ("Asia/Kolkata", date(2026, 6, 1), datetime(2026, 5, 31, 18, 30, tzinfo=UTC), 24),
        ("Pacific/Kiritimati", date(2026, 6, 1), datetime(2026, 5, 31, 10, tzinfo=UTC), 24),
        # Clocks went from 24:00 to 01:00: the day began at what would have been midnight.
        ("America/Sao_Paulo", date(2018, 11, 4), datetime(2018, 11, 4, 3, tzinfo=UTC), 23),
        # Clocks went from 24:00 back to 23:00: Saturday has 25 hours, and Sunday's midnight comes once.
        ("America/Sao_Paulo", date(2018, 2, 17), datetime(2018, 2, 17, 2, tzinfo=UTC), 25),
    ],
)
def test_a_local_day_has_the_hours_that_its_clock_gives_it(
    zone: str, day: date, opened: datetime, hours: int
) -> None:
    found = day_of(day, zone)
    assert (found.opened_at, found.closes_at - found.opened_at) == (opened, timedelta(hours=hours))


def test_days_of_a_year_follow_each_other_without_gap_or_overlap() -> None:
    for zone in ("Europe/Berlin", "America/St_Johns", "Africa/Cairo", "Australia/Lord_Howe"):
        days = [day_of(date(2026, 1, 1) + timedelta(days=at), zone) for at in range(366)]
        assert all(one.closes_at == other.opened_at for one, other in pairwise(days))
        assert {(day.closes_at - day.opened_at).total_seconds() / 3600 for day in days} <= {
            23,
            23.5,
            24,
            24.5,
            25,
        }


@pytest.mark.parametrize(
    ("zone", "last"),
    [
        ("UTC", date(2026, 5, 31)),
        ("America/New_York", date(2026, 5, 30)),
        ("Asia/Tokyo", date(2026, 5, 31)),
        ("Pacific/Kiritimati", date(2026, 5, 31)),
        ("Pacific/Honolulu", date(2026, 5, 30)),
    ],
)
def test_at_two_in_the_morning_the_last_completed_local_day_is_closed_and_two_again(
    zone: str, last: date
) -> None:
    slot = datetime(2026, 6, 1, 2, tzinfo=UTC)
    found = closed_days(slot, zone, 3)
    assert [day.starts_on for day in found] == [last - timedelta(days=2), last - timedelta(days=1), last]
    assert found[-1].closes_at <= slot < found[-1].closes_at + timedelta(days=1)


def test_a_day_that_is_not_over_is_refused_by_name() -> None:
    with pytest.raises(InvalidPayloadError, match="last_day: 2026-06-01 is not over in UTC"):
        closed_days(datetime(2026, 6, 1, 23, tzinfo=UTC), "UTC", 1, date(2026, 6, 1))


def test_hours_are_full_ones_and_know_their_local_date() -> None:
    found = closed_hours(datetime(2026, 6, 1, 0, 5, tzinfo=UTC), "America/New_York", 2)
    assert [(hour.opened_at.hour, hour.starts_on) for hour in found] == [
        (22, date(2026, 5, 31)),
        (23, date(2026, 5, 31)),
    ]


def test_a_week_begins_on_a_monday() -> None:
    week = week_of(date(2026, 3, 23), "Europe/Berlin")
    assert week.closes_at - week.opened_at == timedelta(hours=7 * 24 - 1)
    assert week_before(datetime(2026, 3, 30, 8, tzinfo=UTC)) == date(2026, 3, 23)
    assert week_before(datetime(2026, 4, 2, tzinfo=UTC)) == date(2026, 3, 23)
    with pytest.raises(InvalidPayloadError, match="week_on: 2026-03-24 is no Monday"):
        week_of(date(2026, 3, 24), "UTC")


def test_midnight_is_told_in_utc() -> None:
    assert midnight(date(2026, 1, 1), "Asia/Kathmandu") == datetime(2025, 12, 31, 18, 15, tzinfo=UTC)


@pytest.mark.parametrize(
    ("before", "now", "percent"),
    [
        (0, 0, 0),
        (0, 5, 100),
        (0, -5, 0),
        (200, 250, 25),
        (200, 150, -25),
        (-100, 100, 200),
        (8, 9, 13),
        (8, 7, -13),
    ],
)
def test_change_is_told_in_whole_percent(before: int, now: int, percent: int) -> None:
    assert change_percent(before, now) == percent
