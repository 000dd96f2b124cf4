"""A/B tests in Postgres: a method per query, model types in and out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import date, datetime
from typing import Any

from commerce.ab_testing.model import (
    COUNTED,
    AbTest,
    Count,
    DayMetrics,
    Definition,
    Difference,
    Goal,
    Metric,
    Mode,
    Status,
    Variant,
)
from tradewind.sql import load_queries
from tradewind.tenancy.database import Jsonb, Transaction

QUERIES = load_queries(__file__)
NUMBERS = (*COUNTED, "purchases", "revenue_cents")
"""The columns of a variant's day."""


class Tests:
    """Tests with their variants, rules and guardrails."""

    __test__ = False

    def __init__(self, transaction: Transaction) -> None:
        self._tx = transaction

    def save(self, definition: Definition) -> bool:
        """Write a definition; False where the test has started, whose definition stays as it is."""
        test_id = definition.id
        if self._tx.fetch_one(QUERIES["save_test"], {"tests": _json([_test_row(definition)])}) is None:
            return False
        names = [variant.id for variant in definition.variants]
        self._tx.execute(QUERIES["drop_variants"], {"test_id": test_id, "kept_variants": names})
        self._tx.execute(QUERIES["save_variants"], {"test_variants": _json(_variant_rows(definition))})
        rules = [{"test_id": test_id, **asdict(rule)} for rule in definition.rules]
        priorities = [rule.priority for rule in definition.rules]
        about = {"test_id": test_id, "priorities": priorities, "rules": _json(rules)}
        self._tx.execute(QUERIES["replace_rules"], about)
        guardrails = [{"test_id": test_id, **asdict(each)} for each in definition.guardrails]
        watched = [each.metric for each in definition.guardrails]
        about = {"test_id": test_id, "metric_names": watched, "guardrails": _json(guardrails)}
        self._tx.execute(QUERIES["replace_guardrails"], about)
        return True

    def init_metrics(self, test_id: str, at: datetime) -> None:
        self._tx.execute(QUERIES["init_metrics"], {"test_id": test_id, "started_at": at})

    def find(self, test_id: str) -> AbTest | None:
        return _test(self._tx.fetch_one(QUERIES["find_test"], {"test_id": test_id}))

    def lock(self, test_id: str) -> AbTest | None:
        return _test(self._tx.fetch_one(QUERIES["lock_test"], {"test_id": test_id}))

    def list_live(self) -> list[AbTest]:
        rows = self._tx.fetch_all(QUERIES["list_live_tests"])
        return [test for row in rows if (test := _test(row)) is not None]

    def start(self, test_id: str, at: datetime) -> bool:
        """True where a draft starts or a paused test goes on."""
        about = {"test_id": test_id, "started_at": at}
        return self._tx.fetch_one(QUERIES["start_test"], about) is not None

    def end(self, test_id: str, at: datetime, winner_id: str | None) -> bool:
        """True where the test was not over."""
        about = {"test_id": test_id, "ended_at": at, "winner_variant_id": winner_id}
        return self._tx.fetch_one(QUERIES["end_test"], about) is not None

    def mark_synced(self) -> list[str]:
        rows = self._tx.fetch_all(QUERIES["mark_synced"])
        return [row["test_id"] for row in rows]


