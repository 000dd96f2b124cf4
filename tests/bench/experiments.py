"""A/B tests: how many events a second the door keeps, and how long a tenant's thousand tests take to optimize."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

import commerce.ab_testing.optimization_tasks as optimizing
from infra.local import valkey_server
from infra.local.postgres import DatabaseUrls
from ingress import api_keys
from ingress.experiments import Door
from ingress.experiments_api.edge import ValkeyEdge
from ingress.platform import Platform
from tests.bench.figures import Spread, digits
from tests.bench.kernel import quietly
from tests.fakes import FakeQueues
from tests.integration.harness import House, add_tenant, local_settings
from tradewind.tasks.dispatch import Dispatcher
from tradewind.tenancy.database import Connections

TESTS, VISITORS, BUYERS = 1000, 1000, 40
REQUESTS, THREADS = 600, 4
_TESTS = """
INSERT INTO ab_tests (test_id, name, status, mode, started_at, counted_through)
SELECT 't-' || n, 'T', 'running', 'thompson', now() - interval '3 days', now() FROM generate_series(1, %(tests)s) n
"""
_VARIANTS = """
INSERT INTO ab_variants (test_id, variant_id, name, place, is_control, weight_basis_points)
SELECT 't-' || n, v, v, 0, v = 'control', 5000 FROM generate_series(1, %(tests)s) n, unnest(ARRAY['control', 'bold']) v
"""
_METRICS = """
INSERT INTO ab_daily_metrics (test_id, variant_id, metrics_on, visitors)
SELECT v.test_id, v.variant_id, current_date - d, %(visitors)s / 3 FROM ab_variants v, generate_series(0, 2) d
"""
_CONVERSIONS = """
INSERT INTO ab_test_conversions (test_id, shopify_order_id, variant_id, visitor_id, source, ordered_cents,
                                 revenue_cents, converted_on, converted_at)
SELECT v.test_id, (CASE v.variant_id WHEN 'bold' THEN 1000000 ELSE 0 END) + n, v.variant_id, 'v-' || n, 'event',
       1000 + n, 1000 + n, current_date - 1, now() - interval '1 day'
FROM ab_variants v, generate_series(1, %(buyers)s) n
"""


def measure(urls: DatabaseUrls) -> dict[str, Any]:
    """Both in this process, on a real Postgres and Valkey: the emulator's own cost is not in it."""
    with valkey_server() as valkey:
        settings = local_settings(urls, TRADEWIND_REDIS_URL=valkey.url)
        house = House(urls, settings, add_tenant(urls, "acme"))
        _fill(house)
        told = {"optimization": _optimization(house), "intake": _intake(house)}
        house.close()
    return told


def _fill(house: House) -> None:
    numbers = {"tests": TESTS, "visitors": VISITORS, "buyers": BUYERS}
    with psycopg.connect(house.urls.app) as connection:
        connection.execute("SELECT set_config('app.tenant_id', %s, true)", (str(house.tenant_id),))
        for statement in (_TESTS, _VARIANTS, _METRICS, _CONVERSIONS):
            connection.execute(statement.encode(), numbers)


def _optimization(house: House) -> dict[str, Any]:
    seconds = []
    for _ in range(3):
        house.write("UPDATE ab_tests SET optimized_at = NULL")
        begun = time.perf_counter()
        quietly(lambda: house.run(optimizing.optimization, {}))
        seconds.append(time.perf_counter() - begun)
    spread = Spread.of(seconds)
    return {"tests": TESTS, "seconds": digits(spread.median), "ms_per_test": digits(spread.median)}


def _intake(house: House) -> list[dict[str, Any]]:
    dispatcher = Dispatcher(FakeQueues(), "bench")  # type: ignore[arg-type]
    connections = Connections(house.urls.platform)
    platform = Platform(house.settings, connections, dispatcher)
    about = {"tenant": "acme", "name": "bench", "scopes": ["ab:collect"]}
    key = ""

    def make() -> None:
        nonlocal key
        key = str(api_keys.create_api_key(platform, about)["token"])

    quietly(make)
    connections.close()
    return [_batches(house, key, size) for size in (1, 10, 50)]


class Unlimited(ValkeyEdge):
    """The door's own edge without a tenant's limit, which would be all that is measured."""

    def admit(self, tenant_id: object, events: int) -> timedelta:
        return timedelta()


def _batches(house: House, key: str, size: int) -> dict[str, Any]:
    connections = Connections(house.urls.app)
    door = Door(connections, Unlimited(house.settings, "events"))
    requests = [_request(key, size, number) for number in range(REQUESTS)]

    def send(request: dict[str, Any]) -> float:
        begun = time.perf_counter()
        answer = door.answer(request)
        if answer["statusCode"] != 202:
            raise RuntimeError(answer["body"])
        return (time.perf_counter() - begun) * 1000

    spent: Sequence[float] = []

    def act() -> None:
        nonlocal spent
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(send, requests[:20]))
            spent = list(pool.map(send, requests[20:]))

    begun = time.perf_counter()
    quietly(act)
    seconds = time.perf_counter() - begun
    connections.close()
    per_second = digits(REQUESTS * size / seconds)
    return {
        "events_a_request": size,
        "events_per_second": per_second,
        "request_ms": Spread.of(spent).document(),
    }


def _request(key: str, size: int, number: int) -> dict[str, Any]:
    now = datetime.now(UTC).isoformat()
    events = [
        {
            "event_id": f"{size}-{number}-{at}",
            "test_id": f"t-{1 + (number * size + at) % TESTS}",
            "visitor_id": f"{size}-{number}-{at % 5}",
            "type": ("page_view", "add_to_cart")[at % 2],
            "occurred_at": now,
        }
        for at in range(size)
    ]
    return {"routeKey": "POST /ab/events", "body": json.dumps({"events": events, "key": key})}
