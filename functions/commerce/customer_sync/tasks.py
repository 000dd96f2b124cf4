"""Customers: one by its webhook, pages of them, all by a bulk operation, and what a tenant's rules make of each."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from commerce.bulk_load.load import Tools, load_everything
from commerce.bulk_load.model import Loaded
from commerce.customer_sync.payloads import CustomerBatch, CustomerRef, CustomerSync
from commerce.customer_sync.sync import (
    Settled,
    SyncedCustomer,
    SyncedCustomers,
    settle,
    sync_one,
    sync_page,
)
from tradewind.catalogue import BulkKind, Catalogue
from tradewind.clock import Clock
from tradewind.loglines import count_line
from tradewind.ports import PayloadStore
from tradewind.tasks.retry import Retry, exponential
from tradewind.tasks.run import Continuation, Run
from tradewind.tasks.task import task
from tradewind.tasks.triggers import Cron, Event, Webhook
from tradewind.tenancy.database import TenantDb
from tradewind.tenancy.tenant import Tenant

CUSTOMER_EVENT = Retry(attempts=5, backoff=exponential(2, 30))
BATCH = Retry(attempts=5, backoff=exponential(5, 120))
LONG = timedelta(minutes=4)
CREATED, UPDATED = Webhook("shopify", "customers/create"), Webhook("shopify", "customers/update")


@dataclass(frozen=True, slots=True)
class Handled:
    """What became of the customer, and what the rules made of it; None where there is no customer any more."""

    state: str
    settled: Settled | None


@task("commerce-customer-sync", webhook=(CREATED, UPDATED), retry=CUSTOMER_EVENT, entity="customer_id")
def customer_sync(
    payload: CustomerSync, run: Run, db: TenantDb, catalogue: Catalogue, clock: Clock
) -> SyncedCustomer | SyncedCustomers | Continuation:
    """Fetch one customer from Shopify and save it with its addresses; without a customer all of them.

    What is told of twice is fetched once: an instant that is stored already is the same state.
    """
    if payload.customer_id is None:
        return sync_page(CustomerBatch(page_size=payload.page_size), run, db, catalogue, clock)
    return sync_one(run, db, catalogue, clock, payload.customer_id, payload.changed_at)[0]


@task(
    "commerce-customer-batch-sync",
    schedule=Cron("0 4 * * *", name="commerce-customer-full-sync-scheduled", payload={"full": True}),
    each_tenant=True,
    retry=BATCH,
    timeout=LONG,
    cap=1,
    concurrency=10,
    memory=512,
    layers=("columnar",),
    backfill=True,
)
def customer_batch_sync(
    payload: CustomerBatch,
    run: Run,
    tenant: Tenant,
    db: TenantDb,
    catalogue: Catalogue,
    payloads: PayloadStore,
    clock: Clock,
) -> SyncedCustomers | Loaded | Continuation:
    """Sync customers by ids, created or changed since, page by page, or all by a bulk operation.

    A crash resumes at the last page.
    """
    if payload.full:
        tools = Tools(run, db, catalogue, payloads, clock, BulkKind.CUSTOMERS, str(tenant.id))
        return load_everything(tools)
    return sync_page(payload, run, db, catalogue, clock)


@task(
    "commerce-handle-customer-created",
    webhook=CREATED,
    on=Event("customer.created"),
    retry=CUSTOMER_EVENT,
    entity="customer_id",
)
def handle_customer_created(
    payload: CustomerRef, run: Run, tenant: Tenant, db: TenantDb, catalogue: Catalogue, clock: Clock
) -> Handled:
    """Fetch a new customer, add the tags that the tenant's rules give, and tell the welcome workflow of it, once."""
    synced, customer = sync_one(run, db, catalogue, clock, payload.customer_id, payload.changed_at)
    if customer is None:
        return Handled(synced.state, None)
    count_line("CustomerCreated")
    return Handled(synced.state, settle(run, db, catalogue, tenant, customer, welcome=True))


@task(
    "commerce-handle-customer-updated",
    webhook=UPDATED,
    on=Event("customer.updated"),
    retry=CUSTOMER_EVENT,
    entity="customer_id",
)
def handle_customer_updated(
    payload: CustomerRef, run: Run, tenant: Tenant, db: TenantDb, catalogue: Catalogue, clock: Clock
) -> Handled:
    """Fetch a changed customer and evaluate the tenant's tags and segments anew; tell of segments that have changed."""
    synced, customer = sync_one(run, db, catalogue, clock, payload.customer_id, payload.changed_at)
    if customer is None:
        return Handled(synced.state, None)
    return Handled(synced.state, settle(run, db, catalogue, tenant, customer, welcome=False))
