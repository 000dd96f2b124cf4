"""The statement of profit and loss, pure: what was counted of days, and the lines that follow, each with its source.

Every figure is in integer cents and signed as it enters the sum above it: a cost is positive and is subtracted. Shares
are in basis points of net revenue, None where net revenue is not positive.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from analytics.metrics.model import change_percent

WHOLE = 10_000


class CategoryType(StrEnum):
    COGS = "cogs"
    VARIABLE = "variable"
    MARKETING = "marketing"
    OPERATING = "operating"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Span:
    """Local days ``start`` to ``end``, both with it: from ``opened_at`` on and before ``closes_at``."""

    start: date
    end: date
    opened_at: datetime
    closes_at: datetime


@dataclass(frozen=True, slots=True)
class Booked:
    """Expenses of a category in the span. ``cents`` is negative for other income."""

    category: str
    label: str
    type: CategoryType
    cents: int
    entries: int


@dataclass(frozen=True, slots=True)
class Spend:
    """What an ad platform took, in the tenant's currency; of ``foreign`` rows in another one nothing is counted."""

    platform: str
    cents: int
    foreign: int = 0


@dataclass(frozen=True, slots=True)
class Counted:
    """What a span holds. ``charged_cents`` are the orders' totals, with shipping and tax.

    ``cost_cents`` is what the sold units cost, ``returned_cost_cents`` what the given back ones had cost.
    ``weight_fee_cents`` is the orders' fees by weight tier, 0 where the model is another.
    """

    span: Span
    currency: str
    orders: int = 0
    units: int = 0
    gross_cents: int = 0
    discount_cents: int = 0
    returns_cents: int = 0
    shipping_cents: int = 0
    tax_cents: int = 0
    charged_cents: int = 0
    paid_orders: int = 0
    processing_cents: int = 0
    weight_fee_cents: int = 0
    orders_without_weight: int = 0
    cost_cents: int = 0
    returned_cost_cents: int = 0
    units_without_cost: int = 0
    sample_orders: int = 0
    skipped_orders: int = 0
    foreign_orders: int = 0
    commission_cents: int = 0
    commissions: int = 0
    spend: tuple[Spend, ...] = ()
    booked: tuple[Booked, ...] = ()


@dataclass(frozen=True, slots=True)
class Line:
    """A figure of the statement. ``source`` says in words and numbers where it comes from; ``parts`` sum to it.

    ``shown`` is the tenant's wish alone: a hidden line counts all the same.
    """

    key: str
    label: str
    cents: int
    source: str
    parts: tuple[Line, ...] = ()
    total: bool = False
    shown: bool = True
    basis_points: int | None = None


@dataclass(frozen=True, slots=True)
class Statement:
    """The lines in their order, the totals among them, and what was left out and why."""

    span: Span
    currency: str
    lines: tuple[Line, ...]
    notes: tuple[str, ...] = field(default=())

    def cents(self, key: str) -> int:
        """A line's figure, wherever it stands. Raises KeyError for a line that the statement does not have."""
        for line in self.lines:
            for each in (line, *line.parts):
                if each.key == key:
                    return each.cents
        raise KeyError(key)


def share(cents: int, revenue: int) -> int | None:
    """``cents`` of ``revenue`` in basis points, rounded half away from zero."""
    if revenue <= 0:
        return None
    rounded = (2 * abs(cents) * WHOLE + revenue) // (2 * revenue)
    return rounded if cents >= 0 else -rounded


def total_of(parts: Sequence[Line]) -> int:
    return sum(part.cents for part in parts)


@dataclass(frozen=True, slots=True)
class Change:
    """A line beside the same line of another span. ``percent`` is of the absolute former value: 100 where something
    came of nothing.
    """

    key: str
    label: str
    before_cents: int
    cents: int
    percent: int


def changes(before: Statement, now: Statement) -> tuple[Change, ...]:
    """The totals beside those of the other span."""
    return tuple(
        Change(
            line.key,
            line.label,
            before.cents(line.key),
            line.cents,
            change_percent(before.cents(line.key), line.cents),
        )
        for line in now.lines
        if line.total
    )


