"""For a person who connects a platform: would it take an order's purchase?"""

from __future__ import annotations

from dataclasses import dataclass

from analytics.ad_platforms.model import consents_of, purchase_of
from analytics.ad_platforms.payloads import OrderToVerify
from analytics.ad_platforms.repository import Ledger, Shop
from analytics.ad_platforms.verifying import Subject, Verified, code_of, verify
from tradewind.advertising import ConversionApis, Destination
from tradewind.clock import Clock
from tradewind.errors import NotFoundError
from tradewind.tasks.retry import Retry, exponential
from tradewind.tasks.task import task
from tradewind.tenancy.database import TenantDb
from tradewind.tenancy.tenant import Tenant


@dataclass(frozen=True, slots=True)
class Verification:
    """Each platform's verdict; ``value_cents`` of each is in ``currency``."""

    order_id: int
    currency: str
    platforms: list[Verified]


@task("analytics-verify-ad-events", retry=Retry(attempts=2, backoff=exponential(2, 30)), cap=1, concurrency=5)
def verify_ad_events(
    payload: OrderToVerify, tenant: Tenant, db: TenantDb, apis: ConversionApis, clock: Clock
) -> Verification:
    """Have GA4, Meta and TikTok look at an order's purchase, as a test, and say what each must show.

    The test event has the purchase's own id: told for real within two days beside it, it counts once. The ledger is
    read and never written.
    """
    with db.begin() as tx:
        order = Shop(tx).find_order(payload.order_id)
        standing, mappings = Ledger(tx).pick_told(payload.order_id), Ledger(tx).pick_mappings()
    if order is None:
        raise NotFoundError("order", payload.order_id)
    consents = consents_of(order.attributes, tenant.settings)
    event = purchase_of(order, tenant.id, tenant.shop_domain, consents)
    subject = Subject(order, event, standing, mappings, clock.now())
    told = [
        verify(each, subject, apis, code_of(payload, each, tenant.settings)) for each in sorted(Destination)
    ]
    return Verification(order.id, order.currency, told)
