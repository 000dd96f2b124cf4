"""What reports say: HTML and text for e-mails, a note for the messenger. The same figures give the same content."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from analytics.metrics.model import change_percent
from analytics.reports.model import (
    StatementReport,
    WeekReport,
    money,
    share_text,
    signed_percent,
)
from tradewind.ports import Email, Note, Picture
from tradewind.rendering import render

WEEK_PICTURE, STATEMENT_PICTURE = "week.png", "profit.png"
SIX_DAYS = timedelta(days=6)
BEST_SOURCES = 5


@dataclass(frozen=True, slots=True)
class Report:
    """A report without its recipients."""

    subject: str
    html: str
    text: str
    note: Note
    picture: Picture

    def email(self, sender: str, recipient: str, tags: dict[str, str]) -> Email:
        return Email(
            sender, recipient, self.subject, self.html, self.text, tags=tags, pictures=(self.picture,)
        )


def week_report(report: WeekReport, store: str, currency: str, chart: bytes) -> Report:
    """A week as a merchant reads it: four figures with their change, the days, and where buyers came from."""
    week, before = report.week, report.before
    first, last = week.week_on, week.week_on + SIX_DAYS
    subject = f"{store}: {money(week.net_sales_cents, currency)} in the week of {first:%-d %B}"
    tiles = [
        (
            name,
            text,
            None
            if before is None
            else signed_percent(change_percent(getattr(before, field), getattr(week, field))),
        )
        for name, text, field in (
            ("Net sales", money(week.net_sales_cents, currency), "net_sales_cents"),
            ("Orders", f"{week.orders:,}", "orders"),
            ("Average order", money(week.average_order_cents, currency), "average_order_cents"),
            ("New customers", f"{week.new_customers:,}", "new_customers"),
        )
    ]
    best = max(report.days, key=lambda day: (day.net_sales_cents, day.starts_on), default=None)
    values = {
        "subject": subject,
        "store": store,
        "first": first,
        "last": last,
        "tiles": tiles,
        "best": None if best is None or not best.orders else best,
        "sources": week.sources[:BEST_SOURCES],
        "most": max((source.attributed_cents for source in week.sources), default=0) or 1,
        "money": lambda cents: money(cents, currency),
        "picture": WEEK_PICTURE,
    }
    lines = "\n".join(f"*{name}*  {text}  {change or ''}".rstrip() for name, text, change in tiles)
    picture = Picture(WEEK_PICTURE, "Net sales by day", chart)
    return Report(
        subject,
        render(__file__, "week.html", values),
        render(__file__, "week.txt", values),
        Note(subject, (lines,), picture),
        picture,
    )


def statement_report(report: StatementReport, store: str, chart: bytes) -> Report:
    """A profit and loss as a merchant reads it: what is left of the revenue, and where the rest went."""
    currency = report.currency
    profit, revenue = report.net_profit_cents, report.net_revenue_cents
    days = f"{report.start:%-d %B} to {report.end:%-d %B %Y}"
    subject = f"{store}: {money(profit, currency)} {'profit' if profit >= 0 else 'loss'}, {days}"
    values = {
        "subject": subject,
        "store": store,
        "days": days,
        "report": report,
        "kept": "" if revenue <= 0 else share_text((profit * 20_000 + revenue) // (2 * revenue)),
        "money": lambda cents: money(cents, currency),
        "share": share_text,
        "change": signed_percent,
        "picture": STATEMENT_PICTURE,
    }
    totals = "\n".join(
        f"*{row.label}*  {money(row.cents, currency)}  {signed_percent(row.change)}".rstrip()
        for row in report.rows
        if row.total
    )
    picture = Picture(STATEMENT_PICTURE, "From revenue to profit", chart)
    return Report(
        subject,
        render(__file__, "statement.html", values),
        render(__file__, "statement.txt", values),
        Note(subject, (totals, *(("_" + "; ".join(report.notes) + "_",) if report.notes else ())), picture),
        picture,
    )
