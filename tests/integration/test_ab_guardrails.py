"""Guardrails and sample ratios: what is found, what is done about it, and that it is done once a day."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from infra.local import ValkeyServer
from infra.local.postgres import DatabaseUrls
from tests.integration.harness import House
from tests.integration.storefront import Storefront, an_event, decisions, metrics
from tests.integration.test_ab_optimization import fill
from tradewind.ratelimit import connect


@pytest.fixture
def page(database: DatabaseUrls, house: House, valkey: ValkeyServer) -> Iterator[Storefront]:
    store = connect(valkey.url)
    built = Storefront(database, house, store)
    yield built
    built.close()
    store.close()


def count(page: Storefront, variant: str, **counts: int) -> None:
    sets = ", ".join(f"{name} = {number}" for name, number in counts.items())
    page.house.write(
        f"UPDATE ab_daily_metrics SET {sets} WHERE variant_id = %s AND metrics_on = current_date - 1",
        variant,
    )


def status(page: Storefront) -> str:
    return str(page.house.query("SELECT status FROM ab_tests")[0]["status"])


@pytest.mark.parametrize(
    ("arms", "found", "paused", "stopped"),
    [
        # 1,000 visitors each; 100 buyers against 60 at one price: conversion -40 %, revenue -40 %.
        (
            {"control": (1000, [100, 110] * 50), "bold": (1000, [100, 110] * 30)},
            {"hero bold conversion_rate critical", "hero bold revenue_per_visitor critical"},
            [],
            ["hero"],
        ),
        # As many buyers, each at a third: revenue alone.
        (
            {"control": (1000, [300, 310] * 50), "bold": (1000, [100, 110] * 50)},
            {"hero bold revenue_per_visitor critical"},
            [],
            ["hero"],
        ),
        # -20 % of a few is what chance does.
        ({"control": (1000, [100, 110] * 5), "bold": (1000, [100, 110] * 4)}, set(), [], []),
        # Too few visitors to judge.
        ({"control": (99, [100] * 50), "bold": (99, [100])}, set(), [], []),
    ],
)
def test_harm_to_sales_is_found_where_chance_does_not_explain_it(
    page: Storefront, arms: dict[str, Any], found: set[str], paused: list[str], stopped: list[str]
) -> None:
    page.start()
    fill(page, "hero", **arms)
    done = page.run(decisions.evaluate_guardrails, {"sample_ratio": False})
    assert (set(done["findings"]), done["paused"], done["stopped"]) == (found, paused, stopped)
    rows = page.house.query("SELECT entity FROM outbox WHERE task = 'ab-handle-test-ended'")
    assert [row["entity"] for row in rows] == stopped


@pytest.mark.parametrize(
    ("control", "bold", "found", "after"),
    [
        ({"bounce_visitors": 300}, {"bounce_visitors": 400}, ["hero bold bounce_rate warning"], "running"),
        ({"cart_visitors": 300}, {"cart_visitors": 200}, ["hero bold add_to_cart_rate warning"], "running"),
        (
            {"checkout_visitors": 300},
            {"checkout_visitors": 200},
            ["hero bold checkout_rate critical"],
            "paused",
        ),
        ({"error_visitors": 0}, {"error_visitors": 90}, ["hero bold error_rate critical"], "running"),
        ({"error_visitors": 40}, {"error_visitors": 49}, [], "running"),
        # 5 points more than the control: not 5 % of the visitors, whoever's fault it is, nor 5 % more errors.
        ({"error_visitors": 60}, {"error_visitors": 109}, [], "running"),
        ({"error_visitors": 60}, {"error_visitors": 110}, ["hero bold error_rate critical"], "running"),
        ({"error_visitors": 110}, {"error_visitors": 60}, [], "running"),
        ({"bounce_visitors": 300}, {"bounce_visitors": 310}, [], "running"),
    ],
)
def test_each_limit_has_its_own_consequence(
    page: Storefront, control: dict[str, int], bold: dict[str, int], found: list[str], after: str
) -> None:
    page.start()
    fill(page, "hero", control=(1000, []), bold=(1000, []))
    count(page, "control", **control)
    count(page, "bold", **bold)
    done = page.run(decisions.evaluate_guardrails, {"sample_ratio": False})
    assert done["findings"] == found
    assert status(page) == after


def test_visitor_who_bounces_or_fails_again_and_again_counts_once(page: Storefront) -> None:
    page.start()
    events = [
        an_event(number, f"visitor-{number % 4}", kind)
        for number, kind in enumerate(["page_view"] * 4 + ["bounce"] * 8 + ["error"] * 5)
    ]
    page.post(*events[:9])
    page.post(*events[9:], *events[:3])
    counted = "sum(bounces)::int AS a, sum(bounce_visitors)::int AS b, sum(errors)::int AS c"
    counted += ", sum(error_visitors)::int AS d"
    for again in (metrics.hourly_metrics_aggregation, metrics.nightly_reconciliation):
        page.next_hour()
        page.run(again)
        rows = page.house.query(f"SELECT {counted} FROM ab_daily_metrics")
        assert rows == [{"a": 8, "b": 4, "c": 5, "d": 4}]
    found = page.house.query("SELECT found_by, metric FROM ab_metric_discrepancies")
    assert found == []


def test_who_lets_a_test_go_on_is_not_overruled_on_the_same_day(page: Storefront) -> None:
    page.start()
    fill(page, "hero", control=(1000, []), bold=(1000, []))
    count(page, "control", checkout_visitors=300)
    count(page, "bold", checkout_visitors=200)
    assert page.run(decisions.evaluate_guardrails, {"sample_ratio": False})["paused"] == ["hero"]
    page.house.write("UPDATE ab_tests SET status = 'running'")
    again = page.run(decisions.evaluate_guardrails, {"sample_ratio": False})
    assert (again["findings"], again["paused"], status(page)) == ([], [], "running")


@pytest.mark.parametrize(
    ("visitors", "mode", "found", "after"),
    [
        ((5000, 5000), "manual", [], "running"),
        # (150^2 / 5,000) * 2 = 9 with one degree of freedom: p = 0.0027.
        ((5150, 4850), "manual", ["hero control visitors warning"], "running"),
        # (250^2 / 5,000) * 2 = 25: p = 5.7e-7.
        ((5250, 4750), "manual", ["hero control visitors critical"], "paused"),
        ((5250, 4750), "thompson", [], "running"),
    ],
)
def test_visitors_who_do_not_come_by_the_weights(
    page: Storefront, visitors: tuple[int, int], mode: str, found: list[str], after: str
) -> None:
    page.start(mode=mode)
    fill(page, "hero", control=(visitors[0], []), bold=(visitors[1], []))
    done = page.run(decisions.evaluate_guardrails, {"sample_ratio": True})
    assert (done["findings"], status(page)) == (found, after)


def test_ratio_is_looked_at_in_the_days_first_hour(page: Storefront) -> None:
    page.start()
    fill(page, "hero", control=(5250, []), bold=(4750, []))
    page.clock.at = page.clock.at.replace(hour=13)
    assert page.run(decisions.evaluate_guardrails)["findings"] == []
    page.clock.at = page.clock.at.replace(hour=0)
    assert page.run(decisions.evaluate_guardrails)["findings"] == ["hero control visitors critical"]
