"""Whether two runs ended in the same tables. Which tables there are, the catalogue says: a new one joins by itself."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from tests.chaos.platforms import Books, read_books
from tests.e2e.cloud import Cloud
from tradewind.tasks.message import REPLAY_MARK

KERNEL = {
    "tenants": "the two runs' tenants differ by their names",
    "shopify_app_installations": "the same: shops are named after their tenants",
    "credentials": "encrypted, each time under another key",
    "webhook_inbox": "compared without its times, see accepted()",
    "outbox": "everything must be done, see unfinished()",
    "task_run": "compared by task, cause and outcome, see runs()",
    "task_attempt": "counts the disturbances",
    "dead_letter": "compared with the poisoned webhooks, see dead_letters()",
    "api_keys": "drawn when they were made",
    "bulk_operations": "numbered by the shop in the order of asking, and waited for by a run",
    "schedule_slot": "follows the clock",
    "schedule_due": "follows the clock",
    "schedule_next_run": "follows the clock",
}
"""Tables that follow the run itself and not what it was about: what must hold of them is asked one by one."""
VOLATILE = {
    ("*", "tenant_id"): "the runs have different tenants",
    ("*", "created_at"): "when the row was written",
    ("*", "updated_at"): "when the row was written",
    ("*", "synced_at"): "when the row was written",
    ("*", "checked_at"): "when the row was written",
    ("*", "calculated_at"): "when the row was written",
    ("*", "received_at"): "when the row was written",
    ("ab_counter_folds", "*"): "a snapshot of Valkey's counters is named when it is taken; Valkey is flushed",
    ("ab_daily_metrics", "rebuilt_through"): "when the end's count was made",
    ("ab_findings", "*"): "looks at what is there when its schedule fires",
    ("ab_measurements", "*"): "the same",
    (
        "ab_metric_discrepancies",
        "*",
    ): "what the last count had to mend: Valkey is flushed; the counts themselves are equal",
    ("ad_event_reconciliations", "*"): "counts what is there when its schedule fires",
    ("ab_test_assignments", "seen_at"): "when the row was written",
    ("ab_test_assignments", "viewed_at"): "the same",
    ("ab_test_assignments", "carted_at"): "the same",
    ("ab_test_assignments", "checkout_at"): "the same",
    ("ab_test_assignments", "bounced_at"): "the same",
    ("ab_test_assignments", "error_at"): "the same",
    ("ab_test_conversions", "confirmed_at"): "when the order was seen",
    ("ab_tests", "counted_through"): "follows the clock",
    ("ab_tests", "last_synced_at"): "follows the clock",
    ("ab_tests", "measured_at"): "follows the clock",
    ("creators", "creator_id"): "drawn when the creator was laid down",
    ("conversion_events_sent", "*"): "compared with what the platforms count, see platforms.py",
    ("commissions", "creator_id"): "the same; the code beside it names the creator",
    ("attribution_weights", "*"): "learnt from what is there when its schedule fires",
    ("ml_models", "*"): "the same",
    ("ml_trainings", "*"): "the same",
    ("analytics_metrics", "*"): "counts what is there when its schedule fires",
    ("pnl_snapshots", "*"): "the same",
    ("sync_marks", "complete_until"): "until when something was read whole follows the clock",
    ("attribution_channel_summary", "*"): "the same",
    ("attribution_data_quality_snapshots", "*"): "the same",
    ("attribution_retries", "*"): "the same",
    ("reviews", "review_id"): "drawn when the review was laid down",
    ("webhook_registrations", "shop_domain"): "named after the tenant",
    ("webhook_registrations", "subscription_id"): "numbered by the shop in the order of asking",
    (
        "order_discrepancies",
        "*",
    ): "what a reconciliation found missing at its moment; its effect is the order itself",
    (
        "email_sending_pauses",
        "*",
    ): "tenants without an e-mail account: sending pauses from the moment it looks",
}
"""Columns that may differ between two runs over the same webhooks, each with its reason. ``*`` is any."""
AS_IT_RAN = {
    (
        "review_email_queue",
        "scheduled_at",
    ): "what has waited for its parcel too long is due when that is seen",
}
"""Columns whose instant may differ where it lies within the suite's own time."""
RAN = timedelta(hours=2)

_TABLES = """
SELECT c.table_name AS name FROM information_schema.columns c
JOIN information_schema.tables t USING (table_schema, table_name)
WHERE c.table_schema = 'public' AND c.column_name = 'tenant_id' AND t.table_type = 'BASE TABLE'
ORDER BY 1
"""
_OPEN_RUNS = """
SELECT task, cause, state, attempt, lease_until, next_attempt_at, error_class, error_message
FROM task_run WHERE state NOT IN ('succeeded', 'failed') ORDER BY task, cause LIMIT %s
"""
_OPEN_MESSAGES = """
SELECT task, cause, state, delivery, created_at, sent_at, due_at FROM outbox WHERE state <> 'done'
ORDER BY created_at LIMIT %s
"""
_NAMED = 40
"""So many open runs and messages are read: looking must not cost what working does."""
_RUNS = """
SELECT task, cause, entity, bool_or(state = 'succeeded') AS succeeded FROM (
    SELECT task, split_part(cause, %s, 1) AS cause, entity, state FROM task_run
    WHERE tenant_id = %s AND source <> 'reconciliation'
) r GROUP BY 1, 2, 3 ORDER BY 1, 2
"""
_ACCEPTED = "SELECT topic, event_id, state FROM webhook_inbox WHERE tenant_id = %s ORDER BY event_id"
_DEAD = "SELECT tenant_id, task, cause, error_class FROM dead_letter WHERE state = 'open' AND tenant_id = ANY (%s)"

