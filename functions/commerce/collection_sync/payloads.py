"""What collection tasks are started with: Shopify's webhook bodies as far as they are read, and payloads of our own."""

from __future__ import annotations

from typing import Any

from pydantic import model_validator

from commerce.order_sync.payloads import Id, Instant
from commerce.product_sync.payloads import read_reference
from tradewind.contracts.payload import Payload


class CollectionSync(Payload):
    """One collection; where none is named every one, a page a message."""

    collection_id: Id | None = None
    changed_at: Instant | None = None

    @model_validator(mode="before")
    @classmethod
    def _read_bodies(cls, raw: Any) -> Any:
        return read_reference(raw, "collection_id", "Collection")


class CollectionRef(Payload):
    collection_id: Id
