"""The clock that starts and ends tests, winners, and a test's last count."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from infra.local import ValkeyServer
from infra.local.postgres import DatabaseUrls
from tests.integration.harness import House
from tests.integration.storefront import HALVES, Storefront, an_event, decisions, lifecycle, metrics
from tests.integration.test_ab_optimization import fill
from tradewind.ratelimit import connect


@pytest.fixture
def page(database: DatabaseUrls, house: House, valkey: ValkeyServer) -> Iterator[Storefront]:
    store = connect(valkey.url)
    store.flushall(target_nodes="all")
    built = Storefront(database, house, store)
    yield built
    built.close()
    store.close()


def create(page: Storefront, test_id: str, **about: Any) -> None:
    page.run(lifecycle.handle_test_created, {"test_id": test_id, "name": "T", "variants": HALVES, **about})


def local(hours: float, zone: str = "America/New_York") -> str:
    at = datetime.now(ZoneInfo(zone)) + timedelta(hours=hours)
    return at.replace(tzinfo=None).isoformat(timespec="seconds")


def begun(page: Storefront) -> list[tuple[str, str]]:
    """The follow-ups that runs have written: task and test."""
    rows = page.house.query("SELECT task, entity FROM outbox ORDER BY entity")
    return [(row["task"], row["entity"]) for row in rows]


def test_tests_start_and_end_by_the_clock_of_their_zone(page: Storefront) -> None:
    create(page, "a-due", starts_at=local(-0.2))
    create(page, "b-later", starts_at=local(0.2))
    create(page, "c-by-hand", starts_at=local(-0.2), auto_start=False)
    create(page, "d-tokyo", starts_at=local(-0.2, "Asia/Tokyo"), zone="Asia/Tokyo")
    create(page, "e-never-began", starts_at=local(-3), ends_at=local(-1))
    page.start("f-over", ends_at=local(-0.1))
    page.start("g-by-hand", ends_at=local(-0.1), auto_end=False)
    done = page.run(decisions.schedule_tests, {"limit": 50})
    assert (done["started"], done["ended"]) == (["a-due", "d-tokyo"], ["e-never-began", "f-over"])
    assert begun(page) == [
        ("ab-handle-test-started", "a-due"),
        ("ab-handle-test-started", "d-tokyo"),
        ("ab-handle-test-ended", "e-never-began"),
        ("ab-handle-test-ended", "f-over"),
    ]


def test_test_starts_at_its_own_instant_and_an_earlier_end_is_its_end(page: Storefront) -> None:
    create(page, "hero", starts_at="2026-11-02T09:00:00", ends_at="2026-12-24T18:00:00")
    [row] = page.house.query("SELECT starts_at, ends_at FROM ab_tests")
    assert (row["starts_at"], row["ends_at"]) == (
        datetime(2026, 11, 2, 14, tzinfo=UTC),
        datetime(2026, 12, 24, 23, tzinfo=UTC),
    )


def test_a_run_takes_fifty_tests_and_the_next_one_the_others(page: Storefront) -> None:
    for number in range(4):
        create(page, f"t-{number}", starts_at=local(-1 - number))
    assert page.run(decisions.schedule_tests, {"limit": 3})["started"] == ["t-3", "t-2", "t-1"]


def test_winner_is_flagged_by_probability_and_loss_and_keeps_running(page: Storefront) -> None:
    page.start("hero", metric="conversion_rate")
    fill(page, "hero", control=(1000, [100] * 50), bold=(1000, [100] * 90))
    done = page.run(decisions.schedule_tests)
    assert done["winners"] == {"hero": "bold"}
    [row] = page.house.query(
        "SELECT status, winner_variant_id, winner_flagged_at IS NOT NULL AS f FROM ab_tests"
    )
    assert row == {"status": "running", "winner_variant_id": "bold", "f": True}
    assert page.house.query("SELECT count(*)::int AS n FROM ab_measurements") == [{"n": 2}]
    assert page.run(decisions.schedule_tests)["looked_at"] == []


@pytest.mark.parametrize(
    "arms",
    [
        {"control": (99, [100] * 20), "bold": (1000, [100] * 900)},
        {"control": (1000, [100] * 9), "bold": (1000, [100] * 90)},
        # Thirty of a hundred more, which a raw ratio of 1.2 would have called a win, and chance can do.
        {"control": (200, [100] * 10), "bold": (200, [100] * 13)},
    ],
)
def test_nobody_wins_before_the_numbers_are_sure(page: Storefront, arms: dict[str, Any]) -> None:
    page.start("hero", metric="conversion_rate")
    fill(page, "hero", **arms)
    assert page.run(decisions.schedule_tests)["winners"] == {}


def test_control_may_win(page: Storefront) -> None:
    page.start("hero", metric="conversion_rate")
    fill(page, "hero", control=(1000, [100] * 90), bold=(1000, [100] * 50))
    assert page.run(decisions.schedule_tests)["winners"] == {"hero": "control"}


def test_end_counts_what_came_in_the_present_hour_and_no_fold_adds_it_again(page: Storefront) -> None:
    page.start()
    page.post(an_event(1, "v-1", variant_id="control"), an_event(2, "v-2", variant_id="bold"))
    page.clock.at = datetime.now(UTC) + timedelta(seconds=1)
    ended = page.run(decisions.handle_test_ended, {"test_id": "hero"})
    assert (ended["status"], ended["changed"], ended["winner_variant_id"]) == ("completed", True, None)
    counted = [("hero", "bold", 1, 1, 0, 0, 0), ("hero", "control", 1, 1, 0, 0, 0)]
    assert page.metrics() == counted
    page.next_hour()
    page.run(metrics.hourly_metrics_aggregation)
    assert page.metrics() == counted
    assert page.run(decisions.handle_test_ended, {"test_id": "hero"})["changed"] is False


@pytest.mark.parametrize(("named", "winner"), [("control", "control"), (None, "bold")])
def test_winner_of_a_test_that_ends_is_a_persons_or_the_numbers(
    page: Storefront, named: str | None, winner: str
) -> None:
    page.start("hero", metric="conversion_rate")
    fill(page, "hero", control=(1000, [100] * 50), bold=(1000, [100] * 90))
    page.house.write(
        "INSERT INTO ab_test_assignments (test_id, visitor_id, variant_id, seen_on, seen_at)"
        " SELECT 'hero', v || n, v, current_date - 1, now() - interval '1 day'"
        " FROM generate_series(1, 1000) n, unnest(ARRAY['control', 'bold']) v"
    )
    ended = page.run(decisions.handle_test_ended, {"test_id": "hero", "winner_variant_id": named})
    assert ended["winner_variant_id"] == winner


def test_test_that_is_over_does_not_start_again_and_keeps_its_definition(page: Storefront) -> None:
    page.start()
    page.run(decisions.handle_test_ended, {"test_id": "hero"})
    assert page.run(lifecycle.handle_test_started, {"test_id": "hero"}) == {
        "test_id": "hero",
        "status": "completed",
        "changed": False,
        "told": "over",
    }
    create(page, "hero", mode="thompson")
    assert page.house.query("SELECT mode FROM ab_tests") == [{"mode": "manual"}]


def test_draft_may_change_and_a_paused_test_goes_on(page: Storefront) -> None:
    create(page, "hero")
    three = [*HALVES, {"variant_id": "loud", "name": "Loud"}]
    create(page, "hero", variants=three)
    rows = page.house.query("SELECT variant_id, weight_basis_points AS w FROM ab_variants ORDER BY place")
    assert [tuple(row.values()) for row in rows] == [("control", 3334), ("bold", 3333), ("loud", 3333)]
    create(page, "hero")
    assert len(page.house.query("SELECT 1 FROM ab_variants")) == 2
    page.run(lifecycle.handle_test_started, {"test_id": "hero"})
    page.house.write("UPDATE ab_tests SET status = 'paused', started_at = '2026-11-01T00:00Z'")
    assert page.run(lifecycle.handle_test_started, {"test_id": "hero"})["status"] == "running"
    assert page.house.query("SELECT started_at FROM ab_tests") == [
        {"started_at": datetime(2026, 11, 1, tzinfo=UTC)}
    ]


def test_end_of_a_test_that_nobody_saw_reports_nothing(page: Storefront) -> None:
    page.start("hero")
    report = page.run(decisions.handle_test_ended, {"test_id": "hero"})["report"]
    assert (report["variants"], report["sample_ratio_p_value"]) == ([], 1.0)
