"""What the attribution tasks take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

Id = Annotated[int, Field(gt=0, lt=2**63)]


class RefundOf(BaseModel):
    """A refund and its order: as Shopify's webhook tells it (``id`` is the refund's), or by hand with ``refund_id``."""

    model_config = ConfigDict(extra="ignore")

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


class Range(BaseModel):
    """Conversions of the last ``days``, or from ``since`` on and before ``until``: a full recalculation names 2004."""

    model_config = ConfigDict(extra="forbid")

    days: Annotated[int, Field(ge=1, le=400)] = 3
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None
