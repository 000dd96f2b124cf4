"""What platforms ought to know of a day's orders, what they were told, and what they count, compared to the cent."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest
from psycopg.types.json import Jsonb

import analytics.ad_platforms.reconciliation_tasks
import analytics.attribution.tasks  # noqa: F401 - registers the senders
from infra.local import ValkeyServer
from tests.integration.adroom import REFUND, SENDERS, AdRoom
from tests.integration.harness import House
from tradewind.tasks.message import Source

RECONCILE = "analytics-reconcile-ad-events"
ZONE = "America/New_York"
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture
def room(house: House, sandbox_url: str, own_valkey: str) -> AdRoom:
    """A tenant in New York, connected to all platforms for years; the clock stands at half past one of its night."""
    made = AdRoom(house, sandbox_url, own_valkey)
    made.connect("ga4", "meta", "tiktok")
    house.write("UPDATE credentials SET updated_at = %s", LONG_AGO)
    with psycopg.connect(house.urls.platform) as connection:
        connection.execute("UPDATE tenants SET zone = %s WHERE tenant_id = %s", (ZONE, house.tenant_id))
    today = datetime.now(ZoneInfo(ZONE)).replace(hour=1, minute=30, second=0, microsecond=0)
    made.clock.at = today.astimezone(UTC)
    return made


def yesterday(room: AdRoom, hour: int = 12, minute: int = 0) -> datetime:
    """An instant of the tenant's own yesterday."""
    local = room.clock.now().astimezone(ZoneInfo(ZONE)) - timedelta(days=1)
    return local.replace(hour=hour, minute=minute).astimezone(UTC)


def reconcile(room: AdRoom, cause: str = "by hand", event: str = "purchase") -> dict[str, Any]:
    """The tenant's yesterday, by platform."""
    result = room.result(RECONCILE, {"days": 1}, cause)
    days = {each["destination"]: each for each in result["days"] if each["event"] == event}
    return days | {"posted": result["posted"]}


def stored(room: AdRoom, columns: str, event: str = "purchase") -> list[tuple[Any, ...]]:
    rows = room.house.query(
        f"SELECT {columns} FROM ad_event_reconciliations WHERE event_name = %s ORDER BY destination", event
    )
    return [tuple(row.values()) for row in rows]


def counted_cents(room: AdRoom, name: str) -> int:
    """What a platform itself sums its purchases to."""
    values = {
        "ga4": lambda event: event["params"]["value"],
        "meta": lambda event: event["custom_data"]["value"],
        "tiktok": lambda event: event["properties"]["value"],
    }
    return sum(round(values[name](event) * 100) for event in room.seen(name)["events"])


def test_what_ought_to_be_known_was_told_and_is_counted_to_the_cent(room: AdRoom) -> None:
    """The day is the tenant's: its first and its last second count, those beside them do not."""
    room.place(5001, placed_at=yesterday(room))
    room.place(
        5002,
        placed_at=yesterday(room, 0, 0),
        gross_cents=1000,
        discount_cents=0,
        net_cents=1000,
        total_cents=1333,
    )
    room.place(
        5003,
        placed_at=yesterday(room, 23, 59),
        gross_cents=101,
        discount_cents=0,
        net_cents=101,
        total_cents=107,
    )
    room.place(5004, placed_at=yesterday(room, 0, 0) - timedelta(seconds=1))
    room.place(5005, placed_at=room.clock.now() - timedelta(minutes=80))
    for order in range(5001, 5004):
        assert set(room.tell_all(order, cause=str(order)).values()) == {"acknowledged"}
    told = reconcile(room)
    assert told["posted"] == {}
    expected = {"ga4": 3901 + 1000 + 101, "meta": 5900 + 1333 + 107, "tiktok": 5900 + 1333 + 107}
    for name, cents in expected.items():
        each = told[name]
        assert (each["expected"], each["sent"], each["acknowledged"], each["differences"]) == (3, 3, 3, 0)
        assert (each["expected_cents"], each["acknowledged_cents"]) == (cents, cents)
        assert counted_cents(room, name) == cents
    assert stored(room, "destination, orders, expected_cents, sent_cents, acknowledged_cents") == [
        (name, 3, cents, cents, cents) for name, cents in expected.items()
    ]


EXCLUSIONS: list[tuple[dict[str, Any], dict[str, str]]] = [
    ({"test": True}, dict.fromkeys(SENDERS, "test_order")),
    (
        {"gross_cents": 0, "discount_cents": 0, "net_cents": 0, "total_cents": 0},
        dict.fromkeys(SENDERS, "no_value"),
    ),
    ({"shopify_customer_id": None, "visitor_id": None}, dict.fromkeys(SENDERS, "unidentified")),
    ({"attributes": Jsonb({"_consent_marketing": "no"})}, {"meta": "no_consent", "tiktok": "no_consent"}),
    ({"attributes": Jsonb({"_consent_analytics": "no"})}, {"ga4": "no_consent"}),
]


