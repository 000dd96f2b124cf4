"""Orders of tests' visitors in Postgres."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from tradewind.sql import load_queries
from tradewind.tenancy.database import Transaction

QUERIES = load_queries(__file__)


@dataclass(frozen=True, slots=True)
class Conversion:
    """An order as a test's conversion; money in cents."""

    test_id: str
    variant_id: str
    source: str
    matched_by: str
    ordered_cents: int
    revenue_cents: int
    removed: bool


@dataclass(frozen=True, slots=True)
class OrderTraces:
    """By what an order could be told to be a visitor's."""

    has_visitor: bool
    has_session: bool
    has_customer: bool
    status: str
    placed_at: datetime


class Conversions:
    """A tenant's orders as conversions of its tests."""

    def __init__(self, transaction: Transaction) -> None:
        self._tx = transaction

    def add(self, changed_since: datetime, only_order: int | None = None) -> None:
        """Orders that changed since, or one, become conversions of the tests that their visitors are in."""
        about = {"changed_since": changed_since, "only_order": only_order}
        self._tx.execute(QUERIES["add_conversions"], about)

    def settle(self, changed_since: datetime) -> None:
        """Conversions of orders that changed since are worth what is left of the order."""
        self._tx.execute(QUERIES["settle_conversions"], {"changed_since": changed_since})

    def settle_orders(self, order_ids: Sequence[int]) -> None:
        """The same for the conversions of some orders."""
        self._tx.execute(QUERIES["settle_conversions_of"], {"order_ids": list(order_ids)})

    def list_converted(self, test_id: str) -> list[int]:
        """The orders that are a test's conversions."""
        rows = self._tx.fetch_all(QUERIES["list_converted"], {"test_id": test_id})
        return [row["shopify_order_id"] for row in rows]

    def list_conversions(self, order_id: int) -> list[Conversion]:
        rows = self._tx.fetch_all(QUERIES["list_conversions"], {"order_id": order_id})
        return [
            Conversion(
                row["test_id"],
                row["variant_id"],
                row["source"],
                row["matched_by"],
                row["ordered_cents"],
                row["revenue_cents"],
                row["removed"],
            )
            for row in rows
        ]

    def list_order(self, order_id: int) -> OrderTraces | None:
        rows = self._tx.fetch_all(QUERIES["list_order"], {"order_id": order_id})
        return OrderTraces(**rows[0]) if rows else None


@dataclass(frozen=True, slots=True)
class Cohort:
    """A variant's visitors who were first seen on a day; ``total`` and ``squares`` of what each came to."""

    day: date
    variant_id: str
    visitors: int
    total: float
    squares: float


@dataclass(frozen=True, slots=True)
class Past:
    """A variant's visitors with what they bought before the test (cents): sums, sums of squares and of products."""

    variant_id: str
    visitors: int
    total: float
    squares: float
    before_total: float
    before_squares: float
    products: float


@dataclass(frozen=True, slots=True)
class AmountCount:
    """How many of a variant's visitors came to an amount (cents)."""

    variant_id: str
    amount: float
    visitors: int


@dataclass(frozen=True, slots=True)
class Lifetime:
    """A variant's visitors who were seen first so many ``days`` ago, and what they have bought within them (cents)."""

    days: int
    variant_id: str
    visitors: int
    total: float
    squares: float


class Outcomes:
    """What a test's visitors came to, one by one. ``measured`` is ``revenue``, or the goal that is reached or not."""

    def __init__(self, transaction: Transaction) -> None:
        self._tx = transaction

    def list_cohorts(self, test_id: str, measured: str) -> list[Cohort]:
        """By day and variant, oldest first."""
        rows = self._tx.fetch_all(QUERIES["list_cohorts"], {"test_id": test_id, "measured": measured})
        return [
            Cohort(row["seen_on"], row["variant_id"], row["visitors"], row["total"], row["squares"])
            for row in rows
        ]

    def list_pasts(self, test_id: str, measured: str, look_back: timedelta) -> list[Past]:
        about = {"test_id": test_id, "measured": measured, "look_back": look_back}
        return [Past(**row) for row in self._tx.fetch_all(QUERIES["list_histories"], about)]

    def list_amounts(self, test_id: str) -> list[AmountCount]:
        """By variant and amount of revenue."""
        return [
            AmountCount(**row) for row in self._tx.fetch_all(QUERIES["list_amounts"], {"test_id": test_id})
        ]

    def list_lifetimes(self, test_id: str, horizons: Sequence[int], until: datetime) -> list[Lifetime]:
        """By horizon and variant; a horizon that nobody has lived through is left out."""
        about = {"test_id": test_id, "horizons": list(horizons), "until": until}
        return [Lifetime(**row) for row in self._tx.fetch_all(QUERIES["list_lifetimes"], about)]

    def first_order_at(self) -> datetime | None:
        """Since when orders are known."""
        row = self._tx.fetch_one(QUERIES["first_order_at"])
        return None if row is None else row["placed_at"]
