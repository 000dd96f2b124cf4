"""Due review e-mails of many tenants, while the provider fails on purpose and workers are killed: each row ends in one
state, nobody is written to twice, no account is above its limit.

``make mail-storm`` sends 100,000 of 50 tenants; ``make test`` a few hundred.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

import psycopg
import pytest

from infra.local import ValkeyServer
from infra.local.postgres import DatabaseUrls
from tests.conftest import ROOT
from tests.integration.mailroom import MailRoom
from tests.integration.test_sandbox import running
from tradewind.clock import FixedClock

SIZES = {"small": (8, 40, 0.3), "medium": (20, 400, 0.05), "large": (50, 2000, 0.05)}
"""Tenants, e-mails of each, and the share of calls that fail: of few calls many, so that each kind is met."""
TENANTS, ROWS, FAULTS = SIZES[os.environ.get("MAIL_SIZE", "small")]
MOST_ATTEMPTS = 5
"""So many failures end a row for good."""
SHARING = 3
"""Tenants that share the platform's account."""
WORKERS, KILLED_AT = 2, (0.25, 0.5)
"""When workers are killed: shares of what there is to send."""
SUPPRESSED_EACH = 20
OFFERING = 4
"""Every such tenant offers a discount, whose code is made at its shop before an e-mail leaves."""
OFFER = {"enabled": True, "from_sequence": 1, "prefix": "STORM"}
PERCENT = 15
"""For an order of 60 dollars."""
LOOKED_AT = 20
"""E-mails whose bodies are read: the sandbox keeps the latest alone."""
SHOP_KINDS = ["429", "500", "reset", "lost_answer", "lost_answer"]
LIMITS = {"TRADEWIND_PROVIDER_TIMEOUT_S": "4"}
KINDS = [
    "429",
    "429",
    "429",
    "500",
    "500",
    "lost_answer",
    "lost_answer",
    "lost_answer",
    "daily_quota",
    "monthly_quota",
]
_ROWS = """
SELECT tenant_id::text, shopify_order_id AS id, state, error, attempts, message_id, message, batch_id
FROM review_email_queue
"""


_CODES = """
SELECT i.tenant_id::text, t.slug, i.shopify_order_id AS id, i.code, i.percent
FROM review_incentive_codes i JOIN tenants t USING (tenant_id)
"""


