"""``ab.testCreated``, ``ab.testStarted``, ``ab.testEnded``: the life of an A/B test, as its owners tell it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    AwareDatetime,
    Field,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)

from tradewind.contracts.payload import StrictPayload
from tradewind.contracts.touchpoints import Tag

MAX_RULES, MAX_CONDITIONS, MAX_VARIANTS = 50, 10, 20
WHOLE_PERCENT = 100
_TWO = 2

Identifier = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
"""Of a test, a variant or a group: it stands in addresses, cookies and counters' names."""


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        raise ValueError(f"{name!r} is no IANA time zone; send one such as America/New_York") from None
    return name


def _local(moment: datetime) -> datetime:
    if moment.tzinfo is not None:
        raise ValueError("carries an offset; send the local time of the zone, without one")
    return moment


def _usual(confidence: float) -> float:
    if confidence not in {0.9, 0.95, 0.99}:
        raise ValueError(f"{confidence} is none of 0.9, 0.95 and 0.99")
    return confidence


Zone = Annotated[str, StringConstraints(max_length=64), AfterValidator(_known_zone)]
LocalTime = Annotated[
    datetime,
    AfterValidator(_local),
    WithJsonSchema(
        {
            "type": "string",
            "description": "ISO 8601 without an offset",
            "pattern": r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?$",
        }
    ),
]
Confidence = Annotated[
    float, AfterValidator(_usual), WithJsonSchema({"type": "number", "enum": [0.9, 0.95, 0.99]})
]
Metric = Literal[
    "revenue_per_visitor",
    "conversion_rate",
    "bounce_rate",
    "error_rate",
    "add_to_cart_rate",
    "checkout_rate",
    "refund_rate",
]


class Variant(StrictPayload):
    """``weight`` in percent; either every variant has one and they sum to 100, or none and they are equal."""

    variant_id: Identifier
    name: Annotated[Tag, StringConstraints(min_length=1)]
    is_control: bool = False
    weight: Annotated[float, Field(ge=0, le=WHOLE_PERCENT, allow_inf_nan=False)] | None = None


class TargetingCondition(StrictPayload):
    attribute: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_.]{0,63}$")]
    operator: Literal[
        "equals", "not_equals", "contains", "starts_with", "in", "not_in", "above", "below", "exists"
    ]
    value: Tag | float | Annotated[list[Tag], Field(min_length=1, max_length=100)] | None = None

    @model_validator(mode="after")
    def _of_its_kind(self) -> Self:
        wanted: dict[str, type | tuple[type, ...]] = {
            "in": list,
            "not_in": list,
            "above": (int, float),
            "below": (int, float),
            "exists": type(None),
        }
        if not isinstance(self.value, wanted.get(self.operator, str)):
            raise ValueError(f"{self.operator} does not take {self.value!r}")  # noqa: TRY004 - pydantic wants it so
        return self


class TargetingRule(StrictPayload):
    """A lower ``priority`` comes first, and each is used once."""

    priority: Annotated[int, Field(ge=0, le=10_000)]
    logic: Literal["and", "or"] = "and"
    action: Literal["include", "exclude", "assign"] = "include"
    variant_id: Identifier | None = None
    conditions: Annotated[list[TargetingCondition], Field(max_length=MAX_CONDITIONS)] = Field(
        default_factory=list
    )


class Guardrail(StrictPayload):
    """``threshold`` is the relative change against the control that is too much: -0.1 is a tenth less."""

    metric: Metric
    threshold: Annotated[float, Field(ge=-1, le=10, allow_inf_nan=False)]
    action: Literal["warn", "pause", "stop"]


class AbTestCreated(StrictPayload):
    """A test's whole definition. It may come again, changed, until the test has started."""

    test_id: Identifier
    name: Annotated[Tag, StringConstraints(min_length=1)]
    type: Literal["landing_page", "shipping", "email"] = "landing_page"
    mode: Literal["manual", "mab", "thompson"] = "manual"
    goal: Literal["page_view", "add_to_cart", "begin_checkout", "purchase"] = "purchase"
    metric: Literal["revenue_per_visitor", "conversion_rate"] = "revenue_per_visitor"
    confidence: Confidence = 0.95
    variants: Annotated[list[Variant], Field(min_length=2, max_length=MAX_VARIANTS)]
    targeting: Annotated[list[TargetingRule], Field(max_length=MAX_RULES)] = Field(default_factory=list)
    guardrails: Annotated[list[Guardrail], Field(max_length=7)] | None = None
    exclusion_group: Identifier | None = None
    forced_variant_id: Identifier | None = None
    zone: Zone | None = None
    starts_at: LocalTime | None = None
    ends_at: LocalTime | None = None
    auto_start: bool = True
    auto_end: bool = True

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [variant.variant_id for variant in self.variants]
        weights = [variant.weight for variant in self.variants if variant.weight is not None]
        named = {self.forced_variant_id} | {rule.variant_id for rule in self.targeting}
        priorities = [rule.priority for rule in self.targeting]
        metrics = [guardrail.metric for guardrail in self.guardrails or []]
        goals = self.goal == "purchase" or self.metric == "conversion_rate"
        problems = {
            "variants: each variant_id may stand once": len(set(names)) < len(names),
            "variants: exactly one must be the control": sum(v.is_control for v in self.variants) != 1,
            "variants: give every one a weight, or none": len(weights) not in {0, len(names)},
            "variants: weights must sum to 100": bool(weights) and round(sum(weights), _TWO) != WHOLE_PERCENT,
            "variants: weights have at most two decimals": any(round(w, _TWO) != w for w in weights),
            "forced_variant_id or targeting: names a variant that is not there": bool(
                named - {None} - set(names)
            ),
            "targeting: assign needs a variant_id, the others take none": any(
                (rule.action == "assign") != (rule.variant_id is not None) for rule in self.targeting
            ),
            "targeting: each priority may stand once": len(set(priorities)) < len(priorities),
            "guardrails: each metric may stand once": len(set(metrics)) < len(metrics),
            "metric: revenue_per_visitor needs the goal purchase": not goals,
            "ends_at: lies before starts_at": self.starts_at is not None
            and self.ends_at is not None
            and self.ends_at - self.starts_at <= timedelta(),
        }
        for problem, present in problems.items():
            if present:
                raise ValueError(problem)
        return self


class AbTestStarted(StrictPayload):
    """A test starts, or goes on after a pause."""

    test_id: Identifier
    started_at: AwareDatetime | None = None


class AbTestEnded(StrictPayload):
    """A test is over. ``winner_variant_id`` is a person's decision; without it the numbers decide, or nobody wins."""

    test_id: Identifier
    ended_at: AwareDatetime | None = None
    winner_variant_id: Identifier | None = None
