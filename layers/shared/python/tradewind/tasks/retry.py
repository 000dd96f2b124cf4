"""Retry as a value: how often a task may try and how long it waits between tries."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

MAX_VISIBILITY = timedelta(hours=12)
"""SQS keeps a message invisible for at most 12 hours; a longer wait is a row with a due time."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits grow from ``first`` by ``factor`` up to ``longest``, each shortened at random by up to ``jitter``."""

    first: timedelta
    longest: timedelta
    factor: float = 2.0
    jitter: float = 0.5

    def wait(self, attempt: int, chance: float) -> timedelta:
        """The wait after the failed ``attempt`` (1 is the first). ``chance`` lies in [0, 1) and comes from outside."""
        if attempt < 1:
            raise ValueError(f"attempt is {attempt}; the first attempt is 1")
        exponent = min(attempt - 1, 64)
        full = min(self.first.total_seconds() * self.factor**exponent, self.longest.total_seconds())
        return min(timedelta(seconds=full * (1 - self.jitter * chance)), MAX_VISIBILITY)


def exponential(first: float, longest: float, factor: float = 2.0) -> Backoff:
    """Backoff in seconds: ``exponential(2, 30)`` waits 2, 4, 8, 16, 30 s, less jitter."""
    return Backoff(timedelta(seconds=first), timedelta(seconds=longest), factor)


def fixed(seconds: float) -> Backoff:
    """The same wait each time, without jitter."""
    wait = timedelta(seconds=seconds)
    return Backoff(wait, wait, factor=1.0, jitter=0.0)


@dataclass(frozen=True, slots=True)
class Retry:
    """``attempts`` counts the first try. A rate limit or a held lease is no attempt."""

    attempts: int = 3
    backoff: Backoff = field(default_factory=lambda: exponential(1, 60))

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError(f"attempts is {self.attempts}; a task tries at least once")

    def describe(self) -> str:
        first, longest = self.backoff.first.total_seconds(), self.backoff.longest.total_seconds()
        return f"{self.attempts} attempts, x{self.backoff.factor:g}, {first:g} s .. {longest:g} s"
