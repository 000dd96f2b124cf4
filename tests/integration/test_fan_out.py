"""A schedule has fired: one message a tenant, once a slot, on the right clock."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ingress.fan_out import FanOut
from ingress.rounds import list_round
from tests.integration.headquarters import HOUR, SLOT, Headquarters, a_manifest, fire
from tradewind.errors import InvalidPayloadError, NotFoundError
from tradewind.tenancy.tenant import PLATFORM_TENANT


@pytest.fixture
def crowd(hq: Headquarters) -> int:
    """250 active tenants, acme among them, and two that are not active."""
    hq.write(
        "INSERT INTO tenants (slug, name, status) SELECT 'shop-' || n, 'Shop', 'active'"
        " FROM generate_series(2, 250) n UNION ALL VALUES ('paused', 'P', 'paused'), ('gone', 'G', 'uninstalled')"
    )
    return 250


def test_each_active_tenant_gets_one_message_however_often_the_clock_fires(
    hq: Headquarters, crowd: int
) -> None:
    written = [fire(hq, a_manifest(), SLOT)["written"] for _ in range(3)]
    assert written == [crowd, 0, 0]
    assert (hq.count("schedule_slot"), hq.count("outbox")) == (crowd, crowd)
    bodies = [json.loads(entry.body) for entry in hq.queues.sent]
    assert len({body["tenant_id"] for body in bodies}) == crowd
    assert {(body["cause"], body["source"], body["task"]) for body in bodies} == {
        ("hourly@2026-11-20T10:30", "schedule", "sweep")
    }
    assert {body["accepted_at"] for body in bodies} == {SLOT.isoformat()}
    assert all(body["payload"] == {"hours": 2} for body in bodies)


def test_due_times_of_a_crowd_are_spread_within_the_period(hq: Headquarters, crowd: int) -> None:
    begun = datetime.now(UTC).replace(minute=30, second=0, microsecond=0) + HOUR
    answer = fire(hq, a_manifest(), begun)
    assert answer == {"schedule": "hourly", "written": crowd, "released": 0, "paused": False}
    [row] = hq.house.query(
        "SELECT min(due_at) AS first, max(due_at) AS last, count(DISTINCT due_at)::int AS n FROM outbox"
    )
    assert begun <= row["first"] < begun + timedelta(seconds=20)
    assert begun + timedelta(minutes=4, seconds=40) < row["last"] < begun + timedelta(minutes=5)
    assert row["n"] == crowd


def test_tenant_with_an_unfinished_older_slot_is_skipped(hq: Headquarters, crowd: int) -> None:
    fire(hq, a_manifest(), SLOT)
    assert fire(hq, a_manifest(), SLOT + HOUR)["written"] == 0
    hq.write("UPDATE outbox SET state = 'done' WHERE tenant_id IN (SELECT tenant_id FROM outbox LIMIT 3)")
    assert fire(hq, a_manifest(), SLOT + HOUR)["written"] == 3
    assert fire(hq, a_manifest(), SLOT + 2 * HOUR)["written"] == 0
    assert hq.count("outbox") == crowd + 3


def test_schedule_that_queues_does_not_skip(hq: Headquarters, crowd: int) -> None:
    manifest = a_manifest(overlap="queue")
    assert [fire(hq, manifest, SLOT + HOUR * at)["written"] for at in (0, 1, 1)] == [crowd, crowd, 0]


def test_slot_is_the_scheduled_time_even_if_the_clock_is_late(hq: Headquarters) -> None:
    fire(hq, a_manifest(), SLOT + timedelta(minutes=9))
    FanOut(hq.platform, a_manifest()).run("hourly", None, SLOT + timedelta(minutes=50))
    FanOut(hq.platform, a_manifest()).run(
        "hourly", "<aws.scheduler.scheduled-time>", SLOT + timedelta(minutes=51)
    )
    assert hq.house.query("SELECT slot FROM schedule_slot") == [{"slot": "2026-11-20T10:30"}]


def test_schedule_of_the_platform_runs_once_for_all(hq: Headquarters, crowd: int) -> None:
    manifest = a_manifest(each_tenant=False)
    assert [fire(hq, manifest, SLOT)["written"] for _ in range(2)] == [1, 0]
    assert hq.house.query("SELECT tenant_id FROM outbox") == [{"tenant_id": PLATFORM_TENANT}]


def test_schedule_of_those_with_work_reaches_only_them(hq: Headquarters, crowd: int) -> None:
    hq.house.write("SELECT mark_due('hourly', %s)", SLOT + timedelta(minutes=10))
    hq.house.write("SELECT mark_due('other', %s)", SLOT)
    manifest = a_manifest(only_due=True, overlap="queue")
    written = [fire(hq, manifest, SLOT + HOUR * at)["written"] for at in (0, 1, 1, 2)]
    assert written == [0, 1, 0, 0]
    assert hq.house.query("SELECT tenant_id FROM outbox") == [{"tenant_id": hq.house.tenant_id}]
    assert hq.house.query("SELECT schedule FROM schedule_due") == [{"schedule": "other"}]


def test_unknown_schedule_is_refused(hq: Headquarters) -> None:
    with pytest.raises(NotFoundError, match="no schedule with id never"):
        FanOut(hq.platform, a_manifest()).run("never", None, SLOT)


ZONES = {"tokyo": "Asia/Tokyo", "berlin": "Europe/Berlin", "york": "America/New_York"}


@pytest.fixture
def clocks(hq: Headquarters) -> Headquarters:
    """Tenants in three zones, and acme in UTC."""
    for slug, zone in ZONES.items():
        hq.write("INSERT INTO tenants (slug, name, zone) VALUES (%s, %s, %s)", slug, slug, zone)
    return hq


def slots_by_slug(hq: Headquarters) -> list[tuple[str, str]]:
    rows = hq.house.query(
        "SELECT t.slug, s.slot FROM schedule_slot s JOIN tenants t USING (tenant_id) ORDER BY s.due_at, t.slug"
    )
    return [(row["slug"], row["slot"]) for row in rows]


def test_each_tenant_is_served_at_nine_on_its_own_clock(clocks: Headquarters) -> None:
    manifest = a_manifest(cron="0 9 * * *", zone="tenant")
    start = datetime(2026, 11, 19, 20, tzinfo=UTC)
    written = {}
    for step in range(1, 24 * 4 + 1):
        now = start + step * timedelta(minutes=15)
        answer = FanOut(clocks.platform, manifest).run("hourly", now.isoformat(), now)
        if answer["written"]:
            written[now.strftime("%H:%M")] = answer["written"]
    assert written == {"00:00": 1, "08:00": 1, "09:00": 1, "14:00": 1}
    day = "2026-11-20T09:00"
    assert slots_by_slug(clocks) == [("tokyo", day), ("berlin", day), ("acme", day), ("york", day)]


def test_day_of_twenty_five_hours_has_its_slot_once(clocks: Headquarters) -> None:
    manifest = a_manifest(cron="30 1 * * *", zone="tenant", overlap="queue")
    start = datetime(2026, 10, 31, 23, tzinfo=UTC)
    for step in range(24 * 4 + 8):
        now = start + step * timedelta(minutes=15)
        FanOut(clocks.platform, manifest).run("hourly", now.isoformat(), now)
    york = [slot for slug, slot in slots_by_slug(clocks) if slug == "york"]
    assert york == ["2026-11-01T01:30"]


def test_clock_that_stood_still_for_days_catches_up_once(clocks: Headquarters) -> None:
    manifest = a_manifest(cron="0 9 * * *", zone="tenant")
    begun = datetime(2026, 11, 17, 20, tzinfo=UTC)
    for now in (begun, begun + timedelta(days=3)):
        FanOut(clocks.platform, manifest).run("hourly", None, now)
    assert sorted(slots_by_slug(clocks)) == [(slug, "2026-11-18T09:00") for slug in sorted(["acme", *ZONES])]
    next_runs = clocks.house.query("SELECT min(next_run_at) AS at FROM schedule_next_run")
    assert next_runs[0]["at"] == datetime(2026, 11, 21, 0, tzinfo=UTC)


def test_tenant_that_moves_is_served_on_its_new_clock(clocks: Headquarters) -> None:
    manifest = a_manifest(cron="0 9 * * *", zone="tenant")
    now = datetime(2026, 11, 19, 20, tzinfo=UTC)
    FanOut(clocks.platform, manifest).run("hourly", None, now)
    clocks.write("UPDATE tenants SET zone = 'Asia/Tokyo' WHERE slug = 'york'")
    FanOut(clocks.platform, manifest).run("hourly", None, now)
    rows = clocks.house.query("SELECT next_run_at FROM schedule_next_run WHERE zone = 'Asia/Tokyo'")
    assert [row["next_run_at"] for row in rows] == [datetime(2026, 11, 20, 0, tzinfo=UTC)] * 2


def test_ten_thousand_tenants_get_one_message_each_spread_over_the_window(hq: Headquarters) -> None:
    hq.write("INSERT INTO tenants (slug, name) SELECT 'shop-' || n, 'Shop' FROM generate_series(2, 10000) n")
    begun = datetime.now(UTC).replace(minute=30, second=0, microsecond=0) + HOUR
    assert [fire(hq, a_manifest(), begun)["written"] for _ in range(2)] == [10_000, 0]
    tenths = hq.house.query(
        "SELECT floor(extract(epoch FROM due_at - %s) / 30)::int AS tenth, count(*)::int AS n"
        " FROM outbox GROUP BY 1 ORDER BY 1",
        begun,
    )
    assert [row["tenth"] for row in tenths] == list(range(10))
    assert all(900 <= row["n"] <= 1_100 for row in tenths)
    hq.write("UPDATE outbox SET due_at = now() - interval '1 second'")
    released: list[int] = []
    with hq.platform.session() as session:
        while not released or released[-1]:
            released.append(hq.platform.release(session, limit=2000))
    assert sum(released) == 10_000
    sent = [json.loads(entry.body)["tenant_id"] for entry in hq.queues.sent]
    assert len(sent) == len(set(sent)) == 10_000


def listed(hq: Headquarters, after: object = None, page: int = 100) -> dict[str, Any]:
    event = {"schedule": "hourly", "time": SLOT.isoformat(), "after": after}
    return list_round(hq.platform, a_manifest(), event, SLOT, page)


def test_round_goes_through_the_active_tenants_page_by_page_and_writes_nothing(
    hq: Headquarters, crowd: int
) -> None:
    found, after, pages = [], None, 0
    while True:
        page = listed(hq, after)
        assert (page["slot"], page["cause"]) == (SLOT.isoformat(), "hourly@2026-11-20T10:30")
        found += page["tenants"]
        after, pages = page["after"], pages + 1
        if after is None:
            break
    assert (len(set(found)), len(found), pages) == (crowd, crowd, 3)
    active = hq.house.query("SELECT tenant_id::text AS id FROM tenants WHERE status = 'active'")
    assert sorted(found) == sorted(row["id"] for row in active)
    assert (hq.count("schedule_slot"), hq.count("outbox")) == (0, 0)


@pytest.mark.parametrize(
    ("kind", "name", "everybody", "left"),
    [
        ("schedule", "hourly", True, 0),
        ("schedule", "daily", True, 250),
        ("task", "sweep", True, 0),
        ("task", "sweep", False, 249),
        ("task", "another", True, 250),
    ],
)
def test_round_leaves_out_what_is_paused(
    hq: Headquarters, crowd: int, kind: str, name: str, everybody: bool, left: int
) -> None:
    whose = PLATFORM_TENANT if everybody else hq.house.tenant_id
    hq.write(
        "INSERT INTO pauses (tenant_id, kind, name, actor, reason) VALUES (%s, %s, %s, 'me', 'a test')",
        whose, kind, name,
    )  # fmt: skip
    assert len(listed(hq, page=1000)["tenants"]) == left
    assert crowd == 250


def test_round_of_an_unknown_schedule_or_behind_no_tenant_is_refused(hq: Headquarters) -> None:
    with pytest.raises(NotFoundError, match="nightly"):
        list_round(hq.platform, a_manifest(), {"schedule": "nightly", "after": None}, SLOT)
    with pytest.raises(InvalidPayloadError, match="after"):
        listed(hq, "the-first")
