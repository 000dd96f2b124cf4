"""Touchpoints in Postgres."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from tradewind.contracts.touches import Touchpoint
from tradewind.sql import load_queries
from tradewind.tenancy.database import Jsonb, Transaction

QUERIES = load_queries(__file__)


class Touchpoints:
    """A tenant's touches."""

    def __init__(self, transaction: Transaction) -> None:
        self._tx = transaction

    def save(self, touch: Touchpoint) -> bool:
        """Store a touch; False where it is there already."""
        stored = self._tx.fetch_all(QUERIES["save_touchpoints"], {"touches": Jsonb([touch.row()])})
        return bool(stored)

    def link(self, visitor_id: str, digest: str) -> list[int]:
        """Note who a visitor is, by the digest of an e-mail address; the customers who have it."""
        rows = self._tx.fetch_all(QUERIES["link_visitor"], {"visitor_id": visitor_id, "digest": digest})
        return [row["shopify_customer_id"] for row in rows]

    def pick_affected(
        self, customer_ids: Sequence[int], visitor_id: str, look_back: timedelta, page: int
    ) -> list[int]:
        """Customers' orders whose journeys a visitor's touches may belong to, the latest first."""
        about = {"customer_ids": list(customer_ids), "visitor_id": visitor_id, "look_back": look_back}
        rows = self._tx.fetch_all(QUERIES["pick_affected"], {**about, "page": page})
        return [row["shopify_order_id"] for row in rows]
