"""What a merchant's reports show, pure: a week beside the one before it, a statement with its few main figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from analytics.profit_and_loss.model import Change, Statement
from tradewind.money import minor_digits

_GROUPS = (
    ("Goods", "gross_profit"),
    ("Variable", "contribution_margin"),
    ("Marketing", "contribution_profit"),
    ("Operating", "operating_income"),
    ("Other", "net_profit"),
)
"""What takes from the total above, and the total that is left."""
MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True, slots=True)
class ReportSettings:
    """``settings["reports"]`` of a tenant: who gets reports by e-mail, and the name that they come from."""

    recipients: tuple[str, ...] = ()
    sender_name: str | None = None

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> ReportSettings:
        own = settings.get("reports") or {}
        return cls(tuple(own.get("recipients") or ()), own.get("sender_name"))


@dataclass(frozen=True, slots=True)
class Day:
    starts_on: date
    orders: int
    net_sales_cents: int


@dataclass(frozen=True, slots=True)
class Source:
    name: str
    touchpoints: int
    attributed_cents: int


@dataclass(frozen=True, slots=True)
class WeekFigures:
    week_on: date
    orders: int
    net_sales_cents: int
    average_order_cents: int
    customers: int
    new_customers: int
    visitors: int
    attributed_cents: int
    sources: tuple[Source, ...]


@dataclass(frozen=True, slots=True)
class WeekReport:
    """``days`` are the week's seven, ``days_before`` those of the week before; an uncounted day is missing."""

    week: WeekFigures
    before: WeekFigures | None
    days: tuple[Day, ...]
    days_before: tuple[Day, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the statement as it is shown. ``change`` is in percent of the days before."""

    label: str
    cents: int
    total: bool = False
    part: bool = False
    basis_points: int | None = None
    change: int | None = None


@dataclass(frozen=True, slots=True)
class StatementReport:
    """A statement as it is shown, its totals beside those of the days before."""

    start: date
    end: date
    currency: str
    orders: int
    rows: tuple[Row, ...]
    notes: tuple[str, ...]
    totals: Mapping[str, int]

    @property
    def net_revenue_cents(self) -> int:
        return self.totals["net_revenue"]

    @property
    def net_profit_cents(self) -> int:
        return self.totals["net_profit"]


@dataclass(frozen=True, slots=True)
class Step:
    """A bar of the waterfall: from ``base`` on by ``cents``; ``total`` stands on the ground."""

    label: str
    cents: int
    base: int
    total: bool


def as_report(statement: Statement, orders: int, changed: Iterable[Change]) -> StatementReport:
    """A statement as it is shown: hidden lines are left out, their sums stay."""
    percents = {each.key: each.percent for each in changed}
    rows: list[Row] = []
    for line in statement.lines:
        if not line.shown:
            continue
        change = percents.get(line.key) if line.total else None
        rows.append(Row(line.label, line.cents, line.total, False, line.basis_points, change))
        rows += [Row(part.label, part.cents, part=True) for part in line.parts if part.cents]
    totals = {line.key: line.cents for line in statement.lines if line.total}
    span = statement.span
    return StatementReport(
        span.start, span.end, statement.currency, orders, tuple(rows), statement.notes, totals
    )


def waterfall(totals: Mapping[str, int]) -> tuple[Step, ...]:
    """From net revenue down to net profit: what each group of costs takes."""
    steps = [Step("Net revenue", totals["net_revenue"], 0, total=True)]
    standing = totals["net_revenue"]
    for label, after in _GROUPS:
        taken = totals[after] - standing
        if taken:
            steps.append(Step(label, taken, standing, total=False))
        standing = totals[after]
    return (*steps, Step("Net profit", totals["net_profit"], 0, total=True))


def money(cents: int, currency: str) -> str:
    """``123456, "USD"`` becomes ``1,234.56 USD``; a true minus sign stands before a negative amount."""
    digits = minor_digits(currency)
    text = f"{abs(Decimal(cents).scaleb(-digits)):,.{digits}f} {currency}"
    return MINUS + text if cents < 0 else text


def signed_percent(percent: int | None) -> str:
    """``12`` becomes ``+12 %``; nothing is told of None."""
    if percent is None:
        return ""
    return f"{MINUS if percent < 0 else '+'}{abs(percent)} %"


def share_text(basis_points: int | None) -> str:
    """``1234`` becomes ``12.3 %``, of net revenue."""
    if basis_points is None:
        return ""
    tenths = (abs(basis_points) + 5) // 10
    return f"{MINUS if basis_points < 0 else ''}{tenths // 10}.{tenths % 10} %"


def figures_of(row: Mapping[str, Any]) -> WeekFigures:
    return WeekFigures(
        week_on=row["starts_on"],
        orders=row["orders"],
        net_sales_cents=row["net_sales_cents"],
        average_order_cents=row["average_order_cents"],
        customers=row["customers"],
        new_customers=row["new_customers"],
        visitors=row["visitors"],
        attributed_cents=row["attributed_cents"],
        sources=tuple(
            Source(each["source"], each["touchpoints"], each["attributed_cents"]) for each in row["sources"]
        ),
    )


def days_in(days: Sequence[Day], first: date, last: date) -> tuple[Day, ...]:
    return tuple(day for day in days if first <= day.starts_on <= last)
