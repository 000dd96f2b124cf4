"""Standings, measurements and schedules of tests in Postgres."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any

from commerce.ab_testing.model import Finding, GuardrailRule, Measurement, Standing
from commerce.ab_testing.repository import QUERIES
from tradewind.tenancy.database import Jsonb, Transaction

_FIELDS = tuple(Standing.__dataclass_fields__)


@dataclass(frozen=True, slots=True)
class Due:
    """A test whose start or end has passed."""

    test_id: str
    due_at: datetime


class Standings:
    """What tests have come to."""

    def __init__(self, transaction: Transaction) -> None:
        self._tx = transaction

    def list_standings(self, only_test: str | None = None) -> dict[str, list[Standing]]:
        """Variants by test, in their places; of one test, or of all that run or are paused."""
        found: dict[str, list[Standing]] = {}
        for row in self._tx.fetch_all(QUERIES["list_standings"], {"only_test": only_test}):
            standing = Standing(**{name: row[name] for name in _FIELDS})
            found.setdefault(row["test_id"], []).append(standing)
        return found

    def save_measurements(
        self, measured: Mapping[str, Sequence[Measurement]], metric: Mapping[str, str], at: datetime
    ) -> None:
        """Keep measurements by test; ``metric`` is each test's own."""
        rows = [
            row for test_id, each in measured.items() for row in _rows(test_id, each, at, metric[test_id])
        ]
        self._tx.execute(QUERIES["save_measurements"], {"measurements": Jsonb(rows)})

    def save_weights(
        self,
        measured: Mapping[str, Sequence[Measurement]],
        metric: Mapping[str, str],
        algorithm: Mapping[str, str],
        at: datetime,
    ) -> None:
        """Keep measurements and let their new weights count."""
        rows = [
            {**row, "algorithm": algorithm[test_id]}
            for test_id, each in measured.items()
            for row in _rows(test_id, each, at, metric[test_id])
        ]
        self._tx.execute(QUERIES["save_measurements"], {"measurements": Jsonb(rows)})
        self._tx.execute(QUERIES["save_weights"], {"measurements": Jsonb(rows), "optimized_at": at})

    def choose_due_starts(self, due_at: datetime, most: int) -> list[Due]:
        rows = self._tx.fetch_all(QUERIES["choose_due_starts"], {"due_at": due_at, "most": most})
        return [Due(row["test_id"], row["due_at"]) for row in rows]

    def choose_due_ends(self, due_at: datetime, most: int) -> list[Due]:
        rows = self._tx.fetch_all(QUERIES["choose_due_ends"], {"due_at": due_at, "most": most})
        return [Due(row["test_id"], row["due_at"]) for row in rows]

    def choose_unmeasured(self, most: int) -> list[str]:
        return [row["test_id"] for row in self._tx.fetch_all(QUERIES["choose_unmeasured"], {"most": most})]

    def list_guardrails(self) -> dict[str, list[GuardrailRule]]:
        """Limits of running tests, by test."""
        found: dict[str, list[GuardrailRule]] = {}
        for row in self._tx.fetch_all(QUERIES["list_guardrails"]):
            rule = GuardrailRule(row["metric"], float(row["threshold"]), row["action"])
            found.setdefault(row["test_id"], []).append(rule)
        return found

    def save_findings(self, findings: Sequence[Finding], day: date) -> list[Finding]:
        """Keep findings of a day; returns those that are new on it."""
        rows = [{**asdict(each), "found_on": day.isoformat()} for each in findings]
        new = self._tx.fetch_all(QUERIES["save_findings"], {"findings": Jsonb(rows)})
        keys = {(row["test_id"], row["kind"], row["metric"], row["variant_id"]) for row in new}
        return [each for each in findings if (each.test_id, each.kind, each.metric, each.variant_id) in keys]

    def pause(self, test_ids: Sequence[str]) -> None:
        self._tx.execute(QUERIES["pause_tests"], {"test_ids": list(test_ids)})

    def mark_measured(self, test_id: str, at: datetime, winner_id: str | None) -> None:
        about = {"test_id": test_id, "measured_at": at, "winner_variant_id": winner_id}
        self._tx.execute(QUERIES["mark_measured"], about)


def _rows(test_id: str, measured: Sequence[Measurement], at: datetime, metric: str) -> list[dict[str, Any]]:
    return [
        {
            "test_id": test_id,
            "variant_id": each.variant_id,
            "measured_at": at.isoformat(),
            "metric": metric,
            "visitors": each.visitors,
            "conversions": each.conversions,
            "mean": each.mean,
            "low": each.low,
            "high": each.high,
            "chance_to_be_best": each.chance_to_be_best,
            "expected_loss": each.expected_loss,
            "weight_before": each.weight_before,
            "weight_after": each.weight_after,
            "uplift": each.uplift,
            "p_value": each.p_value,
            "any_time_low": each.any_time_low,
            "any_time_high": each.any_time_high,
        }
        for each in measured
    ]
