"""The one process that starts the local cloud, watches it and stops it: `python -m infra.local.supervisor`.

It is given one end of a socket. On it, it reports how far it is and obeys the orders of `infra.local.control`;
when the other end closes before `detach` has come, whoever asked for the cloud is gone, and it stops. It stops
as well on SIGTERM and when one of its programs ends unless it was halted. Each program runs behind a guardian,
which ends it should the supervisor be killed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from infra.local import paths
from infra.local.control import Action, Order, read_orders
from infra.local.postgres import Access, remove_shared_memory
from infra.local.processes import Launcher, Process, ProgramError, StopAskedError
from infra.local.progress import Ending, Outcome, Step, StepState, encode
from infra.local.startup import Ports, Startup
from infra.local.state import CloudLock, State

WATCH_S = 0.2
RESUME_TIMEOUT_S = 60.0


class Channel:
    """The supervisor's end of the socket to whoever started it."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def tell(self, message: Step | Ending) -> None:
        """Send a message; nobody may be listening any more."""
        with self._lock, contextlib.suppress(OSError):
            self._connection.sendall(encode(message))

    def orders(self) -> Iterator[Order]:
        """What the other side asks for, until it is gone."""
        with contextlib.suppress(OSError):
            yield from read_orders(self._connection)


@dataclass(slots=True)
class Supervisor:
    """One run of the local cloud."""

    channel: Channel
    lock: CloudLock
    domains: Sequence[str] | None
    authorize: bool
    trial: Mapping[str, str] | None = None
    stop_asked: threading.Event = field(default_factory=threading.Event)
    processes: dict[str, Process] = field(default_factory=dict)
    ready: dict[str, Callable[[], bool]] = field(default_factory=dict)
    halted: set[str] = field(default_factory=set)
    launcher: Launcher = field(init=False)
    state: State | None = None

    def __post_init__(self) -> None:
        self.launcher = Launcher(self.stop_asked.is_set, held=(self.lock.descriptor,))

    def run(self) -> int:
        """Start, watch, stop; returns the exit code."""
        threading.Thread(target=self._obey, daemon=True).start()
        ending = Ending(Outcome.STOPPED)
        try:
            self._start()
            self.channel.tell(Ending(Outcome.READY))
            self._watch()
        except StopAskedError:
            print("stopping, as asked", flush=True)
        except Exception as failure:  # noqa: BLE001 - whatever it is, all programs are stopped and a person is told
            ending = Ending(Outcome.FAILED, str(failure) or repr(failure))
            print(ending.message, flush=True)
            paths.FAILURE.write_text(f"{ending.message}\n")
        finally:
            paths.STATE.unlink(missing_ok=True)
            self._stop_programs()
            remove_shared_memory(paths.CLOUD / "postgres")
            shutil.rmtree(paths.CLOUD, ignore_errors=True)
        self.channel.tell(ending)
        return 0 if ending.outcome is Outcome.STOPPED else 1

    def _obey(self) -> None:
        """Do what whoever started the cloud asks for; stop when they are gone without having let it go."""
        for order in self.channel.orders():
            if order.action is Action.DETACH:
                return
            try:
                self._halt(order.program) if order.action is Action.HALT else self._resume(order.program)
            except (KeyError, ProgramError, StopAskedError) as failure:
                self.channel.tell(Ending(Outcome.FAILED, f"{order.action} {order.program}: {failure}"))
            else:
                self.channel.tell(Step(order.program, StepState.DONE))
        self.stop_asked.set()

    def _halt(self, name: str) -> None:
        process = self.processes[name]
        self.halted.add(name)
        process.stop()

    def _resume(self, name: str) -> None:
        """Start the same program on what it has left. Raises ProgramError."""
        process = self.launcher.start(self.processes[name].program, again=True)
        self.processes[name] = process
        process.wait_until(self.ready[name], RESUME_TIMEOUT_S)
        self.halted.discard(name)
        if self.state is not None:
            self.state = replace(self.state, pids=self.state.pids | {name: process.pid})
            self.state.write()

    def _start(self) -> None:
        # What a killed run has left.
        paths.STATE.unlink(missing_ok=True)
        paths.FAILURE.unlink(missing_ok=True)
        shutil.rmtree(paths.CLOUD, ignore_errors=True)
        paths.CLOUD.mkdir(parents=True)
        ports = Ports.choose()
        startup = Startup(
            ports=ports,
            access=Access.new(ports.database),
            launcher=self.launcher,
            listener=self.channel.tell,
            abandon=self.stop_asked.set,
            domains=self.domains,
            authorize=self.authorize,
            processes=self.processes,
            ready=self.ready,
            trial=self.trial,
        )
        self.state = startup.run()
        self.state.write()

    def _watch(self) -> None:
        """Watch until a stop is asked for (StopAskedError) or a program ends by itself (ProgramError)."""
        while not self.stop_asked.wait(WATCH_S):
            for name, process in self.processes.items():
                code = process.exit_code()
                if code is not None and name not in self.halted:
                    raise process.failed(f"ended with code {code}; the local cloud has been stopped")
        raise StopAskedError

    def _stop_programs(self) -> None:
        # The emulator first: its functions use the others.
        ordered = sorted(self.processes.items(), key=lambda item: item[0] != "ministack")
        for _, process in ordered[:1]:
            process.stop()
        for _, process in ordered[1:]:
            process.ask_to_stop()
        for _, process in ordered[1:]:
            process.stop()


def main() -> int:
    """Run one local cloud; exit code 3 if another one runs in this checkout."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--channel", type=int, required=True)
    parser.add_argument("--domains", help="comma-separated; all if left out")
    parser.add_argument("--authorize", action="store_true")
    parser.add_argument("--trial", type=json.loads, help="variables of a suite's trial")
    arguments = parser.parse_args()
    channel = Channel(socket.socket(fileno=arguments.channel))
    lock = CloudLock.acquire()
    if lock is None:
        channel.tell(Ending(Outcome.FAILED, "another local cloud of this checkout has just been started"))
        return 3
    domains = arguments.domains.split(",") if arguments.domains else None
    supervisor = Supervisor(channel, lock, domains, arguments.authorize, arguments.trial)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: supervisor.stop_asked.set())
    return supervisor.run()


if __name__ == "__main__":
    sys.exit(main())
