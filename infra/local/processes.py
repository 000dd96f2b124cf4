"""Programs that end with whoever started them, their logs, and the environment they are given."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from infra.local import paths

GUARDIAN = Path(__file__).with_name("guardian.py")
STOP_TIMEOUT_S = 20.0
POLL_S = 0.02
LAST_LINES = 15


class ProgramError(Exception):
    """A program ended or did not get ready; the message holds the last lines of its log and a hint."""

    def __init__(self, name: str, problem: str, log: Path, hint: str = "") -> None:
        parts = [f"{name} {problem}", last_lines(log), f"The whole log: {log}", hint]
        super().__init__("\n".join(part for part in parts if part))
        self.name = name


class StopAskedError(Exception):
    """Starting was abandoned because a stop was asked for."""


@dataclass(frozen=True, slots=True)
class Program:
    """What to run. `user` is the (uid, gid) to run as, if the starter is root; `hint` helps on failure."""

    name: str
    command: list[str]
    log: Path
    environment: Mapping[str, str]
    folder: Path
    stop_signal: signal.Signals = signal.SIGTERM
    user: tuple[int, int] | None = None
    hint: str = ""


@dataclass(slots=True)
class Process:
    """A running program behind its guardian."""

    program: Program
    guardian: subprocess.Popen[bytes]
    lifeline: int
    stopping: Callable[[], bool]

    @property
    def pid(self) -> int:
        """The guardian's pid, which is also the process group's id."""
        return self.guardian.pid

    def exit_code(self) -> int | None:
        """None while it runs; a signal's number counts as 128 + number."""
        return self.guardian.poll()

    def ask_to_stop(self) -> None:
        """Close the lifeline; returns at once."""
        if self.lifeline >= 0:
            os.close(self.lifeline)
            self.lifeline = -1

    def stop(self) -> None:
        """End the program and all its descendants and wait for it."""
        self.ask_to_stop()
        try:
            self.guardian.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            os.killpg(self.guardian.pid, signal.SIGKILL)
            self.guardian.wait()

    def wait_until(self, ready: Callable[[], bool], timeout: float) -> None:
        """Poll `ready` until it is true.

        Raises ProgramError if the program ends first or `timeout` (seconds) passes, StopAskedError if a stop
        was asked for.
        """
        deadline = time.monotonic() + timeout
        while not ready():
            if self.stopping():
                raise StopAskedError
            code = self.exit_code()
            if code is not None:
                raise self.failed(f"ended with code {code} before it was ready")
            if time.monotonic() > deadline:
                raise self.failed(f"was not ready within {timeout:g} s")
            time.sleep(POLL_S)

    def wait(self, timeout: float, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Wait for a program that is meant to end, calling `meanwhile` again and again.

        Raises like `wait_until`, also for a code other than 0.
        """
        deadline = time.monotonic() + timeout
        while (code := self.exit_code()) is None:
            meanwhile()
            if self.stopping():
                raise StopAskedError
            if time.monotonic() > deadline:
                raise self.failed(f"did not end within {timeout:g} s")
            time.sleep(POLL_S)
        if code != 0:
            raise self.failed(f"ended with code {code}")

    def failed(self, problem: str) -> ProgramError:
        """The exception that tells what went wrong with this program."""
        return ProgramError(self.program.name, problem, self.program.log, self.program.hint)


def _never() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Launcher:
    """Starts programs. `stopping` ends any wait for them; the guardians keep the descriptors `held` open."""

    stopping: Callable[[], bool] = _never
    held: tuple[int, ...] = ()

    def start(self, program: Program, *, again: bool = False) -> Process:
        """Start a program behind a guardian of its own; ``again``: its log goes on."""
        program.folder.mkdir(parents=True, exist_ok=True)
        program.log.parent.mkdir(parents=True, exist_ok=True)
        reader, writer = os.pipe()
        options = ["--lifeline", str(reader), "--stop-signal", program.stop_signal.name]
        if program.user is not None:
            options += ["--user", f"{program.user[0]}:{program.user[1]}"]
        with program.log.open("ab" if again else "wb") as log:
            guardian = subprocess.Popen(
                [sys.executable, "-I", "-S", str(GUARDIAN), *options, "--", *program.command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=program.folder,
                env=dict(program.environment),
                pass_fds=(reader, *self.held),
                start_new_session=True,
            )
        os.close(reader)
        return Process(program, guardian, writer, self.stopping)

    def run(self, program: Program, timeout: float, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Run a program that is meant to end within `timeout` seconds. Raises as `Process.wait` does."""
        process = self.start(program)
        try:
            process.wait(timeout, meanwhile)
        finally:
            process.stop()


def clean_environment(**more: str) -> dict[str, str]:
    """The environment for a program of the local cloud: nothing of the caller's that could lead it elsewhere.

    Above all no AWS profile, credentials or region of a real account, and no proxy for loopback addresses.
    """
    kept = ("PATH", "LANG", "LC_ALL", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    environment.setdefault("LANG", "C.UTF-8")
    environment["HOME"] = str(paths.RUN)
    environment["PYTHONUNBUFFERED"] = "1"
    return environment | more


def is_alive(pid: int) -> bool:
    """Whether a process with this id exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def last_lines(log: Path, count: int = LAST_LINES) -> str:
    """The end of a log, indented, or nothing if there is none."""
    if not log.exists():
        return ""
    lines = log.read_text(errors="replace").splitlines()[-count:]
    return "\n".join(f"    {line}" for line in lines)
