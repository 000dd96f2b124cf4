"""Spend: what each campaign cost, by day, from the accounts that a tenant has named."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from analytics.ad_platforms.payloads import AdAccountMapping, SpendDays
from analytics.ad_platforms.spend import Asked, Synced, sync_spend
from analytics.ad_platforms.spend_repository import Spend
from tradewind.clock import Clock
from tradewind.spending import AdAccount, AdReports, SpendPlatform
from tradewind.tasks.retry import Retry, exponential
from tradewind.tasks.run import Continuation, Run
from tradewind.tasks.task import task
from tradewind.tasks.triggers import Cron
from tradewind.tenancy.database import TenantDb
from tradewind.tenancy.tenant import Tenant

SPEND = Retry(attempts=3, backoff=exponential(10, 120))
MINUTES = timedelta(minutes=2)


@task(
    "analytics-sync-meta-ads-spend",
    schedule=Cron("0 5 * * *"),
    each_tenant=True,
    retry=SPEND,
    timeout=MINUTES,
    cap=1,
)
def sync_meta_ads_spend(
    payload: SpendDays, run: Run, tenant: Tenant, db: TenantDb, reports: AdReports, clock: Clock
) -> Synced | Continuation:
    """Take over Meta's spend of the last three days, on Mondays of 28: until then late conversions come in."""
    return sync_spend(
        Asked(SpendPlatform.META, payload.last_day, payload.days), run, tenant, db, reports, clock
    )


@task(
    "analytics-sync-google-ads-spend",
    schedule=Cron("0 5 * * *"),
    each_tenant=True,
    retry=SPEND,
    timeout=MINUTES,
    cap=1,
)
def sync_google_ads_spend(
    payload: SpendDays, run: Run, tenant: Tenant, db: TenantDb, reports: AdReports, clock: Clock
) -> Synced | Continuation:
    """Take over Google Ads' spend; a day's quota that is used up puts it off until Google's next day."""
    return sync_spend(
        Asked(SpendPlatform.GOOGLE_ADS, payload.last_day, payload.days), run, tenant, db, reports, clock
    )


@task(
    "analytics-sync-tiktok-spend-daily",
    schedule=Cron("0 3 * * *", name="analytics-sync-tiktok-spend-scheduled"),
    each_tenant=True,
    retry=SPEND,
    timeout=MINUTES,
    cap=1,
)
def sync_tiktok_spend_daily(
    payload: SpendDays, run: Run, tenant: Tenant, db: TenantDb, reports: AdReports, clock: Clock
) -> Synced | Continuation:
    """Take over TikTok's spend of yesterday and the two days before, on Mondays of 28."""
    return sync_spend(
        Asked(SpendPlatform.TIKTOK, payload.last_day, payload.days), run, tenant, db, reports, clock
    )


@dataclass(frozen=True, slots=True)
class Mapped:
    platform: str
    account_id: str
    active: bool


@task("analytics-map-ad-account", retry=SPEND)
def map_ad_account(payload: AdAccountMapping, db: TenantDb) -> Mapped:
    """Name an ad account whose spend is synced, or put one out of use; what was synced stays."""
    account = AdAccount(SpendPlatform(payload.platform), payload.account_id, payload.currency)
    with db.begin() as tx:
        Spend(tx).map_account(account, active=payload.active, counts=payload.counts_for_pnl)
    return Mapped(payload.platform, payload.account_id, payload.active)
