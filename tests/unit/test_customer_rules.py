from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from commerce.customer_sync.model import CustomerRules, Rule, StoredCustomer, earned, missing_tags

ANN = StoredCustomer(
    customer_id=1,
    profile_at=None,
    deleted_at=None,
    email="Ann@Shop.example",
    accepts_marketing=True,
    orders_count=3,
    total_spent_cents=25_050,
    country_code="CA",
    tags=("VIP",),
    segments=(),
)


@pytest.mark.parametrize(
    ("asked", "fulfilled"),
    [
        ({}, True),
        ({"min_orders": 3}, True),
        ({"min_orders": 4}, False),
        ({"max_orders": 3}, True),
        ({"max_orders": 2}, False),
        ({"min_spent_cents": 25_050}, True),
        ({"min_spent_cents": 25_051}, False),
        ({"accepts_marketing": True}, True),
        ({"accepts_marketing": False}, False),
        ({"country": "ca"}, True),
        ({"country": "US"}, False),
        ({"email_domain": "shop.EXAMPLE"}, True),
        ({"email_domain": "example"}, False),
        ({"tag": "vip"}, True),
        ({"tag": "wholesale"}, False),
        ({"min_orders": 1, "country": "US"}, False),
    ],
    ids=str,
)
def test_rule_holds_where_all_that_it_asks_for_does(asked: dict[str, Any], fulfilled: bool) -> None:
    assert earned(ANN, [Rule("loyal", **asked)]) == (("loyal",) if fulfilled else ())


def test_customer_without_an_address_fulfils_no_rule_about_it() -> None:
    nobody = replace(ANN, email=None, country_code=None)
    assert earned(nobody, [Rule("a", email_domain="shop.example"), Rule("b", country="CA")]) == ()


def test_tag_that_a_customer_has_in_other_letters_is_not_missing() -> None:
    rules = [Rule("vip"), Rule("loyal"), Rule("loyal", min_orders=1)]
    assert missing_tags(ANN, rules) == ("loyal",)


def test_rules_are_read_from_the_tenants_settings() -> None:
    settings = {"customer_rules": {"tags": [{"name": "big", "min_spent_cents": 100}]}}
    assert CustomerRules.of(settings) == CustomerRules((Rule("big", min_spent_cents=100),), ())
    assert CustomerRules.of({}) == CustomerRules((), ())


@pytest.mark.parametrize("rule", [{}, {"name": "x", "min_order": 1}], ids=str)
def test_rule_that_asks_for_what_no_rule_can_is_refused(rule: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="setting customer_rules"):
        CustomerRules.of({"customer_rules": {"segments": [rule]}})
