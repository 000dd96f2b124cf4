"""All tenants, for the platform's own functions."""

from __future__ import annotations

from collections.abc import Sequence

from tradewind.ports import ActiveTenant
from tradewind.tenancy.database import PlatformDb

_LIST_ACTIVE = """
SELECT tenant_id::text, slug, zone FROM tenants
WHERE status = 'active' AND (%(after)s::uuid IS NULL OR tenant_id > %(after)s::uuid)
ORDER BY tenant_id LIMIT %(limit)s
"""


class PostgresTenantDirectory:
    """The directory in Postgres, paged by key so that no number of tenants is too many."""

    def __init__(self, db: PlatformDb) -> None:
        self._db = db

    def list_active(self, after: str | None, limit: int) -> Sequence[ActiveTenant]:
        with self._db.begin() as transaction:
            rows = transaction.fetch_all(_LIST_ACTIVE, {"after": after, "limit": limit})
        return [ActiveTenant(row["tenant_id"], row["slug"], row["zone"]) for row in rows]
