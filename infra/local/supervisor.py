"""The one process that starts the local cloud, watches it and stops it: `python -m infra.local.supervisor`.

It is given one end of a socket. On it, it reports how far it is; when the other end closes before `detach`
has come, whoever asked for the cloud is gone, and it stops. It stops as well on SIGTERM and when one of its
programs ends. Each program runs behind a guardian, which ends it should the supervisor be killed.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from infra.local import paths
from infra.local.postgres import Access, remove_shared_memory
from infra.local.processes import Launcher, Process, StopAskedError
from infra.local.progress import DETACH, Ending, Outcome, Step, encode
from infra.local.startup import Ports, Startup
from infra.local.state import CloudLock

WATCH_S = 0.2


class Channel:
    """The supervisor's end of the socket to whoever started it."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def tell(self, message: Step | Ending) -> None:
        """Send a message; nobody may be listening any more."""
        with self._lock, contextlib.suppress(OSError):
            self._connection.sendall(encode(message))

    def is_abandoned(self) -> bool:
        """Block until the other side lets the cloud go on by itself (False) or is gone (True)."""
        with contextlib.suppress(OSError):
            return self._connection.recv(len(DETACH)) != DETACH
        return True


@dataclass(slots=True)
class Supervisor:
    """One run of the local cloud."""

    channel: Channel
    lock: CloudLock
    domains: Sequence[str] | None
    authorize: bool
    stop_asked: threading.Event = field(default_factory=threading.Event)
    processes: dict[str, Process] = field(default_factory=dict)

    def run(self) -> int:
        """Start, watch, stop; returns the exit code."""
        threading.Thread(target=self._stop_when_abandoned, daemon=True).start()
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

    def _stop_when_abandoned(self) -> None:
        if self.channel.is_abandoned():
            self.stop_asked.set()

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
            launcher=Launcher(self.stop_asked.is_set, held=(self.lock.descriptor,)),
            listener=self.channel.tell,
            abandon=self.stop_asked.set,
            domains=self.domains,
            authorize=self.authorize,
            processes=self.processes,
        )
        startup.run().write()

    def _watch(self) -> None:
        """Watch until a stop is asked for (StopAskedError) or a program ends by itself (ProgramError)."""
        while not self.stop_asked.wait(WATCH_S):
            for process in self.processes.values():
                code = process.exit_code()
                if code is not None:
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
    arguments = parser.parse_args()
    channel = Channel(socket.socket(fileno=arguments.channel))
    lock = CloudLock.acquire()
    if lock is None:
        channel.tell(Ending(Outcome.FAILED, "another local cloud of this checkout has just been started"))
        return 3
    domains = arguments.domains.split(",") if arguments.domains else None
    supervisor = Supervisor(channel, lock, domains, arguments.authorize)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: supervisor.stop_asked.set())
    return supervisor.run()


if __name__ == "__main__":
    sys.exit(main())
