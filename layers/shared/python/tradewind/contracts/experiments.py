"""Who sees which variant of an A/B test, pure: a storefront that does the same gets the same answer.

**Position.** ``SHA-256("<test id>:<visitor id>")`` in UTF-8; its first 13 hexadecimal digits as a whole number, divided
by 2**52, lie in [0, 1) and are exact in a double. In a browser::

    const hash = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(`${test}:${visitor}`))
    const hex = [...new Uint8Array(hash)].map(byte => byte.toString(16).padStart(2, '0')).join('')
    const position = parseInt(hex.slice(0, 13), 16) / 2 ** 52

**Walk.** Variants by their place; the first whose cumulative weight (basis points, 10,000 in all) is above
``position * 10000`` is the visitor's. It stays theirs when weights change: an assignment that is stored comes first.

**Order.** A stored assignment; a forced variant; targeting rules by priority; the exclusion group; the walk.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

WHOLE = 10_000
"""Basis points: what the weights of a test's variants sum to."""
_DIGITS = 13
_SCALE = float(2 ** (4 * _DIGITS))


class Logic(StrEnum):
    AND = "and"
    OR = "or"


class Action(StrEnum):
    INCLUDE = "include"
    EXCLUDE = "exclude"
    ASSIGN = "assign"


class Operator(StrEnum):
    EQUALS = "equals"
    NOT_EQUALS = "not_equals"
    CONTAINS = "contains"
    STARTS_WITH = "starts_with"
    IN = "in"
    NOT_IN = "not_in"
    ABOVE = "above"
    BELOW = "below"
    EXISTS = "exists"


class Reason(StrEnum):
    """Why a visitor sees a variant, or none."""

    STANDING = "standing"
    FORCED = "forced"
    RULE = "rule"
    HASH = "hash"
    EXCLUDED = "excluded"
    OTHER_TEST = "other_test"
    NOT_RUNNING = "not_running"


@dataclass(frozen=True, slots=True)
class Condition:
    """``value`` is a text; of ``in`` and ``not_in`` several, of ``above`` and ``below`` a number."""

    attribute: str
    operator: Operator
    value: str | float | tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """A lower ``priority`` comes first. ``variant_id`` is what ``assign`` gives."""

    priority: int
    logic: Logic
    action: Action
    conditions: tuple[Condition, ...]
    variant_id: str | None = None


@dataclass(frozen=True, slots=True)
class Share:
    """A variant and its weight in basis points."""

    variant_id: str
    weight: int


@dataclass(frozen=True, slots=True)
class LiveTest:
    """A test that runs or is paused. ``shares`` are in their variants' places."""

    test_id: str
    running: bool
    shares: tuple[Share, ...]
    rules: tuple[Rule, ...] = ()
    exclusion_group: str | None = None
    forced_variant_id: str | None = None

    @property
    def variant_ids(self) -> frozenset[str]:
        return frozenset(share.variant_id for share in self.shares)


@dataclass(frozen=True, slots=True)
class Decision:
    """``variant_id`` is None where the visitor is in no variant."""

    test_id: str
    variant_id: str | None
    reason: Reason


def position_of(scope: str, visitor_id: str) -> float:
    """Where a visitor stands in [0, 1) of a test or an exclusion group."""
    digest = hashlib.sha256(f"{scope}:{visitor_id}".encode()).hexdigest()
    return int(digest[:_DIGITS], 16) / _SCALE


def walk(shares: Sequence[Share], position: float) -> str | None:
    """The variant at a position; None where the weights do not reach it."""
    reached = 0
    for share in shares:
        reached += share.weight
        if position * WHOLE < reached:
            return share.variant_id
    return None


def decide(
    tests: Sequence[LiveTest],
    visitor_id: str,
    context: Mapping[str, str],
    standing: Mapping[str, str],
) -> list[Decision]:
    """A visitor's variant in each test. ``standing`` is what is stored: test -> variant, of any test."""
    return [_decide(test, tests, visitor_id, context, standing) for test in tests]


