"""What every action of an operator is made of: a request whose fields are checked, and the tenant it names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import StringConstraints

from tradewind.contracts.payload import StrictPayload
from tradewind.errors import NotFoundError
from tradewind.tenancy.database import Jsonb, Session, Transaction
from tradewind.tenancy.tenant import Tenant

Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]

_FIND_TENANT = """
SELECT t.tenant_id, t.slug, t.name, t.status, t.zone, t.currency, t.settings, i.shop_domain, i.app
FROM tenants t
LEFT JOIN shopify_app_installations i ON i.tenant_id = t.tenant_id AND i.status <> 'uninstalled'
WHERE t.slug = %(slug)s
"""


_NOTE = """
INSERT INTO operator_audit (actor, action, details, reason) VALUES (%(actor)s, %(action)s, %(details)s, %(reason)s)
"""


class Request(StrictPayload):
    """What an operator asks for."""


def find_tenant(session: Session, slug: str) -> Tenant:
    """Raises NotFoundError."""
    rows = session.call(_FIND_TENANT, {"slug": slug})
    if not rows:
        raise NotFoundError("tenant", slug)
    return tenant_from(rows[0])


def note(
    transaction: Transaction, actor: str, action: str, details: Mapping[str, Any], reason: str | None
) -> None:
    """Write down who did what and why, in the transaction that does it."""
    values = {"actor": actor, "action": action, "details": Jsonb(dict(details)), "reason": reason}
    transaction.execute(_NOTE, values)


def tenant_from(row: Mapping[str, Any]) -> Tenant:
    return Tenant.from_row({**row, "tenant_id": str(row["tenant_id"])})
