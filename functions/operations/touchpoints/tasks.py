"""Touchpoints: what visitors do before they buy, as the platform's own applications tell it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from operations.touchpoints.repository import Touchpoints
from tradewind.contracts.attribution import AttributionSettings
from tradewind.contracts.orders import PROCESS_ATTRIBUTION, OrderConverted
from tradewind.contracts.touches import Recorded, touchpoint_of
from tradewind.contracts.touchpoints import TouchpointRecorded, VisitorIdentified
from tradewind.tasks.retry import Retry, exponential
from tradewind.tasks.run import Continuation, Outbox, Run
from tradewind.tasks.task import task
from tradewind.tasks.triggers import Event
from tradewind.tenancy.database import TenantDb
from tradewind.tenancy.tenant import Tenant

TRIES, LATER = 7, timedelta(minutes=10)
MOST_AFFECTED = 200
"""Orders of one person within the longest window; more is no person."""


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


@dataclass(frozen=True, slots=True)
class Stitched:
    """How many customers the visitor is linked with, and how many of their orders are attributed anew."""

    customers: int
    orders: int


@task(
    "analytics-attribution-identity-stitch",
    on=Event("visitor.identified"),
    retry=Retry(attempts=3, backoff=exponential(5, 60)),
    entity="visitor_id",
    starts=("analytics-process-attribution",),
)
def identity_stitch(
    payload: VisitorIdentified, run: Run, tenant: Tenant, db: TenantDb, outbox: Outbox
) -> Stitched | Continuation:
    """Link a visitor with the customer of a hashed e-mail address, and have the orders it changes attributed anew.

    A customer who is not known yet is looked for again for an hour: a first order may come after its checkout.
    """
    tries = (run.checkpoint or {"tries": 0})["tries"] + 1
    numbers = AttributionSettings.of(tenant.settings)
    with db.begin() as tx:
        touchpoints = Touchpoints(tx)
        customers = touchpoints.link(payload.visitor_id, payload.email_sha256)
        affected = touchpoints.pick_affected(customers, payload.visitor_id, numbers.look_back, MOST_AFFECTED)
    if not customers and tries < TRIES:
        return run.continue_with({"tries": tries}, wait=LATER)
    for number in affected:
        outbox.start(PROCESS_ATTRIBUTION, OrderConverted(order_id=number), key=str(number))
    return Stitched(len(customers), len(affected))
