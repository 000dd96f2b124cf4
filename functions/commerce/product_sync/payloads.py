"""What product tasks are started with: Shopify's webhook bodies as far as they are read, and our own small payloads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from commerce.order_sync.payloads import Id, Instant, gid_number
from tradewind.contracts.payload import Payload

MAX_IDS = 10_000


def read_reference(raw: Any, name: str, kind: str) -> Any:
    """A webhook's body, or a payload of ours, as a reference: ``name`` and ``changed_at``.

    The GraphQL id is exact where a JavaScript number was rounded.
    """
    if not isinstance(raw, Mapping):
        return raw
    given = {key: value for key, value in raw.items() if key not in {"id", "updated_at"}}
    if given.get(name) is None:
        given[name] = gid_number(raw.get("admin_graphql_api_id"), kind) or raw.get("id")
    given["changed_at"] = raw.get("changed_at") or raw.get("updated_at")
    return given


class ProductSync(Payload):
    """One product; where none is named every product, ``page_size`` a message."""

    product_id: Id | None = None
    changed_at: Instant | None = None
    page_size: int = Field(default=50, ge=1, le=50)

    @model_validator(mode="before")
    @classmethod
    def _read_bodies(cls, raw: Any) -> Any:
        return read_reference(raw, "product_id", "Product")


class ProductRef(Payload):
    """A product that Shopify has deleted."""

    product_id: Id

    @model_validator(mode="before")
    @classmethod
    def _read_bodies(cls, raw: Any) -> Any:
        return read_reference(raw, "product_id", "Product")


class ProductBatch(Payload):
    """Products by ids, of a collection, or changed since, the first that is named; without any of them all of them.

    ``full`` reads everything by a bulk operation and archives what Shopify has no more.
    """

    product_ids: list[Id] = Field(default=[], max_length=MAX_IDS)
    collection_id: Id | None = None
    updated_since: Instant | None = None
    full: bool = False
    page_size: int = Field(default=250, ge=1, le=250)


class SyncRequest(Payload):
    """``product.sync`` from the platform's applications, or ``bulk_operations/finish`` from Shopify."""

    product_ids: list[Id] = Field(default=[], max_length=MAX_IDS)
    collection_id: Id | None = None
    updated_since: Instant | None = None
    full: bool = False
    operation_id: Id | None = None
    status: Literal["completed", "failed", "canceled", "expired"] | None = None

    @model_validator(mode="before")
    @classmethod
    def _read_bodies(cls, raw: Any) -> Any:
        if not isinstance(raw, Mapping) or "admin_graphql_api_id" not in raw:
            return raw
        number = gid_number(raw["admin_graphql_api_id"], "BulkOperation")
        if number is None:
            raise ValueError("admin_graphql_api_id is no bulk operation's id")
        return {"operation_id": number, "status": str(raw.get("status")).lower()}

    @model_validator(mode="after")
    def _something_is_named(self) -> SyncRequest:
        if not any((self.product_ids, self.collection_id, self.updated_since, self.full, self.operation_id)):
            raise ValueError("name product_ids, collection_id or updated_since, or say full")
        return self
