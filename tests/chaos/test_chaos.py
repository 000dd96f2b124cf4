"""Whatever is doubled, shuffled, killed, restarted or lost on the way: the end is that of an undisturbed run."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from tests.chaos.platforms import PLACES, wrong
from tests.chaos.run import Ground, Storm, run_disturbed, run_undisturbed, told
from tests.chaos.scenario import Scenario
from tests.chaos.tables import KERNEL, VOLATILE, Tables, briefly, compared_tables, differences
from tradewind.crash import Point
from tradewind.integrations.shopify import queries

FILLED = frozenset(
    {
        "ab_daily_metrics",
        "ab_events",
        "ab_test_assignments",
        "ab_test_conversions",
        "ab_tests",
        "ab_variants",
        "attribution_conversions",
        "attribution_credits",
        "attribution_touchpoints",
        "commissions",
        "creators",
        "customers",
        "fulfillments",
        "order_line_items",
        "orders",
        "refund_line_items",
        "refunds",
        "review_email_queue",
        "webhook_registrations",
    }
)
"""What the scenario is about. Any other table is compared as well, empty or not."""
TOLD_APART = frozenset({"CreateWebhookSubscriptions", "StartBulkOperation"})
"""Operations with an effect of which a test says how it is told apart: the one below, and that of full loads."""


@pytest.fixture(scope="module")
def calm(ground: Ground, scenario: Scenario) -> Tables:
    return run_undisturbed(ground, scenario)


@pytest.fixture(scope="module")
def storm(ground: Ground, scenario: Scenario, calm: Tables) -> Storm:
    try:
        ended = run_disturbed(ground, scenario)
    except BaseException:
        print(briefly(ground.orders.deaths()))
        raise
    print(f"\n{len(scenario.sent)} webhooks, {ended.deliveries} deliveries\n{told(ended, ground.orders)}")
    return ended


def test_the_undisturbed_run_fills_every_kind_of_table(ground: Ground, calm: Tables) -> None:
    filled = {table for table, tenants in calm.rows.items() if any(tenants)}
    assert filled >= FILLED
    tables = {*compared_tables(ground.cloud), *KERNEL, "*"}
    assert {table for table, _ in VOLATILE} <= tables


def test_no_webhook_is_lost_and_every_table_ends_alike(calm: Tables, storm: Storm) -> None:
    assert storm.tables is not None
    found = differences(calm, storm.tables)
    assert not found, briefly(found)


def test_dead_letters_are_exactly_the_poisoned(storm: Storm) -> None:
    assert storm.letters == storm.expected_letters, briefly(storm.surprises)


def test_what_was_mended_is_replayed_and_the_rest_stays(storm: Storm) -> None:
    assert storm.left_letters == storm.lasting_letters


def test_a_process_died_at_every_crash_point(storm: Storm) -> None:
    assert {point for point in Point if not storm.deaths[point]} == set()


def test_no_effect_is_doubled_at_a_provider(storm: Storm) -> None:
    for shop, subscriptions in storm.subscriptions.items():
        keys = Counter((each["topic"], each["uri"]) for each in subscriptions)
        assert max(keys.values()) == 1, shop
    assert {call["operation"] for call in storm.calls} & mutations() == TOLD_APART


def test_undisturbed_the_platforms_count_what_they_were_told_once(calm: Tables) -> None:
    for books in calm.books:
        assert books.counted == books.told("acknowledged")
        assert not books.told("claimed", "failed", "sent")
        assert not any([*books.duplicates.values(), *books.repeats.values()])
    found = {(place, event) for books in calm.books for place, event, _, _ in books.counted}
    assert found == {*((place, "purchase") for place in PLACES), ("ga4", "refund"), ("meta", "refund")}


def test_purchases_and_refunds_arrive_once_at_each_platform_as_the_ledger_says(
    calm: Tables, storm: Storm
) -> None:
    assert storm.tables is not None
    found = wrong(calm.books, storm.tables.books)
    assert not found, briefly(found)


def mutations() -> set[str]:
    """The operations of Shopify's adapter that change something there."""
    modules = Path(queries.__file__).parent.glob("*queries.py")
    return {found for module in modules for found in re.findall(r"mutation (\w+)", module.read_text())}
