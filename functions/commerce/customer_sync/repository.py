"""Customers with their addresses in Postgres: a method per query, model types in and out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from commerce.customer_sync import model
from commerce.customer_sync.model import StoredCustomer
from tradewind.catalogue import CustomerProfile
from tradewind.sql import load_queries
from tradewind.tenancy.database import Jsonb, Transaction

QUERIES = load_queries(__file__)


class Customers:
    """``read_at`` is when Shopify was asked."""

    def __init__(self, transaction: Transaction) -> None:
        self._tx = transaction

    def find(self, customer_id: int) -> StoredCustomer | None:
        row = self._tx.fetch_one(QUERIES["find_customer"], {"customer_id": customer_id})
        if row is None:
            return None
        return StoredCustomer(
            customer_id=row["shopify_customer_id"],
            profile_at=row["profile_updated_at"],
            deleted_at=row["deleted_at"],
            email=row["email"],
            accepts_marketing=row["accepts_marketing"],
            orders_count=row["orders_count"] or 0,
            total_spent_cents=row["total_spent_cents"] or 0,
            country_code=row["country_code"],
            tags=tuple(row["tags"]),
            segments=tuple(row["segments"]),
        )

    def save(self, customers: Sequence[CustomerProfile], read_at: datetime) -> set[int]:
        """Write customers, set-based; returns the ids of those that were newer."""
        about = {"profiles": _json(map(model.to_row, customers)), "read_at": read_at}
        rows = self._tx.fetch_all(QUERIES["save_profiles"], about)
        written = {row["shopify_customer_id"] for row in rows}
        newer = [customer for customer in customers if customer.id in written]
        if newer:
            addresses = _json(model.to_address_rows(newer))
            about = {"addresses": addresses, "customer_ids": [customer.id for customer in newer]}
            self._tx.execute(QUERIES["replace_addresses"], about)
        return written

    def mark_deleted(self, customer_ids: Sequence[int], read_at: datetime) -> list[int]:
        """Mark customers; returns those that were not marked before."""
        about = {"customer_ids": list(customer_ids), "read_at": read_at}
        rows = self._tx.fetch_all(QUERIES["mark_customers_deleted"], about)
        return [row["shopify_customer_id"] for row in rows]

    def save_segments(self, customer_id: int, segments: Sequence[str]) -> bool:
        """Whether they have changed."""
        about = {"customer_id": customer_id, "segments": list(segments)}
        return self._tx.fetch_one(QUERIES["save_segments"], about) is not None

    def add_tags(self, customer_id: int, tags: Sequence[str]) -> None:
        self._tx.execute(QUERIES["add_tags"], {"customer_id": customer_id, "tags": list(tags)})


def _json(rows: Iterable[Any]) -> Jsonb:
    return Jsonb(list(rows))
