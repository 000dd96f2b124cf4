"""Compares the tables with what was sent: every order, cent, credit, commission, e-mail and dead letter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg.rows import dict_row

from infra.local.demo.delivery import Outcome
from infra.local.demo.expectations import Expectations, ExpectedOrder
from infra.local.demo.plan import Kind

LATE_AFTER_S = 30.0
_MOST_NAMED = 12

_ORDERS = """
SELECT t.slug, o.shopify_order_id AS id, o.gross_cents, o.discount_cents, o.total_cents, o.refunded_cents,
       o.refunded_net_cents, o.status,
       (SELECT count(*) FROM order_line_items l WHERE l.tenant_id = o.tenant_id
           AND l.shopify_order_id = o.shopify_order_id) AS lines,
       (SELECT coalesce(sum(quantity), 0) FROM order_line_items l WHERE l.tenant_id = o.tenant_id
           AND l.shopify_order_id = o.shopify_order_id) AS units,
       (SELECT count(*) FROM refunds r WHERE r.tenant_id = o.tenant_id
           AND r.shopify_order_id = o.shopify_order_id) AS refunds,
       c.revenue_cents, c.touchpoints, m.earned_cents, m.commission_cents, m.tier, m.code, q.state AS review_state,
       q.scheduled_at
FROM orders o
JOIN tenants t ON t.tenant_id = o.tenant_id
LEFT JOIN attribution_conversions c ON c.tenant_id = o.tenant_id AND c.shopify_order_id = o.shopify_order_id
LEFT JOIN commissions m ON m.tenant_id = o.tenant_id AND m.shopify_order_id = o.shopify_order_id
LEFT JOIN review_email_queue q ON q.tenant_id = o.tenant_id AND q.shopify_order_id = o.shopify_order_id
"""
_MODELS = """
SELECT shopify_order_id AS id, model, sum(revenue_cents)::bigint AS cents
FROM attribution_results WHERE window_days = 30 GROUP BY tenant_id, 1, 2
"""
_DEAD = "SELECT task, cause, error_message FROM dead_letter WHERE state = 'open' ORDER BY created_at"
_INBOX = """
SELECT count(*)::integer AS kept, count(DISTINCT (tenant_id, event_id))::integer AS distinct FROM webhook_inbox
WHERE provider <> 'tradewind'
"""
_TOLD = """
SELECT count(*)::integer AS told, (SELECT count(*)::integer FROM attribution_conversions) AS conversions
FROM webhook_inbox WHERE provider = 'tradewind' AND topic = 'order.converted'
"""
_LATE = """
SELECT r.entity, extract(epoch FROM r.finished_at - r.accepted_at)::float AS seconds
FROM task_run r
WHERE r.task = 'commerce-order-created' AND r.state = 'succeeded'
  AND r.finished_at - r.accepted_at > make_interval(secs => %(late)s)
  AND NOT EXISTS (SELECT FROM task_attempt a JOIN task_run s ON s.tenant_id = a.tenant_id AND s.run_id = a.run_id
                  WHERE s.tenant_id = r.tenant_id AND s.correlation_id = r.correlation_id)
