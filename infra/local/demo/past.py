"""A shop's past, and what a model that is trained on it must come to, by plain arithmetic.

Independent of the product: nothing of ``tradewind`` or the domains is imported. Journeys that touch paid advertising or
e-mail are made to convert more often, so a model must give those two the most. The rules, briefly:

- journeys by their ends: the latest fifth judges, of the rest the latest fifth chooses, from what is left is learnt;
- a prediction from counts is ``(conversions + 10 x rate) / (journeys + 10)``, with the rate of what was learnt from;
- data-driven credits divide an order by its touches' weights in billionths; cents that are left over go to the largest
  remainders, of equal ones to the earlier touch.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

CHANNELS = ("direct", "organic", "paid", "social", "email", "affiliate", "creator", "referral")
HELPING = {"paid": 0.30, "email": 0.15}
"""By how much a journey with a touch of theirs converts more often, by design; the others do nothing."""
JOURNEYS, FIRST_ORDER = 4_000, 7_000_000_000_000
OLDEST, NEWEST = timedelta(days=85), timedelta(days=4)
_RATE, _PRIOR, _BILLION = 0.08, 10, 10**9
_TO_ORDER = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Journey:
    """A visitor's touches, oldest first, and what the order that ended them came to; None where none did."""

    number: int
    touches: tuple[tuple[str, datetime], ...]
    cents: int | None

    @property
    def visitor(self) -> str:
        return f"past-{self.number}"

    @property
    def order_id(self) -> int:
        return FIRST_ORDER + self.number

    @property
    def converts(self) -> bool:
        return self.cents is not None

    @property
    def ended_at(self) -> datetime:
        return self.touches[-1][1] + (_TO_ORDER if self.converts else timedelta())

    @property
    def channels(self) -> tuple[str, ...]:
        return tuple(channel for channel, _ in self.touches)


def plan_past(seed: int, now: datetime, count: int = JOURNEYS) -> tuple[Journey, ...]:
    """Journeys of 81 days, in the order of their ends."""
    chance = Random(f"past:{seed}")  # noqa: S311 - a story, no secret
    apart = (OLDEST - NEWEST) / count
    return tuple(_journey(chance, number, now - OLDEST + number * apart) for number in range(count))


def _journey(chance: Random, number: int, ended_at: datetime) -> Journey:
    channels = [chance.choice(CHANNELS) for _ in range(chance.randint(1, 5))]
    at, touches = ended_at, []
    for channel in reversed(channels):
        touches.append((channel, at))
        at -= timedelta(minutes=chance.randint(30, 1200))
    rate = _RATE + sum(more for channel, more in HELPING.items() if channel in channels)
    cents = chance.randint(1_000, 20_000) if chance.random() < rate else None
    return Journey(number, tuple(reversed(touches)), cents)


@dataclass(frozen=True, slots=True)
class ExpectedTraining:
    """``base`` is the log loss on the judging journeys of the rate alone; ``losses`` those on the choosing journeys of
    the two models that are nothing but counts: by the last channel, and by the set of channels.
    """

    samples: int
    conversions: int
    parts: Mapping[str, int]
    base: float
    losses: Mapping[str, float]


def expect_training(past: Sequence[Journey]) -> ExpectedTraining:
    """What is known of a training beforehand."""
    placed = sorted(past, key=lambda each: each.ended_at)
    judging = len(placed) * 4 // 5
    choosing = judging * 4 // 5
    train, validation, held_out = placed[:choosing], placed[choosing:judging], placed[judging:]
    rate = sum(each.converts for each in train) / len(train)
    return ExpectedTraining(
        samples=len(placed),
        conversions=sum(each.converts for each in placed),
        parts={"train": len(train), "validation": len(validation), "held_out": len(held_out)},
        base=_log_loss(held_out, lambda _: rate),
        losses={
            "markov-1": _log_loss(validation, _counting(train, rate, lambda each: each.channels[-1])),
            "shapley": _log_loss(validation, _counting(train, rate, lambda each: frozenset(each.channels))),
        },
    )


def _counting(
    train: Sequence[Journey], rate: float, kind: Callable[[Journey], Hashable]
) -> Callable[[Journey], float]:
    seen = Counter(kind(each) for each in train)
    won = Counter(kind(each) for each in train if each.converts)
    return lambda each: (won[kind(each)] + _PRIOR * rate) / (seen[kind(each)] + _PRIOR)


def _log_loss(journeys: Sequence[Journey], told: Callable[[Journey], float]) -> float:
    chances = (told(each) if each.converts else 1 - told(each) for each in journeys)
    return -math.fsum(map(math.log, chances)) / len(journeys)


def divide(cents: int, channels: Sequence[str], weights: Mapping[str, float]) -> list[int]:
    """An order's cents by touch; evenly where no channel of it has a weight."""
    parts = [round(weights.get(channel, 0.0) * _BILLION) for channel in channels]
    parts = parts if any(parts) else [1] * len(parts)
    whole = sum(parts)
    shares = [cents * part // whole for part in parts]
    by_remainder = sorted(range(len(parts)), key=lambda at: (-(cents * parts[at] % whole), at))
    for at in by_remainder[: cents - sum(shares)]:
        shares[at] += 1
    return shares
