"""What the attribution tasks take."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from pydantic import AwareDatetime, Field, model_validator

from tradewind.contracts.payload import Payload, StrictPayload

Id = Annotated[int, Field(gt=0, lt=2**63)]


class RefundOf(Payload):
    """A refund and its order: as Shopify's webhook tells it (``id`` is the refund's), or by hand with ``refund_id``."""

    order_id: Id
    refund_id: Id

    @model_validator(mode="before")
    @classmethod
    def _read_body(cls, raw: Any) -> Any:
        if not isinstance(raw, Mapping):
            return raw
        refund_id = raw.get("refund_id")
        return {
            "order_id": raw.get("order_id"),
            "refund_id": raw.get("id") if refund_id is None else refund_id,
        }


class Range(StrictPayload):
    """Conversions of the last ``days``, or from ``since`` on and before ``until``: a full recalculation names 2004."""

    days: Annotated[int, Field(ge=1, le=400)] = 3
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None


class OrdersAgain(StrictPayload):
    """One order, or those placed from ``since`` on and before ``until`` (now)."""

    order_id: Id | None = None
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None

    @model_validator(mode="after")
    def _of_something(self) -> OrdersAgain:
        if (self.order_id is None) == (self.since is None):
            raise ValueError("either order_id or since is required")
        return self

    def bounds(self, now: datetime) -> tuple[datetime, datetime]:
        """The range's ends. Of an order alone there are none."""
        return self.since or now, self.until or now


class Retries(StrictPayload):
    """How many conversions are tried again at most."""

    limit: Annotated[int, Field(ge=1, le=500)] = 50


class Missed(StrictPayload):
    """How many orders are settled at most."""

    limit: Annotated[int, Field(ge=1, le=500)] = 100
