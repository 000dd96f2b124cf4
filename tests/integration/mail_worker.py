"""``python -m tests.integration.mail_worker ABOUT``: a process that works the review queues of some tenants until
nothing is left in them, or it is killed. Where a tenant has to wait (for the end of a lease, a retry, a pause), its
clock is put ahead.
"""

from __future__ import annotations

import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import commerce.review_email.tasks  # noqa: F401 - declares the tasks
from infra.local.postgres import DatabaseUrls
from tests.integration.mailroom import PROCESS, RETRY, MailRoom
from tradewind.clock import FixedClock
from tradewind.tasks.message import read_message
from tradewind.tasks.worker import Done, TryAgain

_NEXT = """
SELECT count(*)::integer AS open,
       (SELECT max(paused_until) FROM email_sending_pauses WHERE tenant_id = %s) AS paused_until,
       min(CASE state WHEN 'processing' THEN lease_until WHEN 'scheduled' THEN scheduled_at
                      ELSE next_attempt_at END) AS at
FROM review_email_queue
WHERE tenant_id = %s AND (state IN ('scheduled', 'processing') OR next_attempt_at IS NOT NULL)
"""


@dataclass(slots=True)
class AheadClock(FixedClock):
    """The machine's clock, so far ahead."""

    ahead: timedelta = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead


def work(room: MailRoom, tenant_id: UUID) -> None:
    """A tenant's schedules, slot after slot, until nothing is left."""
    slot = 0
    while (wait := next_wait(room, tenant_id)) is not None:
        assert isinstance(room.clock, AheadClock)
        room.clock.ahead += wait
        slot += 1
        for task_id in (PROCESS, RETRY):
            run(room, tenant_id, task_id, f"{os.getpid()}-{slot}")


def next_wait(room: MailRoom, tenant_id: UUID) -> timedelta | None:
    """How long until something of the tenant's can go on; None where nothing is left."""
    [row] = room.query(_NEXT, tenant_id, tenant_id)
    if not row["open"]:
        return None
    wake: datetime = max(each for each in (row["at"], row["paused_until"]) if each is not None)
    return max(timedelta(), wake - room.clock.now() + timedelta(milliseconds=1))


def run(room: MailRoom, tenant_id: UUID, task_id: str, cause: str) -> None:
    """A run to its end; a rate limit is waited for as the queue would."""
    worker = room.worker(task_id)
    waiting = [room.message(tenant_id, task_id, {}, cause)]
    while waiting:
        message = waiting.pop()
        end = worker.work(message, room.deadline())
        if isinstance(end, TryAgain):
            time.sleep(end.wait.total_seconds())
            waiting.append(message)
        elif isinstance(end, Done):
            waiting += [read_message(entry.body) for entry in room.queues.sent]
            room.queues.sent.clear()


def main() -> None:
    about = json.loads(sys.argv[1])
    urls = DatabaseUrls(**about["urls"])
    tenants = [UUID(tenant_id) for tenant_id in about["tenants"]]
    rooms = [
        MailRoom(
            urls,
            about["redis_url"],
            about["sandbox_url"],
            AheadClock(datetime.now(UTC)),
            about["limits"],
            shops=True,
        )
        for _ in tenants
    ]
    with ThreadPoolExecutor(len(tenants)) as threads:
        for done in [threads.submit(work, *each) for each in zip(rooms, tenants, strict=True)]:
            done.result()


if __name__ == "__main__":
    main()
