"""The night's aggregation of many tenants: ``analytics-aggregate-daily-metrics`` as its worker runs it, two at a time.

Each tenant has its orders on the last completed day, each with a line, a touch and its credits; the task counts that
day and the two before it, and closes their profit.
"""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg

from infra.local.postgres import DatabaseUrls
from tests.bench.figures import Spread, digits
from tests.bench.kernel import quietly
from tests.integration.harness import House, add_tenant, local_settings
from tradewind.tasks.registry import REGISTRY
from tradewind.tasks.worker import Done

TENANTS, ORDERS, AT_ONCE = int(os.environ.get("BENCH_TENANTS", "1000")), 1000, 2
TASK = "analytics-aggregate-daily-metrics"
SQL = Path(__file__).with_name("metrics.sql").read_text(encoding="utf-8").split("-- next --")


def measure(urls: DatabaseUrls) -> dict[str, Any]:
    """Raises AssertionError where a tenant's day does not have all of its orders."""
    tenants = [add_tenant(urls, f"shop-{number}") for number in range(TENANTS)]
    house = House(urls, local_settings(urls), tenants[0])
    _fill(urls, tenants)
    spent: list[float] = []

    def close_day(tenant_id: UUID) -> None:
        task = REGISTRY.get(TASK)
        message = replace(house.message(task, {"days": 3}), tenant_id=tenant_id)
        begun = time.perf_counter()
        end = house.worker(task).work(message, datetime.now(UTC) + timedelta(minutes=1))
        assert isinstance(end, Done), end
        spent.append((time.perf_counter() - begun) * 1000)

    def act() -> None:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(close_day, tenants))

    begun = time.perf_counter()
    quietly(act)
    seconds = time.perf_counter() - begun
    rows = house.query(
        "SELECT count(*) AS days, sum(orders)::integer AS orders, sum(net_sales_cents)::bigint AS cents"
        " FROM analytics_metrics WHERE period = 'day' AND orders > 0"
    )
    house.close()
    assert (rows[0]["days"], rows[0]["orders"]) == (TENANTS, TENANTS * ORDERS)
    assert rows[0]["cents"] == TENANTS * sum(1000 + number for number in range(1, ORDERS + 1))
    return {
        "tenants": TENANTS,
        "orders_each": ORDERS,
        "at_once": AT_ONCE,
        "seconds": digits(seconds),
        "tenants_per_second": digits(TENANTS / seconds),
        "run_ms": Spread.of(spent).document(),
    }


def _fill(urls: DatabaseUrls, tenants: list[UUID]) -> None:
    yesterday = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)
    numbers = {"orders": ORDERS, "since": yesterday}
    with psycopg.connect(urls.app) as connection:
        for tenant_id in tenants:
            connection.execute("SELECT set_config('app.tenant_id', %s, true)", (str(tenant_id),))
            for statement in SQL:
                connection.execute(statement.encode(), numbers)
            connection.commit()
    with psycopg.connect(urls.owner, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
