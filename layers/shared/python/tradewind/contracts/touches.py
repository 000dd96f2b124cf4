"""A touch as it is stored, pure: its channel, and the identity under which it is stored once.

Shared by the doors that take touches, so that one told at both is stored once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from tradewind.contracts.visits import Visit, classify_visit


@dataclass(frozen=True, slots=True)
class Recorded:
    """What was told of a touch."""

    occurred_at: datetime
    visitor_id: str | None
    customer_id: int | None
    session_id: str | None
    touch_id: str | None
    type: str
    landing_page: str | None
    referrer_url: str | None
    utm: Mapping[str, str]
    device: str | None = None


@dataclass(frozen=True, slots=True)
class Touchpoint:
    """A touch with its channel. ``id`` follows from ``dedupe_hash``, so that the same touch always has the same."""

    id: UUID
    dedupe_hash: str
    visit: Visit
    recorded: Recorded

    def row(self) -> dict[str, Any]:
        """What is stored of it."""
        told, visit = self.recorded, self.visit
        return {
            "touchpoint_id": str(self.id),
            "dedupe_hash": self.dedupe_hash,
            "visitor_id": told.visitor_id,
            "session_id": told.session_id,
            "shopify_customer_id": told.customer_id,
            "channel": visit.channel,
            "source": visit.source,
            "medium": visit.medium,
            "campaign": visit.campaign,
            "click_id": visit.click_id,
            "landing_page": told.landing_page,
            "referrer_url": told.referrer_url,
            "device": told.device,
            "type": told.type,
            "occurred_at": told.occurred_at.isoformat(),
        }


def touchpoint_of(recorded: Recorded) -> Touchpoint:
    """Classify a touch and name it."""
    digest = hashlib.sha256(_identity(recorded).encode())
    visit = classify_visit(recorded.landing_page, recorded.referrer_url, recorded.utm)
    return Touchpoint(UUID(bytes=digest.digest()[:16]), digest.hexdigest(), visit, recorded)


def _identity(recorded: Recorded) -> str:
    """The publisher's own id where it gives one, else everything that was told."""
    if recorded.touch_id is not None:
        return f"touch:{recorded.touch_id}"
    told = [
        recorded.occurred_at.isoformat(),
        recorded.visitor_id,
        recorded.customer_id,
        recorded.session_id,
        recorded.type,
        recorded.landing_page,
        recorded.referrer_url,
        sorted(recorded.utm.items()),
    ]
    return f"told:{json.dumps(told)}"