SYSTEM_CATEGORIES: Mapping[str, tuple[str, CategoryType]] = {
    "product_cost": ("Product cost", CategoryType.COGS),
    "payment_processing": ("Payment processing", CategoryType.VARIABLE),
    "fulfilment": ("Fulfilment", CategoryType.VARIABLE),
    "shipping": ("Shipping", CategoryType.VARIABLE),
    "packaging": ("Packaging", CategoryType.VARIABLE),
    "meta_ads": ("Meta ads", CategoryType.MARKETING),
    "google_ads": ("Google Ads", CategoryType.MARKETING),
    "tiktok_ads": ("TikTok ads", CategoryType.MARKETING),
    "creator_commissions": ("Creator commissions", CategoryType.MARKETING),
    "influencer_fees": ("Influencer fees", CategoryType.MARKETING),
    "salaries": ("Salaries", CategoryType.OPERATING),
    "rent": ("Rent", CategoryType.OPERATING),
    "software": ("Software", CategoryType.OPERATING),
    "professional_services": ("Professional services", CategoryType.OPERATING),
    "insurance": ("Insurance", CategoryType.OPERATING),
    "vendor_payments": ("Vendor payments", CategoryType.OPERATING),
    "contractor_payments": ("Contractor payments", CategoryType.OPERATING),
    "miscellaneous": ("Miscellaneous", CategoryType.OTHER),
}
"""Categories that every tenant has; one may be renamed and hidden, not taken away, nor be of another type."""


@dataclass(frozen=True, slots=True)
class Category:
    """Where an expense belongs. A hidden one takes no new expenses; what is booked in it counts."""

    key: str
    label: str
    type: CategoryType
    hidden: bool = False


def categories_of(own: Iterable[Category]) -> dict[str, Category]:
    """The system's categories as the tenant has changed them, and its own."""
    found = {key: Category(key, label, kind) for key, (label, kind) in SYSTEM_CATEGORIES.items()}
    found.update({each.key: each for each in own})
    return found


@dataclass(frozen=True, slots=True)
class UnitCost:
    """What a unit of a product costs; of one variant, or of each that has no cost of its own (None)."""

    product_id: int
    variant_id: int | None
    cents: int


def field_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """What differs between two documents, by the field's path; a list is one value, None what is not there."""
    old, new = _flat(before), _flat(after)
    return {
        path: (old.get(path), new.get(path))
        for path in sorted(old.keys() | new.keys())
        if old.get(path) != new.get(path)
    }


def _flat(document: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in document.items():
        if isinstance(value, Mapping):
            flat.update(_flat(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


@dataclass(frozen=True, slots=True)
class Expense:
    """What somebody spent, or other income, on a local day; in cents of the tenant's currency."""

    expense_id: str
    category: str
    amount_cents: int
    income: bool
    incurred_on: date
    vendor: str | None
    description: str | None
    counts_for_pnl: bool
    exclusion_reason: str | None


@dataclass(frozen=True, slots=True)
class Versions:
    """By which versions of the configurations it was made; 0 is the default."""

    costs: int = 0
    cogs: int = 0
    formula: int = 0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A statement as it is kept: its main figures, and the whole of it as ``statement``."""

    start_on: date
    end_on: date
    currency: str
    orders: int
    net_revenue_cents: int
    gross_profit_cents: int
    contribution_margin_cents: int
    operating_income_cents: int
    net_profit_cents: int
    statement: Mapping[str, Any]
    versions: Versions


@dataclass(frozen=True, slots=True)
class DayProfit:
    """What a day brought, beside its other figures."""

    opened_at: datetime
    gross_profit_cents: int
    contribution_margin_cents: int
    net_profit_cents: int


def snapshot_of(statement: Statement, orders: int, versions: Versions) -> Snapshot:
    return Snapshot(
        start_on=statement.span.start,
        end_on=statement.span.end,
        currency=statement.currency,
        orders=orders,
        net_revenue_cents=statement.cents("net_revenue"),
        gross_profit_cents=statement.cents("gross_profit"),
        contribution_margin_cents=statement.cents("contribution_margin"),
        operating_income_cents=statement.cents("operating_income"),
        net_profit_cents=statement.cents("net_profit"),
        statement={"lines": [asdict(line) for line in statement.lines], "notes": list(statement.notes)},
        versions=versions,
    )


def day_profit_of(statement: Statement) -> DayProfit:
    return DayProfit(
        statement.span.opened_at,
        statement.cents("gross_profit"),
        statement.cents("contribution_margin"),
        statement.cents("net_profit"),
    )
