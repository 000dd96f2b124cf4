"""Who sees which variant, against values that another implementation of SHA-256 gives."""

from __future__ import annotations

from collections import Counter

import pytest

from tradewind.contracts.experiments import (
    Action,
    Condition,
    LiveTest,
    Logic,
    Operator,
    Reason,
    Rule,
    Share,
    decide,
    holds,
    match_rule,
    position_of,
    walk,
)

HALVES = (Share("control", 5000), Share("bold", 5000))


def a_test(test_id: str = "hero", **changes: object) -> LiveTest:
    return LiveTest(**{"test_id": test_id, "running": True, "shares": HALVES, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("scope", "visitor", "digits"),
    [  # printf %s hero:v-1 | sha256sum | cut -c1-13
        ("hero", "v-1", "6d83f077d98f7"),
        ("hero", "v-2", "78039b8f559dd"),
        ("hero-image", "Zoë", "edde30159ace7"),
    ],
)
def test_position_is_the_first_52_bits_of_the_digest(scope: str, visitor: str, digits: str) -> None:
    assert position_of(scope, visitor) == int(digits, 16) / 2**52
    assert 0 <= position_of(scope, visitor) < 1


@pytest.mark.parametrize(
    ("position", "variant"), [(0.0, "control"), (0.4999999, "control"), (0.5, "bold"), (0.9999999, "bold")]
)
def test_walk_takes_the_first_whose_cumulative_weight_is_above(position: float, variant: str) -> None:
    assert walk(HALVES, position) == variant


def test_variant_without_weight_gets_nobody_and_what_is_missing_is_nobodys() -> None:
    shares = (Share("off", 0), Share("on", 9000))
    assert [walk(shares, position) for position in (0.0, 0.8999, 0.9)] == ["on", "on", None]


def test_shares_of_many_visitors_are_the_weights() -> None:
    """10,000 visitors at 70 to 30: five standard deviations are 229."""
    shares = (Share("a", 7000), Share("b", 3000))
    found = Counter(walk(shares, position_of("hero", f"visitor-{n}")) for n in range(10_000))
    assert abs(found["a"] - 7000) < 229
    assert found["a"] + found["b"] == 10_000


def test_two_tests_cut_visitors_independently() -> None:
    """Of those who are in the first half of one, half are in the first half of another: 5,000 +- 5 sigma = 177."""
    first = [f"v-{n}" for n in range(10_000) if position_of("one", f"v-{n}") < 0.5]
    both = [visitor for visitor in first if position_of("two", visitor) < 0.5]
    assert abs(len(both) - len(first) / 2) < 177


def condition(operator: str, value: object = None) -> Condition:
    return Condition("device", Operator(operator), value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rule", "told", "met"),
    [
        (condition("equals", "phone"), "phone", True),
        (condition("equals", "phone"), "Phone", False),
        (condition("equals", "phone"), None, False),
        (condition("not_equals", "phone"), "desktop", True),
        (condition("not_equals", "phone"), None, True),
        (condition("contains", "hon"), "phone", True),
        (condition("contains", "x"), "phone", False),
        (condition("starts_with", "ph"), "phone", True),
        (condition("starts_with", "on"), "phone", False),
        (condition("in", ("phone", "tablet")), "tablet", True),
        (condition("in", ("phone",)), None, False),
        (condition("not_in", ("phone",)), "tablet", True),
        (condition("not_in", ("phone",)), "phone", False),
        (condition("above", 3), "3.5", True),
        (condition("above", 3), "3", False),
        (condition("below", 3), "many", False),
        (condition("below", 3), None, False),
        (condition("exists"), "", True),
        (condition("exists"), None, False),
    ],
)
def test_condition(rule: Condition, told: str | None, *, met: bool) -> None:
    context = {} if told is None else {"device": told}
    assert holds(rule, context) is met


PHONE, GERMAN = condition("equals", "phone"), Condition("country", Operator.EQUALS, "DE")


def rule(
    priority: int, action: str, *conditions: Condition, logic: str = "and", variant: str | None = None
) -> Rule:
    return Rule(priority, Logic(logic), Action(action), conditions, variant)


@pytest.mark.parametrize(
    ("logic", "context", "matches"),
    [
        ("and", {"device": "phone", "country": "DE"}, True),
        ("and", {"device": "phone", "country": "FR"}, False),
        ("or", {"device": "phone", "country": "FR"}, True),
        ("or", {"device": "desktop", "country": "FR"}, False),
    ],
)
def test_rule_joins_its_conditions(logic: str, context: dict[str, str], *, matches: bool) -> None:
    found = match_rule([rule(1, "include", PHONE, GERMAN, logic=logic)], context)
    assert (found is not None) is matches


@pytest.mark.parametrize(
    ("rules", "context", "variant", "reason"),
    [
        ((), {}, "control", Reason.HASH),
        ((rule(1, "exclude", PHONE),), {"device": "phone"}, None, Reason.EXCLUDED),
        ((rule(1, "exclude", PHONE),), {"device": "desktop"}, "control", Reason.HASH),
        ((rule(1, "include", PHONE),), {"device": "phone"}, "control", Reason.HASH),
        ((rule(1, "include", PHONE),), {"device": "desktop"}, None, Reason.EXCLUDED),
        ((rule(2, "exclude", PHONE), rule(1, "include", GERMAN)), {"device": "phone", "country": "DE"}, "control",
         Reason.HASH),
        ((rule(1, "exclude", PHONE), rule(2, "include", GERMAN)), {"device": "phone", "country": "DE"}, None,
         Reason.EXCLUDED),
        ((rule(1, "assign", PHONE, variant="bold"),), {"device": "phone"}, "bold", Reason.RULE),
        ((rule(1, "exclude"),), {}, None, Reason.EXCLUDED),
    ],
)  # fmt: skip
def test_first_matching_rule_by_priority_decides(
    rules: tuple[Rule, ...], context: dict[str, str], variant: str | None, reason: Reason
) -> None:
    visitor = next(f"v-{n}" for n in range(99) if position_of("hero", f"v-{n}") < 0.5)
    [decision] = decide([a_test(rules=rules)], visitor, context, {})
    assert (decision.variant_id, decision.reason) == (variant, reason)


def test_standing_assignment_comes_before_everything() -> None:
    test = a_test(forced_variant_id="control", rules=(rule(1, "exclude"),))
    [decision] = decide([test], "v-1", {}, {"hero": "bold"})
    assert (decision.variant_id, decision.reason) == ("bold", Reason.STANDING)


def test_forced_variant_is_everybodys_and_a_paused_test_takes_nobody() -> None:
    forced, paused = a_test("one", forced_variant_id="bold"), a_test("two", running=False)
    decisions = decide([forced, paused], "v-1", {}, {})
    assert [(each.variant_id, each.reason) for each in decisions] == [
        ("bold", Reason.FORCED),
        (None, Reason.NOT_RUNNING),
    ]


def test_visitor_is_in_one_test_of_a_group_and_stays_there() -> None:
    tests = [a_test(name, exclusion_group="shop") for name in ("one", "two", "three")]
    chosen = Counter()  # type: ignore[var-annotated]
    for n in range(3000):
        decisions = decide(tests, f"v-{n}", {}, {})
        [own] = [each for each in decisions if each.variant_id]
        chosen[own.test_id] += 1
        assert {each.reason for each in decisions if each is not own} == {Reason.OTHER_TEST}
    assert all(abs(times - 1000) < 130 for times in chosen.values())
    assert len(chosen) == 3
    standing = {"two": "bold"}
    decided = {each.test_id: each.variant_id for each in decide(tests, "v-1", {}, standing)}
    assert decided == {"one": None, "two": "bold", "three": None}
