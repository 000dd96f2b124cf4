"""Optimization of running tests: who gets new weights, which, and why others do not."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

import commerce.ab_testing.optimization_tasks as optimizing
from infra.local import ValkeyServer
from infra.local.postgres import DatabaseUrls
from tests.integration.harness import House
from tests.integration.storefront import Storefront, decisions
from tradewind.ratelimit import connect


@pytest.fixture
def page(database: DatabaseUrls, house: House, valkey: ValkeyServer) -> Iterator[Storefront]:
    store = connect(valkey.url)
    built = Storefront(database, house, store)
    yield built
    built.close()
    store.close()


def fill(page: Storefront, test_id: str, **arms: tuple[int, list[int]]) -> None:
    """Visitors and what buyers spent (cents), by variant."""
    first_order = 1 + page.house.query("SELECT count(*)::int AS n FROM ab_test_conversions")[0]["n"]
    for variant, (visitors, spent) in arms.items():
        page.house.write(
            "INSERT INTO ab_daily_metrics (test_id, variant_id, metrics_on, visitors)"
            " VALUES (%s, %s, current_date - 1, %s)",
            test_id,
            variant,
            visitors,
        )
        for cents in spent:
            page.house.write(
                "INSERT INTO ab_test_conversions (test_id, shopify_order_id, variant_id, visitor_id, source,"
                " ordered_cents, revenue_cents, converted_on, converted_at)"
                " VALUES (%s, %s, %s, %s, 'event', %s, %s, current_date - 1, now() - interval '1 day')",
                test_id,
                first_order,
                variant,
                f"v-{first_order}",
                cents,
                cents,
            )
            first_order += 1


def weights(page: Storefront, test_id: str) -> dict[str, int]:
    rows = page.house.query(
        "SELECT variant_id, weight_basis_points AS weight FROM ab_variants WHERE test_id = %s", test_id
    )
    return {row["variant_id"]: row["weight"] for row in rows}


def test_weights_follow_what_is_known_and_sum_to_the_whole(page: Storefront) -> None:
    page.start("sampled", mode="thompson", metric="conversion_rate")
    page.start("greedy", mode="mab", metric="conversion_rate")
    page.start("by-hand", metric="conversion_rate")
    for test_id in ("sampled", "greedy", "by-hand"):
        fill(page, test_id, control=(1000, [100] * 10), bold=(1000, [100] * 40))
    done = page.run(optimizing.optimization, {"epsilon": 0.1})
    assert done["weights"]["greedy"] == {"control": 950, "bold": 9050}
    assert sum(done["weights"]["sampled"].values()) == 10_000
    assert 500 <= done["weights"]["sampled"]["control"] <= 501
    assert done["unchanged"] == {}
    assert weights(page, "by-hand") == {"control": 5000, "bold": 5000}
    assert weights(page, "greedy") == {"control": 950, "bold": 9050}
    kept = page.house.query(
        "SELECT algorithm, visitors::int, conversions::int, weight_before, weight_after FROM ab_measurements"
        " WHERE test_id = 'greedy' AND variant_id = 'bold'"
    )
    assert [tuple(row.values()) for row in kept] == [("epsilon_greedy", 1000, 40, 5000, 9050)]
    again = page.run(optimizing.optimization)
    assert set(again["unchanged"].values()) == {"its weights were changed a moment ago"}
    page.clock.at += timedelta(minutes=15)
    assert set(page.run(optimizing.optimization)["weights"]) == {"greedy", "sampled"}


def test_revenue_and_not_the_number_of_orders_is_what_a_test_of_revenue_follows(page: Storefront) -> None:
    page.start("hero", mode="thompson")
    fill(page, "hero", control=(1000, [100] * 40), bold=(1000, [1000] * 30))
    done = page.run(optimizing.optimization)
    assert done["weights"]["hero"]["bold"] > 9400


@pytest.mark.parametrize(
    ("arms", "why"),
    [
        ({"control": (1000, [100]), "bold": (99, [100])}, "a variant has fewer than 100 visitors"),
        ({"control": (1000, []), "bold": (1000, [])}, "the numbers say nothing yet"),
    ],
)
def test_weights_stay_before_the_numbers_can_say_something(
    page: Storefront, arms: dict[str, Any], why: str
) -> None:
    page.start("hero", mode="thompson")
    fill(page, "hero", **arms)
    assert page.run(optimizing.optimization) == {"weights": {}, "unchanged": {"hero": why}}
    assert weights(page, "hero") == {"control": 5000, "bold": 5000}


def test_weights_stay_in_the_first_day_and_while_a_test_is_paused(page: Storefront) -> None:
    page.start("hero", mode="thompson")
    fill(page, "hero", control=(1000, [100] * 9), bold=(1000, [100] * 30))
    page.house.write("UPDATE ab_tests SET status = 'paused'")
    assert page.run(optimizing.optimization)["unchanged"] == {"hero": "it does not run"}
    page.house.write("UPDATE ab_tests SET status = 'running', started_at = now() - interval '23 hours'")
    assert page.run(optimizing.optimization)["unchanged"] == {"hero": "it has run for less than a day"}


@pytest.mark.parametrize(
    ("algorithm", "bold"), [("mab", 9050), ("epsilon_greedy", 9050), ("thompson", 9499), (None, 9499)]
)
def test_one_test_is_optimized_by_the_algorithm_that_is_asked_for(
    page: Storefront, algorithm: str | None, bold: int
) -> None:
    page.start("hero", mode="thompson", metric="conversion_rate")
    fill(page, "hero", control=(1000, [100] * 10), bold=(1000, [100] * 40))
    done = page.run(optimizing.optimize_test, {"test_id": "hero", "algorithm": algorithm})
    assert done["weights"]["hero"]["bold"] == pytest.approx(bold, abs=1)


def test_visitor_who_buys_twice_converts_once(page: Storefront) -> None:
    page.start("hero", metric="conversion_rate", mode="mab")
    fill(page, "hero", control=(1000, [100] * 30), bold=(1000, [100] * 40))
    page.house.write("UPDATE ab_test_conversions SET visitor_id = 'one' WHERE variant_id = 'bold'")
    done = page.run(optimizing.optimization)
    assert done["weights"]["hero"] == {"control": 9050, "bold": 950}


def test_test_that_is_over_keeps_its_weights(page: Storefront) -> None:
    page.start("hero", mode="thompson")
    fill(page, "hero", control=(1000, [100] * 9), bold=(1000, [100] * 30))
    page.run(decisions.handle_test_ended, {"test_id": "hero"})
    assert page.run(optimizing.optimization) == {"weights": {}, "unchanged": {}}
    assert page.run(optimizing.optimize_test, {"test_id": "hero"})["unchanged"] == {"hero": "it does not run"}