@pytest.mark.parametrize(("columns", "reasons"), EXCLUSIONS, ids=lambda each: next(iter(each.values()), ""))
def test_what_is_not_to_be_told_is_counted_by_its_reason(
    room: AdRoom, columns: dict[str, Any], reasons: dict[str, str]
) -> None:
    attributes = {"attributes": Jsonb({"_user_agent": "Mozilla/5.0"})} | columns
    room.place(placed_at=yesterday(room), **attributes)
    if "shopify_customer_id" not in columns:
        room.tell_all()
    told = reconcile(room)
    for name in SENDERS:
        excluded = {reasons[name]: 1} if name in reasons else {}
        assert (told[name]["excluded"], told[name]["expected"]) == (excluded, int(not excluded)), name
        assert (told[name]["differences"], len(room.seen(name)["events"])) == (0, int(not excluded)), name


def test_order_of_a_backfill_or_from_before_the_account_is_nobodys_to_hear(room: AdRoom) -> None:
    room.place(5001, placed_at=yesterday(room))
    room.place(5002, placed_at=yesterday(room))
    room.house.write(
        "INSERT INTO attribution_conversions (shopify_order_id, revenue_cents, gross_revenue_cents, currency,"
        " first_purchase, touchpoints, status, told, converted_at) VALUES (5001, 5900, 5900, 'USD', true, 0,"
        " 'unattributed', false, %s)",
        yesterday(room),
    )
    room.tell_all(5001, source=Source.BACKFILL)
    room.house.write("UPDATE credentials SET updated_at = %s WHERE provider <> 'ga4'", yesterday(room, 13))
    told = reconcile(room)
    assert told["ga4"]["excluded"] == {"backfilled": 1}
    assert (told["ga4"]["expected"], told["ga4"]["differing"]) == (1, [5002])
    assert told["meta"]["excluded"] == {"backfilled": 1, "not_connected": 1}
    assert told["meta"]["differences"] == 0


@pytest.mark.parametrize(("late", "excluded"), [(timedelta(hours=73), 1), (timedelta(hours=2), 0)])
def test_age_is_believed_where_it_bears_itself_out(room: AdRoom, late: timedelta, excluded: int) -> None:
    room.place(placed_at=yesterday(room))
    room.house.write(
        "INSERT INTO conversion_events_sent (destination, event_name, subject, shopify_order_id, event_id, state,"
        " reason, currency, occurred_at, updated_at)"
        " VALUES ('ga4', 'purchase', '5001', 5001, 'e', 'skipped', 'too_old', 'USD', %s, %s)",
        yesterday(room),
        yesterday(room) + late,
    )
    ga4 = reconcile(room)["ga4"]
    assert ga4["excluded"] == ({"too_old": 1} if excluded else {})
    assert (ga4["expected"], ga4["differences"]) == (1 - excluded, 1 - excluded)


CHANGES = {
    "missing": "DELETE FROM conversion_events_sent WHERE destination = 'meta'",
    "unacknowledged": "UPDATE conversion_events_sent SET state = 'sent' WHERE destination = 'meta'",
    "unlike": "UPDATE conversion_events_sent SET value_cents = 5901 WHERE destination = 'meta'",
    "unexpected": "UPDATE orders SET test = true",
}


@pytest.mark.parametrize("kind", CHANGES)
def test_difference_is_logged_counted_and_told_once(
    room: AdRoom, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    room.place(placed_at=yesterday(room))
    room.tell_all()
    room.house.write(CHANGES[kind])
    capsys.readouterr()
    told = reconcile(room)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if "ad events differ" in line]
    differing = {line["destination"]: line["AdEventDifference"] for line in lines}
    assert differing == (dict.fromkeys(SENDERS, 1) if kind == "unexpected" else {"meta": 1})
    assert {line["level"] for line in lines} == {"ERROR"}
    assert all(line["differing"] == [5001] for line in lines)
    day = yesterday(room).date().isoformat()
    assert told["posted"] == {day: "sent"}
    assert reconcile(room, "once more")["posted"] == {day: "again"}
    [row] = [row for row in stored(room, f"destination, {kind}") if row[0] == "meta"]
    assert row == ("meta", 1)
    [note] = room.house.messenger.posted.values()
    assert len(note.sections) == len(differing)
    assert "5001" in note.sections[0]


def test_what_is_told_late_mends_its_day(room: AdRoom) -> None:
    room.place(placed_at=yesterday(room))
    assert {each["differences"] for name, each in reconcile(room).items() if name in SENDERS} == {1}
    room.tell_all()
    told = reconcile(room, "the day after")
    assert told["posted"] == {}
    assert stored(room, "expected, sent, acknowledged, missing") == [(1, 1, 1, 0)] * 3


def test_other_currencies_money_stands_in_no_sum_and_is_compared_all_the_same(room: AdRoom) -> None:
    room.place(5001, placed_at=yesterday(room))
    room.place(5002, placed_at=yesterday(room), currency="CAD")
    room.tell_all(5001, cause="one")
    room.tell_all(5002, cause="other")
    assert reconcile(room)["meta"]["expected_cents"] == 5900
    assert stored(room, "orders, other_currency, expected_cents, acknowledged_cents")[1] == (2, 1, 5900, 5900)
    room.house.write("UPDATE conversion_events_sent SET value_cents = 1 WHERE shopify_order_id = 5002")
    assert reconcile(room, "again")["meta"]["differing"] == [5002]


