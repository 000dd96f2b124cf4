"""Purchases and refunds at the ad platforms, which the sandbox plays: each once, whoever dies when."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import httpx
import psycopg
import pytest
from psycopg.types.json import Jsonb

import analytics.attribution.tasks  # noqa: F401 - registers the senders and who starts them
from tests.integration.adroom import GA4, META, ORDER, REFUND, SENDERS, TIKTOK, AdRoom
from tests.integration.harness import House
from tradewind import crash
from tradewind.crash import Point
from tradewind.tasks.message import Source
from tradewind.tasks.worker import Dead, Done, TryAgain


@pytest.fixture
def strange(house: House, sandbox_url: str, own_valkey: str) -> AdRoom:
    """A tenant without accounts."""
    return AdRoom(house, sandbox_url, own_valkey)


@pytest.fixture
def room(strange: AdRoom) -> AdRoom:
    strange.connect("ga4", "meta", "tiktok")
    return strange


def test_purchase_arrives_once_at_each_platform(room: AdRoom) -> None:
    room.place()
    assert set(room.tell_all().values()) == {"acknowledged"}
    assert set(room.tell_all(cause="told again").values()) == {"known"}
    for name in SENDERS:
        seen = room.seen(name)
        assert (len(seen["events"]), seen["duplicates"], seen["dropped"]) == (1, 0, []), name
    assert room.ledger("destination, state, value_cents, attempts") == [
        ("ga4", "acknowledged", 3901, 1),
        ("meta", "acknowledged", 5900, 1),
        ("tiktok", "acknowledged", 5900, 1),
    ]


def test_platforms_are_told_the_order_in_their_own_words(room: AdRoom) -> None:
    room.place()
    room.add_customer()
    room.tell_all()
    [ga4], [meta], [tiktok] = (room.seen(name)["events"] for name in SENDERS)
    own_id = f"{room.house.tenant_id}.{ORDER}"
    assert ga4["params"] == {
        "currency": "USD",
        "value": 39.01,
        "items": [
            {"item_id": "401", "item_name": "Enamel Mug", "price": 19.51, "quantity": 1},
            {"item_id": "401", "item_name": "Enamel Mug", "price": 19.5, "quantity": 1},
            {"item_id": "402", "item_name": "Spoon", "price": 0, "quantity": 1},
        ],
        "engagement_time_msec": 1,
        "transaction_id": str(ORDER),
        "tax": 9.99,
        "shipping": 10,
        "coupon": "SPRING",
    }
    assert (ga4["client_id"], ga4["user_id"]) == ("111.222", "77")
    assert (meta["event_id"], meta["action_source"], meta["custom_data"]["value"]) == (own_id, "website", 59)
    assert meta["user_data"]["fbc"].startswith("fb.1.")
    assert meta["user_data"]["fbc"].endswith(".abc")
    assert meta["user_data"]["ph"] == ["2bf3dcd9e4c7aa9165b8816ba354287c52329cd422bceaf75878c2db7b4e4e8f"]
    assert (tiktok["event_id"], tiktok["user"]["ttclid"], tiktok["properties"]["value"]) == (
        own_id,
        "xyz",
        59,
    )


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"test": True}, dict.fromkeys(SENDERS, "test_order")),
        (
            {"gross_cents": 0, "net_cents": 0, "discount_cents": 0, "total_cents": 0},
            dict.fromkeys(SENDERS, "no_value"),
        ),
    ],
    ids=["test order", "nothing charged"],
)
def test_what_is_no_sale_is_told_nobody(
    room: AdRoom, columns: dict[str, Any], expected: dict[str, str]
) -> None:
    room.place(**columns)
    assert set(room.tell_all().values()) == {"skipped"}
    assert {name: reason for name, _, reason in room.ledger("destination, state, reason")} == expected
    assert [room.seen(name)["events"] for name in SENDERS] == [[], [], []]


@pytest.mark.parametrize(
    ("age", "told"),
    [
        (timedelta(hours=71), {"ga4": "acknowledged", "meta": "acknowledged", "tiktok": "acknowledged"}),
        (timedelta(hours=73), {"ga4": "skipped", "meta": "acknowledged", "tiktok": "acknowledged"}),
        (timedelta(days=8), {"ga4": "skipped", "meta": "skipped", "tiktok": "skipped"}),
    ],
)
def test_order_is_told_where_its_age_is_still_taken(
    room: AdRoom, age: timedelta, told: dict[str, str]
) -> None:
    room.place(placed_at=room.clock.now() - age)
    assert room.tell_all() == told
    arrived = {name: len(room.seen(name)["events"]) for name in SENDERS}
    assert arrived == {name: int(outcome == "acknowledged") for name, outcome in told.items()}


def test_backfilled_order_is_told_nobody_and_its_webhook_may_follow(room: AdRoom) -> None:
    room.place()
    assert set(room.tell_all(cause="backfill", source=Source.BACKFILL).values()) == {"backfilled"}
    assert room.ledger() == []
    assert set(room.tell_all().values()) == {"acknowledged"}


def test_tenant_without_accounts_tells_nobody(strange: AdRoom) -> None:
    strange.place()
    assert set(strange.tell_all().values()) == {"not_connected"}
    assert strange.ledger() == []


@pytest.mark.parametrize(
    ("attributes", "settings", "told"),
    [
        ({"_consent_marketing": "no"}, {}, {"ga4"}),
        ({"_consent_marketing": "yes", "_consent_analytics": "no"}, {}, {"meta", "tiktok"}),
        ({}, {"ads": {"consent": "denied"}}, set()),
        ({"_consent_sale_of_data": "no"}, {}, {"ga4", "meta", "tiktok"}),
    ],
)  # fmt: skip
def test_consent_decides_who_is_told(
    room: AdRoom, attributes: dict[str, str], settings: dict[str, Any], told: set[str]
) -> None:
    room.set(settings)
    room.place(attributes=Jsonb(attributes))
    outcomes = room.tell_all()
    assert {name for name, outcome in outcomes.items() if outcome == "acknowledged"} == told
    assert {name for name, outcome in outcomes.items() if outcome == "skipped"} == SENDERS.keys() - told
    if "_consent_sale_of_data" in attributes:
        [ga4], [meta], [tiktok] = (room.seen(name)["events"] for name in SENDERS)
        assert ga4["consent"] == {"ad_user_data": "DENIED", "ad_personalization": "DENIED"}
        assert ga4["user_data"] is None
        assert meta["data_processing_options"] == ["LDU"]
        assert tiktok["limited_data_use"] is True


class DiedError(BaseException):
    pass


@pytest.mark.parametrize("name", SENDERS)
@pytest.mark.parametrize("point", [Point.TRANSACTION_COMMITTED, Point.PROVIDER_ANSWERED])
def test_who_dies_before_or_after_the_call_is_followed_by_one_who_ends_it(
    room: AdRoom, name: str, point: Point
) -> None:
    room.place()
    died = _die_at(point, lambda: room.run(SENDERS[name], {"order_id": ORDER}))
    assert died
    room.house.write("UPDATE task_run SET lease_until = now() - interval '1 second'")
    assert isinstance(room.run(SENDERS[name], {"order_id": ORDER}), Done)
    seen = room.seen(name)
    assert len(seen["events"]) == 1
    assert room.ledger("destination, state") == [(name, "acknowledged")]


def _die_at(point: Point, act: Any) -> bool:
    """Whether a passage of a point killed it: the second commit, which is the claim's, or the first answer."""
    passed: list[Point] = []

    def die(here: Point) -> None:
        passed.append(here)
        if here is point and (here is Point.PROVIDER_ANSWERED or passed.count(here) == 2):
            raise DiedError

    remove = crash.install(die)
    try:
        act()
    except DiedError:
        return True
    finally:
        remove()
    return False


