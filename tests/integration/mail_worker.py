"""``python -m tests.integration.mail_worker ABOUT``: a process that works the review queues of some tenants until it is
told to stop, or killed.

A line on standard input begins a phase: how many seconds the clock is ahead. A byte on the given pipe tells its end.
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


@dataclass(slots=True)
class AheadClock(FixedClock):
    """The machine's clock, so many seconds ahead."""

    ahead: timedelta = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead


def work(room: MailRoom, tenant_id: UUID, phase: str) -> None:
    """Both of a tenant's schedules, each until its run has ended; a rate limit is waited for as the queue would."""
    for task_id in (PROCESS, RETRY):
        worker = room.worker(task_id)
        waiting = [room.message(tenant_id, task_id, {}, f"{phase}-{os.getpid()}")]
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
    clock = AheadClock(datetime.now(UTC))
    urls = DatabaseUrls(**about["urls"])
    rooms = [
        (MailRoom(urls, about["redis_url"], about["sandbox_url"], clock, about["limits"]), UUID(tenant_id))
        for tenant_id in about["tenants"]
    ]
    with ThreadPoolExecutor(len(rooms)) as threads:
        for line in sys.stdin:
            clock.ahead = timedelta(seconds=float(line))
            done = [threads.submit(work, room, tenant_id, line.strip()) for room, tenant_id in rooms]
            for each in done:
                each.result()
            os.write(about["pipe"], b".")


if __name__ == "__main__":
    main()
