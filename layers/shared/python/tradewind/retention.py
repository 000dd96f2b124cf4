"""How long what may hold personal data is kept, store by store: the one place that purge, lifecycle and queues read.

Nothing here is above 30 days, the time in which a customer's request must be done, but what such a request reaches
row by row.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

LONGEST = timedelta(days=30)

TABLES: Mapping[str, str] = {
    "webhook_inbox": "received_at",
    "outbox": "greatest(created_at, due_at)",
    "task_run": "first_started_at",
    "dead_letter": "created_at",
    "schedule_slot": "created_at",
    "ab_counter_folds": "folded_at",
    "sent_messages": "claimed_at",
    "review_email_events": "kept_at",
    "attribution_export_runs": "created_at",
    "attribution_webhook_queue": "created_at",
}
"""Table -> what its rows' age counts from; they are deleted at ``LONGEST``. Attempts go with their run."""

AB_EVENTS = timedelta(days=30)
"""Raw events of A/B tests, a partition a day: whole partitions go."""

TOUCHPOINTS = timedelta(days=400)
"""Visitors' touches, a partition a month: a year and a month to compare with. Redaction reaches each of them."""

PAYLOADS = timedelta(days=30)
"""Objects of the payload bucket: large bodies of webhooks and requests, set-aside webhooks, a customer's exports."""

QUEUES = timedelta(days=14)
"""Messages, dead letters and set-aside webhooks in SQS."""
