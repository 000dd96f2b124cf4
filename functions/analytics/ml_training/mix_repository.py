"""Daily spend and revenue, and marketing-mix models, in Postgres."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from analytics.ml_training.model import CODE, DayOfSpend, LearntMix
from tradewind.sql import load_queries
from tradewind.tenancy.database import Jsonb, Transaction

QUERIES = load_queries(__file__)


class Mixes:
    """A tenant's days, and the models of what its spend does."""

    def __init__(self, transaction: Transaction) -> None:
        self._tx = transaction

    def sum_days(
        self, opened_at: datetime, closes_at: datetime, zone: str, currency: str
    ) -> list[DayOfSpend]:
        """Every local day from one midnight to another, the oldest first; what is in another currency is left out."""
        about = {"opened_at": opened_at, "closes_at": closes_at, "zone": zone, "currency": currency}
        rows = self._tx.fetch_all(QUERIES["sum_days"], about)
        return [DayOfSpend(row["day"], row["revenue_cents"], row["spend"]) for row in rows]

    def save(self, run_id: UUID, mix: LearntMix) -> None:
        """Register a model as the one in use; a run leaves one."""
        about: dict[str, Any] = {
            "training_id": run_id,
            "since": mix.since,
            "until": mix.until,
            "now": mix.until,
            "code_version": CODE,
            "samples": mix.days,
            "metrics": Jsonb(dict(mix.scores)),
            "fitted": Jsonb(dict(mix.document)),
        }
        if self._tx.fetch_one(QUERIES["save_mix"], about) is not None:
            self._tx.execute(QUERIES["use_mix"], {"training_id": run_id})

    def version_of(self, run_id: UUID) -> int | None:
        """The version of the model that a run has left."""
        row = self._tx.fetch_one(QUERIES["version_of_mix"], {"training_id": run_id})
        return None if row is None else int(row["version"])
