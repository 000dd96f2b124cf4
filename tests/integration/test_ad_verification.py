"""A purchase that platforms look at as a test: what they say, what is refused before, and that no ledger is written."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx
import pytest
from psycopg.types.json import Jsonb

import analytics.ad_platforms.verification_tasks
import analytics.attribution.tasks  # noqa: F401 - registers the senders
from tests.integration.adroom import ORDER, SENDERS, AdRoom
from tests.integration.harness import House
from tradewind.errors import InvalidPayloadError, NotFoundError
from tradewind.tasks.worker import Dead

VERIFY = "analytics-verify-ad-events"
CODES = {"meta_test_code": "TEST1", "tiktok_test_code": "TEST2"}


@pytest.fixture
def strange(house: House, sandbox_url: str, own_valkey: str) -> AdRoom:
    return AdRoom(house, sandbox_url, own_valkey)


@pytest.fixture
def room(strange: AdRoom) -> AdRoom:
    strange.connect("ga4", "meta", "tiktok")
    return strange


def verify(room: AdRoom, **payload: Any) -> dict[str, dict[str, Any]]:
    """Each platform's verdict."""
    result = room.result(VERIFY, {"order_id": ORDER, **payload}, f"by hand {payload}")
    return {each["destination"]: each for each in result["platforms"]}


