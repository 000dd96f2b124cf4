"""Finding runs and seeing what waits: what an operator asks before anything is changed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from ingress.operators import Request, Slug, find_tenant
from ingress.platform import Platform

_FIND = """
SELECT t.slug AS tenant, r.run_id::text, r.task, r.cause, r.entity, r.source, r.state, r.attempt, r.hops,
       r.correlation_id, r.error_kind, r.error_class, r.error_message, r.replay_of::text,
       r.accepted_at::text, r.first_started_at::text, r.finished_at::text, r.next_attempt_at::text,
       r.steps, a.attempts, d.dead_letter
FROM task_run r
JOIN tenants t ON t.tenant_id = r.tenant_id
LEFT JOIN LATERAL (
    SELECT jsonb_agg(jsonb_build_object(
        'number', x.number, 'started_at', x.started_at, 'ended_at', x.ended_at, 'error_kind', x.error_kind,
        'error_class', x.error_class, 'message', x.message, 'stack', x.stack, 'log_stream', x.log_stream
    ) ORDER BY x.fence) AS attempts
    FROM task_attempt x WHERE x.tenant_id = r.tenant_id AND x.run_id = r.run_id
) a ON true
LEFT JOIN LATERAL (
    SELECT jsonb_build_object('dead_letter_id', y.dead_letter_id, 'state', y.state, 'created_at', y.created_at,
                              'replayed_at', y.replayed_at) AS dead_letter
    FROM dead_letter y WHERE y.tenant_id = r.tenant_id AND y.task = r.task AND y.cause = r.cause
) d ON true
WHERE (%(tenant_id)s::uuid IS NULL OR r.tenant_id = %(tenant_id)s)
  AND (%(task)s::text IS NULL OR r.task = %(task)s)
  AND (%(state)s::text IS NULL OR r.state = %(state)s)
  AND (%(entity)s::text IS NULL OR r.entity = %(entity)s)
  AND (%(correlation_id)s::text IS NULL OR r.correlation_id = %(correlation_id)s)
  AND (%(error_class)s::text IS NULL OR r.error_class = %(error_class)s)
  AND (%(since)s::timestamptz IS NULL OR r.first_started_at >= %(since)s)
  AND (%(until)s::timestamptz IS NULL OR r.first_started_at <= %(until)s)
ORDER BY r.first_started_at DESC, r.run_id LIMIT %(limit)s
"""
_QUEUES = """
SELECT t.slug AS tenant, x.task, x.lane, is_paused(x.tenant_id, x.task) AS paused, x.held, x.ready, x.sent, x.running
FROM (
    SELECT o.tenant_id, o.task, o.lane,
           (count(*) FILTER (WHERE o.state = 'held'))::integer AS held,
           (count(*) FILTER (WHERE o.state = 'ready'))::integer AS ready,
           (count(*) FILTER (WHERE o.state = 'sent'))::integer AS sent,
           (count(*) FILTER (WHERE r.state = 'running' AND r.lease_until > clock_timestamp()))::integer AS running
    FROM outbox o
    LEFT JOIN task_run r ON r.tenant_id = o.tenant_id AND r.task = o.task AND r.cause = o.cause
    WHERE o.state IN ('held', 'ready', 'sent')
      AND (%(tenant_id)s::uuid IS NULL OR o.tenant_id = %(tenant_id)s)
      AND (%(task)s::text IS NULL OR o.task = %(task)s)
    GROUP BY 1, 2, 3
) x JOIN tenants t ON t.tenant_id = x.tenant_id
ORDER BY x.sent + x.ready + x.held DESC, 1, 2, 3 LIMIT 1000
"""


class FindRuns(Request):
    """Which runs, latest first; ``entity`` is what the task's messages are ordered by, for orders the order's id."""

    tenant: Slug | None = None
    task: str | None = None
    state: Literal["running", "retrying", "waiting", "succeeded", "failed"] | None = None
    entity: str | None = None
    correlation_id: str | None = None
    error_class: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    limit: int = Field(default=20, ge=1, le=200)


class QueueState(Request):
    tenant: Slug | None = None
    task: str | None = None


def find_runs(platform: Platform, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Runs with their attempts' errors, their dead letter, and where their logs lie."""
    asked = FindRuns.model_validate(fields)
    with platform.session() as session:
        tenant_id = None if asked.tenant is None else find_tenant(session, asked.tenant).id
        rows = session.call(_FIND, {**asked.model_dump(exclude={"tenant"}), "tenant_id": tenant_id})
    return {"runs": [{**row, "log_group": _log_group(platform, row["task"])} for row in rows]}


def _log_group(platform: Platform, task: str) -> str:
    return f"/aws/lambda/{platform.settings.name(task)}"


def queue_state(platform: Platform, fields: Mapping[str, Any]) -> dict[str, Any]:
    """What waits or is at work, by tenant, task and lane. ``in_flight`` is what a pause has to wait for."""
    asked = QueueState.model_validate(fields)
    with platform.session() as session:
        tenant_id = None if asked.tenant is None else find_tenant(session, asked.tenant).id
        rows = session.call(_QUEUES, {"tenant_id": tenant_id, "task": asked.task})
    in_flight = sum(row["ready"] + row["sent"] for row in rows)
    waiting = sum(row["held"] for row in rows if not row["paused"])
    return {
        "queues": rows,
        "in_flight": in_flight,
        "held": sum(row["held"] for row in rows),
        "drained": in_flight == 0 and waiting == 0,
    }
