"""Start functions out of a process that has imported the third-party packages already.

A function that starts is half a second of imports. On AWS each has a core of its own for them; here some hundred
functions share the laptop's, above all when the emulator comes back and all start at once. So a function's process is
a fork of this one: what is imported is there, and its memory is shared. That is the packages and the kernel, which
reads nothing of the environment when it is imported; the function's own code each process imports from its bundle.

Run by path, on Linux alone, with the name of an abstract socket; ``infra/local/warm_start.py`` is who asks. A request
is the handler, the folder and the variables with a NUL between them, their length in four bytes before, and with the
standard streams; the answer is the exit code as a byte. The process dies when the asker does.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import pkgutil
import runpy
import selectors
import signal
import socket
import struct
import sys
import threading
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NoReturn

PACKAGES = (
    "asyncio",
    "awslambdaric",
    "cryptography.hazmat.primitives.ciphers.aead",
    "httpx",
    "jinja2",
    "numpy",
    "psycopg.types.json",
    "pydantic",
    "redis.cluster",
    "scipy.special",
    "zoneinfo",
)
KERNEL = "tradewind"
HURRY_S = 5.0
"""A request is one write of a process on this machine: it does not come in pieces far apart."""
CLIENT = "TRADEWIND_RUNTIME_CLIENT"
DIED = 1


@dataclass(frozen=True, slots=True)
class Request:
    handler: str
    folder: str
    environment: Mapping[str, str]

    @classmethod
    def parse(cls, body: bytes) -> Request:
        """Raises ValueError."""
        handler, folder, *variables = map(os.fsdecode, body.split(b"\0"))
        return cls(handler, folder, dict(variable.split("=", 1) for variable in variables))


@dataclass(slots=True)
class Preloader:
    """One thread, so that a fork is safe. ``askers`` are the connections of whoever waits, by their process."""

    listener: socket.socket
    askers: dict[int, socket.socket] = field(default_factory=dict)

    def serve(self) -> NoReturn:
        """For ever; SIGTERM ends it, and the process group's end its children."""
        alarm, bell = socket.socketpair()
        bell.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(bell.fileno(), warn_on_full_buffer=False)
        with selectors.DefaultSelector() as selector:
            selector.register(self.listener, selectors.EVENT_READ)
            selector.register(alarm, selectors.EVENT_READ)
            while True:
                ready = {key.fileobj for key, _ in selector.select()}
                if alarm in ready:
                    alarm.recv(4096)
                    self._tell_ended()
                if self.listener in ready:
                    self._start()

    def _tell_ended(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                pid, status = ended
                with self.askers.pop(pid) as asker, contextlib.suppress(OSError):
                    asker.sendall(bytes([os.waitstatus_to_exitcode(status) & 0xFF]))

    def _start(self) -> None:
        asker, _ = self.listener.accept()
        try:
            request, streams = _read(asker)
        except (OSError, ValueError) as error:
            sys.stderr.write(f"a request that cannot be read: {error}\n")
            asker.close()
            return
        pid = os.fork()
        if pid == 0:
            self._become(asker, request, streams)
        for stream in streams:
            os.close(stream)
        self.askers[pid] = asker

    def _become(self, asker: socket.socket, request: Request, streams: list[int]) -> NoReturn:
        """Turn this copy into the function's process."""
        code = DIED
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for other in (self.listener, *self.askers.values()):
                other.close()
            for number, stream in enumerate(streams):
                os.dup2(stream, number)
                os.close(stream)
            asker.settimeout(None)
            threading.Thread(target=_die_with, args=(asker,), daemon=True).start()
            _run(request)
            code = 0
        except SystemExit as ending:
            code = ending.code if isinstance(ending.code, int) else DIED
        except BaseException:  # noqa: BLE001 - told, as an interpreter would tell it
            traceback.print_exc()
        finally:
            with contextlib.suppress(OSError, ValueError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)


def _run(request: Request) -> None:
    """What ``bootstrap`` runs, in the environment and folder that it has."""
    os.environ.clear()
    os.environ.update(request.environment)
    os.chdir(request.folder)
    sys.path[:0] = [request.folder, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    sys.argv = [os.environ.get(CLIENT, "awslambdaric"), request.handler]
    if CLIENT in os.environ:
        runpy.run_path(os.environ[CLIENT], run_name="__main__")
    else:
        runpy.run_module("awslambdaric", run_name="__main__", alter_sys=True)


def _die_with(asker: socket.socket) -> None:
    """End the process when the asker has ended, as the kernel would end what it has become."""
    with contextlib.suppress(OSError):
        asker.recv(1)
    os._exit(DIED)


def _read(asker: socket.socket) -> tuple[Request, list[int]]:
    """A request and its streams. Raises OSError and ValueError: what is not whole, or of another user."""
    _, uid, _ = struct.unpack("3i", asker.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    if uid != os.getuid():
        raise PermissionError(f"of user {uid}")
    asker.settimeout(HURRY_S)
    head, streams, _, _ = socket.recv_fds(asker, 4, 3)
    length = int.from_bytes(head, "big")
    body = bytearray()
    while len(body) < length:
        piece = asker.recv(length - len(body))
        if not piece:
            raise ValueError("cut short")
        body += piece
    return Request.parse(bytes(body)), streams


def kernel_modules() -> list[str]:
    """All of the kernel's modules."""
    path = importlib.import_module(KERNEL).__path__
    return [module.name for module in pkgutil.walk_packages(path, f"{KERNEL}.")]


def main(name: str) -> NoReturn:
    """Import, then serve at the abstract socket ``name``."""
    for package in (*PACKAGES, *kernel_modules()):
        importlib.import_module(package)
    gc.collect()
    gc.freeze()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(f"\0{name}")
    listener.listen(512)
    Preloader(listener).serve()


if __name__ == "__main__":
    main(sys.argv[1])
