"""What may be asked for by hand; a schedule asks for nothing and gets what has just ended."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from pydantic import Field

from tradewind.contracts.payload import StrictPayload


class Hours(StrictPayload):
    """How many of the last full hours are counted: the one before too, for what came late."""

    hours: Annotated[int, Field(ge=1, le=48)] = 2


class Days(StrictPayload):
    """How many local days are counted, up to ``last_day`` (the last completed one)."""

    last_day: date | None = None
    days: Annotated[int, Field(ge=1, le=92)] = 3


class Week(StrictPayload):
    """The Monday on which the week begins; without it the last one."""

    week_on: date | None = None