@pytest.mark.parametrize("name", SENDERS)
def test_lost_answer_is_told_again_with_the_same_id(room: AdRoom, name: str) -> None:
    room.place()
    room.fail_once(name, "lost_answer")
    end = room.run(SENDERS[name], {"order_id": ORDER})
    assert isinstance(end, TryAgain), end
    assert room.ledger("destination, state, reason") == [(name, "sent", "outcome_unknown")]
    assert room.result(SENDERS[name], {"order_id": ORDER})["outcome"] == "acknowledged"
    seen = room.seen(name)
    assert (len(seen["events"]), seen["duplicates"]) == (1, 1)


@pytest.mark.parametrize("name", ["meta", "tiktok"])
def test_lost_answer_is_left_alone_once_the_platform_forgets_ids(room: AdRoom, name: str) -> None:
    room.place()
    room.fail_once(name, "lost_answer")
    room.run(SENDERS[name], {"order_id": ORDER})
    room.clock.advance(timedelta(hours=49))
    assert room.result(SENDERS[name], {"order_id": ORDER})["outcome"] == "unknown"
    assert len(room.seen(name)["events"]) == 1
    assert room.ledger("destination, state, reason") == [(name, "sent", "outcome_unknown")]


@pytest.mark.parametrize(("name", "kind"), [("meta", "429"), ("meta", "throttled"), ("tiktok", "429")])
def test_rate_limit_waits_and_counts_no_attempt(room: AdRoom, name: str, kind: str) -> None:
    room.place()
    room.fail_once(name, kind)
    end = room.run(SENDERS[name], {"order_id": ORDER})
    assert isinstance(end, TryAgain), end
    assert room.ledger("destination, state, reason") == [(name, "failed", "RateLimitedError")]


