"""Posts a plan as Shopify would: several connections, kept alive, five seconds to answer, and again on
failure.
"""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Self
from urllib.parse import urlsplit

from infra.local.demo.plan import Delivery

ANSWER_WITHIN = 5.0
"""Shopify's limit for an answer, in seconds."""
_WAITS = (0.2, 0.5, 1.0, 2.0, 4.0)
"""Shopify tries again eight times over four hours; the demo five times over eight seconds."""
_WEBHOOK_PATH = "/webhooks/shopify"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a delivery. ``status`` is 0 where no answer came; seconds are those of the last try."""

    delivery: Delivery
    status: int
    seconds: float
    tries: int
    accepted_at: float

    @property
    def is_expected(self) -> bool:
        return self.status == self.delivery.expected_status


Progress = Callable[[int, int, Outcome], None]


def deliver(
    plan: Sequence[Delivery],
    url: str,
    concurrency: int,
    progress: Progress,
    *,
    sandbox_url: str | None = None,
) -> list[Outcome]:
    """Post the plan to ``{url}/webhooks/shopify``. Outcomes come in the plan's order.

    Deliveries of one order are posted in the plan's order, over one connection. With ``sandbox_url`` the
    sandbox is told an order's state before the event that tells of it, the latest of those delivered.
    ``progress`` is called with the number done, the number in all and the outcome, from one thread at a time;
    what it raises ends the delivery.
    """
    lanes = _Lanes(plan, concurrency, progress)
    threads = [
        threading.Thread(target=lanes.work, args=(lane, url, sandbox_url), daemon=True)
        for lane in range(concurrency)
    ]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        lanes.stop.set()
    if lanes.failures:
        raise lanes.failures[0]
    return [lanes.outcomes[place] for place in range(len(plan))]


class _Lanes:
    """The work of all threads: each takes the deliveries of its own orders, in the plan's order."""

    def __init__(self, plan: Sequence[Delivery], concurrency: int, progress: Progress) -> None:
        self.outcomes: dict[int, Outcome] = {}
        self.failures: list[BaseException] = []
        self.stop = threading.Event()
        self._plan = plan
        self._concurrency = concurrency
        self._progress = progress
        self._lock = threading.Lock()

    def work(self, lane: int, url: str, sandbox_url: str | None) -> None:
        """Post one lane. A failure stops all of them and is kept for the caller."""
        try:
            with _Poster(url, sandbox_url) as poster:
                for place, delivery in enumerate(self._plan):
                    if self.stop.is_set():
                        return
                    if delivery.lane // 1_000 % self._concurrency == lane:
                        self._note(place, poster.post(delivery))
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            self.failures.append(error)
            self.stop.set()

    def _note(self, place: int, outcome: Outcome) -> None:
        with self._lock:
            self.outcomes[place] = outcome
            self._progress(len(self.outcomes), len(self._plan), outcome)


class _Poster:
    """One connection to the endpoint and one to the sandbox."""

    def __init__(self, url: str, sandbox_url: str | None) -> None:
        self._endpoint = _Connection(url)
        self._sandbox = _Connection(sandbox_url) if sandbox_url else None
        self._told: dict[int, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._endpoint.close()
        if self._sandbox is not None:
            self._sandbox.close()

    def post(self, delivery: Delivery) -> Outcome:
        self._tell_sandbox(delivery)
        tries, seconds, status = 0, 0.0, 0
        for wait in (*_WAITS, None):
            tries += 1
            begun = time.perf_counter()
            status = self._endpoint.send("POST", _WEBHOOK_PATH, delivery.body, delivery.headers.items())
            seconds = time.perf_counter() - begun
            if wait is None or 0 < status < HTTPStatus.INTERNAL_SERVER_ERROR:
                break
            time.sleep(wait)
        return Outcome(delivery, status, seconds, tries, time.time())

    def _tell_sandbox(self, delivery: Delivery) -> None:
        """An older state than the one already told is left out."""
        number, state = delivery.order_id, delivery.order_state
        if (
            self._sandbox is None
            or number is None
            or state is None
            or self._told.get(number, -1) >= delivery.step
        ):
            return
        path = f"/_sandbox/shopify/{delivery.shop}/orders/{number}"
        status = self._sandbox.send("PUT", path, json.dumps(state).encode(), ())
        if status != HTTPStatus.OK:
            raise RuntimeError(f"the sandbox answers {status or 'nothing'} to the state of order {number}")
        self._told[number] = delivery.step


class _Connection:
    """A kept connection; what goes wrong on it is status 0, and the next request opens a new one."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._prefix = parts.path.rstrip("/")
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._http = kind(parts.netloc, timeout=ANSWER_WITHIN)

    def send(self, method: str, path: str, body: bytes, headers: Iterable[tuple[str, str]]) -> int:
        try:
            self._http.request(method, self._prefix + path, body, dict(headers))
            answer = self._http.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            self._http.close()
            return 0
        return answer.status

    def close(self) -> None:
        self._http.close()
