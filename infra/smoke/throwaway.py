"""In the local cloud, for a tenant that is made for it: every door, from the signed webhook to the state machine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from infra.bundles import FUNCTIONS
from infra.smoke.seen import Seen, SmokeError, seen
from infra.smoke.shop import Order, Shop, new_order, refund_of_the_towel
from infra.smoke.site import Site, wait_for
from ingress.slots import local_name, slot_of
from tradewind.tasks.registry import discover

RECONCILIATION = "commerce-order-reconciliation-scheduled"
INGEST = "analytics-attribution-touchpoint-ingest"

_ORDER = "SELECT * FROM orders WHERE tenant_id = %s AND shopify_order_id = %s"
_CREDITED = """
SELECT model, sum(revenue_cents)::bigint AS cents, count(*) AS touches FROM attribution_results
WHERE tenant_id = %s AND shopify_order_id = %s AND model = 'linear' AND window_days = 30
GROUP BY model
"""
_REVIEW = "SELECT state FROM review_email_queue WHERE tenant_id = %s AND shopify_order_id = %s"
_TOUCH = "SELECT channel FROM attribution_touchpoints WHERE tenant_id = %s AND visitor_id = %s"


@dataclass(slots=True)
class ThrowAway:
    """A new shop and what befalls two of its orders."""

    site: Site
    shop: Shop

    def see_through(self) -> Iterator[Seen]:
        placed = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
        order = new_order(placed)
        yield self._created(order)
        yield self._updated(order, placed + timedelta(minutes=5))
        yield self._refunded(order, placed + timedelta(minutes=10))
        yield self._published(order, placed)
        yield self._started(order)
        yield self._executed(order)
        yield from self._reconciled()

    def _created(self, order: Order) -> Seen:
        self.shop.put(order)
        run = self._webhook("commerce-order-created", "orders/create", order)
        stored = self._look(_ORDER, order["id"])
        credited, review = self._look(_CREDITED, order["id"]), self._look(_REVIEW, order["id"])
        _expect(stored["total_cents"], 6850, "the order's total")
        _expect(credited["cents"], 6850, "the credited revenue")
        effect = (
            f"order of {stored['total_cents']} cents, {credited['cents']} credited, review {review['state']}"
        )
        return seen(run, "webhook", effect)

    def _updated(self, order: Order, at: datetime) -> Seen:
        order |= {"updated_at": at.isoformat(), "tags": "smoked"}
        self.shop.put(order)
        run = self._webhook("commerce-sync-order", "orders/updated", order)
        stored = self._look(_ORDER, order["id"])
        _expect(stored["shopify_updated_at"], at, "the order's stamp")
        return seen(run, "webhook", f"order as of {stored['shopify_updated_at']:%H:%M:%S}")

    def _refunded(self, order: Order, at: datetime) -> Seen:
        refund = refund_of_the_towel(order, at)
        order |= {"updated_at": at.isoformat(), "refunds": [refund], "financial_status": "partially_refunded"}
        self.shop.put(order)
        run = self._webhook("commerce-handle-refund-created", "refunds/create", refund)
        stored, credited = self._look(_ORDER, order["id"]), self._look(_CREDITED, order["id"])
        _expect(stored["refunded_cents"], 1312, "what was paid back")
        _expect(credited["cents"], 5538, "the revenue that is left")
        return seen(
            run, "webhook", f"{stored['refunded_cents']} cents paid back, {credited['cents']} credited"
        )

    def _published(self, order: Order, placed: datetime) -> Seen:
        visitor = f"visitor-{order['id']}"
        touch = {"occurred_at": (placed - timedelta(days=1)).isoformat(), "visitor_id": visitor}
        runs = self.site.publish("touchpoint.recorded", touch | {"landing_page": "/?utm_medium=email"})
        run = self.site.ended(runs[INGEST])
        row = self._look(_TOUCH + " AND channel = 'email'", visitor)
        return seen(run, "event", f"touch stored, channel {row['channel']}")

    def _started(self, order: Order) -> Seen:
        """The touch that has just been told of takes its half of the order's revenue."""
        run = self.site.ended(self.site.start("commerce-order-attribution", {"order_id": order["id"]}))
        credited = self._look(_CREDITED, order["id"])
        _expect((credited["cents"], credited["touches"]), (5538, 2), "the revenue and its touches")
        return seen(run, "api", f"{credited['cents']} cents over {credited['touches']} touches")

    def _executed(self, order: Order) -> Seen:
        run = self.site.ended(self.site.execute("commerce-order-review-email", {"order_id": order["id"]}))
        review = self._look(_REVIEW, order["id"])
        return seen(run, "state machine", f"review {review['state']}")

    def _reconciled(self) -> Iterator[Seen]:
        """An order whose webhook never came, found by a schedule that is fired by hand."""
        [(cron, task)] = [
            (cron, task) for name, cron, task in discover(FUNCTIONS).schedules() if name == RECONCILIATION
        ]
        slot = slot_of(cron.expression, cron.zone, None, datetime.now(UTC))
        order = new_order(slot - timedelta(minutes=30), at=1)
        self.shop.put(order)
        self.site.stage.invoke("ingress-fan-out", {"schedule": RECONCILIATION, "time": slot.isoformat()})
        cause = f"{RECONCILIATION}@{local_name(slot, cron.zone)}"
        run = self.site.ended(self.site.run_id(task.id, cause))
        _expect(run["result"]["missing"], 1, "the orders that reconciliation misses")
        yield seen(
            run, "schedule", f"{run['result']['compared']} compared, {run['result']['missing']} missing"
        )
        stored = wait_for("the order that was missing", lambda: self._find(order["id"]))
        _expect(stored, 6850, "the total of the order that was missing")

    def _webhook(self, task: str, topic: str, body: Order) -> dict[str, object]:
        event = self.shop.deliver(topic, body)
        return self.site.ended(self.site.run_id("shopify", "default", event, task))

    def _look(self, query: str, *params: object) -> dict[str, object]:
        return self.shop.look(self.site.tenant_id, query, *params)

    def _find(self, order_id: int) -> object | None:
        try:
            return self._look(_ORDER, order_id)["total_cents"]
        except SmokeError:
            return None


def _expect(found: object, expected: object, what: str) -> None:
    if found != expected:
        raise SmokeError(f"{what}: {found}, where {expected} was expected")
