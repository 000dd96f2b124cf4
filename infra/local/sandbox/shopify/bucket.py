"""The Admin API's leaky bucket of points, and the plans that size it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

PLANS: Mapping[str, float] = {"standard": 100.0, "advanced": 200.0, "plus": 1000.0, "enterprise": 2000.0}
SECONDS_TO_FILL = 20.0
"""Points restored in a second, per plan; a bucket holds what twenty seconds restore."""


@dataclass(slots=True)
class Bucket:
    """Points of one shop and app. ``clock`` gives seconds that only grow."""

    restore_per_second: float
    clock: Callable[[], float]
    maximum: float = 0.0
    _available: float = 0.0
    _at: float = 0.0

    def __post_init__(self) -> None:
        self.maximum = self.restore_per_second * SECONDS_TO_FILL
        self._available = self.maximum
        self._at = self.clock()

    @property
    def available(self) -> float:
        now = self.clock()
        self._available = min(self.maximum, self._available + (now - self._at) * self.restore_per_second)
        self._at = now
        return self._available

    def may_take(self, requested: float) -> bool:
        """Whether the bucket holds what a call may cost at most."""
        return self.available >= requested

    def take(self, points: float) -> None:
        self._available = self.available - points

    def drain(self) -> None:
        """Leave nothing, as another of the merchant's calls might."""
        self.take(self.available)

    def cost_extension(self, requested: float, actual: float | None) -> Mapping[str, Any]:
        """``extensions.cost`` of an answer."""
        status = {
            "maximumAvailable": self.maximum,
            "currentlyAvailable": int(self.available),
            "restoreRate": self.restore_per_second,
        }
        return {
            "requestedQueryCost": int(requested),
            "actualQueryCost": None if actual is None else int(actual),
            "throttleStatus": status,
        }
