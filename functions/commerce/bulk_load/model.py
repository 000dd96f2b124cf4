"""A full load's own rules, pure: when to look again, where a range of the result is cut."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from tradewind.catalogue import BulkOperation, BulkStatus

RANGE_BYTES = 8 * 1024 * 1024
FIRST_LOOK, LONGEST_LOOK = timedelta(seconds=30), timedelta(minutes=10)
_NEVER_AGAIN = "ACCESS_DENIED"


@dataclass(frozen=True, slots=True)
class Written:
    """How many parents and children were newer than what was there."""

    parents: int = 0
    children: int = 0


@dataclass(frozen=True, slots=True)
class Loaded:
    """A full load's end. ``complete``: everything was read and usable, so that what was not met could be archived."""

    kind: str
    parents: int
    children: int
    refused: int
    archived: int
    complete: bool


def next_look(looks: int) -> timedelta:
    """How long to wait before an operation is looked at again; its webhook may come sooner."""
    return min(FIRST_LOOK * (1 << min(looks, 10)), LONGEST_LOOK)


def cut(content: bytes, *, last: bool) -> bytes:
    """The whole lines of a range. A range without an end of line has none, unless it is the ``last``."""
    return content if last else content[: content.rfind(b"\n") + 1]


def is_usable(operation: BulkOperation) -> bool:
    """Whether there is something to load: all of it, or what a failed operation had read until then."""
    return operation.status is BulkStatus.COMPLETED or (
        operation.status is BulkStatus.FAILED and operation.url is not None and not is_denied(operation)
    )


def is_denied(operation: BulkOperation) -> bool:
    return operation.error_code == _NEVER_AGAIN
