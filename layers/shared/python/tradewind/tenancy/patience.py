"""How long a caller waits for Postgres, whatever Postgres does.

A server that is gone refuses a connection at once; one that hangs takes the bytes and never answers, and libpq knows
no client-side time-out for that. So a connection that is lent for longer than its time has its socket shut down from
another thread: the statement that waits on it fails, and whether it took effect is unknown.
"""

from __future__ import annotations

import contextlib
import os
import queue
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import timedelta
from typing import Generic, TypeVar

Made = TypeVar("Made")


class Cutoff:
    """Shuts a connection's socket down, unless it is lifted before.

    It holds the socket by a descriptor of its own: the connection's number may be another socket's by then.
    """

    def __init__(self, descriptor: int, due: float) -> None:
        self.due = due
        self._twin = socket.socket(fileno=os.dup(descriptor))
        self._lock = threading.Lock()
        self._over = False
        self._was_cut = False

    def lift(self) -> bool:
        """Stop waiting; False where the socket is down already, so that the connection is of no use."""
        with self._lock:
            self._over = True
            self._twin.close()
            return not self._was_cut

    def cut(self) -> None:
        with self._lock:
            if self._over:
                return
            self._over = self._was_cut = True
            with contextlib.suppress(OSError):  # the connection may have ended by itself
                self._twin.shutdown(socket.SHUT_RDWR)
            self._twin.close()


class Watchdog:
    """Cuts off every connection that is watched for longer than ``patience``. One thread serves all of them: to start
    one for each costs more than a statement.
    """

    def __init__(self, patience: timedelta) -> None:
        self._patience = patience.total_seconds()
        self._watched: deque[Cutoff] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def watch(self, descriptor: int) -> Cutoff:
        cutoff = Cutoff(descriptor, time.monotonic() + self._patience)
        with self._changed:
            self._watched.append(cutoff)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, daemon=True)
                self._thread.start()
            elif len(self._watched) == 1:
                self._changed.notify()
        return cutoff

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._watched:
                    self._changed.wait()
                # All are watched for the same time, so that the first is the first to be due.
                left = self._watched[0].due - time.monotonic()
                first = self._watched.popleft() if left <= 0 else None
            if first is None:
                time.sleep(left)
            else:
                first.cut()


class Attempt(Generic[Made]):
    """Something that is made in a thread of its own, and is not waited for beyond ``patience``.

    What comes too late is given to ``discard``.
    """

    def __init__(self, make: Callable[[], Made], discard: Callable[[Made], None]) -> None:
        self._make = make
        self._discard = discard
        self._made: queue.SimpleQueue[Made | Exception] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._abandoned = False

    def within(self, patience: timedelta) -> Made:
        """What was made. Raises TimeoutError, or whatever the making raised."""
        threading.Thread(target=self._run, daemon=True).start()
        try:
            made = self._made.get(timeout=patience.total_seconds())
        except queue.Empty:
            with self._lock:
                self._abandoned = True
                late = self._made.empty()
            if late:
                raise TimeoutError(f"no answer within {patience.total_seconds():g} s") from None
            made = self._made.get()
        if isinstance(made, Exception):
            raise made
        return made

    def _run(self) -> None:
        try:
            made: Made | Exception = self._make()
        except Exception as error:  # noqa: BLE001 - carried over to the thread that asked
            made = error
        with self._lock:
            if not self._abandoned:
                self._made.put(made)
                return
        if not isinstance(made, Exception):
            self._discard(made)
