"""Stock's own rules, pure: where ours and Shopify's differ, and when a level has become low."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tradewind.catalogue import InventoryLevel

LOW_STOCK_THRESHOLD = 10
Place = tuple[int, int]
"""Inventory item and location."""


@dataclass(frozen=True, slots=True)
class StoredLevel:
    available: int
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Difference:
    """``kind``: missing here, outdated here, different at the same instant, or gone at Shopify."""

    inventory_item_id: int
    location_id: int
    kind: str
    ours: int | None
    theirs: int | None


def threshold_of(settings: Mapping[str, Any]) -> int:
    """Below how many a level is low (tenant setting ``low_stock_threshold``)."""
    return int(settings.get("low_stock_threshold", LOW_STOCK_THRESHOLD))


def place_of(level: InventoryLevel) -> Place:
    return level.inventory_item_id, level.location_id


def compare(theirs: Iterable[InventoryLevel], ours: Mapping[Place, StoredLevel]) -> list[Difference]:
    """Where our levels are not Shopify's; a level of ours that is newer than the answer is none of them."""
    found = []
    for level in theirs:
        stored = ours.get(place_of(level))
        if stored is None:
            kind = "missing"
        elif stored.updated_at < level.updated_at:
            kind = "outdated"
        elif stored.updated_at == level.updated_at and stored.available != level.available:
            kind = "different"
        else:
            continue
        found.append(
            Difference(*place_of(level), kind, None if stored is None else stored.available, level.available)
        )
    return found


def to_rows(levels: Sequence[InventoryLevel]) -> list[dict[str, Any]]:
    return [
        {
            "shopify_inventory_item_id": level.inventory_item_id,
            "shopify_location_id": level.location_id,
            "available": level.available,
            "shopify_updated_at": level.updated_at.isoformat(),
        }
        for level in levels
    ]
