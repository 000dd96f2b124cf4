"""What a running local cloud says about itself in `.tradewind/state.json`, and the lock that says it runs.

The lock is an advisory lock on `.tradewind/lock`, held by the supervisor and by the guardian of every
program. The kernel lets go of it when the last of them has ended, so "held" means that something still runs,
whatever happened to the rest, and no process id has to be believed.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from infra.local import paths

PROBE_S = 0.2


@dataclass(frozen=True, slots=True)
class State:
    """The addresses of a running local cloud. The field names are those of the file.

    `webhook_url` is the base: `{webhook_url}/webhooks/shopify` takes Shopify's webhooks. `database_url` is
    for people: it reads every tenant's rows and writes none. `pids` maps a program's name to the id of its
    process group.
    """

    webhook_url: str
    aws_endpoint_url: str
    region: str
    account: str
    database_url: str
    app_database_url: str
    platform_database_url: str
    owner_database_url: str
    redis_url: str
    sandbox_url: str
    console_url: str
    pids: dict[str, int]

    def write(self, path: Path = paths.STATE) -> None:
        """Put the file in place in one step; it holds passwords, so only its owner may read it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}-")
        with os.fdopen(descriptor, "w") as file:
            json.dump(asdict(self), file, indent=2)
            file.write("\n")
        Path(name).replace(path)

    @classmethod
    def from_json(cls, text: str) -> State:
        """Raises ValueError and TypeError if the text is not what `write` writes."""
        return cls(**json.loads(text))


def find_state(path: Path = paths.STATE) -> State | None:
    """The state of the local cloud that is ready, or None: no file, or one that a crash left behind."""
    if not is_locked():
        return None
    try:
        return State.from_json(path.read_text())
    except FileNotFoundError:
        return None


class CloudLock:
    """The lock of this checkout's local cloud; its file holds the supervisor's process id."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    @classmethod
    def acquire(cls, path: Path = paths.LOCK) -> CloudLock | None:
        """Take the lock, or return None if it is held."""
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        deadline = time.monotonic() + PROBE_S
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                # Somebody who merely asks `is_locked` lets go at once.
                if time.monotonic() > deadline:
                    os.close(descriptor)
                    return None
                time.sleep(0.01)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        return cls(descriptor)

    def release(self) -> None:
        """Let go of it; it stays held while a guardian has it open."""
        os.close(self.descriptor)


def is_locked(path: Path = paths.LOCK) -> bool:
    """Whether a local cloud runs, starts or is just ending."""
    with contextlib.suppress(FileNotFoundError):
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
    return False


def supervisor_pid(path: Path = paths.LOCK) -> int | None:
    """The process id in the lock's file; only of meaning while the lock is held."""
    with contextlib.suppress(FileNotFoundError, ValueError):
        return int(path.read_text())
    return None
