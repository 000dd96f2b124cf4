"""What may be asked for by hand; the schedule asks for the last day."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class AnswersSince(BaseModel):
    """How many days are looked back upon."""

    model_config = ConfigDict(extra="forbid", defer_build=True)

    days: Annotated[int, Field(ge=1, le=92)] = 1
