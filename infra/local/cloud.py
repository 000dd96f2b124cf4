"""Start, find and stop the local cloud of this checkout, from any process."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from io import BufferedReader

from infra.local import paths
from infra.local.control import Action, Order
from infra.local.processes import is_alive, last_lines
from infra.local.progress import Ending, Listener, Outcome, Step, decode, ignore, read_messages
from infra.local.state import State, find_state, is_locked, supervisor_pid
from infra.local.trial import Trial

STOP_TIMEOUT_S = 40.0
START_TIMEOUT_S = 600.0
POLL_S = 0.05


class StartError(Exception):
    """The local cloud did not come up, and everything that had started was stopped; the message says why."""


class StopError(Exception):
    """Something of the local cloud still runs."""


@dataclass(slots=True)
class OwnCloud:
    """A local cloud that this process has started, and that ends with it unless it is let go."""

    state: State
    supervisor: subprocess.Popen[bytes]
    channel: socket.socket
    _replies: BufferedReader = field(init=False)

    def __post_init__(self) -> None:
        self._replies = self.channel.makefile("rb")

    def halt(self, program: str) -> None:
        """Stop one program, in order, and leave the rest running. Raises StartError where the cloud has ended."""
        self._order(Action.HALT, program)

    def resume(self, program: str) -> None:
        """Start a halted program again on its data and port; returns when it is ready. Raises StartError."""
        self._order(Action.RESUME, program)

    def _order(self, action: Action, program: str) -> None:
        self.channel.sendall(Order(action, program).encode())
        line = self._replies.readline()
        reply = decode(line) if line else Ending(Outcome.FAILED, "the local cloud has ended")
        if isinstance(reply, Ending):
            raise StartError(reply.message)

    def let_go(self) -> None:
        """Leave it running when this process ends."""
        self.channel.sendall(Order(Action.DETACH).encode())
        self._close()

    def stop(self) -> None:
        """Stop it and wait until nothing of it runs. Raises StopError."""
        self._close()
        self.supervisor.wait()
        wait_until_ended()

    def _close(self) -> None:
        self._replies.close()
        self.channel.close()


def start_cloud(
    domains: Sequence[str] | None = None,
    listener: Listener = ignore,
    *,
    authorize: bool = False,
    trial: Trial | None = None,
) -> OwnCloud:
    """Start the local cloud, which must not run yet, and deploy the app into it.

    A ``trial`` changes the stage's times and lets the emulator keep its state when it is halted and resumed.

    Raises StartError. If an exception such as KeyboardInterrupt comes in between, everything is stopped
    first.
    """
    own_end, other_end = socket.socketpair()
    command = [sys.executable, "-m", "infra.local.supervisor", "--channel", str(other_end.fileno())]
    if domains is not None:
        command += ["--domains", ",".join(domains)]
    if authorize:
        command += ["--authorize"]
    if trial is not None:
        command += ["--trial", json.dumps(trial.environment())]
    paths.LOGS.mkdir(parents=True, exist_ok=True)
    log = paths.LOGS / "supervisor.log"
    with other_end, log.open("wb") as output:
        supervisor = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=paths.CHECKOUT,
            pass_fds=(other_end.fileno(),),
            start_new_session=True,
        )
    try:
        _wait_until_ready(own_end, listener)
        state = find_state()
        if state is None:
            raise StartError(f"the supervisor ended:\n{last_lines(log)}")
    except BaseException:
        own_end.close()
        supervisor.wait()
        wait_until_ended()
        raise
    return OwnCloud(state, supervisor, own_end)


def _wait_until_ready(channel: socket.socket, listener: Listener) -> None:
    for message in read_messages(channel):
        if isinstance(message, Step):
            listener(message)
        elif message.outcome is Outcome.READY:
            return
        else:
            raise StartError(_reason(message))
    raise StartError(f"the supervisor was killed:\n{last_lines(paths.LOGS / 'supervisor.log')}")


def _reason(ending: Ending) -> str:
    return ending.message or "a stop was asked for while it started"


@contextlib.contextmanager
def local_cloud(
    domains: Sequence[str] | None = None, listener: Listener = ignore, *, authorize: bool = False
) -> Iterator[State]:
    """A local cloud for the block's duration: the one that runs already, or one that is stopped afterwards.

    `domains` leaves out the stacks of every other domain. `authorize` has the emulator check each call
    against the IAM policies. Neither changes a cloud that runs already. Raises StartError and StopError.
    """
    running = find_running()
    if running is not None:
        yield running
        return
    cloud = start_cloud(domains, listener, authorize=authorize)
    try:
        yield cloud.state
    finally:
        cloud.stop()


def find_running() -> State | None:
    """The state of the cloud that runs, waiting for one that just starts or ends; None if none runs.

    Raises StopError if a killed one's programs do not end.
    """
    deadline = time.monotonic() + START_TIMEOUT_S
    while is_locked():
        state = find_state()
        pid = supervisor_pid()
        if pid is not None and not is_alive(pid):
            # Killed; the guardians are ending its programs.
            wait_until_ended()
            return None
        if state is not None:
            return state
        if time.monotonic() > deadline:
            raise StopError(f"the local cloud of process {pid} neither gets ready nor ends; try `make down`")
        time.sleep(POLL_S)
    return None


def stop_cloud() -> bool:
    """Stop the cloud that runs and wait for it; returns False if none runs. Raises StopError."""
    if not is_locked():
        return False
    pid = supervisor_pid()
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    wait_until_ended()
    return True


def wait_until_ended() -> None:
    """Wait until the last program of the local cloud has ended. Raises StopError."""
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while is_locked():
        if time.monotonic() > deadline:
            raise StopError(f"the local cloud has not ended within {STOP_TIMEOUT_S:g} s; see {paths.LOGS}")
        time.sleep(POLL_S)
    paths.STATE.unlink(missing_ok=True)