ORDER BY 2 DESC
"""


@dataclass(slots=True)
class Verdict:
    """What does not hold, for a person; empty when nothing was lost or doubled. ``checks`` counts comparisons."""

    problems: list[str] = field(default_factory=list)
    checks: int = 0

    @property
    def is_good(self) -> bool:
        return not self.problems

    def compare(self, what: str, expected: Any, found: Any) -> None:
        self.checks += 1
        if expected != found:
            self.problems.append(f"{what}: expected {expected}, found {found}")

    def brief(self) -> list[str]:
        """The first problems, and how many more there are."""
        more = len(self.problems) - _MOST_NAMED
        return self.problems[:_MOST_NAMED] + ([f"and {more} more"] if more > 0 else [])


def verify(database_url: str, expected: Expectations, outcomes: Sequence[Outcome]) -> Verdict:
    """Compare everything."""
    verdict = Verdict()
    with psycopg.connect(database_url, row_factory=dict_row) as connection:

        def query(statement: str, params: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
            return connection.execute(statement.encode(), params).fetchall()

        _verify_orders(verdict, expected, query(_ORDERS), query(_MODELS))
        _verify_answers(verdict, outcomes, query(_INBOX)[0], query(_DEAD))
        [told] = query(_TOLD)
        verdict.compare("conversions told, each once", told["conversions"], told["told"])
        for row in query(_LATE, {"late": LATE_AFTER_S}):
            verdict.problems.append(
                f"order {row['entity']} took {row['seconds']:.1f} s though its provider answered"
            )
        verdict.checks += 1
    return verdict


def _verify_orders(
    verdict: Verdict,
    expected: Expectations,
    orders: Iterable[Mapping[str, Any]],
    models: Iterable[Mapping[str, Any]],
) -> None:
    by_id = {row["id"]: row for row in orders}
    verdict.compare("orders in the table", sorted(expected.orders), sorted(by_id))
    sums: dict[int, dict[str, int]] = {}
    for row in models:
        sums.setdefault(row["id"], {})[row["model"]] = row["cents"]
    for order_id, order in expected.orders.items():
        if order_id in by_id:
            _verify_order(verdict, order, by_id[order_id], sums.get(order_id, {}))


def _verify_order(
    verdict: Verdict, order: ExpectedOrder, row: Mapping[str, Any], models: Mapping[str, int]
) -> None:
    name = f"order {order.order_id} of {order.tenant_slug}"
    verdict.compare(f"{name}: tenant", order.tenant_slug, row["slug"])
    for column in (
        "gross_cents",
        "discount_cents",
        "total_cents",
        "refunded_cents",
        "refunded_net_cents",
        "status",
    ):
        verdict.compare(f"{name}: {column}", getattr(order, column), row[column])
    for column in ("lines", "units", "refunds"):
        verdict.compare(f"{name}: {column}", getattr(order, column), int(row[column]))
    verdict.compare(
        f"{name}: revenue", order.remaining_cents if order.is_conversion else None, row["revenue_cents"]
    )
    verdict.compare(f"{name}: touches", order.touches if order.is_conversion else None, row["touchpoints"])
    verdict.compare(f"{name}: models", 6 if order.touches else 0, len(models))
    verdict.compare(
        f"{name}: credits", {order.attributed_cents} if order.touches else set(), set(models.values())
    )
    paid = order.commission
    verdict.compare(
        f"{name}: commission",
        None if paid is None else (paid.code, paid.tier, paid.earned_cents, paid.remaining_cents),
        None
        if row["code"] is None
        else (row["code"], row["tier"], row["earned_cents"], row["commission_cents"]),
    )
    verdict.compare(
        f"{name}: review e-mail",
        (order.review_state, order.review_at),
        (row["review_state"], row["scheduled_at"]),
    )


def _verify_answers(
    verdict: Verdict, outcomes: Sequence[Outcome], inbox: Mapping[str, int], dead: Sequence[Mapping[str, Any]]
) -> None:
    wrong = Counter(
        f"{outcome.delivery.kind}: {outcome.status} instead of {outcome.delivery.expected_status}"
        for outcome in outcomes
        if not outcome.is_expected
    )
    verdict.checks += len(outcomes)
    verdict.problems += [f"answered {what} ({times} times)" for what, times in wrong.items()]
    poisoned = {_id_of(outcome) for outcome in outcomes if outcome.delivery.kind is Kind.POISON}
    accepted = {
        (outcome.delivery.shop, _id_of(outcome))
        for outcome in outcomes
        if outcome.status == 200 and outcome.delivery.kind is not Kind.POISON  # noqa: PLR2004 - HTTP
    }
    verdict.compare("webhooks kept in the inbox", len(accepted), inbox["kept"])
    verdict.compare("webhooks kept twice", inbox["kept"], inbox["distinct"])
    verdict.compare("dead letters", sorted(poisoned), sorted(row["cause"] for row in dead))


def _id_of(outcome: Outcome) -> str:
    return outcome.delivery.headers["X-Shopify-Webhook-Id"]
