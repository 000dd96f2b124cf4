"""The life of review e-mails on a real Postgres and Valkey, with the sandbox's Resend."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

import commerce.review_email.tasks  # noqa: F401 - declares the tasks
from infra.local import ValkeyServer
from infra.local.postgres import DatabaseUrls
from tests.fakes import NOON
from tests.integration.mailroom import PROCESS, MailRoom
from tests.integration.test_sandbox import running
from tradewind.clock import FixedClock

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
