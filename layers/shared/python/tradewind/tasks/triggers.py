"""What starts a task: a provider's webhook, a platform event, a clock, or nothing but a hand and other tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

TENANT = "tenant"
"""As a cron's zone: each tenant's own time zone."""


class Overlap(StrEnum):
    """What a schedule does with a tenant whose older slot has not ended."""

    SKIP = "skip"
    QUEUE = "queue"


@dataclass(frozen=True, slots=True)
class Webhook:
    """A provider's topic, such as ``Webhook("shopify", "orders/create")``."""

    provider: str
    topic: str

    def describe(self) -> str:
        return f"webhook {self.provider} {self.topic}"


@dataclass(frozen=True, slots=True)
class Event:
    """An event of the platform's own applications, such as ``Event("review.submitted")``."""

    type: str

    def describe(self) -> str:
        return f"event {self.type}"


_RANGES = {"minute": (0, 59), "hour": (0, 23), "day": (1, 31), "month": (1, 12), "weekday": (0, 7)}


@dataclass(frozen=True, slots=True)
class Cron:
    """Five cron fields in a zone. ``name`` is the schedule's own id where the catalogue gives it one.

    ``payload`` is handed to the task. With ``only_due`` only tenants get a message that have said when they have work:
    SQL's ``mark_due(schedule, at)``, beside the write that makes the work. Day and weekday may not both be restricted:
    EventBridge has no such rule. With a ``machine`` the clock starts that state machine, which goes through the tenants
    itself and runs the task for each; the fan-out may still be fired by hand.
    """

    expression: str
    zone: str = "UTC"
    name: str | None = None
    payload: Mapping[str, Any] = field(default_factory=dict)
    overlap: Overlap = Overlap.SKIP
    only_due: bool = False
    machine: str | None = None

    def __post_init__(self) -> None:
        fields = self.expression.split()
        if len(fields) != len(_RANGES):
            raise ValueError(f"cron {self.expression!r} needs five fields: minute hour day month weekday")
        for text, (name, (low, high)) in zip(fields, _RANGES.items(), strict=True):
            _check_cron_field(self.expression, name, text, low, high)
        if fields[2] != "*" and fields[4] != "*":
            raise ValueError(f"cron {self.expression!r} restricts day and weekday at once; choose one")
        if self.zone != TENANT:
            ZoneInfo(self.zone)

    def for_eventbridge(self) -> str:
        """EventBridge's six fields: ``?`` for the day that is not named, weekdays counted from Sunday = 1."""
        minute, hour, day, month, weekday = self.expression.split()
        if weekday == "*":
            return f"cron({minute} {hour} {day} {month} ? *)"
        shifted = ",".join(
            "-".join(str(int(end) % 7 + 1) for end in part.split("-")) for part in weekday.split(",")
        )
        return f"cron({minute} {hour} ? {month} {shifted} *)"

    def describe(self) -> str:
        return f"cron {self.expression} {self.zone}"


def _check_cron_field(expression: str, name: str, text: str, low: int, high: int) -> None:
    for part in text.split(","):
        span, _, step = part.partition("/")
        ends = [] if span == "*" else span.split("-")
        numbers = [*ends, step] if step else ends
        if (
            len(ends) > 2  # noqa: PLR2004 - a span has two ends
            or any(not number.isdigit() for number in numbers)
            or any(not low <= int(end) <= high for end in ends)
            or step == "0"
        ):
            raise ValueError(f"cron {expression!r}: {name} field {text!r} must lie in {low}-{high}")


Trigger = Webhook | Event | Cron
