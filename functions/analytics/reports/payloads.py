"""Which report is to be sent."""

from __future__ import annotations

from datetime import date

from pydantic import BaseModel, ConfigDict


class WeekToTell(BaseModel):
    """The Monday on which the week begins."""

    model_config = ConfigDict(extra="forbid", defer_build=True)

    week_on: date
