"""Stock: a level by its webhook, all levels by a comparison with Shopify's, and requests for either."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from commerce.inventory_sync.model import threshold_of
from commerce.inventory_sync.payloads import LevelBatch, LevelUpdate, SyncRequest
from commerce.inventory_sync.repository import Stock
from commerce.inventory_sync.sync import Compared, compare_levels, tell_low
from commerce.product_sync.features import Off, find_off
from tradewind.catalogue import Catalogue, InventoryLevel
from tradewind.clock import Clock
from tradewind.tasks.retry import Retry, exponential
from tradewind.tasks.run import Continuation, Outbox, Run
from tradewind.tasks.task import task
from tradewind.tasks.triggers import Cron, Event, Webhook
from tradewind.tenancy.database import TenantDb
from tradewind.tenancy.tenant import Tenant

LEVEL_EVENT = Retry(attempts=5, backoff=exponential(2, 60))
BATCH = Retry(attempts=5, backoff=exponential(5, 120))
LONG = timedelta(minutes=4)


@dataclass(frozen=True, slots=True)
class UpdatedLevel:
    """``state`` is what became of the level: written, unchanged, outdated (ours is newer), or gone at Shopify."""

    inventory_item_id: int
    location_id: int
    state: str
    became_low: bool


@dataclass(frozen=True, slots=True)
class Routed:
    """``known``: whether the level that is asked for is stored."""

    to: str
    known: bool | None = None


@task(
    "commerce-inventory-update",
    webhook=Webhook("shopify", "inventory_levels/update"),
    retry=LEVEL_EVENT,
    entity="inventory_item_id",
)
def inventory_update(
    payload: LevelUpdate, run: Run, tenant: Tenant, db: TenantDb, catalogue: Catalogue
) -> UpdatedLevel:
    """Set what is available of an item at a location, and tell once when it falls below the tenant's threshold.

    The webhook tells a level whole. Of two that differ at the same instant Shopify is asked which is the present one.
    """
    place = payload.inventory_item_id, payload.location_id
    with db.begin() as tx:
        stored = Stock(tx).find(*place)
    told, at = payload.available, payload.updated_at
    asked = (
        told is None
        or at is None
        or (stored is not None and stored.updated_at == at and stored.available != told)
    )
    level = (
        catalogue.find_level(*place) if asked else InventoryLevel(*place, told or 0, at or run.accepted_at)
    )
    if level is None:
        with db.begin() as tx:
            Stock(tx).delete(*place)
        return UpdatedLevel(*place, "gone", became_low=False)
    threshold = threshold_of(tenant.settings)
    with db.begin() as tx:
        written = Stock(tx).save([level], threshold, asked=asked)
        low = tell_low(run, tx, written, threshold)
    older = stored is not None and stored.updated_at > level.updated_at
    state = "written" if written else "outdated" if older else "unchanged"
    return UpdatedLevel(*place, state, bool(low))


@task(
    "commerce-inventory-batch-sync",
    schedule=Cron("0 * * * *", name="commerce-inventory-sync-scheduled", payload={"full": False}),
    each_tenant=True,
    retry=BATCH,
    timeout=LONG,
    cap=1,
    concurrency=10,
    memory=512,
)
def inventory_batch_sync(
    payload: LevelBatch, run: Run, tenant: Tenant, db: TenantDb, catalogue: Catalogue, clock: Clock
) -> Compared | Off | Continuation:
    """Compare levels that have changed since the last comparison with Shopify's, repair ours, report differences."""
    off = find_off("inventory", run, tenant)
    if off is not None:
        return off
    return compare_levels(run, db, catalogue, clock, threshold_of(tenant.settings), full=payload.full)


@task(
    "commerce-handle-inventory-sync",
    on=Event("inventory.sync"),
    retry=LEVEL_EVENT,
    starts=("commerce-inventory-update", "commerce-inventory-batch-sync"),
)
def handle_inventory_sync(payload: SyncRequest, db: TenantDb, outbox: Outbox) -> Routed:
    """Route a request to the update of one level or to the comparison of all."""
    if payload.inventory_item_id is not None and payload.location_id is not None:
        level = LevelUpdate(inventory_item_id=payload.inventory_item_id, location_id=payload.location_id)
        outbox.start(inventory_update, level)
        with db.begin() as tx:
            return Routed("single", Stock(tx).find(level.inventory_item_id, level.location_id) is not None)
    outbox.start(inventory_batch_sync, LevelBatch(full=bool(payload.full)))
    return Routed("batch")
