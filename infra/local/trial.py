"""What a suite may change in the local stage: shorter times, and functions that die when they are told to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Trial:
    """As it is, nothing is changed. ``crash_orders`` is a folder; see ``infra.local.crashing``."""

    time_percent: int = 100
    longest_time: timedelta = timedelta(minutes=15)
    unsent_after: timedelta = timedelta(seconds=30)
    lost_after: timedelta = timedelta(minutes=15)
    crash_orders: str | None = None
    concurrency: int = 4
    """Batches of one queue that are worked at once."""
    schedules_fire: bool = True

    def environment(self) -> dict[str, str]:
        """As the variables that `infra/settings.py` reads."""
        told = {
            "TRADEWIND_LOCAL_CONCURRENCY": str(self.concurrency),
            "TRADEWIND_LOCAL_TIME_PERCENT": str(self.time_percent),
            "TRADEWIND_LOCAL_LONGEST_TIME_S": str(int(self.longest_time.total_seconds())),
            "TRADEWIND_LOCAL_UNSENT_AFTER_S": str(int(self.unsent_after.total_seconds())),
            "TRADEWIND_LOCAL_LOST_AFTER_S": str(int(self.lost_after.total_seconds())),
        }
        told |= {} if self.schedules_fire else {"TRADEWIND_LOCAL_SCHEDULES": "off"}
        return told | ({"TRADEWIND_LOCAL_CRASH_ORDERS": self.crash_orders} if self.crash_orders else {})