def start(room: MailRoom, tenants: list[str]) -> subprocess.Popen[bytes]:
    """A worker of its own process for these tenants."""
    about: Mapping[str, Any] = {
        "urls": asdict(room.urls),
        "redis_url": room.redis_url,
        "sandbox_url": room.sandbox_url,
        "limits": LIMITS,
        "tenants": tenants,
    }
    own = {"PYTHONPATH": "functions:layers/shared/python:.", "TRADEWIND_LOG_LEVEL": "CRITICAL"}
    return subprocess.Popen(
        [sys.executable, "-m", "tests.integration.mail_worker", json.dumps(about)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        env={**os.environ, **own},
    )


@pytest.fixture
def room(database: DatabaseUrls, valkey: ValkeyServer) -> Iterator[MailRoom]:
    with running() as (url, _):
        made = MailRoom(database, valkey.url, url, FixedClock(datetime.now(UTC)), LIMITS)
        made.share_account()
        yield made
        made.close()


def lay(room: MailRoom) -> list[UUID]:
    """Tenants with due e-mails; every twentieth recipient has objected."""
    tenants = []
    for number in range(TENANTS):
        offers = {"review_incentive": OFFER} if number % OFFERING == 0 else {}
        tenant_id = room.add_tenant(f"t-{number:02}", {"review_email": {"max_sequence": 1}, **offers})
        if number >= SHARING:
            room.give_account(tenant_id, api_key=f"re_own{number:02}")
        room.queue(tenant_id, range(1, ROWS + 1))
        room.write(
            tenant_id,
            "INSERT INTO email_suppressions (email, reason) SELECT email, 'unsubscribe' FROM review_email_queue"
            " WHERE shopify_order_id %% %s = 0",
            SUPPRESSED_EACH,
        )
        room.signer(tenant_id)
        tenants.append(tenant_id)
    with psycopg.connect(room.urls.owner, autocommit=True) as owner:
        owner.execute("ANALYZE review_email_queue")
    return tenants


def busiest_second(moments: list[datetime]) -> int:
    """The most of these moments that lie in any second."""
    ordered, most, start = sorted(moments), 0, 0
    for end, moment in enumerate(ordered):
        while ordered[start] <= moment - timedelta(seconds=1):
            start += 1
        most = max(most, end - start + 1)
    return most


def all_calls(room: MailRoom) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while page := room.control("GET", f"calls?limit=5000&after={found[-1]['number'] if found else 0}")[
        "calls"
    ]:
        found += page
    return found


def play(room: MailRoom, tenants: list[str], kill_at: list[int]) -> None:
    """Workers until nothing is left; whenever so many e-mails have left one is killed, and another takes its place."""
    shares = [tenants[at::WORKERS] for at in range(WORKERS)]
    crew = [start(room, share) for share in shares]
    try:
        while any(worker.poll() is None for worker in crew):
            time.sleep(0.2)
            at = len(kill_at) % WORKERS
            left = room.control("GET", "resend/emails?limit=0")["all"]
            if kill_at and left >= kill_at[0] and crew[at].poll() is None:
                kill_at.pop(0)
                crew[at].kill()
                crew[at].wait()
                crew[at] = start(room, shares[at])
        assert [worker.returncode for worker in crew] == [0] * WORKERS
    finally:
        for worker in crew:
            worker.kill()
            worker.wait()


def check_states(room: MailRoom, skipped: int) -> None:
    """Every row has one final state, and a row that was sent names the one e-mail that left for it."""
    rows, sent = room.query(_ROWS), room.sent()
    failed = [row["error"] for row in rows if row["state"] == "failed"]
    states = Counter(row["state"] for row in rows)
    assert states["skipped"] == skipped
    assert states["sent"] + states["failed"] + skipped == TENANTS * ROWS
    known = [
        row for row in rows if row["state"] == "failed" and not row["error"].startswith("outcome unknown")
    ]
    assert {row["attempts"] for row in known} <= {MOST_ATTEMPTS}, "only five failures end a row"
    assert {row["message"] for row in rows} == {None}
    assert {row["batch_id"] for row in rows} == {None}
    left = Counter((each["tags"]["tenant"], int(each["tags"]["order"])) for each in sent)
    assert max(left.values()) == 1
    ids = {(each["tags"]["tenant"], int(each["tags"]["order"])): each["id"] for each in sent}
    told = {(row["tenant_id"], row["id"]): row["message_id"] for row in rows if row["state"] == "sent"}
    assert {key: ids.get(key) for key in told} == told
    assert len(sent) - len(told) <= len(failed)
    print(f"\n{len(rows):,} e-mails of {TENANTS} tenants: {dict(states)}")


def check_codes(room: MailRoom, sent: list[dict[str, Any]]) -> None:
    """An order that is offered a discount has one code, and that code is good at its shop when the e-mail leaves."""
    rows = room.query(_CODES)
    offering = range(0, TENANTS, OFFERING)
    assert {row["slug"] for row in rows} == {f"t-{number:02}" for number in offering}
    assert {row["percent"] for row in rows} == {PERCENT}
    made = {
        slug: room.control("GET", f"shopify/{slug}.myshopify.com/discounts")["discounts"]
        for slug in {row["slug"] for row in rows}
    }
    codes = {(row["tenant_id"], row["id"]): row for row in rows}
    known = {(row["slug"], row["code"]) for row in rows}
    assert {(slug, code) for slug, codes_of in made.items() for code in codes_of} <= known
    values = {
        each["customerGets"]["value"]["percentage"]
        for codes_of in made.values()
        for each in codes_of.values()
    }
    assert values == {PERCENT / 100}
    told = {each["id"]: codes.get((each["tags"]["tenant"], int(each["tags"]["order"]))) for each in sent}
    assert {each["id"] for each in sent if f"{PERCENT}% off" in each["subject"]} == {
        email_id for email_id, row in told.items() if row is not None
    }
    offers = [(email_id, row) for email_id, row in told.items() if row is not None]
    assert {(row["slug"], row["code"]) for _, row in offers} <= {
        (slug, code) for slug, codes_of in made.items() for code in codes_of
    }
    for email_id, row in offers[-LOOKED_AT:]:
        body = room.control("GET", f"resend/emails/{email_id}")
        assert set(re.findall(r"STORM-[A-Z0-9]+", body["text"] + body["html"])) == {row["code"]}
    print(f"{len(offers):,} of {len(sent):,} e-mails offered a discount, {len(rows):,} codes")


def check_pace(room: MailRoom, calls: list[dict[str, Any]]) -> None:
    """No account has more calls in any second than its limit, refused and failed ones included."""
    accounts: dict[str, list[datetime]] = {}
    for call in calls:
        accounts.setdefault(call["shop"], []).append(datetime.fromisoformat(call["at"]))
    assert len(accounts) == TENANTS - SHARING + 1
    busiest = max(map(busiest_second, accounts.values()))
    assert busiest <= 5
    summary = room.control("GET", "resend/accounts")
    assert {each["refused_for_rate"] for each in summary.values()} == {0}
    shared = sorted(accounts["shared"])
    gaps = sorted((later - earlier).total_seconds() for earlier, later in pairwise(shared))
    assert gaps[len(gaps) // 2] >= 0.5
    print(f"{len(calls):,} calls of {len(accounts)} accounts, at most {busiest} of one in any second")


@pytest.mark.slow
def test_every_row_ends_in_one_state_and_nobody_is_written_to_twice(room: MailRoom) -> None:
    tenants = [str(each) for each in lay(room)]
    skipped = TENANTS * (ROWS // SUPPRESSED_EACH)
    room.control("POST", "faults", {"provider": "resend", "rate": FAULTS, "kinds": KINDS, "seed": 7})
    room.control("POST", "faults", {"provider": "shopify", "rate": FAULTS, "kinds": SHOP_KINDS, "seed": 7})
    kill_at = [int(share * (TENANTS * ROWS - skipped)) for share in KILLED_AT]
    begun = time.monotonic()
    play(room, tenants, kill_at)
    seconds = time.monotonic() - begun
    all_made = all_calls(room)
    calls = [call for call in all_made if call["provider"] == "resend"]
    faults = Counter(call["fault"] for call in calls if call["fault"])
    check_states(room, skipped)
    check_codes(room, room.sent())
    check_pace(room, calls)
    print(f"{seconds:.0f} s, {len(KILLED_AT)} workers killed, faults {dict(faults)}")
    assert kill_at == []
    assert {"429", "500", "lost_answer"} <= set(faults)
    at_shops = Counter(call["fault"] for call in all_made if call["provider"] == "shopify" and call["fault"])
    assert set(SHOP_KINDS) <= set(at_shops)
