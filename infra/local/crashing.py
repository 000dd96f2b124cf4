"""AWS's runtime client for functions that are to die: it obeys the orders in a folder, then runs as ever.

Run by path instead of ``-m awslambdaric``, in a local cloud that a suite has started for it. The folder is
``TRADEWIND_CRASH_ORDERS``; ``infra.local.orders_to_crash`` writes the orders and reads what became of them.
"""

from __future__ import annotations

import fcntl
import os
import runpy
import sys
import time
from pathlib import Path

from tradewind.crash import Point, install

EXIT_CODE = 70


class Obedience:
    """An order is a file named like its point: how many passes to let by, and how many processes to kill."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, point: Point) -> None:
        """Die here if it is ordered. Passes of all processes are counted together, under the file's lock."""
        try:
            descriptor = os.open(self._folder / point, os.O_RDWR)
        except FileNotFoundError:
            return
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        passes, every, kills = map(int, os.pread(descriptor, 100, 0).split())
        if passes > 0:
            self._write(descriptor, passes - 1, every, kills)
        elif kills > 0:
            self._write(descriptor, every, every, kills - 1)
            self._die(point)
        os.close(descriptor)

    @staticmethod
    def _write(descriptor: int, passes: int, every: int, kills: int) -> None:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{passes} {every} {kills}".encode(), 0)

    def _die(self, point: Point) -> None:
        line = f"{time.time():.3f} {point} {os.environ.get('AWS_LAMBDA_FUNCTION_NAME')} {os.getpid()}\n"
        log = os.open(self._folder / "crashes.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        os.write(log, line.encode())
        os._exit(EXIT_CODE)


if __name__ == "__main__":
    install(Obedience(Path(os.environ["TRADEWIND_CRASH_ORDERS"])))
    sys.path.insert(0, str(Path.cwd()))
    runpy.run_module("awslambdaric", run_name="__main__", alter_sys=True)
