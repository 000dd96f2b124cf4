"""A schedule has fired: one message for each active tenant, once per task, tenant and slot.

Tenants are paged by key; a page's slots and messages are one statement. Due times are spread over a window by a hash of
the tenant, and the relay releases them. A tenant whose older slot has not ended is skipped (``overlap`` skip).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from ingress.manifest import Manifest, load_manifest
from ingress.platform import Platform, current_platform
from ingress.rounds import list_round
from ingress.slots import cause_of, local_name, next_slot, period_of, slot_of, spread_of, window_for
from tradewind.crash import Point, reached
from tradewind.errors import NotFoundError
from tradewind.loglines import count_line, log_line
from tradewind.ports import ActiveTenant, TenantDirectory
from tradewind.tasks.message import message_key, shard_of
from tradewind.tenancy.database import Jsonb, PlatformDb
from tradewind.tenancy.directory import PostgresTenantDirectory
from tradewind.tenancy.tenant import PLATFORM_TENANT

PAGE = 1000
_PAUSED = "SELECT actor FROM pauses WHERE kind = 'schedule' AND name = %(schedule)s"
TENANT_ZONE = "tenant"

_COUNT = "SELECT count(*)::integer AS tenants FROM tenants WHERE status = 'active'"
_WRITE = """
WITH wanted AS (
    SELECT * FROM jsonb_to_recordset(%(rows)s) AS r (tenant_id uuid, key text, shard integer, cause text, slot text,
                                                     due_at timestamptz)
), fresh AS (
    INSERT INTO schedule_slot (tenant_id, schedule, slot, task, due_at)
    SELECT w.tenant_id, %(schedule)s, w.slot, %(task)s, w.due_at FROM wanted w
    WHERE NOT (%(skip)s AND EXISTS (
        SELECT FROM outbox o WHERE o.tenant_id = w.tenant_id AND o.task = %(task)s AND o.state <> 'done'
                               AND o.source = 'schedule' AND o.entity = %(schedule)s))
    ON CONFLICT DO NOTHING
    RETURNING tenant_id, slot
), told AS (
    DELETE FROM schedule_due d USING fresh f
    WHERE d.tenant_id = f.tenant_id AND d.schedule = %(schedule)s AND d.due_at <= %(slot_at)s
)
INSERT INTO outbox (tenant_id, key, task, shard, cause, source, entity, payload, correlation_id, state, due_at,
                    accepted_at)
SELECT w.tenant_id, w.key, %(task)s, w.shard, w.cause, 'schedule', %(schedule)s, %(payload)s, w.cause, 'held', w.due_at,
       %(slot_at)s
