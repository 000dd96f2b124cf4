"""What may be asked for by hand; a schedule asks for nothing and gets what has just ended."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Hours(BaseModel):
    """How many of the last full hours are counted: the one before too, for what came late."""

    model_config = ConfigDict(extra="forbid", defer_build=True)

    hours: Annotated[int, Field(ge=1, le=48)] = 2


class Days(BaseModel):
    """How many local days are counted, up to ``last_day`` (the last completed one)."""

    model_config = ConfigDict(extra="forbid", defer_build=True)

    last_day: date | None = None
    days: Annotated[int, Field(ge=1, le=92)] = 3


class Week(BaseModel):
    """The Monday on which the week begins; without it the last one."""

    model_config = ConfigDict(extra="forbid", defer_build=True)

    week_on: date | None = None
