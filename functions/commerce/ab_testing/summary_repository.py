"""What summaries read of measurements."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from commerce.ab_testing.repository import QUERIES
from commerce.ab_testing.summary import Point, WeightChange
from tradewind.tenancy.database import Transaction


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
            point = Point(
                row["test_id"],
                row["variant_id"],
                row["measured_at"],
                row["mean"],
                row["low"],
                row["high"],
                row["chance_to_be_best"],
                row["weight_after"],
            )
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