def _decide(  # noqa: PLR0911 - the order of the module's first lines
    test: LiveTest,
    tests: Sequence[LiveTest],
    visitor_id: str,
    context: Mapping[str, str],
    standing: Mapping[str, str],
) -> Decision:
    if standing.get(test.test_id) in test.variant_ids:
        return Decision(test.test_id, standing[test.test_id], Reason.STANDING)
    if not test.running:
        return Decision(test.test_id, None, Reason.NOT_RUNNING)
    if test.forced_variant_id in test.variant_ids:
        return Decision(test.test_id, test.forced_variant_id, Reason.FORCED)
    rule = match_rule(test.rules, context)
    if rule is not None and rule.action is Action.ASSIGN and rule.variant_id in test.variant_ids:
        return Decision(test.test_id, rule.variant_id, Reason.RULE)
    if not is_included(test.rules, rule):
        return Decision(test.test_id, None, Reason.EXCLUDED)
    if not _has_the_group(test, tests, visitor_id, standing):
        return Decision(test.test_id, None, Reason.OTHER_TEST)
    return Decision(test.test_id, walk(test.shares, position_of(test.test_id, visitor_id)), Reason.HASH)


def match_rule(rules: Sequence[Rule], context: Mapping[str, str]) -> Rule | None:
    """The first rule, by priority, whose conditions hold. One without conditions holds for everybody."""
    for rule in sorted(rules, key=lambda each: each.priority):
        met = [holds(condition, context) for condition in rule.conditions]
        if all(met) if rule.logic is Logic.AND or not met else any(met):
            return rule
    return None


def is_included(rules: Sequence[Rule], matched: Rule | None) -> bool:
    """Whoever no rule matches is in, unless the test includes some by rule."""
    if matched is None:
        return all(rule.action is not Action.INCLUDE for rule in rules)
    return matched.action is not Action.EXCLUDE


def holds(condition: Condition, context: Mapping[str, str]) -> bool:  # noqa: PLR0911 - a line for each operator
    """Whether a visitor's context meets a condition. What is not told meets only ``not_equals`` and ``not_in``."""
    told = context.get(condition.attribute)
    wanted = condition.value
    match condition.operator:
        case Operator.EXISTS:
            return told is not None
        case Operator.NOT_EQUALS:
            return told != wanted
        case Operator.NOT_IN:
            return not (isinstance(wanted, tuple) and told in wanted)
        case Operator.IN:
            return isinstance(wanted, tuple) and told in wanted
        case Operator.EQUALS:
            return told is not None and told == wanted
        case Operator.CONTAINS:
            return told is not None and isinstance(wanted, str) and wanted in told
        case Operator.STARTS_WITH:
            return told is not None and isinstance(wanted, str) and told.startswith(wanted)
        case Operator.ABOVE | Operator.BELOW:
            return _compares(condition.operator, told, wanted)


def _compares(operator: Operator, told: str | None, wanted: object) -> bool:
    if told is None or not isinstance(wanted, (int, float)):
        return False
    try:
        number = float(told)
    except ValueError:
        return False
    return number > wanted if operator is Operator.ABOVE else number < wanted


def _has_the_group(
    test: LiveTest, tests: Sequence[LiveTest], visitor_id: str, standing: Mapping[str, str]
) -> bool:
    """A visitor is in one test of a group: the one they are in already, else the one that the group's hash names."""
    if test.exclusion_group is None:
        return True
    group = sorted(
        each.test_id for each in tests if each.exclusion_group == test.exclusion_group and each.running
    )
    live = {each.test_id for each in tests if each.exclusion_group == test.exclusion_group}
    if live & standing.keys():
        return False
    return group[int(position_of(test.exclusion_group, visitor_id) * len(group))] == test.test_id
