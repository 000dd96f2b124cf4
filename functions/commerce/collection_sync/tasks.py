"""Collections: one by its webhook or all of them, with their rules, and the products of each."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from commerce.collection_sync.model import MembershipChange
from commerce.collection_sync.payloads import CollectionRef, CollectionSync
from commerce.collection_sync.repository import Collections
from commerce.product_sync.features import Off, find_off
from commerce.product_sync.repository import Seen
from tradewind.catalogue import Catalogue
from tradewind.clock import Clock, parse_instant
from tradewind.tasks.retry import Retry, exponential
from tradewind.tasks.run import Continuation, Outbox, Run
from tradewind.tasks.task import task
from tradewind.tasks.triggers import Cron, Webhook
from tradewind.tenancy.database import TenantDb
from tradewind.tenancy.tenant import Tenant

COLLECTION_EVENT = Retry(attempts=5, backoff=exponential(2, 60))
LONG = timedelta(minutes=4)
ENOUGH = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class SyncedCollections:
    """How many collections were seen, written because they were newer, and marked because Shopify has them no more."""

    collections: int
    written: int
    deleted: int


@dataclass(frozen=True, slots=True)
class SyncedMembers:
    """A collection's products after a sync, and how they differ from what was stored."""

    collection_id: int
    products: int
    change: MembershipChange


@task(
    "commerce-collection-sync",
    webhook=(
        Webhook("shopify", "collections/create"),
        Webhook("shopify", "collections/update"),
        Webhook("shopify", "collections/delete"),
    ),
    schedule=Cron("0 5 * * *", name="commerce-collection-sync-scheduled"),
    each_tenant=True,
    retry=COLLECTION_EVENT,
    timeout=LONG,
    entity="collection_id",
    starts=("commerce-collection-products-sync",),
)
def collection_sync(
    payload: CollectionSync,
    run: Run,
    tenant: Tenant,
    db: TenantDb,
    catalogue: Catalogue,
    clock: Clock,
    outbox: Outbox,
) -> SyncedCollections | Off | Continuation:
    """Save one collection with its rules, or all of them, and start the comparison of each one's products.

    A collection that Shopify does not have is marked and emptied; of all of them only after a whole reading.
    """
    off = find_off("products", run, tenant)
    if off is not None:
        return off
    if payload.collection_id is None:
        return _sync_page(run, db, catalogue, clock, outbox)
    return _sync_one(payload.collection_id, payload.changed_at, db, catalogue, clock, outbox)


def _sync_one(
    collection_id: int,
    changed_at: datetime | None,
    db: TenantDb,
    catalogue: Catalogue,
    clock: Clock,
    outbox: Outbox,
) -> SyncedCollections:
    with db.begin() as tx:
        stored_at = Collections(tx).find_update(collection_id)
    if stored_at is not None and changed_at is not None and stored_at >= changed_at:
        return SyncedCollections(1, 0, 0)
    asked_at = clock.now()
    collection = catalogue.find_collection(collection_id)
    with db.begin() as tx:
        if collection is None:
            return SyncedCollections(0, 0, len(Collections(tx).mark_deleted([collection_id], asked_at)))
        written = Collections(tx).save([collection], asked_at)
    outbox.start(collection_products_sync, CollectionRef(collection_id=collection_id))
    return SyncedCollections(1, len(written), 0)


def _sync_page(
    run: Run, db: TenantDb, catalogue: Catalogue, clock: Clock, outbox: Outbox
) -> SyncedCollections | Continuation:
    begun_at = clock.now().isoformat()
    before = run.checkpoint or {
        "cursor": None,
        "begun_at": begun_at,
        "part": 0,
        "collections": 0,
        "written": 0,
    }
    page = catalogue.list_collections(cursor=before["cursor"])
    ids = [collection.id for collection in page.collections]
    with db.begin() as tx:
        written = Collections(tx).save(page.collections, parse_instant(before["begun_at"]))
        Seen(tx).save(run.id, "collections", before["part"], ids)
    for collection_id in ids:
        outbox.start(
            collection_products_sync, CollectionRef(collection_id=collection_id), key=str(collection_id)
        )
    after = {
        "cursor": page.next_cursor,
        "begun_at": before["begun_at"],
        "part": before["part"] + 1,
        "collections": before["collections"] + len(ids),
        "written": before["written"] + len(written),
    }
    if page.next_cursor is not None:
        return run.continue_with(after)
    with db.begin() as tx:
        collections, read_at = Collections(tx), parse_instant(after["begun_at"])
        gone = collections.mark_deleted(collections.unseen(run.id, read_at), read_at)
        Seen(tx).forget(run.id)
    return SyncedCollections(after["collections"], after["written"], len(gone))


@task(
    "commerce-collection-products-sync",
    retry=COLLECTION_EVENT,
    timeout=LONG,
    entity="collection_id",
)
def collection_products_sync(
    payload: CollectionRef, run: Run, db: TenantDb, catalogue: Catalogue, clock: Clock
) -> SyncedMembers | Continuation:
    """Compare one collection's products with ours, page by page, and write what was added, has moved or has left."""
    progress = dict(run.checkpoint or {"cursor": None, "part": 0, "products": 0, "added": 0, "moved": 0})
    while True:
        page = catalogue.list_members(payload.collection_id, progress["cursor"])
        ids = () if page is None else page.product_ids
        with db.begin() as tx:
            added, moved = Collections(tx).save_members(payload.collection_id, ids, progress["products"])
            Seen(tx).save(run.id, "members", progress["part"], ids)
        progress |= {
            "cursor": None if page is None else page.next_cursor,
            "part": progress["part"] + 1,
            "products": progress["products"] + len(ids),
            "added": progress["added"] + added,
            "moved": progress["moved"] + moved,
        }
        if progress["cursor"] is None:
            break
        run.save_checkpoint(progress)
        if run.time_left(clock.now()) < ENOUGH:
            return run.continue_with(progress)
    with db.begin() as tx:
        removed = Collections(tx).delete_unseen_members(payload.collection_id, run.id)
        Seen(tx).forget(run.id)
    change = MembershipChange(progress["added"], removed, progress["moved"])
    return SyncedMembers(payload.collection_id, progress["products"], change)
