"""Touchpoints: what visitors do before they buy, as the platform's own applications tell it."""

from __future__ import annotations

from dataclasses import dataclass

from operations.touchpoints.repository import Touchpoints
from tradewind.contracts.touches import Recorded, touchpoint_of
from tradewind.contracts.touchpoints import TouchpointRecorded
from tradewind.tasks.retry import Retry, exponential
from tradewind.tasks.task import task
from tradewind.tasks.triggers import Event
from tradewind.tenancy.database import TenantDb


@dataclass(frozen=True, slots=True)
class Ingested:
    """A touch's place in the store. ``stored`` is false where the same touch was there already."""

    touchpoint_id: str
    channel: str
    stored: bool


@task(
    "analytics-attribution-touchpoint-ingest",
    on=Event("touchpoint.recorded"),
    retry=Retry(attempts=3, backoff=exponential(5, 60)),
)
def touchpoint_ingest(payload: TouchpointRecorded, db: TenantDb) -> Ingested:
    """Classify a recorded touch by its channel and store it once."""
    touch = touchpoint_of(
        Recorded(
            occurred_at=payload.occurred_at,
            visitor_id=payload.visitor_id,
            customer_id=payload.customer_id,
            session_id=payload.session_id,
            touch_id=payload.touch_id,
            type=payload.type,
            landing_page=payload.landing_page,
            referrer_url=payload.referrer_url,
            utm=payload.utm.model_dump(exclude_none=True),
        )
    )
    with db.begin() as tx:
        stored = Touchpoints(tx).save(touch)
    return Ingested(str(touch.id), touch.visit.channel, stored)
