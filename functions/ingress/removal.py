"""Off-boarding a tenant, and the privacy requests with their exports."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from uuid import uuid4

from ingress.manifest import load_manifest
from ingress.operators import Request, Slug, find_tenant, note
from ingress.pauses import Reason
from ingress.platform import Platform
from tradewind.errors import InvalidPayloadError
from tradewind.loglines import log_line
from tradewind.tasks.message import Source, message_key, shard_of
from tradewind.tenancy.database import Jsonb

PRIVACY_TASK = "gdpr-request-process"
LAST_ARRIVALS = timedelta(minutes=2)
"""So long some receiver may still take the shop for an installed one; the deletion begins after."""

_UNINSTALL = """
WITH shops AS (
    UPDATE shopify_app_installations SET status = 'uninstalled', uninstalled_at = coalesce(uninstalled_at, now())
    WHERE tenant_id = %(tenant)s
)
UPDATE tenants SET status = 'uninstalled', updated_at = now() WHERE tenant_id = %(tenant)s
"""
_CANCEL = """
DELETE FROM outbox WHERE tenant_id = %(tenant)s AND state IN ('held', 'ready') AND task <> %(task)s
"""
_ENQUEUE = "SELECT * FROM enqueue(%(rows)s, %(bound)s)"
_REQUESTS = """
SELECT t.slug AS tenant, p.request_id::text, p.kind, p.state, p.shopify_request_id, p.shopify_customer_id,
       p.requested_at::text, p.due_at::text, p.done_at::text, p.counts, p.claim
FROM privacy_requests p JOIN tenants t ON t.tenant_id = p.tenant_id
WHERE (%(tenant_id)s::uuid IS NULL OR p.tenant_id = %(tenant_id)s)
  AND (%(state)s::text IS NULL OR p.state = %(state)s)
ORDER BY p.requested_at DESC, p.request_id LIMIT 200
"""


class RemoveTenant(Request):
    """``confirm`` repeats the slug: nothing brings the data back."""

    tenant: Slug
    confirm: str
    reason: Reason
    actor: str = "operator"


class ListPrivacyRequests(Request):
    tenant: Slug | None = None
    state: Literal["open", "done", "ignored"] | None = None


def remove_tenant(platform: Platform, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Uninstall a tenant here and now, and have everything that it has deleted two minutes later: rows, payloads,
    secrets.
    """
    asked = RemoveTenant.model_validate(fields)
    if asked.confirm != asked.tenant:
        raise InvalidPayloadError(
            "confirm", f"is {asked.confirm[:80]!r}", f"repeat the slug {asked.tenant!r}"
        )
    with platform.session() as session:
        tenant = find_tenant(session, asked.tenant)
        if tenant.status == "platform":
            raise InvalidPayloadError("tenant", "is the platform's own", "it is no tenant")
        cause, now = f"remove-tenant:{uuid4()}", datetime.now(UTC)
        shop = tenant.shop_domain or asked.tenant
        row = {
            "tenant_id": str(tenant.id),
            "key": message_key(tenant.id, PRIVACY_TASK, cause),
            "task": PRIVACY_TASK,
            "lane": "live",
            "shard": shard_of(cause, int(load_manifest().tasks[PRIVACY_TASK]["cap"])),
            "cause": cause,
            "source": Source.MANUAL,
            "payload": {"topic": "shop/redact", "shop_domain": shop},
            "correlation_id": cause,
            "accepted_at": now.isoformat(),
            "due_at": (now + LAST_ARRIVALS).isoformat(),
        }
        with session.transaction(None) as tx:
            tx.execute(_UNINSTALL, {"tenant": tenant.id})
            cancelled = tx.execute(_CANCEL, {"tenant": tenant.id, "task": PRIVACY_TASK})
            details = {"tenant": asked.tenant, "tenant_id": str(tenant.id), "cancelled": cancelled}
            note(tx, asked.actor, "remove-tenant", details, asked.reason)
            tx.fetch_all(_ENQUEUE, {"rows": Jsonb([row]), "bound": platform.settings.admission_bound})
    log_line("warning", "tenant is being removed", tenant_id=tenant.id, cause=cause)
    return {
        "deleted_from": row["due_at"],
        "tenant": asked.tenant,
        "tenant_id": str(tenant.id),
        "cancelled": cancelled,
        "correlation_id": cause,
    }


def list_privacy_requests(platform: Platform, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Customers' and shops' requests, latest first; an export lies in the payload bucket under its key."""
    asked = ListPrivacyRequests.model_validate(fields)
    with platform.session() as session:
        tenant_id = None if asked.tenant is None else find_tenant(session, asked.tenant).id
        rows = session.call(_REQUESTS, {"tenant_id": tenant_id, "state": asked.state})
    bucket = platform.settings.payload_bucket
    exports = [{**row, "export": f"s3://{bucket}/{row['claim']}" if row["claim"] else None} for row in rows]
    return {"requests": exports}
