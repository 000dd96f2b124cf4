"""Products: one by its webhook, pages of them, everything by a bulk operation, and what follows from a deletion."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from commerce.bulk_load.load import Tools, load_everything
from commerce.bulk_load.model import Loaded
from commerce.product_sync.features import Off, find_off
from commerce.product_sync.model import is_whole
from commerce.product_sync.payloads import ProductBatch, ProductRef, ProductSync, SyncRequest
from commerce.product_sync.repository import Products, Waiting
from commerce.product_sync.sync import SyncedProduct, delete, fetch_page, sync_one
from tradewind.catalogue import BulkKind, Catalogue, ProductPage
from tradewind.clock import Clock
from tradewind.ports import PayloadStore
from tradewind.tasks.retry import Retry, exponential
from tradewind.tasks.run import Continuation, Outbox, Run
from tradewind.tasks.task import task
from tradewind.tasks.triggers import Cron, Event, Webhook
from tradewind.tenancy.database import TenantDb
from tradewind.tenancy.tenant import Tenant

PRODUCT_EVENT = Retry(attempts=5, backoff=exponential(2, 60))
BATCH = Retry(attempts=5, backoff=exponential(5, 120))
LONG = timedelta(minutes=4)


@dataclass(frozen=True, slots=True)
class SyncedProducts:
    """A sync's end: how many products it saw, how many of them were newer and written, how many go on by themselves."""

    products: int
    written: int
    large: int


@dataclass(frozen=True, slots=True)
class Routed:
    """What a request has started: ``single``, ``batch``, or the run that a bulk operation's end has woken."""

    to: str
    started: int


@dataclass(frozen=True, slots=True)
class ProductGone:
    """``new`` is false where the product was archived before, or was never here."""

    product_id: int
    new: bool


@task(
    "commerce-product-sync",
    webhook=(Webhook("shopify", "products/create"), Webhook("shopify", "products/update")),
    retry=PRODUCT_EVENT,
    entity="product_id",
    memory=512,
    starts=("commerce-product-sync",),
)
def product_sync(
    payload: ProductSync, run: Run, db: TenantDb, catalogue: Catalogue, clock: Clock, outbox: Outbox
) -> SyncedProduct | SyncedProducts | Continuation:
    """Fetch one product from Shopify and save it with variants, images, options and SEO; without a product all of them.

    What is told of twice is fetched once: an instant that is stored already is the same state. A product that Shopify
    does not have is archived.
    """
    if payload.product_id is not None:
        return sync_one(run, db, catalogue, clock, payload.product_id, payload.changed_at)
    return _sync_page(ProductBatch(page_size=payload.page_size), run, db, catalogue, clock, outbox)


@task(
    "commerce-product-batch-sync",
    schedule=Cron("0 3 * * *", name="commerce-product-full-sync-scheduled", payload={"full": True}),
    each_tenant=True,
    retry=BATCH,
    timeout=LONG,
    cap=1,
    concurrency=10,
    memory=512,
    layers=("columnar",),
    backfill=True,
    starts=("commerce-product-sync",),
)
def product_batch_sync(  # noqa: PLR0913, PLR0917 - a task asks for what it needs
    payload: ProductBatch,
    run: Run,
    tenant: Tenant,
    db: TenantDb,
    catalogue: Catalogue,
    payloads: PayloadStore,
    clock: Clock,
    outbox: Outbox,
) -> SyncedProducts | Loaded | Off | Continuation:
    """Sync products by ids, of a collection or changed since, at most 250 a message, or all by a bulk operation.

    A crash resumes at the last page.
    """
    off = find_off("products", run, tenant)
    if off is not None:
        return off
    if payload.full:
        tools = Tools(run, db, catalogue, payloads, clock, BulkKind.PRODUCTS, str(tenant.id))
        return load_everything(tools)
    return _sync_page(payload, run, db, catalogue, clock, outbox)


def _sync_page(
    payload: ProductBatch, run: Run, db: TenantDb, catalogue: Catalogue, clock: Clock, outbox: Outbox
) -> SyncedProducts | Continuation:
    before = run.checkpoint or {"cursor": None, "products": 0, "written": 0, "large": 0}
    asked_at = clock.now()
    page = fetch_page(payload, catalogue, before["cursor"])
    with db.begin() as tx:
        written = Products(tx).save(page.products, asked_at)
    large = _start_large(page, outbox)
    after = {
        "cursor": page.next_cursor,
        "products": before["products"] + len(page.products),
        "written": before["written"] + len(written),
        "large": before["large"] + large,
    }
    if page.next_cursor is not None:
        return run.continue_with(after)
    return SyncedProducts(after["products"], after["written"], after["large"])


def _start_large(page: ProductPage, outbox: Outbox) -> int:
    """Products with more variants than a page brings are synced by themselves."""
    large = [product for product in page.products if not is_whole(product)]
    for product in large:
        outbox.start(
            product_sync, ProductSync(product_id=product.id), key=f"{product.id}@{product.updated_at}"
        )
    return len(large)


@task(
    "commerce-handle-product-sync",
    on=Event("product.sync"),
    webhook=Webhook("shopify", "bulk_operations/finish"),
    retry=PRODUCT_EVENT,
    starts=("commerce-product-sync", "commerce-product-batch-sync"),
)
def handle_product_sync(payload: SyncRequest, db: TenantDb, outbox: Outbox) -> Routed:
    """Route a request to the single or the batch sync, and wake the run that waits for a bulk operation's end."""
    if payload.operation_id is not None:
        with db.begin() as tx:
            return Routed("waiting run", int(Waiting(tx).wake(payload.operation_id)))
    if len(payload.product_ids) == 1:
        outbox.start(product_sync, ProductSync(product_id=payload.product_ids[0]))
        return Routed("single", 1)
    batch = ProductBatch(
        product_ids=payload.product_ids,
        collection_id=payload.collection_id,
        updated_since=payload.updated_since,
        full=payload.full,
    )
    outbox.start(product_batch_sync, batch)
    return Routed("batch", 1)


@task(
    "commerce-handle-product-deleted",
    webhook=Webhook("shopify", "products/delete"),
    retry=PRODUCT_EVENT,
    entity="product_id",
)
def handle_product_deleted(payload: ProductRef, run: Run, db: TenantDb, clock: Clock) -> ProductGone:
    """Archive a product that Shopify has deleted, take it out of its collections, and tell feeds and tests of it."""
    return ProductGone(payload.product_id, bool(delete(run, db, [payload.product_id], clock.now())))
