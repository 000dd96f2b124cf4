"""The life of review e-mails on a real Postgres and Valkey, with the sandbox's Resend."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

import commerce.review_email.tasks  # noqa: F401 - declares the tasks
from infra.local import ValkeyServer
from infra.local.postgres import DatabaseUrls
from tests.fakes import NOON
from tests.integration.mailroom import PROCESS, RETRY, MailRoom
from tests.integration.test_sandbox import running
from tradewind.clock import FixedClock
from tradewind.errors import ProviderUnavailableError, RateLimitedError, TerminalError, TradewindError
from tradewind.tasks.worker import Done, TryAgain

FAST = {"TRADEWIND_RESEND_CALL_SPACING_MS": "1", "TRADEWIND_TENANT_EMAILS_PER_SECOND": "1000"}


@pytest.fixture(scope="module")
def sandbox_url() -> Iterator[str]:
    with running() as (url, _):
        yield url


@pytest.fixture
def room(database: DatabaseUrls, valkey: ValkeyServer, sandbox_url: str) -> Iterator[MailRoom]:
    made = MailRoom(database, valkey.url, sandbox_url, FixedClock(NOON), FAST)
    made.control("POST", "reset")
    made.control("PUT", "resend/accounts/*", {"calls_per_second": 0})
    made.share_account()
    yield made
    made.close()


def test_due_emails_are_sent_once_and_followed_up(room: MailRoom) -> None:
    acme = room.add_tenant("acme")
    room.queue(acme, [1, 2])
    room.queue(acme, [3], scheduled_at=NOON + timedelta(hours=1))
    tally = room.result(acme)
    assert tally == {"sent": 2, "skipped": 0, "failed": 0, "follow_ups": 2, "paused": None}
    first, second = room.sent()
    assert [first["to"], second["to"]] == ["ann-1@example.com", "ann-2@example.com"]
    assert first["subject"] == "How was your order from Acme?"
    assert first["tags"] == {"tenant": str(acme), "order": "1", "sequence": "1"}
    rows = room.rows("shopify_order_id, sequence, state, scheduled_at, message_id, sent_at, message")
    assert [(row["shopify_order_id"], row["sequence"], row["state"]) for row in rows] == [
        (1, 1, "sent"),
        (1, 2, "scheduled"),
        (2, 1, "sent"),
        (2, 2, "scheduled"),
        (3, 1, "scheduled"),
    ]
    assert (rows[0]["message_id"], rows[0]["sent_at"], rows[0]["message"]) == (first["id"], NOON, None)
    assert rows[1]["scheduled_at"] == NOON + timedelta(days=3)
    assert room.result(acme, PROCESS, {"dry_run": False})["sent"] == 0
    assert len(room.sent()) == 2


def emails(room: MailRoom) -> list[str]:
    return [each["to"] for each in room.sent()]


def fault(room: MailRoom, kind: str, **about: Any) -> None:
    plan = {"provider": "resend", "rate": 1.0, "kinds": [kind], "seed": 1, **about}
    room.control("POST", "faults", plan)


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("UPDATE orders SET status = 'refunded'", "refunded"),
        ("UPDATE orders SET status = 'cancelled'", "cancelled"),
        ("INSERT INTO reviews (shopify_order_id, rating) VALUES (1, 1)", "reviewed"),
        (
            "INSERT INTO email_suppressions (email, reason) VALUES ('ann-1@example.com', 'unsubscribe')",
            "unsubscribed",
        ),
        (
            "INSERT INTO email_suppressions (email, reason) VALUES ('ann-1@example.com', 'hard_bounce')",
            "suppressed",
        ),
        (
            "INSERT INTO email_suppressions (email, reason) VALUES ('ann-1@example.com', 'complaint')",
            "suppressed",
        ),
        ("UPDATE review_email_queue SET email = NULL", "no_email"),
        ("UPDATE review_email_queue SET email = ''", "no_email"),
    ],
)
def test_nobody_is_asked_who_should_not_be(room: MailRoom, statement: str, reason: str) -> None:
    acme = room.add_tenant("acme")
    room.queue(acme, [1], email="Ann-{}@Example.com")
    room.write(acme, statement)
    assert room.result(acme, PROCESS, {"dry_run": True}) == {"would_send": 0, "would_skip": 1}
    assert room.result(acme)["skipped"] == 1
    assert room.rows("state, skip_reason, batch_id, run_id") == [
        {"state": "skipped", "skip_reason": reason, "batch_id": None, "run_id": None}
    ]
    assert room.sent() == []


def test_review_ends_every_open_e_mail_of_its_order(room: MailRoom) -> None:
    acme = room.add_tenant("acme")
    room.queue(acme, [1])
    room.write(
        acme,
        "INSERT INTO review_email_queue (shopify_order_id, sequence, email, trigger, state, scheduled_at)"
        " VALUES (1, 2, 'a@b.co', 'delivered', 'scheduled', %s), (1, 3, 'a@b.co', 'delivered', 'sent', %s)",
        NOON + timedelta(days=3),
        NOON,
    )
    room.write(acme, "INSERT INTO reviews (shopify_order_id, rating) VALUES (1, 5)")
    room.result(acme)
    assert [row["state"] for row in room.rows()] == ["skipped", "skipped", "sent"]


def test_dry_run_changes_nothing(room: MailRoom) -> None:
    acme = room.add_tenant("acme")
    room.queue(acme, [1, 2])
    assert room.result(acme, PROCESS, {"dry_run": True}) == {"would_send": 2, "would_skip": 0}
    assert [row["state"] for row in room.rows()] == ["scheduled", "scheduled"]
    assert room.sent() == []


def test_refused_address_fails_for_good_and_the_others_leave(room: MailRoom) -> None:
    acme = room.add_tenant("acme")
    room.queue(acme, [1, 2])
    room.write(acme, "UPDATE review_email_queue SET email = 'no spaces@b.co' WHERE shopify_order_id = 1")
    assert room.result(acme)["failed"] == 1
    first, second = [
        row for row in room.rows("sequence, state, error, next_attempt_at, message") if row["sequence"] == 1
    ]
    assert (first["state"], first["error"], first["next_attempt_at"], first["message"]) == (
        "failed",
        "Invalid `to` field.",
        None,
        None,
    )
    assert second["state"] == "sent"
    assert emails(room) == ["ann-2@example.com"]


def test_failed_call_is_repeated_as_it_was_after_its_wait(room: MailRoom) -> None:
    acme = room.add_tenant("acme")
    room.queue(acme, [1, 2])
    fault(room, "lost_answer", remaining=1)
    assert room.result(acme)["failed"] == 2
    row = room.rows("state, attempts, next_attempt_at, message IS NOT NULL AS frozen")[0]
    assert row == {
        "state": "failed",
        "attempts": 1,
        "next_attempt_at": NOON + timedelta(minutes=2),
        "frozen": True,
    }
    assert len(room.sent()) == 2
    assert room.result(acme, RETRY)["tally"]["sent"] == 0
    room.clock.advance(timedelta(minutes=2))
    assert room.result(acme, RETRY)["tally"] == {
        "sent": 2,
        "skipped": 0,
        "failed": 0,
        "follow_ups": 2,
        "paused": None,
    }
    assert len(room.sent()) == 2
    assert {row["message_id"] for row in room.rows("message_id") if row["message_id"]} == {
        each["id"] for each in room.sent()
    }


def test_five_failures_are_the_end_with_growing_waits(room: MailRoom) -> None:
    acme = room.add_tenant("acme")
    room.queue(acme, [1])
    fault(room, "500")
    room.result(acme)
    waits = []
    for _ in range(4):
        [row] = room.rows("next_attempt_at")
        waits.append(row["next_attempt_at"] - room.clock.now())
        room.clock.at = row["next_attempt_at"]
        assert room.result(acme, RETRY)["tally"]["failed"] == 1
    assert waits == [timedelta(minutes=minutes) for minutes in (2, 4, 8, 16)]
    assert room.rows("state, attempts, next_attempt_at, message") == [
        {"state": "failed", "attempts": 5, "next_attempt_at": None, "message": None}
    ]
    room.clock.advance(timedelta(days=1))
    assert room.result(acme, RETRY)["tally"]["failed"] == 0
    assert room.sent() == []


def test_rate_limit_hands_the_run_back_and_counts_no_attempt(room: MailRoom) -> None:
    acme = room.add_tenant("acme")
    room.queue(acme, [1])
    fault(room, "429", remaining=1)
    end = room.run(acme, cause="slot-1")
    assert isinstance(end, TryAgain)
    assert end.wait == timedelta(seconds=1)
    assert room.rows("state, attempts") == [{"state": "processing", "attempts": 0}]
    assert isinstance(room.run(acme, cause="slot-1"), Done)
    assert [row["state"] for row in room.rows()] == ["sent", "scheduled"]
    assert len(room.sent()) == 1


@pytest.mark.parametrize(
    ("kind", "pause"), [("daily_quota", timedelta(hours=1)), ("monthly_quota", timedelta(hours=6))]
)
def test_used_up_quota_stops_the_tenant_for_a_while(room: MailRoom, kind: str, pause: timedelta) -> None:
    acme = room.add_tenant("acme")
    room.queue(acme, range(1, 121))
    fault(room, kind, remaining=1)
    assert room.result(acme)["paused"].startswith("resend")
    assert {(row["state"], row["message"]) for row in room.rows("state, message")} == {("scheduled", None)}
    room.clock.advance(pause - timedelta(seconds=1))
    assert room.result(acme)["sent"] == 0
    room.clock.advance(timedelta(seconds=1))
    assert room.result(acme)["sent"] == 120
    assert len(room.sent()) == 120


def test_tenant_without_an_account_waits_for_one(room: MailRoom) -> None:
    room.control("PUT", "resend/accounts/shared", {"ended_key": "re_shared"})
    acme, bolt = room.add_tenant("acme"), room.add_tenant("bolt")
    room.give_account(bolt, api_key="re_bolt")
    for tenant_id in (acme, bolt):
        room.queue(tenant_id, [1])
    assert "invalid_api_key" in room.result(acme)["paused"]
    assert room.result(bolt)["sent"] == 1
    room.give_account(acme, api_key="re_acme")
    room.clock.advance(timedelta(hours=1))
    assert room.result(acme)["sent"] == 1
    assert sorted(each["account"] for each in room.sent()) == ["acme", "bolt"]


def test_dead_workers_calls_are_repeated_when_its_lease_has_ended(room: MailRoom) -> None:
    """It died after the call, before it wrote down that its e-mails had left."""
    acme = room.add_tenant("acme")
    room.queue(acme, [1, 2])
    fault(room, "429", remaining=1)
    assert isinstance(room.run(acme, cause="dies"), TryAgain)
    room.control("DELETE", "faults")
    assert room.run(acme, cause="too early") == Done(
        {"sent": 0, "skipped": 0, "failed": 0, "follow_ups": 0, "paused": None}
    )
    room.clock.advance(timedelta(minutes=3))
    assert room.result(acme)["sent"] == 2
    assert len(room.sent()) == 2


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("SELECT 1", "outcome unknown for longer than the provider remembers"),
        (
            "INSERT INTO email_suppressions (email, reason) VALUES ('ann-2@example.com', 'unsubscribe')",
            "outcome unknown, and a recipient of the same call has objected",
        ),
        (
            "DELETE FROM review_email_queue WHERE shopify_order_id = 2",
            "outcome unknown, and an e-mail of the same call was deleted",
        ),
    ],
)
def test_call_whose_outcome_is_unknown_is_not_repeated_where_it_could_double(
    room: MailRoom, statement: str, error: str
) -> None:
    acme = room.add_tenant("acme")
    room.queue(acme, [1, 2])
    fault(room, "lost_answer", remaining=1)
    room.result(acme)
    room.write(acme, statement)
    room.clock.advance(timedelta(hours=23) if statement == "SELECT 1" else timedelta(minutes=2))
    room.result(acme, RETRY)
    rows = room.rows("state, error, next_attempt_at, message")
    assert rows
    assert {tuple(row.values()) for row in rows} == {("failed", error, None, None)}
    assert len(room.sent()) == 2


def test_manual_resend_may_force_and_never_doubles_by_accident(room: MailRoom) -> None:
    acme = room.add_tenant("acme")
    room.queue(acme, [1])
    send, one = "commerce-send-queued-review-email", {"order_id": 1, "sequence": 1}
    assert room.result(acme, send, one)["sent"] == 1
    assert room.result(acme, send, {**one, "x": 1}) == {
        "state": "sent",
        "sent": 0,
        "message_id": room.sent()[0]["id"],
    }
    room.write(acme, "INSERT INTO reviews (shopify_order_id, rating) VALUES (1, 1)")
    assert room.result(acme, send, {**one, "force": True})["sent"] == 1
    assert len(room.sent()) == 2


def test_parcel_that_never_arrives_is_waited_for_fourteen_days(room: MailRoom) -> None:
    acme = room.add_tenant("acme")
    waiting = "commerce-review-email-awaiting-delivery"
    room.queue(acme, [1, 2, 3], state="awaiting_delivery", scheduled_at=None)
    for order, days in ((1, 14), (2, 13), (3, 20)):
        room.write(
            acme,
            "UPDATE review_email_queue SET awaiting_since = %s WHERE shopify_order_id = %s",
            NOON - timedelta(days=days),
            order,
        )
    room.write(
        acme, "UPDATE orders SET delivered_at = %s WHERE shopify_order_id = 3", NOON - timedelta(days=2)
    )
    assert room.result(acme, waiting) == {"scheduled": 2}
    assert room.rows("shopify_order_id, state, scheduled_at") == [
        {"shopify_order_id": 1, "state": "scheduled", "scheduled_at": NOON},
        {"shopify_order_id": 2, "state": "awaiting_delivery", "scheduled_at": None},
        {"shopify_order_id": 3, "state": "scheduled", "scheduled_at": NOON + timedelta(days=5)},
    ]


def test_queued_event_is_taken_with_its_address_in_order(room: MailRoom) -> None:
    acme = room.add_tenant("acme")
    room.queue(acme, [1], state="pending", scheduled_at=None)
    queued = "commerce-handle-review-email-queued"
    about = {
        "order_id": 1,
        "email": "  Ann@Example.COM ",
        "template": "photo_request",
        "force_incentive": False,
    }
    assert room.result(acme, queued, about)["written"] is True
    assert room.rows("state, email, scheduled_at, template") == [
        {
            "state": "scheduled",
            "email": "ann@example.com",
            "scheduled_at": NOON + timedelta(days=7),
            "template": "photo_request",
        }
    ]
    room.write(acme, "UPDATE review_email_queue SET scheduled_at = %s", NOON)
    room.result(acme)
    assert room.sent()[0]["subject"] == "Show us how it looks at home"
    assert room.result(acme, queued, {**about, "sequence": 1})["written"] is False


PROGRAMME = {"review_incentive": {"enabled": True}}


@pytest.mark.parametrize(
    ("total_cents", "sequence", "percent"),
    [(49_99, 2, 10), (50_00, 2, 15), (149_99, 2, 15), (150_00, 2, 20), (60_00, 1, None), (0, 2, None)],
)
def test_incentive_follows_order_value_and_sequence(
    room: MailRoom, total_cents: int, sequence: int, percent: int | None
) -> None:
    acme = room.add_tenant("acme", PROGRAMME)
    room.queue(acme, [1], total_cents=total_cents)
    room.write(acme, "UPDATE review_email_queue SET sequence = %s", sequence)
    room.result(acme)
    codes = room.query("SELECT code, percent, photo_percent, expires_at FROM review_incentive_codes")
    assert [code["percent"] for code in codes] == ([] if percent is None else [percent])
    [row] = [
        row for row in room.rows("sequence, incentive_offered, incentive_code") if row["sequence"] == sequence
    ]
    assert row["incentive_offered"] is (percent is not None)
    assert list(room.discounts.codes.values()) == ([] if percent is None else [percent])
    if percent is not None:
        assert (codes[0]["photo_percent"], codes[0]["expires_at"]) == (percent + 5, NOON + timedelta(days=30))
        assert row["incentive_code"] == codes[0]["code"]
        [email] = room.sent()
        assert codes[0]["code"] in room.control("GET", f"resend/emails/{email['id']}")["html"]


def test_refunded_order_gets_no_incentive_and_force_gives_it_in_the_first_e_mail(room: MailRoom) -> None:
    acme = room.add_tenant("acme", PROGRAMME)
    room.queue(acme, [1, 2], force_incentive=True)
    room.write(acme, "UPDATE orders SET refunded_cents = 1 WHERE shopify_order_id = 1")
    room.result(acme)
    codes = room.query("SELECT shopify_order_id, code FROM review_incentive_codes")
    assert [code["shopify_order_id"] for code in codes] == [2]
    room.clock.advance(timedelta(days=3))
    room.result(acme)
    assert room.query("SELECT shopify_order_id, code FROM review_incentive_codes ORDER BY 1")[-1] == codes[0]


@pytest.mark.parametrize(
    ("failure", "ends"),
    [
        (ProviderUnavailableError("shopify", "gone", outcome_unknown=True), TryAgain),
        (RateLimitedError("shopify", timedelta(seconds=9)), TryAgain),
        (TerminalError("no scope write_discounts"), Done),
    ],
)
def test_code_that_shopify_does_not_have_is_offered_to_nobody(
    room: MailRoom, failure: TradewindError, ends: type[Any]
) -> None:
    acme = room.add_tenant("acme", PROGRAMME)
    room.queue(acme, [1, 2], force_incentive=True)
    room.discounts.failures.append(failure)
    assert isinstance(room.run(acme, cause="slot-1"), ends)
    assert room.sent() == []
    codes = room.query("SELECT code, state FROM review_incentive_codes ORDER BY shopify_order_id")
    assert [code["state"] for code in codes] == ["intended", "intended"]
    room.clock.advance(timedelta(hours=1))
    room.run(acme, cause="slot-2")
    assert len(room.sent()) == 2
    again = room.query("SELECT code, state FROM review_incentive_codes ORDER BY shopify_order_id")
    assert again == [{**code, "state": "active"} for code in codes]
    assert sorted(room.discounts.codes) == sorted(code["code"] for code in codes)


SENT = "commerce-handle-review-email-sent"


def heard(room: MailRoom, tenant: Any, kind: str, event: str, **about: Any) -> Any:
    told = {"order_id": 1, "sequence": 1, "kind": kind, "occurred_at": NOON.isoformat(), **about}
    end = room.run(tenant, SENT, told, cause=event)
    assert isinstance(end, Done)
    return end.result


def test_news_of_an_e_mail_are_counted_once_each(room: MailRoom) -> None:
    acme = room.add_tenant("acme")
    room.queue(acme, [1])
    room.result(acme)
    for event, kind in enumerate(("sent", "delivered", "opened", "opened", "clicked")):
        assert heard(room, acme, kind, f"msg_{event}") == {"noted": True, "suppressed": False}
    assert heard(room, acme, "opened", "msg_2~replay-1") == {"noted": False, "suppressed": False}
    [row] = [
        each
        for each in room.rows("sequence, opens, clicks, delivered_at, opened_at")
        if each["sequence"] == 1
    ]
    assert row == {"sequence": 1, "opens": 2, "clicks": 1, "delivered_at": NOON, "opened_at": NOON}
    assert len(room.query("SELECT * FROM review_email_events")) == 5


@pytest.mark.parametrize(
    ("kind", "permanent", "reason"),
    [("bounced", True, "hard_bounce"), ("bounced", False, None), ("complained", False, "complaint")],
)
def test_complaint_and_permanent_bounce_suppress(
    room: MailRoom, kind: str, permanent: bool, reason: str | None
) -> None:
    acme = room.add_tenant("acme")
    room.queue(acme, [1])
    room.result(acme)
    assert heard(room, acme, kind, "msg_1", permanent=permanent)["suppressed"] is (reason is not None)
    found = [row["reason"] for row in room.query("SELECT reason FROM email_suppressions")]
    assert found == ([] if reason is None else [reason])
    room.clock.advance(timedelta(days=3))
    assert room.result(acme)["skipped"] == (0 if reason is None else 1)


def test_news_that_come_before_we_know_settle_the_row_and_follow_up(room: MailRoom) -> None:
    """The answer was lost, the worker died, and the provider's webhook tells that the e-mail has left."""
    acme = room.add_tenant("acme")
    room.queue(acme, [1])
    fault(room, "lost_answer", remaining=1)
    room.result(acme)
    [email] = room.sent()
    assert heard(room, acme, "delivered", "msg_1", message_id=email["id"])["noted"] is True
    rows = room.rows("sequence, state, message_id, next_attempt_at")
    assert [(row["sequence"], row["state"]) for row in rows] == [(1, "sent"), (2, "scheduled")]
    assert rows[0]["message_id"] == email["id"]
    room.clock.advance(timedelta(minutes=10))
    room.result(acme, RETRY)
    assert room.rows("message")[0] == {"message": None}
    assert len(room.sent()) == 1


