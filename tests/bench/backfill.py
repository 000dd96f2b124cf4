"""A backfill through its lane, page by page: orders a second, with a creator's commission and an attribution each."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from commerce.order_sync.tasks import sync_order_batch
from tests.bench.figures import digits
from tests.bench.kernel import quietly
from tests.fakes import an_order
from tests.integration.harness import House
from tradewind.tasks.message import Lane, Source, message_from
from tradewind.tasks.worker import Done

ORDERS = 20_000


def measure(house: House, orders: int = ORDERS) -> dict[str, Any]:
    """Raises AssertionError where an order is missing afterwards or anybody would be sent something."""
    newest = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
    for number in range(orders):
        placed = newest - timedelta(minutes=orders - number)
        house.shopify.put(
            an_order(
                10_000 + number,
                placed_at=placed,
                updated_at=placed,
                attributes={"visitor_id": f"visitor-{number % 5000}"},
                discount_codes=(f"BO{number % 50}",),
            )
        )
    for number in range(50):
        house.write(f"INSERT INTO creators (name, code) VALUES ('Bo', 'BO{number}')")
    begun = time.perf_counter()
    pages = 0

    def work() -> None:
        nonlocal pages
        end = house.run(sync_order_batch, {"limit": 100}, lane=Lane.BACKFILL, source=Source.BACKFILL)
        assert isinstance(end, Done), end
        while pages < len(house.queues.sent):
            message = message_from(json.loads(house.queues.sent[pages].body))
            end = house.worker(sync_order_batch).work(message, house.deadline())
            assert isinstance(end, Done), end
            pages += 1

    quietly(work)
    took = time.perf_counter() - begun
    counts = {
        table: house.query(f"SELECT count(*)::int AS n FROM {table}")[0]["n"]
        for table in ("orders", "attribution_conversions", "commissions", "review_email_queue")
    }
    assert counts == {
        "orders": orders,
        "attribution_conversions": orders,
        "commissions": orders,
        "review_email_queue": 0,
    }, counts
    assert {entry.queue.removesuffix(".fifo")[-9:] for entry in house.queues.sent} == {"-backfill"}
    return {"orders": orders, "pages": pages + 1, "orders_per_second": digits(orders / took)}
