"""Every minute: what was written and not sent, what was sent and lost, what has become due, what is too old to keep."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from ingress.manifest import Manifest, load_manifest
from ingress.platform import Platform, current_platform
from tradewind.crash import Point, reached
from tradewind.integrations.shopify.webhook import entity_of
from tradewind.loglines import count_line, log_line
from tradewind.retention import AB_EVENTS, LONGEST, TABLES, TOUCHPOINTS
from tradewind.tasks.message import message_key, shard_of
from tradewind.tenancy.database import Jsonb, Session

_BATCH = 500
_OURS = "tradewind"

_UNSENT = """
SELECT * FROM outbox WHERE state = 'ready' AND created_at < clock_timestamp() - %(age)s::interval
ORDER BY created_at LIMIT %(limit)s
"""
_LOST = """
SELECT o.* FROM outbox o
LEFT JOIN task_run r ON r.tenant_id = o.tenant_id AND r.task = o.task AND r.cause = o.cause
WHERE o.state = 'sent' AND o.sent_at < clock_timestamp() - %(age)s::interval
  AND (r.run_id IS NULL
       OR (r.state = 'retrying' AND coalesce(r.next_attempt_at, r.started_at) < clock_timestamp() - %(age)s::interval)
       OR (r.state = 'running' AND r.lease_until < clock_timestamp() - %(age)s::interval))
ORDER BY o.sent_at LIMIT %(limit)s
"""
_ABANDONED = """
UPDATE task_run r
SET state = 'failed', lease_until = NULL, finished_at = clock_timestamp(), error_kind = 'RetryableError',
    error_class = 'AbandonedError', error_message = 'whoever called it gave it up before it had ended'
WHERE r.source IN ('workflow', 'manual')
  AND ((r.state = 'running' AND r.lease_until < clock_timestamp() - %(age)s::interval)
       OR (r.state = 'retrying' AND coalesce(r.next_attempt_at, r.started_at) < clock_timestamp() - %(age)s::interval))
  AND NOT EXISTS (SELECT FROM task_run c WHERE c.tenant_id = r.tenant_id AND c.cause = r.cause
                  AND c.source <> 'workflow' AND c.run_id <> r.run_id AND c.state IN ('running', 'retrying', 'waiting'))
  AND NOT EXISTS (SELECT FROM outbox o WHERE o.tenant_id = r.tenant_id AND o.task = r.task AND o.cause = r.cause
                  AND o.state <> 'done')
RETURNING r.run_id
"""
_UNROUTED = """
SELECT tenant_id, inbox_id, provider, app, event_id, topic, correlation_id, body, claim, received_at
FROM webhook_inbox
WHERE state = 'unrouted'
  AND (provider, topic) IN (SELECT * FROM unnest(%(providers)s::text[], %(topics)s::text[]))
ORDER BY received_at LIMIT %(limit)s
"""
_ROUTE = """
WITH routed AS (
    UPDATE webhook_inbox SET state = 'routed' WHERE tenant_id = %(tenant)s AND inbox_id = %(inbox_id)s
)
SELECT e.* FROM enqueue(%(messages)s, %(bound)s) e
"""
_SAVE_ROOMS = """
INSERT INTO queue_room AS q (task, lane, room, tenant_room)
SELECT r.task, r.lane, r.room, r.tenant_room
FROM jsonb_to_recordset(%(rooms)s) AS r (task text, lane text, room integer, tenant_room integer)
ON CONFLICT (task, lane) DO UPDATE SET room = excluded.room, tenant_room = excluded.tenant_room
WHERE (q.room, q.tenant_room) <> (excluded.room, excluded.tenant_room)
RETURNING 1 AS saved
"""
_NEARLY_DUE = """
SELECT count(*)::integer AS requests FROM privacy_requests
WHERE state = 'open' AND due_at < clock_timestamp() + %(margin)s
"""
_KEEP_PARTITIONS = """
SELECT keep_ab_event_partitions(d.today, %(events)s) + keep_touchpoint_partitions(d.today, %(touches)s) AS changed
FROM (SELECT (clock_timestamp() AT TIME ZONE 'UTC')::date AS today) d
"""
DUE_MARGIN = timedelta(days=7)
"""So long before a privacy request must be done it raises an alarm."""


def handle(event: Mapping[str, Any], context: object) -> dict[str, Any]:
    """Lambda's entry. Returns what was done."""
    platform = current_platform()
    with platform.session() as session:
        relay = Relay(platform, load_manifest(), session)
        done = {
            "rooms": relay.save_rooms(),
            "unsent": relay.send_unsent(),
            "lost": relay.send_lost(),
            "abandoned": relay.close_abandoned(),
            "routed": relay.route_waiting(),
            "released": platform.release(session, limit=2000),
            "purged": relay.purge(),
            "partitions": relay.keep_partitions(),
            "privacy_due": relay.count_nearly_due(),
        }
    log_line("info", "relay ran", **done)
    return done


