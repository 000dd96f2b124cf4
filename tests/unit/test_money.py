from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind.money import proportion, split_by_weight, to_cents, to_text


@pytest.mark.parametrize(
    ("amount", "currency", "cents"),
    [
        ("19.99", "USD", 1999),
        ("0.10", "EUR", 10),
        ("-3.5", "USD", -350),
        ("1200", "JPY", 1200),
        ("1.234", "KWD", 1234),
        (7, "USD", 700),
        ("1E+2", "USD", 10_000),
        ("10000000000000.00", "USD", 10**15),
    ],
)
def test_decimal_text_becomes_exact_cents(amount: str | int, currency: str, cents: int) -> None:
    assert to_cents(amount, currency) == cents


@pytest.mark.parametrize(
    ("amount", "currency", "problem"),
    [
        ("19.999", "USD", "more digits than USD allows"),
        ("0.5", "JPY", "more digits than JPY allows"),
        ("ten", "USD", "not a decimal number"),
        ("NaN", "USD", "not a finite number"),
        ("Infinity", "USD", "not a finite number"),
        ("10000000000000.01", "USD", "beyond"),
        ("1", "XXX", "unknown currency 'XXX'"),
        ("1", "usd", "unknown currency 'usd'"),
        (0.1, "USD", "must be decimal text, not float"),
        (True, "USD", "must be decimal text, not bool"),
    ],
)
def test_impossible_amounts_are_refused(amount: str, currency: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        to_cents(amount, currency)


@given(st.integers(-(10**15), 10**15), st.sampled_from(["USD", "JPY", "KWD"]))
def test_text_and_cents_are_inverse(cents: int, currency: str) -> None:
    assert to_cents(to_text(cents, currency), currency) == cents


def test_split_gives_remainders_to_the_largest_then_the_earlier() -> None:
    assert split_by_weight(100, [1, 1, 1]) == [34, 33, 33]
    assert split_by_weight(10, [Fraction(1, 3), Fraction(2, 3)]) == [3, 7]
    assert split_by_weight(-100, [1, 1, 1]) == [-34, -33, -33]
    assert split_by_weight(5, [0, 1, 0]) == [0, 5, 0]


@pytest.mark.parametrize("weights", [[], [0, 0], [1, -1]])
def test_split_refuses_impossible_weights(weights: list[int]) -> None:
    with pytest.raises(ValueError, match="weights"):
        split_by_weight(1, weights)


@pytest.mark.parametrize(
    ("amount", "part", "whole", "expected"),
    [
        (100, 1, 3, 33),
        (100, 2, 3, 67),
        (5, 1, 2, 3),
        (-5, 1, 2, -3),
        (0, 1, 7, 0),
        (9_000, 1_000, 10_000, 900),
    ],
)
def test_proportion_rounds_half_up(amount: int, part: int, whole: int, expected: int) -> None:
    assert proportion(amount, part, whole) == expected
    exact = Decimal(amount) * part / whole
    assert abs(exact - expected) <= Decimal("0.5")
