"""What summaries read of measurements."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from commerce.ab_testing.repository import QUERIES
from commerce.ab_testing.summary import Point, WeightChange
from tradewind.tenancy.database import Transaction

_POINT = [
    "test_id", "variant_id", "measured_at", "mean", "low", "high", "chance_to_be_best", "uplift", "p_value",
    "any_time_low", "any_time_high",
]  # fmt: skip


class Measurements:
    """Measurements of tests, by test."""

    def __init__(self, transaction: Transaction) -> None:
        self._tx = transaction

    def points_since(self, test_ids: Sequence[str], changed_since: datetime) -> dict[str, list[Point]]:
        """One point an hour and variant, oldest first."""
        found: dict[str, list[Point]] = {}
        for row in self._tx.fetch_all(
            QUERIES["list_points"], {"test_ids": list(test_ids), "changed_since": changed_since}
        ):
            point = Point(weight=row["weight_after"], **{name: row[name] for name in _POINT})
            found.setdefault(point.test_id, []).append(point)
        return found

    def weight_changes_since(
        self, test_ids: Sequence[str], changed_since: datetime
    ) -> dict[str, list[WeightChange]]:
        found: dict[str, list[WeightChange]] = {}
        for row in self._tx.fetch_all(
            QUERIES["list_weight_changes"], {"test_ids": list(test_ids), "changed_since": changed_since}
        ):
            change = WeightChange(**{name: row[name] for name in WeightChange.__dataclass_fields__})
            found.setdefault(change.test_id, []).append(change)
        return found
