"""Review e-mails through the queue: claimed, written down, handed to the sandbox's Resend by fifties, recorded."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import commerce.review_email.tasks  # noqa: F401 - declares the tasks
from infra.local import valkey_server
from infra.local.postgres import DatabaseUrls
from tests.bench.figures import digits
from tests.bench.kernel import quietly
from tests.integration.mailroom import PROCESS, MailRoom
from tests.integration.test_sandbox import running
from tradewind.clock import FixedClock

EMAILS = 10_000
UNLIMITED = {"TRADEWIND_RESEND_CALL_SPACING_MS": "1", "TRADEWIND_TENANT_EMAILS_PER_SECOND": "100000"}


def measure(urls: DatabaseUrls, emails: int = EMAILS) -> dict[str, Any]:
    """One tenant, one worker, an account without a limit. Raises AssertionError where not each has left once."""
    with valkey_server() as valkey, running() as (sandbox_url, _):
        room = MailRoom(urls, valkey.url, sandbox_url, FixedClock(datetime.now(UTC)), UNLIMITED)
        room.control("PUT", "resend/accounts/*", {"calls_per_second": 0})
        room.share_account()
        tenant_id = room.add_tenant("acme")
        room.queue(tenant_id, range(1, emails + 1))
        processor, begun = time.process_time(), time.perf_counter()
        quietly(lambda: room.run(tenant_id, PROCESS))
        took, worked = time.perf_counter() - begun, time.process_time() - processor
        left = {each["tags"]["order"] for each in room.sent()}
        states = {row["state"]: row["n"] for row in room.query(_STATES)}
        room.close()
    assert len(left) == states["sent"] == states["scheduled"] == emails, states
    return {
        "emails": emails,
        "emails_per_second": digits(emails / took),
        "own_milliseconds_each": digits(1000 * worked / emails),
    }


_STATES = "SELECT state, count(*)::integer AS n FROM review_email_queue GROUP BY 1"
