"""Each shop's best day as a profit and loss statement, against sums over the stories alone.

Nothing of the product computes what is expected. The rules: orders placed on the shop's local day, cancelled and voided
ones left out; returns count on the day of the refund; processing takes 2.9 % and 30 of each paid order, rounded half up
order by order; 200 to pick and pack and 75 to package each order; goods whose cost nobody knows cost nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from infra.local.demo.cast import invoke
from infra.local.demo.orders import Story
from infra.local.demo.shops import SHOPS, DemoShop
from infra.local.demo.verify import Verdict
from infra.local.state import State

STATEMENT = "analytics-generate-pl-statement"
PICK_PACK_CENTS, PACKAGING_CENTS = 200, 75


def play_books(
    state: State, tenants: Mapping[str, UUID], stories: Sequence[Story], verdict: Verdict
) -> dict[str, Any]:
    """Make each shop's statement and compare its lines; the statements by shop."""
    made: dict[str, Any] = {}
    for shop in SHOPS:
        own = [story.final_state for story in stories if story.tenant_slug == shop.slug]
        day, expected = best_day(shop, own)
        asked = {"start": day.isoformat(), "end": day.isoformat()}
        answer = invoke(state, STATEMENT, {"tenant": str(tenants[shop.slug]), "payload": asked})
        lines = {line["key"]: line["cents"] for line in answer["lines"]}
        for key, cents in expected.items():
            verdict.compare(f"{shop.slug}: {key} of {day}", cents, lines.get(key))
        made[shop.slug] = {"day": day.isoformat(), "orders": answer["orders"], "lines": lines}
    return made


def best_day(shop: DemoShop, orders: Sequence[Mapping[str, Any]]) -> tuple[date, dict[str, int]]:
    """The local day with the most orders that count, the earliest of several, and its lines in cents."""
    counting = [order for order in orders if _counts(order)]
    days = Counter(_day(shop, order["created_at"]) for order in counting)
    day = min(days, key=lambda each: (-days[each], each))
    sold = [order for order in counting if _day(shop, order["created_at"]) == day]
    gross = sum(_cents(line["price"]) * line["quantity"] for order in sold for line in order["line_items"])
    discounts = sum(_cents(order["total_discounts"]) for order in sold)
    returns = sum(
        _cents(line["subtotal"])
        for order in counting
        for refund in _refunds_of(shop, order, day)
        for line in refund["refund_line_items"]
    )
    totals = [_cents(order["total_price"]) for order in sold]
    processing = sum((total * 29 + 30_000 + 500) // 1000 for total in totals if total > 0)
    revenue = gross - discounts - returns
    variable = processing + len(sold) * (PICK_PACK_CENTS + PACKAGING_CENTS)
    return day, {
        "gross_sales": gross,
        "discounts": -discounts,
        "returns": -returns,
        "net_revenue": revenue,
        "gross_profit": revenue,
        "payment_processing": processing,
        "packaging": len(sold) * PACKAGING_CENTS,
        "contribution_margin": revenue - variable,
    }


def _counts(order: Mapping[str, Any]) -> bool:
    return order["cancelled_at"] is None and order["financial_status"] != "voided"


def _refunds_of(shop: DemoShop, order: Mapping[str, Any], day: date) -> Iterator[Mapping[str, Any]]:
    return (refund for refund in order["refunds"] if _day(shop, refund["created_at"]) == day)


def _day(shop: DemoShop, instant: str) -> date:
    return datetime.fromisoformat(instant).astimezone(ZoneInfo(shop.zone)).date()


def _cents(amount: Any) -> int:
    return int(Decimal(str(amount)) * 100)
