"""The demo's statements, against sums done by hand."""

from __future__ import annotations

from datetime import date
from typing import Any

from infra.local.demo.books import best_day
from infra.local.demo.shops import SHOPS

NEW_YORK = next(shop for shop in SHOPS if shop.zone == "America/New_York")


def order(created_at: str, total: str, **changes: Any) -> dict[str, Any]:
    return {
        "created_at": created_at,
        "cancelled_at": None,
        "financial_status": "paid",
        "line_items": [{"price": "20.00", "quantity": 2}],
        "total_discounts": "4.00",
        "total_price": total,
        "refunds": [],
        **changes,
    }


def test_best_day_is_a_local_one_and_its_lines_are_sums_by_hand() -> None:
    """Two orders on the 20th in New York: 03:00 and 23:00 UTC of neighbouring days. 36.50 x 2.9 % + 30 = 135.85 cents
    and 41.00 x 2.9 % + 30 = 148.9, rounded 136 and 149.
    """
    given_back = {"created_at": "2026-11-20T18:00:00+00:00", "refund_line_items": [{"subtotal": 18.0}]}
    later = {**given_back, "created_at": "2026-11-22T18:00:00+00:00"}
    day, lines = best_day(
        NEW_YORK,
        [
            order("2026-11-20T23:00:00+00:00", "36.50"),
            order("2026-11-21T03:00:00+00:00", "41.00", refunds=[later]),
            order("2026-11-20T23:30:00+00:00", "36.50", cancelled_at="2026-11-21T00:00:00+00:00"),
            order("2026-11-20T23:40:00+00:00", "36.50", financial_status="voided"),
            order("2026-11-19T12:00:00+00:00", "36.50", refunds=[given_back]),
        ],
    )
    assert day == date(2026, 11, 20)
    assert lines == {
        "gross_sales": 8000,
        "discounts": -800,
        "returns": -1800,
        "net_revenue": 5400,
        "gross_profit": 5400,
        "payment_processing": 285,
        "packaging": 150,
        "contribution_margin": 5400 - 285 - 550,
    }
