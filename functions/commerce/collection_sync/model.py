"""A collection's own rules, pure: what is written of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tradewind.catalogue import ShopifyCollection


@dataclass(frozen=True, slots=True)
class MembershipChange:
    """How a collection's products differ from what was stored."""

    added: int
    removed: int
    moved: int


def to_row(collection: ShopifyCollection) -> dict[str, Any]:
    moment: datetime = collection.updated_at
    return {
        "shopify_collection_id": collection.id,
        "title": collection.title,
        "handle": collection.handle,
        "description_html": collection.description_html,
        "sort_order": collection.sort_order,
        "rules": None if collection.rules is None else [dict(rule) for rule in collection.rules],
        "products_count": collection.products_count,
        "shopify_updated_at": moment.isoformat(),
    }
