"""What goes wrong meanwhile: functions that die, faults at the provider, and programs that are gone for a while."""

from __future__ import annotations

import contextlib
import random
import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import redis
from botocore.exceptions import BotoCoreError, ClientError

from infra.local import paths
from infra.local.cloud import OwnCloud
from tests.chaos.platforms import PLACES
from tests.e2e.cloud import Cloud, FunctionError
from tradewind.crash import Point

FAULTS = ("429", "500", "timeout", "reset", "lost_answer")
FAULT_RATE = 0.1
HOLD_S = 3.0
"""A time-out holds longer than a call may take."""
RELAY_EVERY_S = 2.0
BUSY = frozenset(
    {
        Point.TRANSACTION_COMMITTED,
        Point.STATEMENT_COMMITTED,
        Point.AWS_ANSWERED,
        Point.PROVIDER_ANSWERED,
        Point.RECEIVER_KEPT,
        Point.RECEIVER_DONE,
        Point.OUTBOX_SENT,
        Point.OUTBOX_MARKED,
        Point.RUN_CLAIMED,
        Point.TASK_RETURNED,
        Point.RUN_FINISHED,
        Point.BATCH_ENDED,
        Point.CALL_ENDED,
    }
)
"""Points that every message passes. They get twice the deaths, and not all of them at the start."""


class Orders:
    """The folder in which functions find their orders to die."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def arm(self, chance: random.Random, kills: int) -> None:
        """Order ``kills`` deaths at every point, twice as many at the busy ones, some passes apart.

        The more deaths, the further apart: five in a row at the same message would make it a dead letter by right.
        """
        for point in Point:
            busy = point in BUSY
            passes = chance.randrange(30) if busy else 0
            apart = kills * chance.randint(7, 40) if busy else 2 * kills - 1
            self._put(point, f"{passes} {apart} {kills * (2 if busy else 1)}")

    def _put(self, point: Point, order: str) -> None:
        """In one step: a function must not find half an order."""
        draft = self._folder / f".{point}"
        draft.write_text(order)
        draft.rename(self._folder / point)

    def disarm(self) -> None:
        for point in Point:
            (self._folder / point).unlink(missing_ok=True)

    def deaths(self) -> list[str]:
        """One line each: when, where, which function, which process."""
        log = self._folder / "crashes.log"
        return log.read_text().splitlines() if log.exists() else []

    def by_point(self) -> Counter[str]:
        return Counter(line.split()[1] for line in self.deaths())


class Relay(threading.Thread):
    """Invokes the relay every two seconds, where its schedule would once a minute; whatever it answers."""

    def __init__(self, cloud: Cloud) -> None:
        super().__init__(daemon=True)
        self._cloud = cloud
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.wait(RELAY_EVERY_S):
            with contextlib.suppress(FunctionError, ClientError, BotoCoreError, ValueError):
                self._cloud.invoke("ingress-relay", {})

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self.join()


def let_calls_fail(cloud: Cloud, seed: int) -> None:
    for provider in ("shopify", *PLACES):
        plan = {
            "provider": provider,
            "rate": FAULT_RATE,
            "kinds": FAULTS,
            "seed": seed,
            "hold_seconds": HOLD_S,
        }
        cloud.sandbox.post("/faults", json=plan).raise_for_status()


def flush_valkey(cloud: Cloud) -> None:
    """Every rate limit's level and every lock is forgotten."""
    with contextlib.closing(redis.RedisCluster.from_url(cloud.state.redis_url)) as valkey:
        valkey.flushall()


@contextlib.contextmanager
def gone(own: OwnCloud, program: str) -> Iterator[None]:
    """Without one of the programs for the block's duration."""
    own.halt(program)
    try:
        yield
    finally:
        own.resume(program)


class Emulator:
    """Stops and starts the emulator. What is deployed comes back as it was when the suite began; the queues are empty,
    since nobody had sent anything then.
    """

    def __init__(self, own: OwnCloud) -> None:
        self._own = own
        self._state = paths.CLOUD / "ministack" / "state"
        self._kept = paths.CLOUD / "deployed"
        with gone(own, "ministack"):
            shutil.copytree(self._state, self._kept)

    def restart(self) -> None:
        """Functions at work die, and every queue loses what it holds."""
        with gone(self._own, "ministack"):
            shutil.rmtree(self._state)
            shutil.copytree(self._kept, self._state)
