"""What customer tasks are started with: Shopify's webhook bodies as far as they are read, and payloads of our own."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from commerce.order_sync.payloads import Id, Instant
from commerce.product_sync.payloads import MAX_IDS, read_reference
from tradewind.contracts.payload import Payload


class CustomerSync(Payload):
    """One customer; where none is named every customer, ``page_size`` a message."""

    customer_id: Id | None = None
    changed_at: Instant | None = None
    page_size: int = Field(default=100, ge=1, le=100)

    @model_validator(mode="before")
    @classmethod
    def _read_bodies(cls, raw: Any) -> Any:
        return read_reference(raw, "customer_id", "Customer")


class CustomerRef(Payload):
    """A customer who is new or has changed."""

    customer_id: Id
    changed_at: Instant | None = None

    @model_validator(mode="before")
    @classmethod
    def _read_bodies(cls, raw: Any) -> Any:
        return read_reference(raw, "customer_id", "Customer")


class CustomerBatch(Payload):
    """Customers by ids, created since or changed since, the first that is named; without any of them all of them.

    ``full`` reads everything by a bulk operation and marks those that Shopify has no more.
    """

    customer_ids: list[Id] = Field(default=[], max_length=MAX_IDS)
    created_since: Instant | None = None
    updated_since: Instant | None = None
    full: bool = False
    page_size: int = Field(default=100, ge=1, le=250)
