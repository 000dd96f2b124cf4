"""Replaying dead letters: by filter, with a count beforehand, at a rate, leaving an audit row.

A replay is a run of its own, linked to the failed one, with fresh attempts. Its effects carry the same keys as the
first run's, so what was done before is not done again. A webhook that could not even be read stays: its bytes would
fail again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from ingress.manifest import Manifest
from ingress.platform import Platform
from tradewind.crash import Point, reached
from tradewind.tasks.message import REPLAY_MARK, message_key, shard_of
from tradewind.tenancy.database import Jsonb, Session

_WHERE = """
    d.state = 'open'
    AND (%(tenant_id)s::uuid IS NULL OR d.tenant_id = %(tenant_id)s)
    AND (%(task)s::text IS NULL OR d.task = %(task)s)
    AND (%(error_class)s::text IS NULL OR d.error_class = %(error_class)s)
    AND (%(since)s::timestamptz IS NULL OR d.created_at >= %(since)s)
    AND (%(until)s::timestamptz IS NULL OR d.created_at <= %(until)s)
    AND (%(ids)s::uuid[] IS NULL OR d.dead_letter_id = ANY (%(ids)s))
"""
_COUNT = f"""
SELECT count(*)::integer AS matched, (count(*) FILTER (WHERE d.message IS NULL))::integer AS unreadable
FROM dead_letter d WHERE {_WHERE}
"""  # noqa: S608 - constant text
_TAKE = f"""
WITH chosen AS (
    SELECT d.tenant_id, d.dead_letter_id FROM dead_letter d
    WHERE {_WHERE} AND d.message IS NOT NULL AND d.task = ANY (%(tasks)s)
    ORDER BY d.created_at, d.dead_letter_id LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
)
UPDATE dead_letter d SET state = 'replayed', replayed_at = clock_timestamp()
FROM chosen c WHERE d.tenant_id = c.tenant_id AND d.dead_letter_id = c.dead_letter_id
RETURNING d.tenant_id, d.dead_letter_id, d.run_id, d.task, d.cause, d.message, d.created_at
"""  # noqa: S608 - constant text
_REPLAYS_BEFORE = """
SELECT count(*)::integer AS replays FROM task_run
WHERE tenant_id = %(tenant_id)s AND task = %(task)s AND cause LIKE %(pattern)s
"""
_ENQUEUE = "SELECT * FROM enqueue(%(rows)s, %(bound)s)"
_AUDIT = """
INSERT INTO operator_audit (actor, action, details) VALUES (%(actor)s, 'replay', %(details)s)
"""


@dataclass(frozen=True, slots=True)
class ReplayFilter:
    """Which dead letters; what is None does not restrict."""

    tenant_id: UUID | None = None
    task: str | None = None
    error_class: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    ids: tuple[UUID, ...] | None = None

    def params(self) -> dict[str, Any]:
        return {**asdict(self), "ids": None if self.ids is None else list(self.ids)}


def replay(
    platform: Platform,
    session: Session,
    manifest: Manifest,
    chosen: ReplayFilter,
    actor: str,
    *,
    dry_run: bool,
    limit: int,
) -> dict[str, Any]:
    """Replay up to ``limit``. Returns how many matched, were replayed and are left; ``done`` when none is left.

    Marking the letters, writing their messages and the audit row are one transaction; sending follows it.
    """
    counted = session.call(_COUNT, chosen.params())[0]
    if dry_run:
        return {**counted, "replayed": 0, "dry_run": True, "done": True}
    rows: list[dict[str, Any]] = []
    with session.transaction(None) as transaction:
        taken = transaction.fetch_all(
            _TAKE, {**chosen.params(), "limit": limit, "tasks": list(manifest.tasks)}
        )
        for letter in taken:
            pattern = _escaped(_first_cause(letter["cause"])) + REPLAY_MARK + "%"
            before = transaction.fetch_one(
                _REPLAYS_BEFORE,
                {"tenant_id": letter["tenant_id"], "task": letter["task"], "pattern": pattern},
            )
            rows.append(_message(letter, manifest, (before or {"replays": 0})["replays"] + 1))
        ready = transaction.fetch_all(
            _ENQUEUE, {"rows": Jsonb(rows), "bound": platform.settings.admission_bound}
        )
        transaction.execute(
            _AUDIT,
            {
                "actor": actor,
                "details": Jsonb(
                    {name: None if value is None else str(value) for name, value in asdict(chosen).items()}
                    | {"matched": counted["matched"], "replayed": len(taken)}
                ),
            },
        )
    session.settle()
    reached(Point.REPLAY_COMMITTED)
    platform.dispatcher.flush(session, ready)
    left = counted["matched"] - counted["unreadable"] - len(taken)
    return {
        **counted,
        "replayed": len(taken),
        "dry_run": False,
        "left": max(0, left),
        "done": left <= 0 or not taken,
    }


def _first_cause(cause: str) -> str:
    return cause.split(REPLAY_MARK, 1)[0]


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _message(letter: Mapping[str, Any], manifest: Manifest, number: int) -> dict[str, Any]:
    """The letter's message again, under a cause of its own."""
    message = letter["message"]
    cause = f"{_first_cause(letter['cause'])}{REPLAY_MARK}{number}"
    cap = int(manifest.tasks[letter["task"]]["cap"])
    return {
        **message,
        "tenant_id": str(letter["tenant_id"]),
        "key": message_key(letter["tenant_id"], letter["task"], cause, letter["created_at"]),
        "cause": cause,
        "shard": shard_of(message.get("entity") or cause, cap),
        "replay_of": None if letter["run_id"] is None else str(letter["run_id"]),
        "hops": 0,
        "due_at": None,
    }