def test_answer_that_counts_no_event_is_no_success(room: AdRoom) -> None:
    room.place()
    httpx.put(f"{room.url}/_sandbox/meta/datasets/{room.name}", json={"lost": 1}).raise_for_status()
    assert isinstance(room.run(META, {"order_id": ORDER}), TryAgain)
    assert room.ledger("destination, state") == [("meta", "sent")]
    assert room.result(META, {"order_id": ORDER})["outcome"] == "acknowledged"
    assert len(room.seen("meta")["events"]) == 1


def test_partial_success_without_our_event_is_a_refusal(room: AdRoom) -> None:
    room.place()
    refused = {"event_ids": [f"{room.house.tenant_id}.{ORDER}"]}
    httpx.put(f"{room.url}/_sandbox/tiktok/refusals", json=refused).raise_for_status()
    end = room.run(TIKTOK, {"order_id": ORDER})
    assert isinstance(end, Dead)
    assert "refused on request" in str(end.error)
    assert room.ledger("destination, state, reason") == [("tiktok", "failed", "InvalidPayloadError")]
    assert room.seen("tiktok")["events"] == []


def test_used_up_allowance_at_meta_is_waited_for_without_asking(room: AdRoom) -> None:
    room.place()
    room.place(5002)
    usage = {"usage": {"call_count": 99, "estimated_time_to_regain_access": 5}}
    httpx.put(f"{room.url}/_sandbox/meta/datasets/{room.name}", json=usage).raise_for_status()
    assert room.result(META, {"order_id": ORDER})["outcome"] == "acknowledged"
    end = room.run(META, {"order_id": 5002}, "the next")
    assert isinstance(end, TryAgain), end
    assert len(room.seen("meta")["events"]) == 1


def test_refused_token_is_a_dead_letter(room: AdRoom) -> None:
    room.place()
    httpx.put(f"{room.url}/_sandbox/tiktok/refusals", json={"tokens": [f"tt_{room.name}"]}).raise_for_status()
    end = room.run(TIKTOK, {"order_id": ORDER})
    assert isinstance(end, Dead)
    assert type(end.error).__name__ == "CredentialsRejectedError"


