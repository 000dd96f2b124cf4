"""Touchpoints in Postgres."""

from __future__ import annotations

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
