"""Faults on request: which call fails, and how, is drawn from a seeded generator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import Any


class Fault(StrEnum):
    TOO_MANY = "429"
    SERVER_ERROR = "500"
    TIMEOUT = "timeout"
    RESET = "reset"
    LOST_ANSWER = "lost_answer"
    THROTTLED = "throttled"
    DAILY_QUOTA = "daily_quota"
    MONTHLY_QUOTA = "monthly_quota"
    CONCURRENT = "concurrent"
    """The last three are Resend's alone."""
    SLOW = "slow"
    """No fault at all: the right answer, ``hold_seconds`` later."""


USUAL = tuple(
    kind
    for kind in Fault
    if kind not in {Fault.DAILY_QUOTA, Fault.MONTHLY_QUOTA, Fault.CONCURRENT, Fault.SLOW}
)
"""What a plan draws from that names no kinds."""


@dataclass(slots=True)
class FaultPlan:
    """``rate`` is the share of calls that fail; ``remaining`` bounds how many (None: no bound).

    ``shop`` and ``operation`` narrow it to one account or operation. ``hold_seconds`` is how long a time-out
    holds, and how late a slow answer comes.
    """

    provider: str
    rate: float
    kinds: tuple[Fault, ...]
    seed: int
    shop: str | None = None
    operation: str | None = None
    remaining: int | None = None
    hold_seconds: float = 30.0
    _chance: Random = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._chance = Random(self.seed)  # noqa: S311 - faults to order, no secret

    def draw(self, account: str, operation: str) -> Fault | None:
        if self.shop not in (None, account) or self.operation not in (None, operation) or self.remaining == 0:
            return None
        chance, kind = self._chance.random(), self._chance.choice(self.kinds)
        if chance >= self.rate:
            return None
        if self.remaining is not None:
            self.remaining -= 1
        return kind

    def document(self) -> dict[str, Any]:
        return {
            "provider": self.provider,
            "rate": self.rate,
            "kinds": [kind.value for kind in self.kinds],
            "seed": self.seed,
            "shop": self.shop,
            "operation": self.operation,
            "remaining": self.remaining,
            "hold_seconds": self.hold_seconds,
        }


def read_plan(document: Any, providers: Sequence[str]) -> FaultPlan:
    """Read a plan. Raises ValueError that names the field and what to send."""
    if not isinstance(document, dict):
        raise ValueError(  # noqa: TRY004 - a bad request, not a bad call
            "send a JSON object with provider, rate, kinds and seed"
        )
    provider = document.get("provider", "shopify")
    if provider not in providers:
        raise ValueError(f"provider {provider!r} is unknown; known are {', '.join(providers)}")
    rate = document.get("rate", 1.0)
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 <= rate <= 1:
        raise ValueError(f"rate is {rate!r}; send a number from 0 to 1")
    return FaultPlan(
        provider=provider,
        rate=float(rate),
        kinds=_kinds(document.get("kinds", [kind.value for kind in USUAL])),
        seed=_whole(document, "seed", 0) or 0,
        shop=document.get("shop"),
        operation=document.get("operation"),
        remaining=_whole(document, "remaining", None),
        hold_seconds=float(document.get("hold_seconds", 30.0)),
    )


def _kinds(listed: Any) -> tuple[Fault, ...]:
    known = {kind.value for kind in Fault}
    if not isinstance(listed, list) or not listed or not all(str(kind) in known for kind in listed):
        raise ValueError(f"kinds is {listed!r}; send a list of {', '.join(sorted(known))}")
    return tuple(Fault(str(kind)) for kind in listed)


def _whole(document: Mapping[str, Any], name: str, default: int | None) -> int | None:
    value = document.get(name, default)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
        raise ValueError(f"{name} is {value!r}; send a whole number from 0")
    return value
