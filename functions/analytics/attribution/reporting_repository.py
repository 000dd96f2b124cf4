"""What is told of attribution, in Postgres: days' channels, coverage, and what is tried again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from analytics.metrics.model import Period
from tradewind.contracts.attribution import AttributionSettings
from tradewind.sql import load_queries
from tradewind.tenancy.database import Transaction

QUERIES = load_queries(__file__)


@dataclass(frozen=True, slots=True)
class Quality:
    """How much of a day is explained: ``coverage`` is the share of its orders with touches, None without an order."""

    snapshot_on: date
    orders: int
    attributed: int
    coverage: float | None
    touchpoints: int
    webhooks: int
    webhooks_failed: int


class Unsettled:
    """Orders and conversions to which something is still to be done."""

    def __init__(self, transaction: Transaction) -> None:
        self._tx = transaction

    def pick_unattributed(self, since: datetime, until: datetime, page: int) -> list[int]:
        about = {"since": since, "until": until, "page": page}
        return [row["shopify_order_id"] for row in self._tx.fetch_all(QUERIES["pick_unattributed"], about)]

    def note_retries(self, order_ids: Sequence[int], now: datetime) -> None:
        self._tx.execute(QUERIES["note_retries"], {"order_ids": list(order_ids), "now": now})

    def give_up(self, until: datetime) -> int:
        """Try what is older no more; how many these were."""
        return len(self._tx.fetch_all(QUERIES["give_up_unattributed"], {"until": until}))

    def pick_unsettled(self, since: datetime, until: datetime, page: int) -> list[int]:
        about = {"since": since, "until": until, "page": page}
        return [row["shopify_order_id"] for row in self._tx.fetch_all(QUERIES["pick_unsettled"], about)]

    def pick_range(
        self, since: datetime, until: datetime, after_at: datetime, after_id: int, page: int
    ) -> list[tuple[int, datetime]]:
        """Orders with their times, after a cursor."""
        about = {"since": since, "until": until, "after_at": after_at, "after_id": after_id, "page": page}
        rows = self._tx.fetch_all(QUERIES["pick_range"], about)
        return [(row["shopify_order_id"], row["placed_at"]) for row in rows]


class Days:
    """Days' channels and coverage."""

    def __init__(self, transaction: Transaction) -> None:
        self._tx = transaction

    def save_summary(self, day: Period, currency: str, written: AttributionSettings) -> int:
        """Count a day's channels and their costs anew, in the models and windows of ``written``; how many rows."""
        about = {"summary_on": day.starts_on, "opened_at": day.opened_at, "closes_at": day.closes_at}
        self._tx.execute(QUERIES["clear_summary"], {"summary_on": day.starts_on})
        models = {"models": [*written.models], "windows": [*written.windows]}
        return self._tx.execute(QUERIES["save_summary"], {**about, **models, "currency": currency})

    def save_quality(self, day: Period) -> Quality:
        """Count a day's coverage anew."""
        about = {"snapshot_on": day.starts_on, "opened_at": day.opened_at, "closes_at": day.closes_at}
        [row] = self._tx.fetch_all(QUERIES["save_quality"], about)
        return Quality(snapshot_on=day.starts_on, **row)
