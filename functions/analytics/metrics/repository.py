"""Counted periods in Postgres."""

from __future__ import annotations

from collections.abc import Sequence

from analytics.metrics.model import Figures, Period, PeriodKind
from tradewind.contracts.attribution import AttributionSettings
from tradewind.sql import load_queries
from tradewind.tenancy.database import Jsonb, Transaction

QUERIES = load_queries(__file__)


class Metrics:
    """Figures of hours, days and weeks."""

    def __init__(self, transaction: Transaction) -> None:
        self._tx = transaction

    def save(
        self, periods: Sequence[Period], currency: str, attribution: AttributionSettings
    ) -> list[Figures]:
        """Count periods anew in one statement; their figures, the oldest first."""
        rows = [
            {
                "period": period.kind,
                "opened_at": period.opened_at.isoformat(),
                "closes_at": period.closes_at.isoformat(),
                "starts_on": period.starts_on.isoformat(),
                "currency": currency,
            }
            for period in periods
        ]
        saved = self._tx.fetch_all(
            QUERIES["save_periods"],
            {
                "periods": Jsonb(rows),
                "model": attribution.default_model,
                "window_days": attribution.default_window,
            },
        )
        figures = [
            Figures(
                Period(PeriodKind(row["period"]), row["opened_at"], row["closes_at"], row["starts_on"]),
                row["orders"],
                row["net_sales_cents"],
                row["average_order_cents"],
                row["customers"],
                row["new_customers"],
                row["attributed_cents"],
            )
            for row in saved
        ]
        return sorted(figures, key=lambda each: each.period.opened_at)
