"""Conversions and their credits in Postgres."""

from __future__ import annotations

from dataclasses import dataclass

from tradewind.advertising import Destination
from tradewind.sql import load_queries
from tradewind.tenancy.database import Transaction

QUERIES = load_queries(__file__)


@dataclass(frozen=True, slots=True)
class StoredConversion:
    """An order's conversion. Money in cents of ``currency``, less what was refunded."""

    order_id: int
    revenue_cents: int
    currency: str
    touchpoints: int
    test: bool


class Conversions:
    """A tenant's conversions."""

    def __init__(self, transaction: Transaction) -> None:
        self._tx = transaction

    def find(self, order_id: int) -> StoredConversion | None:
        row = self._tx.fetch_one(QUERIES["find_conversion"], {"order_id": order_id})
        if row is None:
            return None
        return StoredConversion(
            row["shopify_order_id"], row["revenue_cents"], row["currency"], row["touchpoints"], row["test"]
        )

    def pick_platforms(self) -> frozenset[Destination]:
        """The ad platforms of which the tenant has stored an account."""
        asked = {"destinations": [*Destination]}
        rows = self._tx.fetch_all(QUERIES["pick_platforms"], asked)
        return frozenset(Destination(row["provider"]) for row in rows)
