"""The tenants that a state machine goes through in a schedule's name, a page at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from ingress.manifest import Manifest
from ingress.platform import Platform
from ingress.slots import cause_of, slot_of
from tradewind.errors import InvalidPayloadError, NotFoundError
from tradewind.tenancy.tenant import PLATFORM_TENANT

PAGE = 500
"""One answer of Step Functions holds 256 KiB: an id takes 40 bytes."""
_LIST = """
SELECT t.tenant_id::text AS tenant FROM tenants t
WHERE t.status = 'active' AND (%(after)s::uuid IS NULL OR t.tenant_id > %(after)s)
  AND NOT EXISTS (SELECT FROM pauses p
                  WHERE (p.kind = 'schedule' AND p.name = %(schedule)s)
                     OR (p.kind = 'task' AND p.name = %(task)s AND p.tenant_id IN (t.tenant_id, %(everybody)s)))
ORDER BY t.tenant_id LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True)
class Page:
    """``after`` is what the next page is asked with, None behind the last one. ``cause`` is each run's: a slot that is
    gone through twice runs a tenant's task once.
    """

    tenants: list[str]
    after: str | None
    slot: str
    cause: str


def list_round(
    platform: Platform, manifest: Manifest, event: Mapping[str, Any], now: datetime, page: int = PAGE
) -> dict[str, Any]:
    """``{"schedule", "time", "after"}`` -> the active tenants behind ``after`` for which neither the schedule nor its
    task is paused. Raises NotFoundError for an unknown schedule, InvalidPayloadError for an ``after`` that is no id.
    """
    about = manifest.schedules.get(event["schedule"])
    if about is None:
        raise NotFoundError("schedule", event["schedule"])
    after = _id(event["after"])
    slot = slot_of(about["cron"], about["zone"], event.get("time"), now)
    asked = {
        "after": after,
        "schedule": event["schedule"],
        "task": about["task"],
        "everybody": PLATFORM_TENANT,
        "limit": page,
    }
    with platform.session() as session:
        tenants = [str(row["tenant"]) for row in session.call(_LIST, asked)]
    cause = cause_of(event["schedule"], slot, about["zone"])
    following = tenants[-1] if len(tenants) == page else None
    return asdict(Page(tenants, following, slot.isoformat(), cause))


def _id(after: object) -> UUID | None:
    try:
        return None if after is None else UUID(str(after))
    except ValueError as error:
        raise InvalidPayloadError(
            "after", f"{after!r} is no tenant's id", "take it from the last page"
        ) from error
