"""What the supervisor tells whoever started it, and the channel on which it does."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum


class StepState(StrEnum):
    """Where a step is."""

    STARTED = "started"
    ADVANCED = "advanced"
    DONE = "done"


class Outcome(StrEnum):
    """How starting ended; the last message of the supervisor while it starts."""

    READY = "ready"
    FAILED = "failed"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Step:
    """One step of starting, `seconds` after its begin; `detail` says how far an advanced one is."""

    name: str
    state: StepState
    seconds: float = 0.0
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Ending:
    """`message` is for a person: why starting failed, or nothing."""

    outcome: Outcome
    message: str = ""


Listener = Callable[[Step], None]


def ignore(_step: Step) -> None:
    """The listener of whoever does not care."""


def encode(message: Step | Ending) -> bytes:
    """One line of JSON."""
    return json.dumps({"kind": type(message).__name__, **asdict(message)}).encode() + b"\n"


def decode(line: bytes) -> Step | Ending:
    """Raises ValueError or KeyError for anything that `encode` did not write."""
    fields = json.loads(line)
    if fields.pop("kind") == Step.__name__:
        return Step(**fields | {"state": StepState(fields["state"])})
    return Ending(**fields | {"outcome": Outcome(fields["outcome"])})


def read_messages(channel: socket.socket) -> Iterator[Step | Ending]:
    """Messages until the other side closes, or has ended in whatever way."""
    with channel.makefile("rb") as lines:
        for line in lines:
            yield decode(line)