_ERRORS = """
SELECT a.number, a.error_class, a.message FROM task_attempt a JOIN task_run r USING (tenant_id, run_id)
WHERE r.tenant_id = %s AND r.task = %s AND r.cause = %s ORDER BY a.number
"""

Row = tuple[str, ...]
PLATFORM = UUID(int=0)


@dataclass(frozen=True, slots=True)
class Tables:
    """One run's end: each tenant's rows of every table, its webhooks, its runs, and its books with ad platforms."""

    rows: Mapping[str, tuple[Counter[str], ...]]
    accepted: tuple[Counter[Row], ...]
    runs: tuple[dict[Row, bool], ...]
    books: tuple[Books, ...]


def compared_tables(cloud: Cloud) -> list[str]:
    """Every table with a tenant but the kernel's."""
    return [row["name"] for row in cloud.query(_TABLES) if row["name"] not in KERNEL]


def read_tables(cloud: Cloud, tenants: Sequence[UUID]) -> Tables:
    return Tables(
        rows={
            table: tuple(_rows(cloud, table, tenant) for tenant in tenants)
            for table in compared_tables(cloud)
            if (table, "*") not in VOLATILE
        },
        accepted=tuple(
            Counter((row["topic"], row["event_id"], row["state"]) for row in cloud.query(_ACCEPTED, tenant))
            for tenant in tenants
        ),
        runs=tuple(_runs(cloud, tenant) for tenant in tenants),
        books=tuple(read_books(cloud, tenant) for tenant in tenants),
    )


def _rows(cloud: Cloud, table: str, tenant: UUID) -> Counter[str]:
    left_out = [column for (of, column) in VOLATILE if of in ("*", table)]
    found = cloud.query(
        f"SELECT to_jsonb(x) - %s::text[] AS x FROM {table} x WHERE tenant_id = %s", left_out, tenant
    )
    for column in (column for (of, column) in AS_IT_RAN if of == table):
        for row in found:
            row["x"][column] = _blurred(row["x"][column])
    return Counter(json.dumps(row["x"], sort_keys=True) for row in found)


def _blurred(instant: str | None) -> str | None:
    if instant is None:
        return None
    age = datetime.now(UTC) - datetime.fromisoformat(instant)
    return "while it ran" if timedelta() <= age < RAN else instant


def _runs(cloud: Cloud, tenant: UUID) -> dict[Row, bool]:
    """Whether a task's work for a cause succeeded in the end, be it by a replay."""
    found = cloud.query(_RUNS, REPLAY_MARK, tenant)
    return {(row["task"], row["cause"], row["entity"] or ""): row["succeeded"] for row in found}


def differences(expected: Tables, found: Tables) -> list[str]:
    """What differs, for a person; empty where the runs ended alike."""
    told: list[str] = []
    for table, tenants in expected.rows.items():
        for number, rows in enumerate(tenants):
            told += _differing(f"{table} of tenant {number}", rows, found.rows[table][number])
    for number, (one, other) in enumerate(zip(expected.accepted, found.accepted, strict=True)):
        told += _differing(f"webhooks of tenant {number}", one, other)
    for number, (runs, others) in enumerate(zip(expected.runs, found.runs, strict=True)):
        told += _differing(f"runs of tenant {number}", Counter(runs.items()), Counter(others.items()))
    return told


def _differing(what: str, expected: Counter[Any], found: Counter[Any]) -> list[str]:
    missing, more = expected - found, found - expected
    return [f"{what}: missing {row}" for row in missing.elements()] + [
        f"{what}: too many {row}" for row in more.elements()
    ]


def unfinished(cloud: Cloud) -> list[str]:
    """The first runs and messages that have not ended, of whatever tenant; a hanging lease and a stuck group show
    here.
    """
    runs = [f"run {json.dumps(row, default=str)}" for row in cloud.query(_OPEN_RUNS, _NAMED)]
    messages = [f"message {json.dumps(row, default=str)}" for row in cloud.query(_OPEN_MESSAGES, _NAMED)]
    return runs + messages


def dead_letters(cloud: Cloud, tenants: Sequence[UUID]) -> Counter[tuple[int | None, str, str]]:
    """The open ones as (tenant's number, None for the platform's; task; cause)."""
    numbers: dict[UUID, int | None] = {tenant: number for number, tenant in enumerate(tenants)} | {
        PLATFORM: None
    }
    rows = cloud.query(_DEAD, list(numbers))
    return Counter((numbers[row["tenant_id"]], row["task"], row["cause"]) for row in rows)


def why_dead(
    cloud: Cloud, tenants: Sequence[UUID], letters: Iterable[tuple[int | None, str, str]]
) -> list[str]:
    """What each attempt of a dead letter ended with."""
    told = []
    for number, task, cause in letters:
        tenant = PLATFORM if number is None else tenants[number]
        told += [f"{task} {cause}: {dict(row)}" for row in cloud.query(_ERRORS, tenant, task, cause)]
    return told


def lying_messages(cloud: Cloud) -> dict[str, int]:
    """Queues that still hold something, waiting or at work."""
    queues = cloud.client("sqs")
    wanted = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = {}
    for page in queues.get_paginator("list_queues").paginate():
        for url in page.get("QueueUrls", []):
            held = queues.get_queue_attributes(QueueUrl=url, AttributeNames=wanted)["Attributes"]
            found[url.rsplit("/", 1)[-1]] = sum(map(int, held.values()))
    return {name: held for name, held in found.items() if held}


def briefly(lines: Iterable[str], most: int = 40) -> str:
    """The first lines, cut to a readable width, and how many more there are."""
    listed = [re.sub(r"n{100,}", "n...", line)[:1200] for line in lines]
    more = [f"and {len(listed) - most} more"] if len(listed) > most else []
    return "\n".join([*listed[:most], *more])
