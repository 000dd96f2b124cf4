"""What may be asked of the training tasks."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from pydantic import AwareDatetime, Field

from tradewind.contracts.payload import StrictPayload


class TrainingRequest(StrictPayload):
    """Journeys of the 90 days before ``until`` (the run's own moment). Without ``use`` the model is registered, and not
    used whatever it is worth.
    """

    until: AwareDatetime | None = None
    use: bool = True


class MixRequest(StrictPayload):
    """How many local days are learnt from, up to ``last_day`` (the last completed one)."""

    days: Annotated[int, Field(ge=56, le=731)] = 180
    last_day: date | None = None
