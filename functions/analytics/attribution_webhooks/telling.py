"""Telling subscribers, one after the other, each in order: note the attempt, send, note what became of it.

A delivery may arrive twice where its answer is lost, under the same id; it is never skipped, and what comes behind it
waits until it has arrived or is given up.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from analytics.attribution_webhooks.model import (
    Claimed,
    Outcome,
    Telling,
    Verdict,
    body_of,
    delivery_id,
    verdict_on_refusal,
    verdict_on_silence,
)
from analytics.attribution_webhooks.repository import Webhooks
from tradewind.clock import Clock
from tradewind.errors import RateLimitedError, RetryableError, TerminalError
from tradewind.exporting import DestinationGoneError, WebhookSender
from tradewind.loglines import count_line
from tradewind.tasks.run import Run
from tradewind.tenancy.database import TenantDb
from tradewind.tenancy.tenant import Tenant

A_CALL = timedelta(seconds=15)
"""What a delivery may take; with less time left a run hands itself on."""


@dataclass(slots=True)
class Drain:
    """One run over a tenant's subscribers: what it works with, and what became of what it told."""

    run: Run
    tenant: Tenant
    db: TenantDb
    sender: WebhookSender
    clock: Clock
    window_days: int
    left: int
    counts: dict[Outcome, int] = field(default_factory=dict)

    @property
    def over(self) -> bool:
        """Whether the rest is for the next message."""
        return self.left <= 0 or self.run.time_left(self.clock.now()) < A_CALL

    def tell_all(self) -> None:
        """Tell every subscriber that is due, as many as are left to tell."""
        now = self.clock.now()
        with self.db.begin() as tx:
            claimed = Webhooks(tx).claim(self.run.id, now, self.run.deadline)
        for place, subscription in enumerate(claimed):
            share = max(1, self.left // (len(claimed) - place))
            self._tell(subscription, share)
        with self.db.begin() as tx:
            webhooks = Webhooks(tx)
            webhooks.release(self.run.id)
            webhooks.mark_due(self.clock.now(), told=bool(self.counts))

    def _tell(self, subscription: Claimed, most: int) -> None:
        with self.db.begin() as tx:
            tellings = Webhooks(tx).pick(subscription.name, most, self.window_days)
        failures = subscription.failures
        for telling in tellings:
            if self.over:
                return
            self.left -= 1
            outcome = self._tell_one(subscription, telling, failures)
            self.counts[outcome] = self.counts.get(outcome, 0) + 1
            failures = 0 if outcome is Outcome.DELIVERED else failures + (outcome is Outcome.DEAD)
            if outcome in {Outcome.AGAIN, Outcome.DISABLED}:
                return

    def _tell_one(self, subscription: Claimed, telling: Telling, failures: int) -> Outcome:
        if telling.data is None:
            with self.db.begin() as tx:
                Webhooks(tx).end(telling, Outcome.GONE)
            return Outcome.GONE
        with self.db.begin() as tx:
            if not Webhooks(tx).begin(telling):
                return Outcome.GONE
        body = json.dumps(body_of(telling), separators=(",", ":"), ensure_ascii=False).encode()
        try:
            sent_as = delivery_id(self.tenant.id, telling.id)
            self.sender.post(subscription.name, subscription.url, sent_as, body)
        except (RateLimitedError, RetryableError) as error:
            wait = error.wait if isinstance(error, RateLimitedError) else None
            return self._fail(subscription, telling, verdict_on_silence(telling.attempts + 1, wait), error)
        except TerminalError as error:
            gone = isinstance(error, DestinationGoneError)
            return self._fail(subscription, telling, verdict_on_refusal(failures, gone=gone), error)
        with self.db.begin() as tx:
            webhooks = Webhooks(tx)
            webhooks.end(telling, Outcome.DELIVERED)
            webhooks.note_delivery(subscription.name)
        return Outcome.DELIVERED

    def _fail(self, subscription: Claimed, telling: Telling, verdict: Verdict, error: Exception) -> Outcome:
        reason = f"{type(error).__name__}: {error}"
        due_at: datetime = self.clock.now() + verdict.wait
        disabled = verdict.outcome is Outcome.DISABLED
        with self.db.begin() as tx:
            webhooks = Webhooks(tx)
            webhooks.end(telling, verdict.outcome, reason)
            webhooks.note_failure(subscription.name, due_at, reason[:300] if disabled else None)
        if disabled:
            count_line("WebhookDisabled")
        elif verdict.outcome is Outcome.DEAD:
            count_line("WebhookDead")
        return verdict.outcome
