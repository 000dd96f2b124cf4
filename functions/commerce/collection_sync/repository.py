"""Collections and their members in Postgres: a method per query, model types in and out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from commerce.collection_sync import model
from tradewind.catalogue import ShopifyCollection
from tradewind.sql import load_queries
from tradewind.tenancy.database import Jsonb, Transaction

QUERIES = load_queries(__file__)


class Collections:
    """``read_at`` is when Shopify was asked."""

    def __init__(self, transaction: Transaction) -> None:
        self._tx = transaction

    def find_update(self, collection_id: int) -> datetime | None:
        row = self._tx.fetch_one(QUERIES["find_collection_update"], {"collection_id": collection_id})
        return None if row is None else row["shopify_updated_at"]

    def save(self, collections: Sequence[ShopifyCollection], read_at: datetime) -> set[int]:
        """Write collections, set-based; returns the ids of those that were newer."""
        about = {"collections": Jsonb([model.to_row(each) for each in collections]), "read_at": read_at}
        rows = self._tx.fetch_all(QUERIES["save_collections"], about)
        return {row["shopify_collection_id"] for row in rows}

    def mark_deleted(self, collection_ids: Sequence[int], read_at: datetime) -> list[int]:
        """Mark collections and empty them; returns those that were not marked before."""
        about = {"collection_ids": list(collection_ids), "read_at": read_at}
        rows = self._tx.fetch_all(QUERIES["mark_collections_deleted"], about)
        return [row["shopify_collection_id"] for row in rows]

    def unseen(self, run_id: UUID, read_at: datetime) -> list[int]:
        rows = self._tx.fetch_all(QUERIES["unseen_collections"], {"run_id": run_id, "read_at": read_at})
        return [row["shopify_collection_id"] for row in rows]

    def save_members(self, collection_id: int, member_ids: Sequence[int], offset: int) -> tuple[int, int]:
        """Write a page of members that begins behind ``offset`` others; how many are new and how many have moved."""
        about = {"collection_id": collection_id, "member_ids": list(member_ids), "offset": offset}
        rows = self._tx.fetch_all(QUERIES["save_members"], about)
        new = sum(row["new"] for row in rows)
        return new, len(rows) - new

    def delete_unseen_members(self, collection_id: int, run_id: UUID) -> int:
        about = {"collection_id": collection_id, "run_id": run_id}
        return len(self._tx.fetch_all(QUERIES["delete_unseen_members"], about))
