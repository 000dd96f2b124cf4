"""Watches the platform's own tables while the demo runs: how much is on its way, and when all has ended."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

import psycopg

POLL_S = 0.1
TELL_EVERY = 10
_ON_THE_WAY = """
SELECT ((SELECT count(*) FROM outbox WHERE state IN ('ready', 'sent'))
        + (SELECT count(*) FROM outbox WHERE state = 'held'))::integer
"""
_STANDING = """
SELECT (SELECT count(*) FROM outbox WHERE state <> 'done')::integer,
       (SELECT count(*) FROM task_run WHERE state IN ('running', 'retrying', 'waiting'))::integer,
       (SELECT count(*) FROM task_run WHERE state = 'succeeded')::integer,
       (SELECT count(*) FROM task_run WHERE task = 'commerce-order-created' AND state = 'succeeded')::integer,
       (SELECT count(*) FROM dead_letter WHERE state = 'open')::integer
"""


class NotDrainedError(Exception):
    """Something was still on its way when the time was over."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Counts over all tenants."""

    on_the_way: int
    open_runs: int
    runs: int
    chains: int
    dead_letters: int

    @property
    def is_idle(self) -> bool:
        return self.on_the_way == 0 and self.open_runs == 0


class Watch:
    """Polls the standing in a thread of its own; ``latest`` is at most a moment old."""

    def __init__(self, database_url: str, tell: Callable[[Standing], None]) -> None:
        self._url = database_url
        self._tell = tell
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._poll, daemon=True)
        self.latest = Standing(0, 0, 0, 0, 0)

    def __enter__(self) -> Self:
        self.latest = read_standing(self._url)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _poll(self) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            turn = 0
            while not self._stop.wait(POLL_S):
                turn += 1
                row = connection.execute(_ON_THE_WAY).fetchone()
                if row is not None:
                    self.latest = replace(self.latest, on_the_way=row[0])
                if turn % TELL_EVERY == 0:
                    row = connection.execute(_STANDING).fetchone()
                    if row is not None:
                        self.latest = Standing(*row)
                        self._tell(self.latest)

    def hold_back(self, most_on_the_way: int, patience_s: float) -> None:
        """Wait while more than so many messages are on their way, though never longer than ``patience_s``."""
        deadline = time.monotonic() + patience_s
        while self.latest.on_the_way > most_on_the_way and time.monotonic() < deadline:
            time.sleep(POLL_S / 5)

    def wait_until_idle(self, patience_s: float) -> None:
        """Wait until nothing is on its way, seen twice. Raises NotDrainedError."""
        deadline = time.monotonic() + patience_s
        idle = 0
        while idle < 2:  # noqa: PLR2004 - once might be between two steps
            standing = read_standing(self._url)
            idle = idle + 1 if standing.is_idle else 0
            if time.monotonic() > deadline:
                raise NotDrainedError(
                    f"after {patience_s:.0f} s {standing.on_the_way} messages are on their way and "
                    f"{standing.open_runs} runs open"
                )
            time.sleep(POLL_S)


def read_standing(url: str) -> Standing:
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(_STANDING).fetchone()
    assert row is not None  # noqa: S101 - counts always come as a row
    return Standing(*row)
