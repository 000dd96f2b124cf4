"""What may be asked of the tenant's books, and what is told to them."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from io import StringIO
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AwareDatetime,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from analytics.profit_and_loss.configs import CONFIGS, Cents, ConfigKind, Name
from analytics.profit_and_loss.model import Category, CategoryType, Expense, UnitCost
from tradewind.contracts.payload import StrictPayload
from tradewind.errors import InvalidPayloadError
from tradewind.money import to_cents

LONGEST_SPAN = 731
MOST_ROWS = 10_000
SURPLUS = "cells without a column"
COLUMNS = ("product_id", "variant_id", "unit_cost")
Text = Annotated[str, StringConstraints(min_length=1, max_length=500)]
Key = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
LargeId = Annotated[int, Field(gt=0, lt=2**63)]


class StatementRequest(StrictPayload):
    """Local days, both with it; without them the month of the last completed day. ``compare``: as many days before,
    or the same days a year ago.
    """

    start: date | None = None
    end: date | None = None
    compare: Literal["previous", "year"] = "previous"

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.start is None) != (self.end is None):
            raise ValueError("start and end belong together; name both or none")
        if self.start is not None and self.end is not None:
            if self.end < self.start:
                raise ValueError("end lies before start; turn them round")
            if (self.end - self.start).days >= LONGEST_SPAN:
                raise ValueError(
                    f"start and end lie more than {LONGEST_SPAN} days apart; ask for less at once"
                )
        return self


class ConfigSave(StrictPayload):
    """A configuration, whole: what its document does not name has its default. ``changed_by`` is who wants it so."""

    kind: ConfigKind
    document: dict[str, Any]
    changed_by: Name

    def parsed(self) -> dict[str, Any]:
        """The document with its defaults, as JSON. Raises InvalidPayloadError naming the field."""
        try:
            return CONFIGS[self.kind].model_validate(self.document).model_dump(mode="json")
        except ValidationError as error:
            first = error.errors()[0]
            path = ".".join(str(part) for part in ("document", *first["loc"]))
            raise InvalidPayloadError(
                path, first["msg"].removeprefix("Value error, "), "see the README"
            ) from None


class CostImport(StrictPayload):
    """Unit costs as CSV with the columns ``product_id``, ``variant_id`` (may be empty) and ``unit_cost``, a decimal in
    the tenant's currency; at most 10,000 rows. They hold from ``valid_from`` on (None: from now).
    """

    rows: Annotated[str, Field(min_length=1, max_length=2_000_000)]
    source: Literal["manual", "csv_import", "erp_sync"] = "csv_import"
    valid_from: AwareDatetime | None = None
    dry_run: bool = False


class CostSync(StrictPayload):
    """``full`` reads every item's cost, due or not."""

    full: bool = False


class ExpenseTold(StrictPayload):
    """An expense by the id of whoever books it. ``income`` is for the type ``other`` alone."""

    expense_id: Annotated[str, StringConstraints(min_length=1, max_length=100)]
    category: Key
    amount_cents: Annotated[Cents, Field(gt=0)]
    incurred_on: date
    income: bool = False
    vendor: Text | None = None
    description: Text | None = None
    counts_for_pnl: bool = True
    exclusion_reason: Text | None = None

    def to_model(self) -> Expense:
        return Expense(**self.model_dump())


class CategoryTold(StrictPayload):
    """A category of the tenant's own, or a system's one under another label, or hidden."""

    category: Key
    label: Name
    type: CategoryType
    hidden: bool = False

    def to_model(self) -> Category:
        return Category(self.category, self.label, self.type, self.hidden)


class Booking(StrictPayload):
    """Expenses and categories to be kept; told again, each is as it was told last."""

    expenses: Annotated[list[ExpenseTold], Field(max_length=1_000)] = Field(default=[])
    categories: Annotated[list[CategoryTold], Field(max_length=200)] = Field(default=[])


@dataclass(frozen=True, slots=True)
class RowFault:
    """What is wrong with a line of a CSV; the header is line 1."""

    line: int
    column: str
    problem: str


@dataclass(frozen=True, slots=True)
class ReadCosts:
    """What a CSV holds: of two rows of one variant the later counts."""

    costs: list[UnitCost]
    faults: list[RowFault]


def read_costs(text: str, currency: str) -> ReadCosts:
    """Read a CSV of unit costs. Raises InvalidPayloadError for a header that lacks a column, and for too many rows."""
    reader = csv.DictReader(StringIO(text.removeprefix("\ufeff"), newline=""), restkey=SURPLUS)
    header = [name.strip().lower() for name in reader.fieldnames or ()]
    missing = [name for name in COLUMNS if name not in header and name != "variant_id"]
    if missing:
        raise InvalidPayloadError(
            "rows", f"the header lacks {', '.join(missing)}", f"start with {','.join(COLUMNS)}"
        )
    reader.fieldnames = header
    found: dict[tuple[int, int | None], UnitCost] = {}
    faults: list[RowFault] = []
    for count, row in enumerate(reader, start=1):
        if count > MOST_ROWS:
            raise InvalidPayloadError(
                "rows", f"there are more than {MOST_ROWS} rows", "send them in several imports"
            )
        own = list(_faults(row, currency))
        if own:
            faults += [
                RowFault(line=reader.line_num, column=column, problem=problem) for column, problem in own
            ]
            continue
        variant = (row.get("variant_id") or "").strip()
        cost = UnitCost(
            int(row["product_id"]),
            int(variant) if variant else None,
            to_cents(row["unit_cost"].strip(), currency),
        )
        found[cost.product_id, cost.variant_id] = cost
    return ReadCosts(costs=list(found.values()), faults=faults)


def _faults(row: dict[str, Any], currency: str) -> Iterator[tuple[str, str]]:
    if row.get(SURPLUS):
        yield "", "has more cells than the header"
    for column in ("product_id", "variant_id"):
        text = (row.get(column) or "").strip()
        if not text and column == "variant_id":
            continue
        if not (text.isascii() and text.isdigit() and 0 < int(text) < 2**63):
            yield column, f"{text[:40]!r} is no id; ids are whole numbers"
    text = (row.get("unit_cost") or "").strip()
    try:
        if to_cents(text, currency) < 0:
            yield "unit_cost", f"{text[:40]!r} is below zero"
    except ValueError as error:
        yield "unit_cost", str(error)
