"""Resend's webhooks at the receiver: whose they are, what is refused, ignored and kept, each once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from infra.local.postgres import DatabaseUrls
from tests.integration.door import Door
from tradewind.tasks.message import queue_name
from tradewind.tenancy.tenant import PLATFORM_TENANT

SHARED, OWN = "whsec_c2hhcmVk", "whsec_b3du"
TASK = "commerce-handle-review-email-sent"


@pytest.fixture
def door(database: DatabaseUrls) -> Iterator[Door]:
    built = Door(database)
    built.store_resend_secret(PLATFORM_TENANT, SHARED)
    built.store_resend_secret(built.tenants["bolt"], OWN)
    yield built
    built.connections.close()


def news(door: Door, slug: str = "acme", kind: str = "email.delivered", **tags: str) -> dict[str, Any]:
    own = {"tenant": str(door.tenants[slug]), "order": "1001", "sequence": "1", **tags}
    data = {"email_id": "e-1", "to": ["ann@example.com"], "tags": own}
    return {"type": kind, "created_at": "2026-11-20T12:00:00.000Z", "data": data}


def test_event_of_the_shared_account_goes_to_the_tenant_that_the_e_mail_names(door: Door) -> None:
    assert door.post_resend(news(door), SHARED) == (200, {"status": "accepted", "correlation_id": "msg_1"})
    [entry] = door.queues.sent
    message = json.loads(entry.body)
    assert (entry.queue, message["tenant_id"], message["entity"], message["cause"]) == (
        queue_name("test", TASK),
        str(door.tenants["acme"]),
        "1001",
        "msg_1",
    )
    [row] = door.query("SELECT provider, app, topic, event_id, state FROM webhook_inbox")
    assert row == {
        "provider": "resend",
        "app": "default",
        "topic": "email.delivered",
        "event_id": "msg_1",
        "state": "routed",
    }


def test_event_that_comes_again_is_a_duplicate_under_a_new_time(door: Door) -> None:
    door.post_resend(news(door), SHARED, sent_at=datetime.now(UTC) - timedelta(minutes=2))
    assert door.post_resend(news(door), SHARED) == (200, {"status": "duplicate", "correlation_id": "msg_1"})
    assert door.counts() == (1, 1, 0)


def test_own_account_has_its_own_door_and_secret(door: Door) -> None:
    assert door.post_resend(news(door, "bolt"), OWN, app="bolt")[0] == 200
    assert door.post_resend(news(door, "acme"), OWN, app="bolt", message_id="msg_2")[0] == 200
    tenants = {json.loads(entry.body)["tenant_id"] for entry in door.queues.sent}
    assert tenants == {str(door.tenants["bolt"])}


@pytest.mark.parametrize(
    ("secret", "app", "about"),
    [
        (OWN, None, {}),
        (SHARED, "bolt", {}),
        (SHARED, "nobody", {}),
        (SHARED, None, {"svix_signature": "missing"}),
        (SHARED, None, {"svix_id": "missing"}),
        (SHARED, None, {"svix_timestamp": "missing"}),
        (SHARED, None, {"svix_signature": "v1,AAAA"}),
        (SHARED, None, {"sent_at": datetime(2026, 1, 1, tzinfo=UTC)}),
    ],
)
def test_what_is_not_signed_for_its_door_leaves_nothing(
    door: Door, secret: str, app: str | None, about: dict[str, Any]
) -> None:
    status, answer = door.post_resend(news(door), secret, app=app, **about)
    assert (status, answer) == (401, {"error": "signature does not fit the body"})
    assert door.counts() == (0, 0, 0)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"tenant": str(uuid4())}, "unknown shop"),
        ({"order": "none"}, "unknown shop"),
        ({"tenant": "acme"}, "unknown shop"),
    ],
)
def test_signed_event_of_no_e_mail_of_ours_is_ignored(
    door: Door, changes: dict[str, str], reason: str
) -> None:
    status, answer = door.post_resend(news(door, **changes), SHARED)
    assert (status, answer["status"]) == (202, "ignored")
    assert answer["reason"] in {reason, "unknown topic"}
    assert door.counts() == (0, 0, 0)


def test_topic_that_starts_nothing_is_ignored(door: Door) -> None:
    status, answer = door.post_resend(news(door, kind="email.delivery_delayed"), SHARED)
    assert (status, answer) == (202, {"status": "ignored", "reason": "unknown topic"})
    assert door.counts() == (0, 0, 0)


def test_tenant_that_left_hears_nothing(door: Door) -> None:
    assert door.post_resend(news(door, "gone"), SHARED) == (
        202,
        {"status": "ignored", "reason": "uninstalled"},
    )
    assert door.counts() == (0, 0, 0)


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff\xfe", b'{"type": 5}', b'{"data": {}}'])
def test_signed_body_that_cannot_be_used_is_kept_as_a_dead_letter(door: Door, body: bytes) -> None:
    assert door.post_resend(body, SHARED)[0] == 200
    assert door.post_resend(body, SHARED)[0] == 200
    [kept] = door.query("SELECT tenant_id, task, cause, body, headers FROM dead_letter")
    assert (kept["tenant_id"], kept["task"], kept["cause"]) == (PLATFORM_TENANT, "ingress-resend", "msg_1")
    assert (bytes(kept["body"]), kept["headers"]["svix-id"]) == (body, "msg_1")
    assert door.counts() == (0, 0, 1)


def test_secret_that_was_rotated_a_moment_ago_still_signs(door: Door) -> None:
    door.post_resend(news(door), SHARED)
    door.store_resend_secret(PLATFORM_TENANT, "whsec_bmV3")
    assert door.post_resend(news(door), "whsec_bmV3", message_id="msg_2")[0] == 200
    assert door.counts() == (2, 2, 0)
