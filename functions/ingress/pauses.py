"""Pausing and resuming a tenant, a task, one tenant's task, or a schedule; webhooks are accepted all the same.

A pause takes effect at once: nothing new is released, and what lies in a queue is put back among the held messages when
a worker takes it. Runs that have begun end. After a resume the relay releases what was held, oldest first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any
from uuid import UUID

from pydantic import StringConstraints, model_validator

from ingress.manifest import Manifest, load_manifest
from ingress.operators import Request, Slug, find_tenant, note
from ingress.platform import Platform
from tradewind.errors import InvalidPayloadError
from tradewind.loglines import log_line
from tradewind.tenancy.database import Session
from tradewind.tenancy.tenant import PLATFORM_TENANT

_PAUSE_TENANT = """
UPDATE tenants SET status = 'paused', updated_at = now() WHERE tenant_id = %(tenant)s AND status = 'active'
RETURNING tenant_id
"""
_RESUME_TENANT = """
UPDATE tenants SET status = 'active', updated_at = now() WHERE tenant_id = %(tenant)s AND status = 'paused'
RETURNING tenant_id
"""
_PAUSE = """
INSERT INTO pauses (tenant_id, kind, name, actor, reason)
VALUES (%(tenant)s, %(kind)s, %(name)s, %(actor)s, %(reason)s)
ON CONFLICT (tenant_id, kind, name) DO NOTHING RETURNING tenant_id
"""
_RESUME = """
DELETE FROM pauses WHERE tenant_id = %(tenant)s AND kind = %(kind)s AND name = %(name)s RETURNING tenant_id
"""
_HOLD = """
UPDATE outbox SET state = 'held'
WHERE state = 'ready' AND (%(all_tenants)s OR tenant_id = %(tenant)s) AND (%(task)s::text IS NULL OR task = %(task)s)
RETURNING key
"""
_LIST = """
SELECT coalesce(nullif(t.slug, 'platform'), 'all tenants') AS tenant, p.kind, p.name, p.actor, p.reason,
       p.paused_at::text AS paused_at
FROM pauses p JOIN tenants t ON t.tenant_id = p.tenant_id
UNION ALL
SELECT t.slug, 'tenant', t.slug, a.actor, a.reason, coalesce(a.at, t.updated_at)::text
FROM tenants t LEFT JOIN LATERAL (
    SELECT o.actor, o.reason, o.at FROM operator_audit o
    WHERE o.action = 'pause' AND o.details ->> 'tenant' = t.slug AND o.details ->> 'task' IS NULL
    ORDER BY o.audit_id DESC LIMIT 1
) a ON true
WHERE t.status = 'paused'
ORDER BY 1, 2, 3 LIMIT 1000
"""

Reason = Annotated[str, StringConstraints(min_length=1, max_length=500)]


class Resume(Request):
    """``tenant`` alone, ``task`` alone (of all tenants), both, or ``schedule`` alone."""

    tenant: Slug | None = None
    task: str | None = None
    schedule: str | None = None
    actor: str = "operator"

    @model_validator(mode="after")
    def _names_one_thing(self) -> Resume:
        if (self.schedule is not None) == (self.tenant is not None or self.task is not None):
            raise ValueError("name a tenant, a task, a task of a tenant, or a schedule")
        return self


class Pause(Resume):
    reason: Reason


def pause(platform: Platform, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Pause; pausing what is paused changes nothing."""
    asked = Pause.model_validate(fields)
    with platform.session() as session:
        about = _about(session, load_manifest(), asked)
        with session.transaction(None) as tx:
            statement = _PAUSE_TENANT if about["kind"] == "tenant" else _PAUSE
            changed = tx.fetch_one(statement, {**about, "actor": asked.actor, "reason": asked.reason})
            held = [] if about["kind"] == "schedule" else tx.fetch_all(_HOLD, about)
            if changed:
                note(tx, asked.actor, "pause", _named(asked), asked.reason)
    log_line("warning", "paused", **_named(asked), changed=bool(changed))
    return {**_named(asked), "paused": True, "changed": bool(changed), "held": len(held)}


def resume(platform: Platform, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Resume, and release what was held as far as the admission bound allows; the relay releases the rest."""
    asked = Resume.model_validate(fields)
    with platform.session() as session:
        about = _about(session, load_manifest(), asked)
        with session.transaction(None) as tx:
            changed = tx.fetch_one(_RESUME_TENANT if about["kind"] == "tenant" else _RESUME, about)
            if changed:
                note(tx, asked.actor, "resume", _named(asked), None)
        session.settle()
        released = platform.release(session, limit=500) if changed else 0
    log_line("warning", "resumed", **_named(asked), changed=bool(changed))
    return {**_named(asked), "paused": False, "changed": bool(changed), "released": released}


def list_pauses(platform: Platform, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that is paused, with who paused it and why."""
    Request.model_validate(fields)
    with platform.session() as session:
        return {"pauses": session.call(_LIST, {})}


def _about(session: Session, manifest: Manifest, asked: Resume) -> dict[str, Any]:
    """What the statements take. Raises InvalidPayloadError for a task or schedule that is not there."""
    known = {"task": manifest.tasks, "schedule": manifest.schedules}
    for kind, names in known.items():
        name = getattr(asked, kind)
        if name is not None and name not in names:
            raise InvalidPayloadError(kind, f"is {name!r}", "`make tasks` lists them")
    tenant: UUID = PLATFORM_TENANT if asked.tenant is None else find_tenant(session, asked.tenant).id
    return {
        "tenant": tenant,
        "all_tenants": asked.tenant is None,
        "task": asked.task,
        "kind": "schedule" if asked.schedule else "task" if asked.task else "tenant",
        "name": asked.schedule or asked.task,
    }


def _named(asked: Resume) -> dict[str, Any]:
    return {"tenant": asked.tenant, "task": asked.task, "schedule": asked.schedule}
