"""``order.converted``: an order with a value and somebody who placed it, told once, as its attribution is written."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class OrderConverted(BaseModel):
    """A conversion. Backfilled orders are not told: nobody is to hear of last year's sales as if they were new."""

    model_config = ConfigDict(extra="forbid", defer_build=True)

    order_id: Annotated[int, Field(gt=0, lt=2**63)]