FROM wanted w JOIN fresh f ON f.tenant_id = w.tenant_id AND f.slot = w.slot
ON CONFLICT (tenant_id, key) DO NOTHING
"""
_HAVE_WORK = """
SELECT d.tenant_id::text AS tenant_id, t.slug, t.zone
FROM schedule_due d JOIN tenants t ON t.tenant_id = d.tenant_id AND t.status = 'active'
WHERE d.schedule = %(schedule)s AND d.due_at <= %(slot)s AND (%(after)s::uuid IS NULL OR d.tenant_id > %(after)s::uuid)
ORDER BY d.tenant_id LIMIT %(limit)s
"""
_ENROL = """
INSERT INTO schedule_next_run (tenant_id, schedule, zone, next_run_at)
SELECT r.tenant_id, %(schedule)s, r.zone, r.next_run_at
FROM jsonb_to_recordset(%(rows)s) AS r (tenant_id uuid, zone text, next_run_at timestamptz)
ON CONFLICT (tenant_id, schedule) DO UPDATE SET zone = excluded.zone, next_run_at = excluded.next_run_at
WHERE schedule_next_run.zone <> excluded.zone
"""
_DUE = """
SELECT n.tenant_id::text, t.slug, n.zone, n.next_run_at
FROM schedule_next_run n JOIN tenants t ON t.tenant_id = n.tenant_id AND t.status = 'active'
WHERE n.schedule = %(schedule)s AND n.next_run_at <= %(now)s
ORDER BY n.tenant_id LIMIT %(limit)s
"""
_ADVANCE = """
UPDATE schedule_next_run n SET next_run_at = r.next_run_at
FROM jsonb_to_recordset(%(rows)s) AS r (tenant_id uuid, next_run_at timestamptz)
WHERE n.tenant_id = r.tenant_id AND n.schedule = %(schedule)s
"""


@dataclass(frozen=True, slots=True)
class Fired:
    """A schedule at one of its slots."""

    schedule: str
    about: Mapping[str, Any]
    cap: int
    slot: datetime
    zone: str

    @property
    def task(self) -> str:
        return str(self.about["task"])


def handle(event: Mapping[str, Any], context: object) -> dict[str, Any]:
    """Lambda's entry: ``{"schedule": name, "time": ISO instant}``. Returns how many messages were written. With
    ``after`` nothing is written: a state machine asks for the tenants that it is to go through.
    """
    now = datetime.now(UTC)
    if "after" in event:
        return list_round(current_platform(), load_manifest(), event, now)
    return FanOut(current_platform(), load_manifest()).run(event["schedule"], event.get("time"), now)


class FanOut:
    """Writes a schedule's messages, then lets the relay release what is due."""

    def __init__(self, platform: Platform, manifest: Manifest) -> None:
        self._platform = platform
        self._manifest = manifest

    def run(self, schedule: str, time: str | None, now: datetime) -> dict[str, Any]:
        """Fire ``schedule``. ``time`` is the scheduled instant as EventBridge gives it; where it gives none, the
        cron's latest slot before ``now``. Raises NotFoundError for a schedule that no task has.
        """
        about = self._manifest.schedules.get(schedule)
        if about is None:
            raise NotFoundError("schedule", schedule)
        cap = int(self._manifest.tasks[about["task"]]["cap"])
        with self._platform.session() as session:
            db = PlatformDb(session)
            if session.call(_PAUSED, {"schedule": schedule}):
                log_line("warning", "schedule is paused, nothing written", schedule=schedule)
                return {"schedule": schedule, "written": 0, "released": 0, "paused": True}
            if about["zone"] == TENANT_ZONE:
                written = self._fire_local(db, schedule, about, cap, now)
            else:
                slot = slot_of(about["cron"], about["zone"], time, now)
                written = self._fire(db, Fired(schedule, about, cap, slot, about["zone"]))
            session.settle()
            reached(Point.SLOTS_WRITTEN)
            released = self._platform.release(session, limit=500)
        log_line("info", "schedule fanned out", schedule=schedule, written=written, released=released)
        count_line("ScheduleFired", schedule=schedule)
        return {"schedule": schedule, "written": written, "released": released, "paused": False}

    def _fire(self, db: PlatformDb, fired: Fired) -> int:
        if not fired.about["each_tenant"]:
            return self._write(db, fired, [(PLATFORM_TENANT, fired.slot)])
        with db.begin() as tx:
            row = tx.fetch_one(_COUNT)
        window = window_for(
            period_of(fired.about["cron"], fired.zone, fired.slot), row["tenants"] if row else 0
        )
        written = 0
        listed = DueTenants(db, fired) if fired.about["only_due"] else PostgresTenantDirectory(db)
        for page in pages(listed):
            ids = [UUID(tenant.tenant_id) for tenant in page]
            written += self._write(db, fired, [(each, fired.slot + spread_of(each, window)) for each in ids])
        return written

    def _fire_local(
        self, db: PlatformDb, schedule: str, about: Mapping[str, Any], cap: int, now: datetime
    ) -> int:
        """Tenants on their own clock: those whose next run has come, each in its own slot."""
        for page in pages(PostgresTenantDirectory(db)):
            rows = [
                {
                    "tenant_id": tenant.tenant_id,
                    "zone": tenant.zone,
                    "next_run_at": next_slot(about["cron"], tenant.zone, now).isoformat(),
                }
                for tenant in page
            ]
            with db.begin() as tx:
                tx.execute(_ENROL, {"schedule": schedule, "rows": Jsonb(rows)})
        written = 0
        while True:
            with db.begin() as tx:
                due = tx.fetch_all(_DUE, {"schedule": schedule, "now": now, "limit": PAGE})
            if not due:
                return written
            for row in due:
                fired = Fired(schedule, about, cap, row["next_run_at"], row["zone"])
                written += self._write(db, fired, [(UUID(row["tenant_id"]), row["next_run_at"])])
            following = [
                {
                    "tenant_id": row["tenant_id"],
                    "next_run_at": next_slot(about["cron"], row["zone"], now).isoformat(),
                }
                for row in due
            ]
            with db.begin() as tx:
                tx.execute(_ADVANCE, {"schedule": schedule, "rows": Jsonb(following)})

    def _write(self, db: PlatformDb, fired: Fired, due: Iterable[tuple[UUID, datetime]]) -> int:
        slot = local_name(fired.slot, fired.zone)
        cause = cause_of(fired.schedule, fired.slot, fired.zone)
        rows = [
            {
                "tenant_id": str(tenant_id),
                "key": message_key(tenant_id, fired.task, cause),
                "shard": shard_of(cause, fired.cap),
                "cause": cause,
                "slot": slot,
                "due_at": due_at.isoformat(),
            }
            for tenant_id, due_at in due
        ]
        with db.begin() as tx:
            return tx.execute(
                _WRITE,
                {
                    "rows": Jsonb(rows),
                    "schedule": fired.schedule,
                    "task": fired.task,
                    "payload": Jsonb(dict(fired.about["payload"])),
                    "slot_at": fired.slot,
                    "skip": fired.about["overlap"] == "skip",
                },
            )


class DueTenants:
    """The active tenants that have said to have work for a schedule by its slot."""

    def __init__(self, db: PlatformDb, fired: Fired) -> None:
        self._db = db
        self._fired = fired

    def list_active(self, after: str | None, limit: int) -> Sequence[ActiveTenant]:
        about = {"schedule": self._fired.schedule, "slot": self._fired.slot, "after": after, "limit": limit}
        with self._db.begin() as tx:
            rows = tx.fetch_all(_HAVE_WORK, about)
        return [ActiveTenant(row["tenant_id"], row["slug"], row["zone"]) for row in rows]


def pages(directory: TenantDirectory) -> Iterable[list[ActiveTenant]]:
    """Active tenants, a page at a time, by key: no number of them is too many."""
    after: str | None = None
    while True:
        page = list(directory.list_active(after, PAGE))
        if page:
            yield page
        if len(page) < PAGE:
            return
        after = page[-1].tenant_id