def test_statistics_stand_beside_the_period_before(room: MailRoom) -> None:
    acme = room.add_tenant("acme")
    room.queue(acme, range(1, 11))
    room.result(acme)
    changes = {
        "sent_at = sent_at - interval '40 days'": "shopify_order_id > 8",
        "delivered_at = sent_at": "shopify_order_id <= 6",
        "opened_at = sent_at": "shopify_order_id <= 3",
        "clicked_at = sent_at": "shopify_order_id = 1",
        "bounced_at = sent_at": "shopify_order_id = 7",
    }
    for change, which in changes.items():
        room.write(acme, f"UPDATE review_email_queue SET {change} WHERE {which} AND sequence = 1")
    room.write(
        acme,
        "INSERT INTO reviews (shopify_order_id, rating, created_at) VALUES (2, 4, %s)",
        NOON + timedelta(hours=1),
    )
    room.clock.advance(timedelta(days=1))
    report = room.result(acme, "commerce-review-email-stats", {"days": 30})
    assert report["present"]["counts"] == {
        "sent": 8,
        "delivered": 6,
        "opened": 3,
        "clicked": 1,
        "bounced": 1,
        "complained": 0,
        "converted": 1,
    }
    assert report["present"]["rates"] == {
        "delivered": 75.0,
        "bounced": 12.5,
        "complained": 0.0,
        "opened": 50.0,
        "clicked": 16.67,
        "converted": 16.67,
    }
    assert report["previous"]["counts"]["sent"] == 2
