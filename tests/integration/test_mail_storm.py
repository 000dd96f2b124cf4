"""Due review e-mails of many tenants, while the provider fails on purpose and workers are killed: each row ends in one
state, nobody is written to twice, no account is above its limit.

``make mail-storm`` sends 100,000 of 50 tenants; ``make test`` a few hundred.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
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
SHARING = 3
"""Tenants that share the platform's account."""
WORKERS, KILLED_AT = 2, (0.25, 0.5)
"""When workers are killed: shares of what there is to send."""
SUPPRESSED_EACH = 20
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
_OPEN = """
SELECT count(*)::integer AS open, min(least(
    CASE WHEN state = 'processing' THEN lease_until WHEN state = 'scheduled' THEN scheduled_at ELSE next_attempt_at END,
    'infinity')) AS next_at
FROM review_email_queue WHERE state IN ('scheduled', 'processing') OR next_attempt_at IS NOT NULL
"""

_ROWS = """
SELECT tenant_id::text, shopify_order_id AS id, state, error, message_id, message, batch_id FROM review_email_queue
"""


@dataclass
class Crew:
    """Worker processes, each with tenants of its own."""

    room: MailRoom
    shares: list[list[str]]
    processes: list[tuple[subprocess.Popen[str], int]] = field(default_factory=list)

    def start(self, share: int) -> tuple[subprocess.Popen[str], int]:
        reading, writing = os.pipe()
        about: Mapping[str, Any] = {
            "urls": asdict(self.room.urls),
            "redis_url": self.room.redis_url,
            "sandbox_url": self.room.sandbox_url,
            "limits": LIMITS,
            "tenants": self.shares[share],
            "pipe": writing,
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.mail_worker", json.dumps(about)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            pass_fds=[writing],
            text=True,
            env={
                **os.environ,
                "PYTHONPATH": "functions:layers/shared/python:.",
                "TRADEWIND_LOG_LEVEL": "CRITICAL",
            },
        )
        os.close(writing)
        return process, reading

    def phase(self, ahead: float, kill_at: list[int]) -> None:
        """One phase of every worker; kills one whenever so many e-mails have left, and starts another in its place."""
        for at in range(WORKERS):
            if len(self.processes) <= at:
                self.processes.append(self.start(at))
            self.tell(at, ahead)
        open_ones = {reading: at for at, (_, reading) in enumerate(self.processes)}
        while open_ones:
            ready, _, _ = select.select([*open_ones], [], [], 0.2)
            for reading in ready:
                assert os.read(reading, 1) == b".", "a worker has died by itself"
                open_ones.pop(reading)
            if kill_at and open_ones and self.count() >= kill_at[0]:
                kill_at.pop(0)
                reading, at = next(iter(open_ones.items()))
                del open_ones[reading]
                open_ones[self.replace(at, ahead)] = at

    def replace(self, at: int, ahead: float) -> int:
        process, reading = self.processes[at]
        process.kill()
        process.wait()
        assert process.stdin is not None
        process.stdin.close()
        os.close(reading)
        self.processes[at] = self.start(at)
        self.tell(at, ahead)
        return self.processes[at][1]

    def tell(self, at: int, ahead: float) -> None:
        stdin = self.processes[at][0].stdin
        assert stdin is not None
        stdin.write(f"{ahead}\n")
        stdin.flush()

    def count(self) -> int:
        return int(self.room.control("GET", "resend/emails?limit=0")["all"])

    def close(self) -> None:
        for process, reading in self.processes:
            assert process.stdin is not None
            process.stdin.close()
            assert process.wait(30) == 0
            os.close(reading)


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
        tenant_id = room.add_tenant(f"t-{number:02}", {"review_email": {"max_sequence": 1}})
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


@pytest.mark.slow
def test_every_row_ends_in_one_state_and_nobody_is_written_to_twice(room: MailRoom) -> None:
    tenants = [str(each) for each in lay(room)]
    all_rows = TENANTS * ROWS
    skipped = TENANTS * (ROWS // SUPPRESSED_EACH)
    room.control("POST", "faults", {"provider": "resend", "rate": FAULTS, "kinds": KINDS, "seed": 7})
    crew = Crew(room, [tenants[at::WORKERS] for at in range(WORKERS)])
    kill_at = [int(share * (all_rows - skipped)) for share in KILLED_AT]
    begun, ahead, phases = time.monotonic(), 0.0, 0
    try:
        while phases < 60:
            phases += 1
            crew.phase(ahead, kill_at)
            [standing] = room.query(_OPEN)
            [paused] = room.query("SELECT min(paused_until) AS until FROM email_sending_pauses WHERE paused_until > %s",
                                  datetime.now(UTC) + timedelta(seconds=ahead))  # fmt: skip
            if not standing["open"]:
                break
            now = datetime.now(UTC) + timedelta(seconds=ahead)
            wakes = [
                each for each in (standing["next_at"], paused["until"]) if each is not None and each > now
            ]
            ahead += max(0.0, (min(wakes) - now).total_seconds()) + 1 if wakes else 60.0
    finally:
        crew.close()
    seconds = time.monotonic() - begun
    assert kill_at == []
    rows = room.query(
        "SELECT tenant_id::text, shopify_order_id AS id, state, error, message_id, message, batch_id FROM review_email_queue"
    )
    states = Counter(row["state"] for row in rows)
    sent = room.sent()
    calls = [call for call in all_calls(room) if call["provider"] == "resend"]
    faults = Counter(call["fault"] for call in calls if call["fault"])
    failed = [row["error"] for row in rows if row["state"] == "failed"]
    print(f"\n{all_rows:,} e-mails of {TENANTS} tenants: {dict(states)} in {seconds:.0f} s and {phases} phases,"
          f" {len(calls):,} calls, faults {dict(faults)}")  # fmt: skip
    assert {"429", "500", "lost_answer"} <= set(faults)
    assert states["skipped"] == skipped
    assert states["sent"] + states["failed"] + skipped == all_rows
    assert {error for error in failed if not error.startswith("outcome unknown")} == set()
    assert {row["message"] for row in rows} == {None}
    assert {row["batch_id"] for row in rows} == {None}
    left = Counter((each["tags"]["tenant"], int(each["tags"]["order"])) for each in sent)
    assert max(left.values()) == 1
    ids = {(each["tags"]["tenant"], int(each["tags"]["order"])): each["id"] for each in sent}
    told = {(row["tenant_id"], row["id"]): row["message_id"] for row in rows if row["state"] == "sent"}
    assert {key: ids.get(key) for key in told} == told
    assert len(sent) - len(told) <= len(failed)
    accounts: dict[str, list[datetime]] = {}
    for call in calls:
        accounts.setdefault(call["shop"], []).append(datetime.fromisoformat(call["at"]))
    assert len(accounts) == TENANTS - SHARING + 1
    assert max(map(busiest_second, accounts.values())) <= 5
    summary = room.control("GET", "resend/accounts")
    assert {each["refused_for_rate"] for each in summary.values()} == {0}
    shared = sorted(accounts["shared"])
    assert len(shared) > 1
    gaps = sorted((later - earlier).total_seconds() for earlier, later in pairwise(shared))
    assert gaps[len(gaps) // 2] >= 0.5
