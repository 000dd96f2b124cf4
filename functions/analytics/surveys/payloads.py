"""What may be asked for by hand; the schedule asks for the last day."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tradewind.contracts.payload import StrictPayload


class AnswersSince(StrictPayload):
    """How many days are looked back upon."""

    days: Annotated[int, Field(ge=1, le=92)] = 1
