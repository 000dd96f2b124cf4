"""What reports are made of: counted weeks."""

from __future__ import annotations

from datetime import date

from analytics.metrics.model import DAY, WEEK
from analytics.reports.model import (
    Day,
    WeekReport,
    days_in,
    figures_of,
)
from tradewind.sql import load_queries
from tradewind.tenancy.database import Transaction

QUERIES = load_queries(__file__)


class Reports:
    def __init__(self, transaction: Transaction) -> None:
        self._tx = transaction

    def week(self, monday: date) -> WeekReport | None:
        """A counted week; None where it was not counted."""
        rows = self._tx.fetch_all(QUERIES["week_and_days"], {"monday": monday})
        weeks = {row["starts_on"]: figures_of(row) for row in rows if row["period"] == "week"}
        if monday not in weeks:
            return None
        days = [
            Day(row["starts_on"], row["orders"], row["net_sales_cents"])
            for row in rows
            if row["period"] == "day"
        ]
        return WeekReport(
            week=weeks[monday],
            before=weeks.get(monday - WEEK),
            days=days_in(days, monday, monday + WEEK - DAY),
            days_before=days_in(days, monday - WEEK, monday - DAY),
        )