def give_back(room: AdRoom, refund_id: int, order_id: int, at: datetime) -> None:
    """19.51 of goods, 20.50 paid back; and the platforms are told of it."""
    room.refund(refund_id, order_id)
    room.house.write("UPDATE refunds SET refunded_at = %s WHERE shopify_refund_id = %s", at, refund_id)
    room.result(REFUND, {"id": refund_id, "order_id": order_id}, str(refund_id))


def test_refunds_of_the_day_were_told_and_are_counted_to_the_cent(room: AdRoom) -> None:
    """Of orders of any day: 5001 was placed the day before, its second refund is today's. TikTok takes none."""
    room.place(5001, placed_at=yesterday(room) - timedelta(days=1))
    room.place(5002, placed_at=yesterday(room))
    for order in (5001, 5002):
        room.tell_all(order, cause=str(order))
    give_back(room, 6001, 5001, yesterday(room, 0, 0))
    give_back(room, 6002, 5002, yesterday(room, 23, 59))
    give_back(room, 6003, 5001, room.clock.now() - timedelta(minutes=80))
    told = reconcile(room, event="refund")
    assert set(told) == {"ga4", "meta", "posted"}
    assert told["posted"] == {}
    assert stored(
        room, "destination, orders, expected, expected_cents, sent, sent_cents, acknowledged_cents", "refund"
    ) == [("ga4", 2, 2, 3902, 2, 3902, 3902), ("meta", 2, 2, 4100, 2, 4100, 4100)]
    assert stored(room, "orders, expected_cents") == [(1, 3901), (1, 5900), (1, 5900)]


def test_refund_is_not_to_be_told_of_what_is_not_known_and_of_test_orders(room: AdRoom) -> None:
    room.place(5001, placed_at=yesterday(room), test=True)
    room.place(5002, placed_at=yesterday(room))
    room.tell_all(5002, cause="5002")
    room.house.write("UPDATE conversion_events_sent SET state = 'sent' WHERE destination = 'ga4'")
    give_back(room, 6001, 5001, yesterday(room))
    give_back(room, 6002, 5002, yesterday(room))
    told = reconcile(room, event="refund")
    assert told["ga4"]["excluded"] == {"test_order": 1, "no_purchase": 1}
    assert (told["ga4"]["expected"], told["ga4"]["differences"]) == (0, 0)
    assert told["meta"]["excluded"] == {"test_order": 1}
    assert (told["meta"]["expected"], told["meta"]["acknowledged"], told["meta"]["differences"]) == (1, 1, 0)


REFUND_CHANGES = {
    "missing": "DELETE FROM conversion_events_sent WHERE destination = 'meta' AND event_name = 'refund'",
    "unacknowledged": "UPDATE conversion_events_sent SET state = 'sent'"
    " WHERE destination = 'meta' AND event_name = 'refund'",
    "unlike": "UPDATE refunds SET amount_cents = 2051",
}


@pytest.mark.parametrize("kind", REFUND_CHANGES)
def test_refund_that_differs_is_logged_and_told(
    room: AdRoom, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    room.place(5001, placed_at=yesterday(room))
    room.tell_all()
    give_back(room, 6001, 5001, yesterday(room, 13))
    room.house.write(REFUND_CHANGES[kind])
    capsys.readouterr()
    told = reconcile(room, event="refund")
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if "ad events differ" in line]
    assert [(line["destination"], line["event"], line["differing"]) for line in lines] == [
        ("meta", "refund", [6001])
    ]
    assert stored(room, f"destination, {kind}", "refund") == [("ga4", 0), ("meta", 1)]
    assert told["posted"] == {yesterday(room).date().isoformat(): "sent"}
    [note] = room.house.messenger.posted.values()
    assert "of 1 refunds arrived" in note.sections[0]
    assert "Refunds: 6001" in note.sections[0]


def test_tenant_without_accounts_has_no_rows(house: House, sandbox_url: str, valkey: ValkeyServer) -> None:
    room = AdRoom(house, sandbox_url, valkey.url)
    room.place(placed_at=room.clock.now() - timedelta(days=1))
    assert room.result(RECONCILE, {}, "by hand") == {"days": [], "posted": {}}
    assert stored(room, "destination") == []


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        ({"days": 0}, "days"),
        ({"days": 93}, "days"),
        ({"last_day": "2999-01-01"}, "last_day"),
        ({"of": 1}, "of"),
    ],
)
def test_days_that_cannot_be_are_refused_by_name(room: AdRoom, payload: dict[str, Any], field: str) -> None:
    end = room.run(RECONCILE, payload, "by hand")
    assert field in str(getattr(end, "error", end))
    assert stored(room, "destination") == []