def verdicts(told: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {name: each["verdict"] for name, each in told.items()}


def test_platforms_look_at_a_purchase_and_nothing_of_it_is_counted_or_noted(room: AdRoom) -> None:
    room.place()
    told = verify(room, **CODES)
    assert verdicts(told) == dict.fromkeys(SENDERS, "accepted")
    own_id = f"{room.house.tenant_id}.{ORDER}"
    assert {name: (each["event_id"], each["value_cents"]) for name, each in told.items()} == {
        "ga4": (own_id, 3901),
        "meta": (own_id, 5900),
        "tiktok": (own_id, 5900),
    }
    assert room.ledger() == []
    assert [room.seen(name)["events"] for name in SENDERS] == [[], [], []]
    [meta], [tiktok] = (room.seen(name)["tests"] for name in ("meta", "tiktok"))
    assert (meta["test_event_code"], meta["event_id"]) == ("TEST1", own_id)
    assert (tiktok["test_event_code"], tiktok["event_id"]) == ("TEST2", own_id)
    assert told["meta"]["seen"]["name"] == f"Dataset {room.name}"
    assert told["meta"]["seen"]["last_fired_time"]
    assert own_id in told["meta"]["shows"]
    assert "under TEST1" in told["meta"]["shows"]
    assert "no ad account mapped" in told["tiktok"]["shows"]
    assert "not told for real yet" in told["ga4"]["shows"]


def test_purchase_that_was_told_for_real_is_looked_at_under_the_same_id(room: AdRoom) -> None:
    room.place()
    room.house.write(
        "INSERT INTO ad_account_mappings (platform, account_id, currency) VALUES ('meta', 'act_1', 'USD')"
    )
    room.tell_all()
    before = room.ledger("destination, state, value_cents, attempts, updated_at")
    told = verify(room, **CODES)
    assert verdicts(told) == dict.fromkeys(SENDERS, "accepted")
    assert "told for real, acknowledged" in told["meta"]["shows"]
    assert "1 ad account(s) synced" in told["meta"]["shows"]
    assert room.ledger("destination, state, value_cents, attempts, updated_at") == before
    room.house.write("UPDATE conversion_events_sent SET first_told_at = first_told_at - interval '2 days'")
    late = verify(room, **CODES, order_id=ORDER)
    assert verdicts(late) == {"ga4": "accepted", "meta": "skipped", "tiktok": "skipped"}
    assert "would count twice" in late["meta"]["detail"]


@pytest.mark.parametrize(
    ("columns", "expected", "said"),
    [
        ({"test": True}, dict.fromkeys(SENDERS, "skipped"), "test_order"),
        ({"total_cents": 0}, dict.fromkeys(SENDERS, "skipped"), "no_value"),
        (
            {"attributes": Jsonb({"_consent_marketing": "no"})},
            {"ga4": "accepted", "meta": "skipped", "tiktok": "skipped"},
            "no_consent",
        ),
    ],
)
def test_what_is_not_to_be_told_is_no_test_event_either(
    room: AdRoom, columns: dict[str, Any], expected: dict[str, str], said: str
) -> None:
    room.place(**columns)
    told = verify(room, **CODES)
    assert verdicts(told) == expected
    assert said in told["meta"]["detail"]
    assert [room.seen(name)["tests"] for name in SENDERS] == [[], [], []]


def test_order_that_is_too_old_is_refused_before_it_spoils_a_request(room: AdRoom) -> None:
    room.place(placed_at=room.clock.now() - timedelta(days=8))
    told = verify(room, **CODES)
    assert verdicts(told) == dict.fromkeys(SENDERS, "skipped")
    assert told["meta"]["detail"] == "too_old: choose another order"


def test_missing_codes_and_accounts_say_where_they_come_from(strange: AdRoom) -> None:
    strange.place()
    told = verify(strange)
    assert verdicts(told) == dict.fromkeys(SENDERS, "not_connected")
    assert told["tiktok"]["detail"] == "make credentials TENANT=... PROVIDER=tiktok"
    strange.connect("ga4", "meta", "tiktok")
    told = verify(strange, meta_test_code="TEST1")
    assert verdicts(told) == {"ga4": "accepted", "meta": "accepted", "tiktok": "no_test_code"}
    assert "TIKTOK_CODE=" in told["tiktok"]["detail"]
    strange.set({"ads": {"test_codes": {"meta": "OWN1", "tiktok": "OWN2"}}})
    assert verdicts(verify(strange, order_id=ORDER)) == dict.fromkeys(SENDERS, "accepted")
    assert strange.seen("tiktok")["tests"][0]["test_event_code"] == "OWN2"


def test_objections_are_told_word_by_word(room: AdRoom) -> None:
    """GA4's debug endpoint objects to a currency that is none; Meta to a token that has ended."""
    room.place()
    httpx.put(f"{room.url}/_sandbox/meta/datasets/{room.name}", json={"ended_token": "EAA-token"})
    httpx.put(f"{room.url}/_sandbox/tiktok/refusals", json={"event_ids": [f"{room.house.tenant_id}.{ORDER}"]})
    told = verify(room, **CODES)
    assert verdicts(told) == {"ga4": "accepted", "meta": "refused", "tiktok": "refused"}
    assert "190/463" in told["meta"]["detail"]
    assert "refused on request" in told["tiktok"]["detail"]
    assert (told["meta"]["shows"], room.ledger()) == ("", [])
    room.house.write("UPDATE order_line_items SET title = ''")
    room.house.write("UPDATE orders SET discount_codes = ARRAY[repeat('X', 300)]")
    assert verdicts(verify(room, **CODES, order_id=ORDER))["ga4"] == "accepted"


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        ({}, "order_id"),
        ({"order_id": 0}, "order_id"),
        ({"order_id": "many"}, "order_id"),
        ({"order_id": 1, "meta_test_code": "with space"}, "meta_test_code"),
        ({"order_id": 1, "tiktok_test_code": ""}, "tiktok_test_code"),
        ({"order_id": 1, "code": "x"}, "code"),
    ],
)
def test_bad_input_is_refused_by_its_field(room: AdRoom, payload: dict[str, Any], field: str) -> None:
    end = room.run(VERIFY, payload, "by hand")
    assert isinstance(end, Dead)
    assert isinstance(end.error, InvalidPayloadError)
    assert field in str(end.error)


def test_order_that_is_not_there_is_told_so(room: AdRoom) -> None:
    end = room.run(VERIFY, {"order_id": 999_999}, "by hand")
    assert isinstance(end, Dead)
    assert isinstance(end.error, NotFoundError)
    assert str(end.error) == "no order with id 999999"