def test_step_before_a_purchase_is_told_under_the_publishers_id(room: AdRoom) -> None:
    payload = {
        "event": "AddToCart",
        "event_id": "cart-1",
        "occurred_at": room.clock.now().isoformat(),
        "currency": "JPY",
        "value_cents": 1200,
        "items": [{"id": "401", "name": "Mug", "quantity": 2, "unit_price_cents": 600}],
        "visitor": {"email": "Ann@Example.com ", "ttclid": "xyz"},
    }
    assert room.result(TIKTOK, payload)["outcome"] == "acknowledged"
    assert room.result(TIKTOK, payload, "told again")["outcome"] == "known"
    [event] = room.seen("tiktok")["events"]
    assert (event["event"], event["properties"]["value"]) == ("AddToCart", 1200)
    assert event["event_id"] == f"{room.house.tenant_id}.cart-1"


def test_refund_is_told_where_the_purchase_was(room: AdRoom) -> None:
    room.place()
    room.tell_all()
    room.refund()
    told = room.result(REFUND, {"id": 6001, "order_id": ORDER}, "refund")["told"]
    assert [(each["destination"], each["outcome"]) for each in told] == [
        ("ga4", "acknowledged"),
        ("meta", "acknowledged"),
    ]
    ga4 = room.seen("ga4")["events"][-1]
    assert (ga4["name"], ga4["params"]["transaction_id"], ga4["params"]["value"]) == (
        "refund",
        str(ORDER),
        19.51,
    )
    assert ga4["params"]["items"] == [
        {"item_id": "401", "item_name": "Enamel Mug", "price": 19.51, "quantity": 1}
    ]
    meta = room.seen("meta")["events"][-1]
    assert (meta["event_name"], meta["custom_data"]["value"]) == ("Refund", 20.5)
    assert len(room.seen("tiktok")["events"]) == 1


def test_refund_of_an_order_that_never_converts_waits_for_half_a_minute(room: AdRoom) -> None:
    room.place()
    room.refund()
    for _ in range(3):
        room.run(REFUND, {"id": 6001, "order_id": ORDER}, "refund")
        [row] = room.house.query("SELECT state FROM task_run WHERE task = %s", REFUND)
        assert row == {"state": "retrying"}
    told = room.result(REFUND, {"id": 6001, "order_id": ORDER}, "refund")["told"]
    assert {each["reason"] for each in told} == {"no_purchase"}


def test_refund_that_waited_in_vain_is_told_once_its_purchase_is(room: AdRoom) -> None:
    room.place()
    room.refund()
    for _ in range(3):
        room.run(REFUND, {"id": 6001, "order_id": ORDER}, "refund")
    told = room.result(REFUND, {"id": 6001, "order_id": ORDER}, "refund")["told"]
    assert {each["reason"] for each in told} == {"no_purchase"}

    room.tell_all()
    started = room.house.query(
        "SELECT task, payload, source, cause FROM outbox WHERE source = 'reconciliation' ORDER BY cause"
    )
    assert {(row["task"], row["source"], row["payload"]["refund_id"]) for row in started} == {
        (REFUND, "reconciliation", 6001)
    }
    assert len(started) == 2
    for row in started:
        room.result(REFUND, row["payload"], row["cause"])
    assert sorted(room.ledger("destination, event_name, state, value_cents")) == [
        ("ga4", "purchase", "acknowledged", 3901),
        ("ga4", "refund", "acknowledged", 1951),
        ("meta", "purchase", "acknowledged", 5900),
        ("meta", "refund", "acknowledged", 2050),
        ("tiktok", "purchase", "acknowledged", 5900),
    ]
    assert [each["name"] for each in room.seen("ga4")["events"]] == ["purchase", "refund"]
    room.tell_all(cause="told again")
    assert len(room.house.query("SELECT FROM outbox WHERE source = 'reconciliation'")) == 2


