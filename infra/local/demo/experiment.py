"""One running A/B test: created and started by events, told of by pages, folded, optimized, and compared."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any
from uuid import UUID

import httpx
import psycopg
from psycopg.rows import dict_row

from infra.local.demo.cast import AdminError, invoke, invoke_admin
from infra.local.demo.expectations import Expectations
from infra.local.demo.orders import Story
from infra.local.demo.verify import Verdict
from infra.local.demo.visitors import (
    BOLD,
    CONTROL,
    COUNTED,
    FLOOR,
    TEST_ID,
    VARIANTS,
    WHOLE,
    Visits,
    expected_counts,
    expected_weights,
    plan_visits,
)
from infra.local.demo.watch import NotDrainedError
from infra.local.state import State
from tradewind.counters import EXPERIMENTS, ValkeyCounters, counter_store

SLUG, NAME = "alder", "Hero image"
STARTED = timedelta(days=2)
A_WHILE = timedelta(hours=2)
PATIENCE_S = 60.0
A_BATCH = 50
FOLD, OPTIMIZE, SYNC = "ab-hourly-metrics-aggregation", "ab-optimization", "ab-sync-redis-to-postgres"
_SUMS = f"""
SELECT variant_id, {", ".join(f"sum({name})::integer AS {name}" for name in COUNTED)},
       sum(purchases)::integer AS purchases, sum(revenue_cents)::bigint AS revenue_cents
FROM ab_daily_metrics WHERE test_id = %s GROUP BY 1
"""  # noqa: S608 - names of columns
_WEIGHTS = "SELECT variant_id, weight_basis_points FROM ab_variants WHERE test_id = %s"
_BEST = """
SELECT DISTINCT ON (variant_id) variant_id, mean, chance_to_be_best FROM ab_measurements
WHERE test_id = %s ORDER BY variant_id, measured_at DESC
"""
_STATUS = "SELECT status FROM ab_tests WHERE test_id = %s"
_KEPT = """
SELECT (SELECT count(*) FROM ab_events WHERE test_id = %(test)s)::integer AS events,
       (SELECT count(*) FROM ab_test_conversions WHERE test_id = %(test)s)::integer AS orders
"""
_EVENTS_AGO = "UPDATE ab_events SET received_at = received_at - %(a)s"
_VISITORS_AGO = """
UPDATE ab_test_assignments SET seen_at = seen_at - %(a)s, viewed_at = viewed_at - %(a)s,
    carted_at = carted_at - %(a)s, checkout_at = checkout_at - %(a)s, bounced_at = bounced_at - %(a)s,
    error_at = error_at - %(a)s
