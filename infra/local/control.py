"""What whoever started the local cloud may ask of its supervisor while it runs, and the answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from socket import socket


class Action(StrEnum):
    """``detach`` lets the cloud go on by itself; ``halt`` stops one program for a while, ``resume`` starts it again."""

    DETACH = "detach"
    HALT = "halt"
    RESUME = "resume"


@dataclass(frozen=True, slots=True)
class Order:
    """One line on the channel. ``program`` is a name from ``State.pids``; it has none to detach."""

    action: Action
    program: str = ""

    def encode(self) -> bytes:
        return json.dumps(asdict(self)).encode() + b"\n"


def read_orders(channel: socket) -> Iterator[Order]:
    """Orders until the other side is gone, in whatever way."""
    with channel.makefile("rb") as lines:
        for line in lines:
            fields = json.loads(line)
            yield Order(Action(fields["action"]), fields["program"])