def test_refund_whose_purchase_is_told_while_it_gives_up_is_told(room: AdRoom) -> None:
    """It has seen no purchase, waits for the order's lock to say so, and looks once more behind it."""
    room.place()
    room.refund()
    for _ in range(3):
        room.run(REFUND, {"id": 6001, "order_id": ORDER}, "refund")
    held = threading.Event()

    def tell_purchase() -> None:
        """Hold the order, and commit its purchase when the refund waits for it."""
        with psycopg.connect(room.house.urls.app) as connection:
            connection.execute("SELECT set_config('app.tenant_id', %s, true)", (str(room.house.tenant_id),))
            assert connection.execute("SELECT FROM orders FOR NO KEY UPDATE").fetchall() == [()]
            held.set()
            while not connection.execute("SELECT FROM pg_locks WHERE NOT granted").fetchall():
                time.sleep(0.01)
            connection.execute(
                "INSERT INTO conversion_events_sent (destination, event_name, subject, shopify_order_id, event_id,"
                " state, value_cents, currency, occurred_at) SELECT d, 'purchase', %s, %s, 'x', 'acknowledged', 3901,"
                " 'USD', now() FROM unnest(ARRAY['ga4', 'meta']) d",
                (str(ORDER), ORDER),
            )

    with ThreadPoolExecutor(1) as pool:
        telling = pool.submit(tell_purchase)
        assert held.wait(10)
        told = room.result(REFUND, {"id": 6001, "order_id": ORDER}, "refund")["told"]
        telling.result()
    assert {each["outcome"] for each in told} == {"acknowledged"}


def test_refund_waits_for_its_purchase_and_its_row(room: AdRoom) -> None:
    room.place()
    waiting = room.run(REFUND, {"id": 6001, "order_id": ORDER}, "refund")
    assert isinstance(waiting, Done)
    assert room.ledger() == []
    [row] = room.house.query("SELECT state, checkpoint FROM task_run WHERE task = %s", REFUND)
    assert row == {"state": "retrying", "checkpoint": {"waits": 1}}


def test_refund_of_what_was_not_told_is_not_told_either(room: AdRoom) -> None:
    room.place(test=True)
    room.tell_all()
    room.refund()
    told = room.result(REFUND, {"id": 6001, "order_id": ORDER}, "refund")["told"]
    assert {each["reason"] for each in told} == {"no_purchase"}
    assert [len(room.seen(name)["events"]) for name in SENDERS] == [0, 0, 0]


def test_refund_whose_answer_was_lost_is_told_ga4_at_most_once(room: AdRoom) -> None:
    room.place()
    room.tell_all()
    room.refund()
    room.fail_once("ga4", "lost_answer")
    assert isinstance(room.run(REFUND, {"id": 6001, "order_id": ORDER}, "refund"), TryAgain)
    told = room.result(REFUND, {"id": 6001, "order_id": ORDER}, "refund")["told"]
    assert [(each["destination"], each["outcome"]) for each in told] == [
        ("ga4", "unknown"),
        ("meta", "acknowledged"),
    ]
    assert [each["name"] for each in room.seen("ga4")["events"]] == ["purchase", "refund"]


def test_secret_that_ga4_does_not_know_is_accepted_without_a_word(room: AdRoom) -> None:
    """Which is why the debug endpoint and the merchant's own reports are asked before anybody relies on it."""
    room.place()
    httpx.put(
        f"{room.url}/_sandbox/ga4/streams/G-{room.name}", json={"api_secret": "other"}
    ).raise_for_status()
    assert room.result(GA4, {"order_id": ORDER})["outcome"] == "acknowledged"
    seen = room.seen("ga4")
    assert (seen["events"], [each["why"] for each in seen["dropped"]]) == ([], ["secret"])


def test_conversion_starts_the_senders_of_connected_platforms_alone(strange: AdRoom) -> None:
    strange.connect("ga4", "tiktok")
    strange.place()
    strange.house.write(
        "INSERT INTO attribution_conversions (shopify_order_id, revenue_cents, gross_revenue_cents, currency,"
        " first_purchase, touchpoints, status, converted_at)"
        " VALUES (%s, 5900, 5900, 'USD', true, 0, 'unattributed', now())",
        ORDER,
    )
    assert isinstance(strange.run("analytics-process-attribution", {"order_id": ORDER}, "event-1"), Done)
    started = strange.house.query("SELECT task, payload ->> 'order_id' AS about FROM outbox ORDER BY task")
    assert started == [{"task": task, "about": str(ORDER)} for task in (GA4, TIKTOK)]
