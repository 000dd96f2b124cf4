"""The tenant a task works for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

PLATFORM_TENANT = UUID(int=0)
"""Runs that belong to no tenant are booked under this id."""


@dataclass(frozen=True, slots=True)
class Tenant:
    """``zone`` is an IANA time zone, ``currency`` an ISO 4217 code, ``settings`` the tenant's overrides of defaults."""

    id: UUID
    slug: str
    name: str
    status: str
    zone: str
    currency: str
    shop_domain: str | None = None
    app: str = "default"
    settings: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Tenant:
        """Build from the object that ``claim_run`` returns."""
        return cls(
            id=UUID(row["tenant_id"]),
            slug=row["slug"],
            name=row["name"],
            status=row["status"],
            zone=row["zone"],
            currency=row["currency"],
            shop_domain=row.get("shop_domain"),
            app=row.get("app") or "default",
            settings=row["settings"],
        )
