"""A day of reviews: what is due is sent through the platform's shared account, the provider tells what became of it,
and every count is compared with what was played.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import httpx
import psycopg

from infra.local.demo.cast import AdminError, invoke, invoke_admin
from infra.local.demo.verify import Verdict
from infra.local.demo.watch import NotDrainedError, read_standing
from infra.local.state import State

ACCOUNT, API_KEY = "demo", "re_demo"
SECRET = "whsec_ZGVtby1zZWNyZXQtb2YtYW4tYWNjb3VudA=="  # noqa: S105 - it protects nothing
QUEUE, STATISTICS = "commerce-process-review-email-queue", "commerce-review-email-stats"
EACH = {"opened": 3, "clicked": 9, "bounced": 20, "complained": 50}
"""Of which e-mails the provider tells more: every third was opened, and so on. Each is told twice."""
PATIENCE_S = 90.0
_MAKE_DUE = """
UPDATE review_email_queue SET scheduled_at = now() - interval '1 minute' WHERE state = 'scheduled'
"""
_SUPPRESSED = "SELECT count(*)::integer FROM email_suppressions"
_FOLLOW_UPS = "SELECT count(*)::integer FROM review_email_queue WHERE sequence = 2 AND state = 'scheduled'"


def play_reviews(state: State, tenants: Mapping[str, UUID], verdict: Verdict) -> dict[str, Any]:
    """Send, tell, count and compare; the statistics by tenant. Raises AdminError or NotDrainedError."""
    _open_account(state)
    due = {slug: _make_due(state, tenant_id) for slug, tenant_id in tenants.items()}
    for tenant_id in tenants.values():
        _send(state, tenant_id)
    _wait(state, sum(due.values()))
    played = _tell(state)
    _wait(state, sum(due.values()))
    found = {
        slug: invoke(state, STATISTICS, {"tenant": str(tenant_id), "payload": {"days": 2}})["present"]
        for slug, tenant_id in tenants.items()
    }
    for slug, tenant_id in tenants.items():
        told = played.get(str(tenant_id), Counter())
        expected = {
            "sent": due[slug],
            "delivered": due[slug],
            **{kind: told[kind] for kind in EACH},
            "converted": 0,
        }
        verdict.compare(f"{slug}: review e-mails", expected, found[slug]["counts"])
    with psycopg.connect(state.database_url) as connection:
        follow_ups, suppressed = (connection.execute(each).fetchone() for each in (_FOLLOW_UPS, _SUPPRESSED))
    verdict.compare("follow-ups in the queue", (sum(due.values()),), follow_ups)
    verdict.compare("suppressed recipients", (_leaving(state),), suppressed)
    return found


def _open_account(state: State) -> None:
    """The platform's own account at the sandbox, and its secrets in the vault."""
    url = f"{state.sandbox_url}/_sandbox/resend/accounts/{ACCOUNT}"
    hook = {"webhook_url": f"{state.webhook_url}/webhooks/resend", "webhook_secret": SECRET}
    httpx.put(url, json={"api_key": API_KEY, **hook}, timeout=10).raise_for_status()
    secrets = {"api_key": API_KEY, "from": "reviews@example.com", "webhook_secret": SECRET}
    about = {"action": "store-credentials", "tenant": "platform", "provider": "resend"}
    invoke_admin(state, {**about, "credentials": secrets})


def _make_due(state: State, tenant_id: UUID) -> int:
    """Let the days until the e-mails are due be over; how many there are."""
    with psycopg.connect(state.app_database_url) as connection:
        connection.execute("SELECT set_config('app.tenant_id', %s, true)", (str(tenant_id),))
        connection.execute("UPDATE email_sending_pauses SET paused_until = now()")
        return connection.execute(_MAKE_DUE).rowcount


def _send(state: State, tenant_id: UUID) -> None:
    """Run the tenant's queue; what is more than a page goes on by itself. A limit that is reached is waited for."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            invoke(state, QUEUE, {"tenant": str(tenant_id), "payload": {}})
        except AdminError as error:
            if "RateLimitedError" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(1)
        else:
            return


def _sandbox(state: State, path: str) -> dict[str, Any]:
    answer = httpx.get(f"{state.sandbox_url}/_sandbox/resend/{path}", timeout=30).raise_for_status()
    document: dict[str, Any] = answer.json()
    return document


def _wait(state: State, emails: int) -> None:
    """Until so many have left, every webhook is taken and nothing is on its way, seen twice."""
    deadline = time.monotonic() + PATIENCE_S
    idle = 0
    while idle < 2:  # noqa: PLR2004 - once might be between two steps
        left = _sandbox(state, "emails?limit=0")["all"]
        done = left >= emails and not _sandbox(state, "webhooks")["open"]
        idle = idle + 1 if done and read_standing(state.database_url).is_idle else 0
        if time.monotonic() > deadline:
            raise NotDrainedError(f"after {PATIENCE_S:.0f} s {left} of {emails} e-mails have left")
        time.sleep(0.2)


def _tell(state: State) -> dict[str, Counter[str]]:
    """Have the provider tell of openings, clicks, bounces and complaints, each twice; by tenant what it tells."""
    sent = sorted(_sandbox(state, "emails?limit=10000")["emails"], key=lambda each: each["tags"]["order"])
    played: dict[str, Counter[str]] = {}
    for kind, every in EACH.items():
        chosen = sent[::every]
        about = {"emails": [each["id"] for each in chosen], "kind": kind, "permanent": True, "copies": 2}
        url = f"{state.sandbox_url}/_sandbox/resend/webhooks/deliver"
        httpx.post(url, json=about, timeout=30).raise_for_status()
        for each in chosen:
            played.setdefault(each["tags"]["tenant"], Counter())[kind] += 1
    return played


def _leaving(state: State) -> int:
    """Recipients that bounced for good or complained, by tenant and address."""
    sent = sorted(_sandbox(state, "emails?limit=10000")["emails"], key=lambda each: each["tags"]["order"])
    gone = [*sent[:: EACH["bounced"]], *sent[:: EACH["complained"]]]
    return len({(each["tags"]["tenant"], each["to"].lower()) for each in gone})
