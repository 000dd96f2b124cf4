"""Keep one program on a leash: it and all its descendants end when whoever started it ends, however that is.

Run by path with `python -I -S`, as the leader of a session and process group of its own; standard library
only.

    guardian.py --lifeline FD --stop-signal NAME [--user UID:GID] -- program argument ...

The other end of the lifeline, a pipe, is held by the starter. When it closes (an orderly stop, an exception,
`kill -9`: the kernel closes it in every case) or the guardian gets SIGTERM, the program gets the stop signal,
after a grace period SIGQUIT, then SIGKILL. When the program has ended, for whatever reason, the rest of its
process group is ended as well. Exits with the program's code, or 128 + the signal's number.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import platform
import select
import signal
import subprocess
import sys
import time

GRACE_S = 6.0
GROUP_GRACE_S = 2.0
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
IS_LINUX = platform.system() == "Linux"


def main() -> int:
    """Start the program, wait for its end or for the lifeline's, and leave nothing running."""
    arguments = _arguments()
    alarm = _wake_on_signals()
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    stop_signal = signal.Signals[arguments.stop_signal]
    user, group = arguments.user or (None, None)
    child = subprocess.Popen(
        arguments.program,
        user=user,
        group=group,
        extra_groups=[] if user is not None else None,
        # The guardian has one thread, so the parent that this signal watches is the guardian itself.
        preexec_fn=lambda: _prctl(PR_SET_PDEATHSIG, stop_signal),  # noqa: PLW1509 - the same
    )
    _wait(child, arguments.lifeline, alarm)
    _stop(child, stop_signal)
    _end_group()
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--lifeline", type=int, required=True)
    parser.add_argument("--stop-signal", default="SIGTERM")
    parser.add_argument("--user", type=lambda text: tuple(int(part) for part in text.split(":")))
    parser.add_argument("program", nargs="+")
    return parser.parse_args()


def _wake_on_signals() -> int:
    """Install handlers (not SIG_IGN, which the program would inherit); returns the descriptor that wakes."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    return reader


def _wait(child: subprocess.Popen[bytes], lifeline: int, alarm: int) -> None:
    """Return when the program has ended, the lifeline has closed or a stop was asked for by signal."""
    while child.poll() is None:
        ready, _, _ = select.select([lifeline, alarm], [], [])
        if lifeline in ready and not os.read(lifeline, 1024):
            return
        if alarm in ready and set(os.read(alarm, 1024)) - {signal.SIGCHLD}:
            return


def _stop(child: subprocess.Popen[bytes], stop_signal: signal.Signals) -> None:
    # SIGQUIT before SIGKILL: PostgreSQL then still removes its shared memory.
    for number, grace in ((stop_signal, GRACE_S), (signal.SIGQUIT, GROUP_GRACE_S), (signal.SIGKILL, GRACE_S)):
        if child.poll() is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            child.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(grace)


def _end_group() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.killpg(0, signal.SIGTERM)
    deadline = time.monotonic() + GROUP_GRACE_S
    while time.monotonic() < deadline:
        try:
            # As the subreaper, the guardian has become the parent of every orphan: none left means done.
            ended, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            if IS_LINUX:
                return
            ended = 0
        if ended == 0:
            time.sleep(0.02)
    # Ends the guardian too, as its last act.
    os.killpg(0, signal.SIGKILL)


def _prctl(option: int, value: int) -> None:
    """Linux only; elsewhere the lifeline and the process group have to do."""
    if IS_LINUX:
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main())
