"""What a training is, pure: its orders, states and ends, and when a model replaces the one in use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

CODE = 1
"""Of what is learnt and of how a checkpoint looks: raised with any change that gives other numbers. A checkpoint of
another code is left aside, and the training begins anew."""
WINDOW = timedelta(days=90)
SETTLING = timedelta(days=3)
"""A journey that ended less than this ago may still convert, and attribution tries that long to find its touches."""
LEAST_SAMPLES = 100
LEAST_DAYS = 56
"""Of daily spend and revenue: eight weeks."""
LEAST_CONVERSIONS = 300
"""Below, a tenant keeps the rule models: no weights are written."""
MOST_JOURNEYS = 500_000
"""Of those that convert and of those that do not, each the latest."""
HELD_FOR = timedelta(minutes=32)
"""How long a container's claim stands without another word from it: longer than a container may run."""
MACHINE = "ml-training"
"""The state machine that runs the container; one execution a training."""
ROUND = "ml-training-round"
"""The state machine that goes through all tenants in the night."""
ROUND_AT_ONCE = 20
"""Trainings of a round that run at the same time."""
AT_ONCE = 30
"""Trainings, those of a round among them, beside which one that is asked for alone still begins: it waits for its turn
beyond, and never behind a whole round.
"""


class Reason(StrEnum):
    """Why a training ended without a model, or its model without being used."""

    TOO_FEW_SAMPLES = "too_few_samples"
    NO_CONVERSIONS = "no_conversions"
    ONLY_CONVERSIONS = "only_conversions"
    ONE_CHANNEL = "one_channel"
    ONE_SIDED = "one_sided"
    ANOTHER_RUNS = "another_runs"
    TOO_FEW_CONVERSIONS = "too_few_conversions"
    NO_BETTER_THAN_RATE = "no_better_than_rate"
    NO_BETTER_THAN_USED = "no_better_than_used"
    NOT_ASKED = "not_asked"
    NO_SPEND = "no_spend"
    NO_REVENUE = "no_revenue"
    TOO_FEW_DAYS = "too_few_days"


class State(StrEnum):
    """A training's. ``skipped`` had nothing to learn from, ``succeeded`` left a model, used or not."""

    REQUESTED = "requested"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    SKIPPED = "skipped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Training:
    """A claimed training: ``fence`` proves that nobody has taken it over, ``until`` is where its data ends."""

    id: UUID
    fence: int
    attempt: int
    until: datetime
    state: State
    may_use: bool = True

    @property
    def since(self) -> datetime:
        return self.until - WINDOW

    def key(self, tenant_id: UUID, part: str) -> str:
        """Where a part of it lies in the payload store."""
        return f"tenants/{tenant_id}/training/{self.id}/{part}"


@dataclass(frozen=True, slots=True)
class Learnt:
    """A model as the registry keeps it. ``weights`` are channels' shares for the data-driven credits; ``held_out`` is
    its log loss on the journeys that nothing was learnt from, ``base`` that of the known rate.
    """

    algorithm: str
    samples: int
    conversions: int
    since: datetime
    until: datetime
    weights: Mapping[str, float]
    held_out: float
    base: float
    metrics: Mapping[str, Any] = field(default_factory=dict)
    document: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DayOfSpend:
    """A local day's revenue and its spend by platform, in cents of the tenant's currency."""

    day: date
    revenue_cents: int
    spend_cents: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class LearntMix:
    """A marketing-mix model as the registry keeps it."""

    since: datetime
    until: datetime
    days: int
    scores: Mapping[str, Any] = field(default_factory=dict)
    document: Mapping[str, Any] = field(default_factory=dict)


def why_no_mix(days: Sequence[DayOfSpend]) -> Reason | None:
    """Why nothing can be said of these days' spend, or None. Days before the first revenue or spend are none."""
    if not any(each.revenue_cents for each in days):
        return Reason.NO_REVENUE
    if not any(cents for each in days for cents in each.spend_cents.values()):
        return Reason.NO_SPEND
    return Reason.TOO_FEW_DAYS if len(days) < LEAST_DAYS else None


def from_first(days: Sequence[DayOfSpend]) -> Sequence[DayOfSpend]:
    """From the first day on which anything came in or was spent."""
    first = next(
        (at for at, day in enumerate(days) if day.revenue_cents or any(day.spend_cents.values())), len(days)
    )
    return days[first:]


@dataclass(frozen=True, slots=True)
class Used:
    """The model in use, and its log loss on the same held-out journeys; None where it cannot be read any more."""

    version: int
    held_out: float | None


def judge(learnt: Learnt, used: Used | None) -> Reason | None:
    """Why a model is not to be used, or None where it is: it must tell the held-out journeys better than their known
    rate does, and better than the model in use. One that cannot be read any more is replaced.
    """
    if learnt.conversions < LEAST_CONVERSIONS:
        return Reason.TOO_FEW_CONVERSIONS
    if learnt.held_out >= learnt.base or not learnt.weights:
        return Reason.NO_BETTER_THAN_RATE
    if used is not None and used.held_out is not None and learnt.held_out >= used.held_out:
        return Reason.NO_BETTER_THAN_USED
    return None
