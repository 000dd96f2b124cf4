"""What inventory tasks are started with: Shopify's webhook body as far as it is read, and payloads of our own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, model_validator

from commerce.order_sync.payloads import Id, Instant
from tradewind.contracts.payload import Payload

Available = Annotated[int, Field(gt=-(2**31), lt=2**31, strict=True)]


class LevelUpdate(Payload):
    """A level, as its webhook tells it whole; without ``available`` or ``updated_at`` Shopify is asked.

    The GraphQL id is exact where a JavaScript number was rounded. ``available`` is null where the item is not tracked.
    """

    inventory_item_id: Id
    location_id: Id
    available: Available | None = None
    updated_at: Instant | None = None

    @model_validator(mode="before")
    @classmethod
    def _read_exact_ids(cls, raw: Any) -> Any:
        if not isinstance(raw, Mapping):
            return raw
        gid = raw.get("admin_graphql_api_id")
        place, _, item = gid.partition("?inventory_item_id=") if isinstance(gid, str) else ("", "", "")
        if not (place.startswith("gid://shopify/InventoryLevel/") and item.isdigit()):
            return raw
        return {**raw, "inventory_item_id": int(item)}


class LevelBatch(Payload):
    """Every level that has changed since the last comparison; with ``full`` all of them, and those that are gone go."""

    full: bool = False


class SyncRequest(Payload):
    """``inventory.sync``: one level, or with ``full`` all of them (true) or those that have changed (false)."""

    inventory_item_id: Id | None = None
    location_id: Id | None = None
    full: bool | None = None

    @model_validator(mode="after")
    def _something_is_named(self) -> SyncRequest:
        if self.inventory_item_id is None and self.full is None:
            raise ValueError("name a level by inventory_item_id and location_id, or tell full")
        if (self.inventory_item_id is None) != (self.location_id is None):
            raise ValueError("inventory_item_id and location_id name a level together")
        return self
