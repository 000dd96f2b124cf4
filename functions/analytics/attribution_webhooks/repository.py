"""Subscriptions and what is to be told, in Postgres."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from analytics.attribution_webhooks.model import Claimed, EventType, Outcome, Subscription, Telling
from tradewind.sql import load_queries
from tradewind.tenancy.database import Transaction

QUERIES = load_queries(__file__)


class Webhooks:
    """A tenant's subscriptions and their queue."""

    def __init__(self, transaction: Transaction) -> None:
        self._tx = transaction

    def lock_all(self) -> list[str]:
        """All subscriptions' names."""
        return [row["name"] for row in self._tx.fetch_all(QUERIES["lock_subscriptions"])]

    def save(self, subscription: Subscription) -> None:
        about = {
            "webhook_name": subscription.name,
            "webhook_url": subscription.url,
            "event_types": list(subscription.events),
            "active_is_on": subscription.active,
        }
        self._tx.execute(QUERIES["save_subscription"], about)

    def mark_due(self, now: datetime, *, told: bool) -> None:
        """Say when the schedule has work next; ``told`` is whether anything was told just now."""
        self._tx.execute(QUERIES["mark_webhooks_due"], {"now": now, "told_is_any": told})

    def claim(self, run_id: UUID, now: datetime, lease_at: datetime) -> list[Claimed]:
        """Take what is due and nobody else tells, until ``lease_at``."""
        about = {"run_id": run_id, "now": now, "lease_at": lease_at}
        rows = self._tx.fetch_all(QUERIES["claim_subscriptions"], about)
        return [Claimed(row["name"], row["url"], row["failures"]) for row in rows]

    def pick(self, name: str, page: int, window_days: int) -> list[Telling]:
        """The next things to tell a subscriber, in order."""
        about = {"webhook_name": name, "page": page, "window_days": window_days}
        return [
            Telling(
                row["webhook_id"],
                EventType(row["event"]),
                row["subject"],
                row["attempts"],
                row["created_at"],
                row["data"],
            )
            for row in self._tx.fetch_all(QUERIES["pick_tellings"], about)
        ]

    def begin(self, telling: Telling) -> bool:
        """Note an attempt; whether there is still something to tell."""
        return self._tx.execute(QUERIES["begin_attempt"], {"webhook_id": telling.id}) > 0

    def end(self, telling: Telling, outcome: Outcome, reason: str | None = None) -> None:
        """Note what became of it; one that is tried again stays pending."""
        state = {Outcome.AGAIN: "pending", Outcome.DISABLED: "dead"}.get(outcome, str(outcome))
        told = reason and reason[:300]
        self._tx.execute(
            QUERIES["end_telling"], {"webhook_id": telling.id, "telling_state": state, "reason": told}
        )

    def note_delivery(self, name: str) -> None:
        self._tx.execute(QUERIES["note_delivery"], {"webhook_name": name})

    def note_failure(self, name: str, due_at: datetime, disabled_reason: str | None) -> None:
        about = {"webhook_name": name, "due_at": due_at, "disabled_reason": disabled_reason}
        self._tx.execute(QUERIES["note_failure"], about)

    def release(self, run_id: UUID) -> None:
        self._tx.execute(QUERIES["release_subscriptions"], {"run_id": run_id})
