"""Events about products, customers and stock: what others may ask for, and what our own tasks tell."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import AwareDatetime, Field, model_validator

from tradewind.contracts.payload import StrictPayload

Id = Annotated[int, Field(gt=0, lt=2**63, strict=True)]


class ProductSyncRequested(StrictPayload):
    """``product.sync``: products by ids, of a collection or changed since, the first named, or all (``full``)."""

    product_ids: list[Id] = Field(default=[], max_length=10_000)
    collection_id: Id | None = None
    updated_since: AwareDatetime | None = None
    full: bool = False

    @model_validator(mode="after")
    def _something_is_named(self) -> ProductSyncRequested:
        if not any((self.product_ids, self.collection_id, self.updated_since, self.full)):
            raise ValueError("name product_ids, collection_id or updated_since, or say full")
        return self


class InventorySyncRequested(StrictPayload):
    """``inventory.sync``: one level, or with ``full`` every level (true) or those that have changed (false)."""

    inventory_item_id: Id | None = None
    location_id: Id | None = None
    full: bool | None = None

    @model_validator(mode="after")
    def _something_is_named(self) -> InventorySyncRequested:
        if self.inventory_item_id is None and self.full is None:
            raise ValueError("name a level by inventory_item_id and location_id, or tell full")
        if (self.inventory_item_id is None) != (self.location_id is None):
            raise ValueError("inventory_item_id and location_id name a level together")
        return self


class CustomerChanged(StrictPayload):
    """``customer.created``, ``customer.updated`` and ``customer.welcome``."""

    customer_id: Id
    changed_at: AwareDatetime | None = None


class SegmentsChanged(StrictPayload):
    """``customer.segments-changed``."""

    customer_id: Id
    before: list[str]
    after: list[str]


class ProductDeleted(StrictPayload):
    """``product.deleted``: Shopify has it no more; what is made of it has to go."""

    product_id: Id
    deleted_at: datetime


class InventoryLow(StrictPayload):
    """``inventory.low``: a level has fallen below the tenant's threshold; told once until it has recovered."""

    inventory_item_id: Id
    location_id: Id
    available: int
    threshold: int
    at: datetime
