"""A/B tests' events from the page to the day's metrics: kept once, counted once, whatever dies when."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from commerce.ab_testing.counting import fold
from commerce.ab_testing.repository import Metrics
from infra.local import ValkeyServer
from infra.local.postgres import DatabaseUrls
from tests.integration.harness import House
from tests.integration.storefront import Storefront, an_event, metrics
from tradewind.counters import ValkeyCounters
from tradewind.ports import CounterSnapshot
from tradewind.ratelimit import connect
from tradewind.tenancy.database import Connections, Session, TenantDb

COUNTERS = {
    "hero:control:visitors": 1,
    "hero:control:views": 2,
    "hero:control:viewers": 1,
    "hero:bold:visitors": 1,
    "hero:bold:views": 1,
    "hero:bold:viewers": 1,
    "hero:bold:carts": 1,
    "hero:bold:cart_visitors": 1,
}


@pytest.fixture
def page(database: DatabaseUrls, house: House, valkey: ValkeyServer) -> Iterator[Storefront]:
    store = connect(valkey.url)
    store.flushall(target_nodes="all")
    built = Storefront(database, house, store)
    built.start()
    yield built
    built.close()
    store.close()


def some_events() -> list[dict[str, Any]]:
    """Visitor 1 (control) looks twice; visitor 2 (bold) looks, puts something into the cart and buys it."""
    return [
        an_event(1, "v-1", variant_id="control"),
        an_event(2, "v-1", variant_id="control"),
        an_event(3, "v-2", variant_id="bold"),
        an_event(4, "v-2", "add_to_cart", variant_id="bold"),
        an_event(5, "v-2", "purchase", variant_id="bold", order_id=77, value_cents=2500),
    ]


TRUTH = [("hero", "bold", 1, 1, 1, 1, 2500), ("hero", "control", 1, 2, 0, 0, 0)]


def test_events_are_kept_counted_and_folded(page: Storefront) -> None:
    reply = page.post(*some_events())
    assert (reply.status, reply.body) == (202, {"accepted": 5, "duplicates": 0, "left_out": 0})
    assert page.house.query("SELECT count(*)::int AS n FROM ab_events") == [{"n": 5}]
    [counted] = page.edge.counted
    assert {name.partition(":")[2]: amount for name, amount in counted.items()} == COUNTERS
    assert page.run(metrics.hourly_metrics_aggregation)["hours"] == 0
    page.next_hour()
    done = page.run(metrics.hourly_metrics_aggregation)
    assert (done["hours"], done["counts"], done["again"]) == (1, 8, 0)
    assert page.metrics() == TRUTH
    assert page.run(metrics.hourly_metrics_aggregation)["hours"] == 0
    assert page.metrics() == TRUTH


def test_event_that_is_sent_again_is_kept_and_counted_once(page: Storefront) -> None:
    page.post(*some_events())
    assert page.post(*some_events()).body == {"accepted": 0, "duplicates": 5, "left_out": 0}
    twice = an_event(9, "v-1")
    assert page.post(twice, twice).body == {"accepted": 1, "duplicates": 1, "left_out": 0}
    page.next_hour()
    page.run(metrics.hourly_metrics_aggregation)
    assert page.metrics() == [TRUTH[0], ("hero", "control", 1, 3, 0, 0, 0)]


def test_visitor_keeps_the_first_variant_whatever_a_page_says(page: Storefront) -> None:
    page.post(an_event(1, "v-1", variant_id="control"))
    page.post(an_event(2, "v-1", variant_id="bold"))
    assert page.house.query("SELECT DISTINCT variant_id FROM ab_events") == [{"variant_id": "control"}]


def test_lost_counters_are_noted_by_the_sync_and_counted_anew_by_the_night(page: Storefront) -> None:
    page.post(*some_events()[:3])
    page.store.flushall(target_nodes="all")
    page.post(*some_events()[3:])
    page.next_hour()
    synced = page.run(metrics.sync_redis_to_postgres)
    assert (synced["discrepancies"], synced["tests"]) == (6, ["hero"])
    assert page.metrics() == [("hero", "bold", 0, 0, 1, 1, 2500)]
    page.clock.at += timedelta(days=1)
    rebuilt = page.run(metrics.nightly_reconciliation)
    assert rebuilt["corrected"] == 6
    assert page.metrics() == TRUTH
    noted = page.house.query(
        "SELECT found_by, corrected, variant_id, metric, stored::int, actual::int FROM ab_metric_discrepancies"
        " WHERE metric = 'views' ORDER BY found_by, variant_id"
    )
    assert [tuple(row.values()) for row in noted] == [
        ("reconciliation", True, "bold", "views", 0, 1),
        ("reconciliation", True, "control", "views", 0, 2),
        ("sync", False, "bold", "views", 0, 1),
        ("sync", False, "control", "views", 0, 2),
    ]


def test_what_a_rebuild_has_counted_no_later_fold_adds_again(page: Storefront) -> None:
    page.post(*some_events())
    page.next_hour()
    kept = page.counters.take(page.clock.at)
    assert kept is not None
    page.store.flushall(target_nodes="all")
    page.run(metrics.aggregate_test_metrics, {"test_id": "hero", "period": "full"})
    assert page.metrics() == TRUTH
    page.counters.add(kept.hour, kept.amounts)
    assert page.run(metrics.hourly_metrics_aggregation)["hours"] == 1
    assert page.metrics() == TRUTH


def test_event_without_counters_is_kept_all_the_same(page: Storefront) -> None:
    page.edge.fails = True
    assert page.post(*some_events()).status == 202
    page.next_hour()
    page.run(metrics.aggregate_test_metrics, {"test_id": "hero", "period": "hourly"})
    page.run(metrics.aggregate_test_metrics, {"test_id": "hero", "period": "daily"})
    assert page.metrics() == TRUTH


class DiedError(Exception):
    """A process is gone here."""


@dataclass
class Mortal:
    """Counters whose user dies at a moment: ``taken`` a snapshot, or about to drop it, or just after."""

    counters: ValkeyCounters
    moment: str

    def add(self, hour: datetime, amounts: Mapping[str, int]) -> None:
        self.counters.add(hour, amounts)

    def take(self, before: datetime) -> CounterSnapshot | None:
        snapshot = self.counters.take(before)
        if self.moment == "taken" and snapshot is not None:
            raise DiedError
        return snapshot

    def drop(self, snapshot: CounterSnapshot) -> None:
        if self.moment == "added":
            raise DiedError
        self.counters.drop(snapshot)
        if self.moment == "dropped":
            raise DiedError


def fold_and_die(page: Storefront, db: TenantDb, moment: str) -> None:
    if moment == "begun":
        with db.begin() as tx:
            snapshot = page.counters.take(page.clock.at)
            assert snapshot is not None
            Metrics(tx).begin_fold(snapshot.id, snapshot.hour, 1)
            raise DiedError
    fold(db, Mortal(page.counters, moment), page.clock.at)


@pytest.mark.parametrize("moment", ["taken", "begun", "added", "dropped"])
def test_fold_that_dies_is_done_again_and_nothing_is_lost_or_counted_twice(
    page: Storefront, moment: str
) -> None:
    """Between snapshot and transaction, inside the transaction, between transaction and drop, after the drop."""
    page.post(*some_events())
    page.next_hour()
    connections = Connections(page.urls.app)
    for _ in range(3):
        session = Session(connections)
        db = TenantDb(session, page.house.tenant_id)
        with pytest.raises(DiedError):
            fold_and_die(page, db, moment)
        session.settle()
        session.close()
        page.post(an_event(50, "v-1"))
        if moment == "dropped":
            break
    connections.close()
    page.run(metrics.hourly_metrics_aggregation)
    page.run(metrics.hourly_metrics_aggregation)
    assert page.metrics() == [TRUTH[0], ("hero", "control", 1, 3, 0, 0, 0)]
    assert page.counters.take(page.clock.at) is None


def test_two_folds_at_once_count_once(page: Storefront) -> None:
    page.post(*some_events())
    page.next_hour()

    def run(_: int) -> None:
        session = Session(connections)
        fold(TenantDb(session, page.house.tenant_id), page.counters, page.clock.at)
        session.settle()
        session.close()

    connections = Connections(page.urls.app)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(run, range(4)))
    connections.close()
    assert page.metrics() == TRUTH


@pytest.mark.parametrize("lost", range(6))
def test_whatever_valkey_loses_the_night_finds(page: Storefront, lost: int) -> None:
    """Valkey is emptied before the first event, after the last, or anywhere between, and folds run at any time."""
    for number, event in enumerate(some_events()):
        if number == lost:
            page.store.flushall(target_nodes="all")
        page.post(event)
    if lost == 5:
        page.store.flushall(target_nodes="all")
    page.next_hour()
    page.run(metrics.hourly_metrics_aggregation)
    page.clock.at += timedelta(days=1)
    page.run(metrics.nightly_reconciliation)
    assert page.metrics() == TRUTH
    page.run(metrics.hourly_metrics_aggregation)
    assert page.run(metrics.nightly_reconciliation)["corrected"] == 0
    assert page.metrics() == TRUTH


def test_event_of_yesterday_is_counted_yesterday(page: Storefront) -> None:
    yesterday = datetime.now(UTC) - timedelta(hours=26)
    page.post(an_event(1, "v-1", variant_id="control", occurred_at=yesterday.isoformat()))
    page.next_hour()
    page.run(metrics.hourly_metrics_aggregation)
    days = page.house.query("SELECT metrics_on FROM ab_daily_metrics WHERE views = 1 AND visitors = 1")
    assert days == [{"metrics_on": yesterday.date()}]


def test_night_forgets_measurements_that_no_chart_goes_back_to(page: Storefront) -> None:
    page.house.write(
        "INSERT INTO ab_measurements (test_id, variant_id, measured_at, metric, visitors, conversions, mean, low, high,"
        " chance_to_be_best, expected_loss, weight_before, weight_after)"
        " SELECT 'hero', 'bold', now() - d * interval '1 day', 'm', 1, 1, 1, 1, 1, 1, 0, 1, 1"
        " FROM unnest(ARRAY[1, 89, 91]) d"
    )
    page.run(metrics.nightly_reconciliation)
    assert page.house.query("SELECT count(*)::int AS n FROM ab_measurements") == [{"n": 2}]