def room_of(at_work: int) -> int:
    """Half as many messages waiting as are worked on: enough that no worker is idle while the next message is admitted
    and sent, and so few that a newcomer waits for less than one message's time.
    """
    return at_work + max(1, at_work // 2)


class Relay:
    """The sweeps; each is bounded, and safe to run twice at once."""

    def __init__(self, platform: Platform, manifest: Manifest, session: Session) -> None:
        self._platform = platform
        self._manifest = manifest
        self._session = session

    def save_rooms(self) -> int:
        """How much each queue takes, from its workers' number, and how much of one tenant, from its cap. Returns how
        many have changed, after a deployment.
        """
        rooms = [
            {
                "task": name,
                "lane": lane,
                "room": room_of(int(about["concurrency"])),
                "tenant_room": room_of(int(about["cap"])),
            }
            for name, about in self._manifest.tasks.items()
            for lane in (("live", "backfill") if about["backfill"] else ("live",))
        ]
        return len(self._session.call(_SAVE_ROOMS, {"rooms": Jsonb(rooms)}))

    def send_unsent(self, age: timedelta | None = None) -> int:
        """Rows that were admitted but whose sender died before it could say so."""
        age = self._platform.settings.unsent_after if age is None else age
        rows = self._session.call(_UNSENT, {"age": age, "limit": _BATCH})
        return self._platform.dispatcher.flush(self._session, rows)

    def send_lost(self, age: timedelta | None = None) -> int:
        """Rows that were sent and never begun, or begun and left: a queue can be lost too. The ledger keeps a second
        copy from doing anything twice.
        """
        age = self._platform.settings.lost_after if age is None else age
        rows = self._session.call(_LOST, {"age": age, "limit": _BATCH})
        return self._platform.dispatcher.flush(self._session, rows)

    def close_abandoned(self, age: timedelta | None = None) -> int:
        """Runs that were called directly, whose function died, and whose caller does not come back: a step of a
        workflow that has ended for good, a person's. They have no message that would take them over.
        """
        age = self._platform.settings.lost_after if age is None else age
        return len(self._session.call(_ABANDONED, {"age": age}))

    def route_waiting(self) -> int:
        """Webhooks that were kept before any task was there for them, and events that our own tasks have told."""
        routed_topics = [
            (provider, topic) for provider, topics in self._manifest.routes.items() for topic in topics
        ]
        routed_topics += [(_OURS, event) for event in self._manifest.events]
        asked = {
            "providers": [provider for provider, _ in routed_topics],
            "topics": [topic for _, topic in routed_topics],
            "limit": _BATCH,
        }
        routed = 0
        for row in self._session.call(_UNROUTED, asked):
            tasks = (
                self._manifest.events[row["topic"]]
                if row["provider"] == _OURS
                else self._manifest.tasks_for(row["provider"], row["topic"])
            )
            messages = [self._message(row, task) for task in tasks]
            ready = self._session.call(
                _ROUTE,
                {
                    "tenant": row["tenant_id"],
                    "inbox_id": row["inbox_id"],
                    "messages": Jsonb(messages),
                    "bound": self._platform.settings.admission_bound,
                },
            )
            reached(Point.RELAY_ROUTED)
            routed += self._platform.dispatcher.flush(self._session, ready)
        return routed

    def _message(self, row: Mapping[str, Any], task: str) -> dict[str, Any]:
        body = json.loads(bytes(row["body"])) if row["body"] is not None else {}
        about, ours = self._manifest.tasks[task], row["provider"] == _OURS
        if ours:
            entity = str(body.get(about["entity"]) or row["event_id"])
        else:
            entity = entity_of(row["topic"], body) if body else row["event_id"]
        return {
            "tenant_id": str(row["tenant_id"]),
            "key": message_key(row["tenant_id"], row["provider"], row["app"], row["event_id"], task),
            "task": task,
            "lane": "live",
            "shard": shard_of(entity, int(about["cap"])),
            "cause": row["event_id"],
            "source": "event" if ours else "webhook",
            "entity": entity,
            "inbox_id": str(row["inbox_id"]),
            "correlation_id": row["correlation_id"],
            "accepted_at": row["received_at"].isoformat(),
        }

    def count_nearly_due(self) -> int:
        """Privacy requests that are open and nearly at the end of their time."""
        found: int = self._session.call(_NEARLY_DUE, {"margin": DUE_MARGIN})[0]["requests"]
        if found:
            count_line("PrivacyRequestsDue", found)
        return found

    def keep_partitions(self) -> int:
        """Make the coming days' partitions of raw events and the coming months' of touches, and let go the old ones;
        returns how many changed.
        """
        kept = {"events": AB_EVENTS, "touches": TOUCHPOINTS}
        changed: int = self._session.call(_KEEP_PARTITIONS, kept)[0]["changed"]
        return changed

    def purge(self) -> int:
        """Delete what is older than the retention, a batch of each store at a time."""
        purged = 0
        for table, column in TABLES.items():
            old = f"SELECT ctid FROM {table} WHERE {column} < clock_timestamp() - %(age)s LIMIT 1000"  # noqa: S608 - names from the table above
            delete = f"DELETE FROM {table} WHERE ctid = ANY (ARRAY({old})) RETURNING 1"  # noqa: S608 - the same
            rows = self._session.call(
                f"WITH gone AS ({delete}) SELECT count(*)::integer AS gone FROM gone",  # noqa: S608 - the same
                {"age": LONGEST},
            )
            purged += rows[0]["gone"]
            reached(Point.RELAY_PURGED)
        return purged
