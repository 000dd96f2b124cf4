"""What the smoke test saw of each task."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any


class SmokeError(Exception):
    """A task was not seen through; the message says what was seen instead."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A run that ended well. ``effect`` is what it left, as tables or result show it."""

    task: str
    door: str
    run_id: str
    duration: timedelta
    effect: str


def seen(run: dict[str, Any], door: str, effect: str) -> Seen:
    """From the API's account of a run: from the moment it was asked for to its end."""
    took = datetime.fromisoformat(run["finished_at"]) - datetime.fromisoformat(run["accepted_at"])
    return Seen(run["task"], door, run["run_id"], took, effect)


def as_lines(every: Iterable[Seen]) -> str:
    return "".join(
        f"ok  {each.task:40} {each.door:14} {each.run_id}  {each.duration.total_seconds():7.3f} s  {each.effect}\n"
        for each in every
    )
