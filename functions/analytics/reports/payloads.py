"""Which report is to be sent."""

from __future__ import annotations

from datetime import date

from tradewind.contracts.payload import StrictPayload


class WeekToTell(StrictPayload):
    """The Monday on which the week begins."""

    week_on: date
