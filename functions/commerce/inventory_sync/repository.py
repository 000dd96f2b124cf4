"""Stock by place in Postgres: a method per query, model types in and out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from commerce.inventory_sync import model
from commerce.inventory_sync.model import Difference, Place, StoredLevel
from tradewind.catalogue import InventoryLevel, Location
from tradewind.sql import load_queries
from tradewind.tenancy.database import Jsonb, Transaction

QUERIES = load_queries(__file__)


@dataclass(frozen=True, slots=True)
class Written:
    """A level that was written. ``fell``: it has come below the threshold just now."""

    level: InventoryLevel
    fell: bool


class Stock:
    """Levels, locations and what comparisons found."""

    def __init__(self, transaction: Transaction) -> None:
        self._tx = transaction

    def find(self, inventory_item_id: int, location_id: int) -> StoredLevel | None:
        about = {"inventory_item_id": inventory_item_id, "location_id": location_id}
        row = self._tx.fetch_one(QUERIES["find_level"], about)
        return None if row is None else StoredLevel(row["available"], row["shopify_updated_at"])

    def delete(self, inventory_item_id: int, location_id: int) -> None:
        about = {"inventory_item_id": inventory_item_id, "location_id": location_id}
        self._tx.execute(QUERIES["delete_level"], about)

    def list_levels(self, location_id: int, item_ids: Sequence[int]) -> dict[Place, StoredLevel]:
        about = {"location_id": location_id, "item_ids": list(item_ids)}
        return {
            (row["shopify_inventory_item_id"], row["shopify_location_id"]): StoredLevel(
                row["available"], row["shopify_updated_at"]
            )
            for row in self._tx.fetch_all(QUERIES["list_levels"], about)
        }

    def save(self, levels: Sequence[InventoryLevel], threshold: int, *, asked: bool) -> list[Written]:
        """Write levels, set-based. ``asked``: they come from the API, which knows best of two of one instant."""
        about = {"levels": _json(model.to_rows(levels)), "threshold": threshold, "asked": asked}
        return [
            Written(
                InventoryLevel(
                    row["shopify_inventory_item_id"],
                    row["shopify_location_id"],
                    row["available"],
                    row["shopify_updated_at"],
                ),
                row["fell"],
            )
            for row in self._tx.fetch_all(QUERIES["save_levels"], about)
        ]

    def save_locations(self, locations: Sequence[Location]) -> None:
        rows = [
            {"shopify_location_id": each.id, "name": each.name, "active": each.active} for each in locations
        ]
        self._tx.execute(QUERIES["save_locations"], {"locations": _json(rows)})

    def delete_unseen(self, run_id: UUID, read_at: datetime) -> list[Difference]:
        """Delete what a full reading did not meet."""
        rows = self._tx.fetch_all(QUERIES["delete_unseen_levels"], {"run_id": run_id, "read_at": read_at})
        return [
            Difference(
                row["shopify_inventory_item_id"], row["shopify_location_id"], "gone", row["available"], None
            )
            for row in rows
        ]

    def save_differences(self, differences: Sequence[Difference], found_at: datetime) -> None:
        rows = [
            {
                "shopify_inventory_item_id": each.inventory_item_id,
                "shopify_location_id": each.location_id,
                "kind": each.kind,
                "ours": each.ours,
                "theirs": each.theirs,
            }
            for each in differences
        ]
        about = {"differences": _json(rows), "found_at": found_at}
        self._tx.execute(QUERIES["save_differences"], about)
        self._tx.execute(QUERIES["forget_differences"], {"found_at": found_at})

    def find_mark(self, mark: str) -> datetime | None:
        row = self._tx.fetch_one(QUERIES["find_mark"], {"mark": mark})
        return None if row is None else row["complete_until"]

    def save_mark(self, mark: str, complete_until: datetime) -> None:
        self._tx.execute(QUERIES["save_mark"], {"mark": mark, "complete_until": complete_until})


def _json(rows: Iterable[Any]) -> Jsonb:
    return Jsonb(list(rows))
