"""Ad platforms: tell GA4, Meta and TikTok of purchases, refunds and the way there, each once."""

from __future__ import annotations

from dataclasses import dataclass

from analytics.ad_platforms.funnel import funnel_event
from analytics.ad_platforms.model import (
    TAKE_REFUNDS,
    WAITS,
    SkipReason,
    consents_of,
    event_id,
    purchase_of,
    refund_of,
    waits_for,
)
from analytics.ad_platforms.payloads import OrderToTell, RefundToTell, TikTokEvent
from analytics.ad_platforms.repository import Entry, Ledger, Shop
from analytics.ad_platforms.telling import Outcome, Told, tell, tell_refund
from tradewind.advertising import ConversionApis, Destination
from tradewind.clock import Clock
from tradewind.errors import InvalidPayloadError, NotFoundError
from tradewind.tasks.message import Source
from tradewind.tasks.retry import Retry, exponential
from tradewind.tasks.run import Continuation, Outbox, Run
from tradewind.tasks.task import task
from tradewind.tasks.triggers import Webhook
from tradewind.tenancy.database import TenantDb
from tradewind.tenancy.tenant import Tenant

CONVERSION = Retry(attempts=3, backoff=exponential(2, 30))
LATE_REFUNDS = ("analytics-send-refund-event",)
"""A refund may have come before its purchase was told."""


@task("analytics-send-ga4-purchase", retry=CONVERSION, entity="order_id", starts=LATE_REFUNDS)
def send_ga4_purchase(
    payload: OrderToTell,
    run: Run,
    tenant: Tenant,
    db: TenantDb,
    apis: ConversionApis,
    clock: Clock,
    outbox: Outbox,
) -> Told:
    """Tell Google Analytics of a purchase; its transaction id is the order's.

    Google says nothing of what it does with it: 2xx counts as taken.
    """
    told = _purchase(Destination.GA4, run, tenant, db, apis, clock, payload.order_id)
    return _with_late_refunds(told, db, outbox, payload.order_id)


@task("analytics-send-meta-purchase", retry=CONVERSION, entity="order_id", starts=LATE_REFUNDS)
def send_meta_purchase(
    payload: OrderToTell,
    run: Run,
    tenant: Tenant,
    db: TenantDb,
    apis: ConversionApis,
    clock: Clock,
    outbox: Outbox,
) -> Told:
    """Tell Meta of a purchase by the Conversions API, with what is known of the customer hashed."""
    told = _purchase(Destination.META, run, tenant, db, apis, clock, payload.order_id)
    return _with_late_refunds(told, db, outbox, payload.order_id)


@task("analytics-send-tiktok-event", retry=CONVERSION)
def send_tiktok_event(
    payload: TikTokEvent, run: Run, tenant: Tenant, db: TenantDb, apis: ConversionApis, clock: Clock
) -> Told:
    """Tell TikTok of a purchase, or of a step on the way to one."""
    if payload.event == "Purchase":
        if payload.order_id is None:
            raise InvalidPayloadError("order_id", "is missing", "a purchase is of an order")
        return _purchase(Destination.TIKTOK, run, tenant, db, apis, clock, payload.order_id)
    event = funnel_event(payload, tenant, run.accepted_at)
    if Destination.TIKTOK not in apis.connected():
        return Told(Destination.TIKTOK, event.id, Outcome.NOT_CONNECTED)
    return tell(run, db, apis, clock, Entry(Destination.TIKTOK, payload.event_id or "", event))


@dataclass(frozen=True, slots=True)
class RefundTold:
    """What became of a refund at each platform that takes one."""

    refund_id: int
    told: tuple[Told, ...]


@task(
    "analytics-send-refund-event",
    webhook=Webhook("shopify", "refunds/create"),
    retry=CONVERSION,
    entity="order_id",
)
def send_refund_event(
    payload: RefundToTell, run: Run, tenant: Tenant, db: TenantDb, apis: ConversionApis, clock: Clock
) -> RefundTold | Continuation:
    """Tell GA4 and Meta of a refund, with what came back, where they know of the purchase. TikTok takes none.

    Webhooks come in any order: the refund waits until it is stored and the purchase is told, for a quarter of an hour;
    whoever tells the purchase later starts this again.
    GA4 counts a refund as often as it is told: one whose answer was lost is not told again.
    """
    connected = apis.connected() & TAKE_REFUNDS
    if run.source is Source.BACKFILL:
        return RefundTold(payload.refund_id, ())
    with db.begin() as tx:
        refund, order = Shop(tx).find_refund(payload.refund_id), Shop(tx).find_order(payload.order_id)
        purchases = Ledger(tx).list_purchases(payload.order_id)
    waits = 0 if run.checkpoint is None else int(run.checkpoint["waits"])
    waiting = {each for each in connected if waits_for(order, refund, purchases.get(each), waits)}
    told: tuple[Told, ...] = ()
    if refund is not None and order is not None:
        consents = consents_of(order.attributes, tenant.settings)
        event = refund_of(order, refund, tenant.id, tenant.shop_domain, consents)
        told = tuple(
            tell_refund(run, db, apis, clock, Entry(each, str(refund.id), event), order.id)
            for each in sorted(connected - waiting)
        )
    if waiting:
        return run.continue_with({"waits": waits + 1}, wait=WAITS[waits])
    return RefundTold(payload.refund_id, told)


def _purchase(
    destination: Destination,
    run: Run,
    tenant: Tenant,
    db: TenantDb,
    apis: ConversionApis,
    clock: Clock,
    order_id: int,
) -> Told:
    """Tell one platform of an order as it was placed; what became of it since follows by itself."""
    own_id = event_id(tenant.id, order_id)
    if destination not in apis.connected():
        return Told(destination, own_id, Outcome.NOT_CONNECTED)
    if run.source is Source.BACKFILL:
        return Told(destination, own_id, Outcome.BACKFILLED)
    with db.begin() as tx:
        order = Shop(tx).find_order(order_id)
    if order is None:
        raise NotFoundError("order", order_id)
    event = purchase_of(order, tenant.id, tenant.shop_domain, consents_of(order.attributes, tenant.settings))
    refused = SkipReason.TEST_ORDER if order.test else None
    return tell(run, db, apis, clock, Entry(destination, str(order_id), event), refused)


def _with_late_refunds(told: Told, db: TenantDb, outbox: Outbox, order_id: int) -> Told:
    """Have refunds told that were left untold because the platform did not know of the purchase."""
    if told.outcome in {Outcome.ACKNOWLEDGED, Outcome.KNOWN}:
        with db.begin() as tx:
            ledger = Ledger(tx)
            ledger.lock_order(order_id)
            refunds = ledger.pick_untold_refunds(Destination(told.destination), order_id)
        for refund_id in refunds:
            outbox.start(
                send_refund_event,
                RefundToTell(refund_id=refund_id, order_id=order_id),
                key=str(refund_id),
                source=Source.RECONCILIATION,
            )
    return told
