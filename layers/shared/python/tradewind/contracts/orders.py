"""``order.converted``: an order with a value and somebody who placed it, told once, as its attribution is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, Field

from tradewind.contracts.payload import StrictPayload


class OrderConverted(StrictPayload):
    """A conversion. Backfilled orders are not told: nobody is to hear of last year's sales as if they were new."""

    order_id: Annotated[int, Field(gt=0, lt=2**63)]


@dataclass(frozen=True, slots=True)
class TaskRef:
    """A task of another domain, as far as starting it takes."""

    id: str
    payload: type[BaseModel]
    cap: int
    entity: str | None
    backfill: bool = False


PROCESS_ATTRIBUTION = TaskRef("analytics-process-attribution", OrderConverted, cap=10, entity="order_id")
