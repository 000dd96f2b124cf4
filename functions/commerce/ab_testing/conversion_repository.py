"""Orders of tests' visitors in Postgres."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from commerce.ab_testing.repository import QUERIES
from tradewind.tenancy.database import Transaction


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
