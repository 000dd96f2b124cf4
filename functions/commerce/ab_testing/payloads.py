"""What A/B tests' tasks are told, read into the model's types."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from commerce.ab_testing.model import (
    DEFAULT_ZONE,
    PRESETS,
    Definition,
    Goal,
    GuardrailRule,
    Kind,
    Metric,
    Mode,
    Variant,
    instant_of,
    weights_of,
)
from tradewind.contracts.ab_tests import AbTestCreated, Identifier, TargetingCondition, TargetingRule
from tradewind.contracts.experiments import Action, Condition, Logic, Operator, Rule
from tradewind.contracts.payload import Payload


class Fold(Payload):
    """``grace_minutes`` is how long an hour must be over."""

    grace_minutes: Annotated[int, Field(ge=1, le=60)] = 5


class Days(Payload):
    """So many days, up to the last one that is meant."""

    days: Annotated[int, Field(ge=1, le=29)] = 2


class Aggregation(Payload):
    """Which days of a test are counted anew: today, yesterday and today, or all whose events are still kept."""

    test_id: Identifier
    period: Literal["hourly", "daily", "full"] = "daily"


class TestToOptimize(Payload):
    """``algorithm`` ``mab`` is epsilon-greedy; None: by the test's own mode."""

    __test__ = False

    test_id: Identifier
    algorithm: Literal["mab", "thompson", "epsilon_greedy"] | None = None
    epsilon: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None


class Optimization(Payload):
    """How much epsilon-greedy explores."""

    epsilon: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.1


class LookBack(Payload):
    """How many days a summary covers; None: its own usual number."""

    days: Annotated[int, Field(ge=1, le=90)] | None = None


class OrderLookBack(Payload):
    """Orders that changed in the last hours."""

    look_back_hours: Annotated[int, Field(ge=1, le=24 * 30)] = 2


class OrderToMatch(Payload):
    order_id: Annotated[int, Field(gt=0, lt=2**63)]


class Guarding(Payload):
    """``sample_ratio`` None: at the day's first hour."""

    sample_ratio: bool | None = None


class Schedule(Payload):
    """At most so many tests a run."""

    limit: Annotated[int, Field(ge=1, le=500)] = 50


def definition_of(told: AbTestCreated, zone: str | None) -> Definition:
    """A test as the model has it. ``zone`` is the tenant's own, for a test that names none."""
    at_home = told.zone or (zone if zone not in {None, "UTC"} else None) or DEFAULT_ZONE
    starts_at, ends_at = instant_of(told.starts_at, at_home), instant_of(told.ends_at, at_home)
    weights = weights_of([variant.weight for variant in told.variants])
    return Definition(
        id=told.test_id,
        name=told.name,
        mode=Mode(told.mode),
        kind=Kind(told.type),
        goal=Goal(told.goal),
        metric=Metric(told.metric),
        confidence=told.confidence,
        zone=at_home,
        variants=tuple(
            Variant(variant.variant_id, variant.name, weight, variant.is_control)
            for variant, weight in zip(told.variants, weights, strict=True)
        ),
        rules=tuple(_rule(rule) for rule in told.targeting),
        guardrails=PRESETS
        if told.guardrails is None
        else tuple(GuardrailRule(each.metric, each.threshold, each.action) for each in told.guardrails),
        exclusion_group=told.exclusion_group,
        forced_variant_id=told.forced_variant_id,
        starts_at=starts_at,
        ends_at=ends_at,
        auto_start=told.auto_start,
        auto_end=told.auto_end,
    )


def _rule(told: TargetingRule) -> Rule:
    return Rule(
        priority=told.priority,
        logic=Logic(told.logic),
        action=Action(told.action),
        conditions=tuple(_condition(each) for each in told.conditions),
        variant_id=told.variant_id,
    )


def _condition(told: TargetingCondition) -> Condition:
    value = tuple(told.value) if isinstance(told.value, list) else told.value
    return Condition(told.attribute, Operator(told.operator), value)