class Metrics:
    """What is counted of tests, day by day. ``lock`` first: whoever writes does it alone."""

    def __init__(self, transaction: Transaction) -> None:
        self._tx = transaction

    def lock(self) -> None:
        self._tx.fetch_one(QUERIES["lock_metrics"])

    def begin_fold(self, snapshot_id: str, hour: datetime, counts: int) -> bool:
        """Remember a snapshot; False where it was added before."""
        about = {"snapshot_id": snapshot_id, "hour_at": hour, "amount": counts}
        return self._tx.fetch_one(QUERIES["begin_fold"], about) is not None

    def add(self, hour: datetime, counts: Sequence[Count]) -> None:
        rows = [
            {
                "day": count.day.isoformat(),
                "test_id": count.test_id,
                "variant_id": count.variant_id,
                "metric": count.metric,
                "amount": count.amount,
            }
            for count in counts
        ]
        self._tx.execute(QUERIES["fold_counts"], {"hour_counts": _json(rows), "hour_at": hour})

    def refresh_purchases(self, changed_since: datetime) -> None:
        """Bring purchases and revenue of days up to their conversions that have changed since."""
        self._tx.execute(QUERIES["refresh_purchases"], {"changed_since": changed_since})

    def mark_counted(self, kept_before: datetime) -> None:
        self._tx.execute(QUERIES["mark_counted"], {"kept_before": kept_before})

    def forget_measurements(self, before: datetime) -> None:
        self._tx.execute(QUERIES["forget_measurements"], {"forgotten_at": before})

    def list_stored(self, first: date, last: date, only_test: str | None = None) -> list[DayMetrics]:
        about = {"first_day": first, "last_day": last, "only_test": only_test}
        return [
            DayMetrics(
                row["test_id"], row["variant_id"], row["metrics_on"], {name: row[name] for name in NUMBERS}
            )
            for row in self._tx.fetch_all(QUERIES["list_metrics"], about)
        ]

    def list_actual(
        self, first: date, last: date, kept_before: datetime, only_test: str | None = None
    ) -> list[DayMetrics]:
        """Counted anew from what was kept before an instant."""
        about = {"first_day": first, "last_day": last, "only_test": only_test, "kept_before": kept_before}
        return [
            DayMetrics(row["test_id"], row["variant_id"], row["metrics_on"], row["values"])
            for row in self._tx.fetch_all(QUERIES["list_actual_metrics"], about)
        ]

    def replace(self, days: Iterable[DayMetrics], kept_before: datetime) -> None:
        rows = [
            {
                "test_id": each.test_id,
                "variant_id": each.variant_id,
                "metrics_on": each.day.isoformat(),
                **{name: each.values.get(name, 0) for name in NUMBERS},
            }
            for each in days
        ]
        self._tx.execute(QUERIES["replace_metrics"], {"metrics": _json(rows), "kept_before": kept_before})

    def save_differences(self, differences: Sequence[Difference], found_by: str, *, corrected: bool) -> None:
        rows = [
            {
                "test_id": each.test_id,
                "variant_id": each.variant_id,
                "metrics_on": each.day.isoformat(),
                "metric": each.metric,
                "stored": each.stored,
                "actual": each.actual,
            }
            for each in differences
        ]
        about = {"metric_differences": _json(rows), "found_by": found_by, "corrected": corrected}
        self._tx.execute(QUERIES["save_discrepancies"], about)


def _json(rows: Iterable[Mapping[str, Any]]) -> Jsonb:
    return Jsonb(list(rows))


def _test(row: Mapping[str, Any] | None) -> AbTest | None:
    if row is None:
        return None
    return AbTest(
        id=row["test_id"],
        name=row["name"],
        status=Status(row["status"]),
        mode=Mode(row["mode"]),
        goal=Goal(row["goal"]),
        metric=Metric(row["metric"]),
        confidence=float(row["confidence"]),
        variants=tuple(
            Variant(each["variant_id"], each["name"], each["weight_basis_points"], each["is_control"])
            for each in row["variants"]
        ),
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        winner_id=row["winner_variant_id"],
        optimized_at=row["optimized_at"],
    )


def _test_row(definition: Definition) -> dict[str, Any]:
    return {
        "test_id": definition.id,
        "name": definition.name,
        "mode": definition.mode,
        "type": definition.kind,
        "goal": definition.goal,
        "metric": definition.metric,
        "confidence": definition.confidence,
        "exclusion_group": definition.exclusion_group,
        "forced_variant_id": definition.forced_variant_id,
        "zone": definition.zone,
        "starts_at": None if definition.starts_at is None else definition.starts_at.isoformat(),
        "ends_at": None if definition.ends_at is None else definition.ends_at.isoformat(),
        "auto_start": definition.auto_start,
        "auto_end": definition.auto_end,
    }


def _variant_rows(definition: Definition) -> list[dict[str, Any]]:
    return [
        {
            "test_id": definition.id,
            "variant_id": variant.id,
            "name": variant.name,
            "place": place,
            "is_control": variant.is_control,
            "weight_basis_points": variant.weight,
        }
        for place, variant in enumerate(definition.variants)
    ]
