from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from ingress.slots import local_name, next_slot, previous_slot, slot_of, spread_of, window_for
from tests.fakes import NOON
from tradewind.clock import FixedClock
from tradewind.tasks.retry import Backoff, Retry, exponential, fixed
from tradewind.tasks.triggers import Cron


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("*/5 * * * *", "cron(*/5 * * * ? *)"),
        ("0 6 1 * *", "cron(0 6 1 * ? *)"),
        ("0 8 * * 1-5", "cron(0 8 ? * 2-6 *)"),
        ("0 8 * * 0", "cron(0 8 ? * 1 *)"),
        ("0 8 * * 7", "cron(0 8 ? * 1 *)"),
        ("15,45 2 * * 1,3", "cron(15,45 2 ? * 2,4 *)"),
    ],
)
def test_cron_in_eventbridges_words(expression: str, expected: str) -> None:
    assert Cron(expression).for_eventbridge() == expected


@pytest.mark.parametrize(
    "expression",
    [
        "* * * *",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * * 13 *",
        "* * * * 8",
        "a * * * *",
        "*/0 * * * *",
        "1-2-3 * * * *",
        "0 0 1 * 1",
    ],
)
def test_impossible_cron_is_refused_at_import(expression: str) -> None:
    with pytest.raises(ValueError, match="cron"):
        Cron(expression)


def test_unknown_zone_is_refused() -> None:
    with pytest.raises(Exception, match="Mars"):
        Cron("0 0 * * *", zone="Mars/Olympus")


@pytest.mark.parametrize(
    ("expression", "zone", "now", "expected"),
    [
        ("30 * * * *", "UTC", "2026-11-22T10:30:00+00:00", "2026-11-22T10:30:00+00:00"),
        ("30 * * * *", "UTC", "2026-11-22T10:29:59+00:00", "2026-11-22T09:30:00+00:00"),
        ("0 6 1 * *", "UTC", "2026-11-22T10:00:00+00:00", "2026-11-01T06:00:00+00:00"),
        ("0 8 * * 1-5", "America/New_York", "2026-11-22T10:00:00+00:00", "2026-11-20T13:00:00+00:00"),
        # Clocks go back on 1 November 2026: 01:30 comes twice and fires once, the first time (EDT, UTC-4).
        ("30 1 * * *", "America/New_York", "2026-11-01T12:00:00+00:00", "2026-11-01T05:30:00+00:00"),
        # Clocks go forward on 8 March 2026: 02:30 does not exist and fires when it would have been (07:30 UTC).
        ("30 2 * * *", "America/New_York", "2026-03-08T12:00:00+00:00", "2026-03-08T07:30:00+00:00"),
    ],
)
def test_previous_slot(expression: str, zone: str, now: str, expected: str) -> None:
    assert previous_slot(expression, zone, datetime.fromisoformat(now)) == datetime.fromisoformat(expected)


def test_a_day_of_25_hours_has_each_local_slot_once() -> None:
    moment = datetime(2026, 11, 1, 0, tzinfo=UTC)
    names = []
    while (moment := next_slot("30 1 * * *", "America/New_York", moment)) < datetime(2026, 11, 3, tzinfo=UTC):
        names.append(local_name(moment, "America/New_York"))
    assert names == ["2026-11-01T01:30", "2026-11-02T01:30"]


def test_slot_is_the_scheduled_time_even_when_it_is_not_told() -> None:
    late = datetime(2026, 11, 22, 10, 41, tzinfo=UTC)
    expected = datetime(2026, 11, 22, 10, 30, tzinfo=UTC)
    assert slot_of("30 * * * *", "UTC", "2026-11-22T10:30:00Z", late) == expected
    assert slot_of("30 * * * *", "UTC", "<aws.scheduler.scheduled-time>", late) == expected
    assert slot_of("30 * * * *", "UTC", None, late) == expected


def test_tenants_are_spread_evenly_over_a_window_shorter_than_the_period() -> None:
    window = window_for(timedelta(minutes=5), 10_000)
    assert window == timedelta(minutes=2, seconds=30)
    tenants = [UUID(int=uuid4().int) for _ in range(2000)]
    places = [spread_of(tenant, window) for tenant in tenants]
    assert all(timedelta() <= place < window for place in places)
    first_half = sum(place < window / 2 for place in places)
    assert 880 < first_half < 1120
    assert window_for(timedelta(hours=1), 3) == timedelta()


def test_backoff_doubles_to_its_longest_and_jitter_only_shortens() -> None:
    backoff = exponential(2, 30)
    assert [backoff.wait(attempt, 0).total_seconds() for attempt in range(1, 7)] == [2, 4, 8, 16, 30, 30]
    assert backoff.wait(3, 0.999).total_seconds() == pytest.approx(4, abs=0.01)
    assert fixed(5).wait(9, 0.7) == timedelta(seconds=5)
    assert Backoff(timedelta(days=1), timedelta(days=9)).wait(1, 0) == timedelta(hours=12)


def test_impossible_retry_is_refused() -> None:
    with pytest.raises(ValueError, match="attempts is 0"):
        Retry(attempts=0)
    with pytest.raises(ValueError, match="attempt is 0"):
        fixed(1).wait(0, 0)


def test_clock_stands_until_told() -> None:
    clock = FixedClock(NOON)
    clock.advance(timedelta(hours=1))
    assert clock.now() == NOON + timedelta(hours=1)