"""


def play_experiment(
    state: State,
    tenants: Mapping[str, UUID],
    stories: Sequence[Story],
    expected: Expectations,
    seed: int,
    verdict: Verdict,
) -> dict[str, Any]:
    """Run the test and compare; what it came to. Raises AdminError or NotDrainedError."""
    tenant_id = tenants[SLUG]
    newest = sorted((story for story in stories if story.tenant_slug == SLUG), key=lambda each: each.order_id)
    visits = plan_visits(seed, datetime.now(UTC), [expected.orders[story.order_id] for story in newest])
    _begin(state, tenant_id)
    kept = _Page(state).show(visits)
    _let_pass(state, tenant_id, A_WHILE)
    folded = _run(state, tenant_id, FOLD)
    _run(state, tenant_id, OPTIMIZE)
    synced = _run(state, tenant_id, SYNC)
    counts = expected_counts(visits)
    found = _read(state, tenant_id, _SUMS)
    for variant in VARIANTS:
        verdict.compare(f"A/B test, {variant}", counts[variant], found.get(variant))
    orders = sum(len(each) for each in visits.buyers.values())
    distinct = len(visits.events) - visits.repeated
    verdict.compare("A/B test, events", (distinct, visits.repeated, 0), kept)
    verdict.compare("A/B test, numbers that differ from the raw events", 0, synced["discrepancies"])
    _verify_weights(verdict, expected_weights(counts), _read(state, tenant_id, _WEIGHTS))
    with _as_tenant(state, tenant_id) as connection:
        row = connection.execute(_KEPT, {"test": TEST_ID}).fetchone()
    verdict.compare("A/B test, events and orders kept", {"events": distinct, "orders": orders}, row)
    return {
        "name": NAME,
        "events": distinct,
        "repeated": visits.repeated,
        "hours_folded": folded["hours"],
        "variants": {name: {**found[name], **_read(state, tenant_id, _WEIGHTS)[name],
                            **_read(state, tenant_id, _BEST).get(name, {})} for name in VARIANTS if name in found},
    }  # fmt: skip


def _verify_weights(
    verdict: Verdict, expected: Mapping[str, int], rows: Mapping[str, Mapping[str, int]]
) -> None:
    """A weight is rounded to a hundredth of a percent, of a probability that is computed in two ways."""
    found = {variant: row["weight_basis_points"] for variant, row in rows.items()}
    verdict.compare("A/B test, sum of weights", WHOLE, sum(found.values()))
    verdict.compare("A/B test, least weight", True, min(found.values()) >= FLOOR)
    near = all(abs(found.get(each, 0) - expected[each]) <= 1 for each in VARIANTS)
    verdict.compare("A/B test, weights", expected, expected if near else found)


def _begin(state: State, tenant_id: UUID) -> None:
    """Create and start the test as its owner does: by events, with a key that may publish."""
    token = _make_key(state, "events:publish")
    created = {
        "test_id": TEST_ID,
        "name": NAME,
        "mode": "thompson",
        "metric": "conversion_rate",
        "variants": [
            {"variant_id": CONTROL, "name": "As it is", "is_control": True},
            {"variant_id": BOLD, "name": "Bold"},
        ],
    }
    started = {"test_id": TEST_ID, "started_at": (datetime.now(UTC) - STARTED).isoformat()}
    for kind, body, status in (
        ("ab.testCreated", created, "draft"),
        ("ab.testStarted", started, "running"),
    ):
        headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": f"demo-{kind}"}
        url = f"{state.webhook_url}/events/{kind}"
        httpx.post(url, json=body, headers=headers, timeout=10).raise_for_status()
        _wait_for(state, tenant_id, status)


def _make_key(state: State, scope: str) -> str:
    about = {"action": "create-api-key", "tenant": SLUG, "name": "demo", "scopes": [scope]}
    return str(invoke_admin(state, about)["token"])


def _wait_for(state: State, tenant_id: UUID, status: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        with _as_tenant(state, tenant_id) as connection:
            row = connection.execute(_STATUS, (TEST_ID,)).fetchone()
        if row is not None and row["status"] == status:
            return
        if time.monotonic() > deadline:
            raise NotDrainedError(f"the A/B test is {row and row['status']}, not {status}")
        time.sleep(0.2)


class _Page:
    """A storefront's page: it has a key that everybody may read, and sends again what was not kept."""

    def __init__(self, state: State) -> None:
        self._url = state.webhook_url
        self._key = _make_key(state, "ab:collect")
        self._http = httpx.Client(timeout=10)

    def show(self, visits: Visits) -> tuple[int, int, int]:
        """Ask for variants, tell events; how many were kept, known before, left out."""
        for visitor in visits.asking:
            query = {"visitor_id": visitor, "key": self._key}
            [told] = self._send("GET", "assignments", params=query)["assignments"]
            if told["variant_id"] != visits.variants[visitor]:
                raise AdminError(f"{visitor} sees {told}, not {visits.variants[visitor]}")
        kept = [
            self._send("POST", "events", json={"key": self._key, "events": visits.events[at : at + A_BATCH]})
            for at in range(0, len(visits.events), A_BATCH)
        ]
        self._http.close()
        accepted, again, left_out = (sum(each[name] for each in kept) for name in _ANSWERED)
        return accepted, again, left_out

    def _send(self, method: str, path: str, **about: Any) -> dict[str, Any]:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            answer = self._http.request(method, f"{self._url}/ab/{path}", **about)
            if answer.status_code < HTTPStatus.TOO_MANY_REQUESTS or time.monotonic() > deadline:
                answer.raise_for_status()
                content: dict[str, Any] = answer.json()
                return content
            time.sleep(0.5)


_ANSWERED = ("accepted", "duplicates", "left_out")


def _let_pass(state: State, tenant_id: UUID, time_that_passes: timedelta) -> None:
    """Move what was kept and counted back by some hours, as if they had passed: only closed hours are folded."""
    with _as_tenant(state, tenant_id) as connection:
        for statement in (_EVENTS_AGO, _VISITORS_AGO):
            connection.execute(statement.encode(), {"a": time_that_passes})
    counters = ValkeyCounters(counter_store(state.redis_url), tenant_id, EXPERIMENTS)
    moved = []
    while (snapshot := counters.take(datetime.now(UTC) + A_WHILE)) is not None:
        moved.append(snapshot)
        counters.drop(snapshot)
    for snapshot in moved:
        counters.add(snapshot.hour - time_that_passes, snapshot.amounts)


def _run(state: State, tenant_id: UUID, task: str) -> dict[str, Any]:
    return invoke(state, task, {"tenant": str(tenant_id), "payload": {}})


def _read(state: State, tenant_id: UUID, statement: str) -> dict[str, dict[str, Any]]:
    """Rows by their variant."""
    with _as_tenant(state, tenant_id) as connection:
        rows = connection.execute(statement.encode(), (TEST_ID,)).fetchall()
    return {row.pop("variant_id"): row for row in rows}


def _as_tenant(state: State, tenant_id: UUID) -> psycopg.Connection[dict[str, Any]]:
    connection = psycopg.connect(state.app_database_url, row_factory=dict_row)
    connection.execute("SELECT set_config('app.tenant_id', %s, true)", (str(tenant_id),))
    return connection
