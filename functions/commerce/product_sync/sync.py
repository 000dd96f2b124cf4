"""Taking products' present state and saving it: one with all of its variants, or a page of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from commerce.product_sync.model import contains, is_whole
from commerce.product_sync.payloads import ProductBatch
from commerce.product_sync.repository import Products, Seen
from tradewind.catalogue import Catalogue, ProductPage, ShopifyProduct
from tradewind.clock import Clock, parse_instant
from tradewind.contracts.catalogue import ProductDeleted
from tradewind.tasks.events import Told, publish
from tradewind.tasks.run import Continuation, Run
from tradewind.tenancy.database import TenantDb

IDS_A_PAGE = 250
ENOUGH = timedelta(seconds=10)
"""With less time left than this a run goes on in a new message."""


@dataclass(frozen=True, slots=True)
class SyncedProduct:
    """``state`` is what became of it: unchanged, written, outdated (ours is newer), or deleted."""

    product_id: int
    state: str
    variants: int


def sync_one(
    run: Run, db: TenantDb, catalogue: Catalogue, clock: Clock, product_id: int, changed_at: datetime | None
) -> SyncedProduct | Continuation:
    """Bring one product up to date with all of its variants, up to 2,048, page by page."""
    progress = run.checkpoint
    if progress is None:
        with db.begin() as tx:
            stored = Products(tx).find(product_id)
        if contains(stored, changed_at):
            return SyncedProduct(product_id, "unchanged", 0)
        asked_at = clock.now()
        with run.step("fetch"):
            product = catalogue.find_product(product_id)
        if product is None:
            delete(run, db, [product_id], asked_at)
            return SyncedProduct(product_id, "deleted", 0)
        progress = _save_first(run, db, product, asked_at)
        if progress["cursor"] is None:
            return _result(product_id, progress)
    return _go_on(run, db, catalogue, clock, product_id, dict(progress))


def _save_first(run: Run, db: TenantDb, product: ShopifyProduct, asked_at: datetime) -> dict[str, Any]:
    with run.step("save"), db.begin() as tx:
        written = Products(tx).save([product], asked_at)
        if not is_whole(product):
            Seen(tx).save(run.id, "variants", 0, [variant.id for variant in product.variants])
    progress = {
        "cursor": product.variants_cursor,
        "currency": product.currency,
        "asked_at": asked_at.isoformat(),
        "updated_at": product.updated_at.isoformat(),
        "pages": 1,
        "variants": len(product.variants),
        "written": bool(written),
    }
    if not is_whole(product):
        run.save_checkpoint(progress)
    return progress


def _go_on(
    run: Run, db: TenantDb, catalogue: Catalogue, clock: Clock, product_id: int, progress: dict[str, Any]
) -> SyncedProduct | Continuation:
    """The pages behind the first; a rate limit or a crash resumes at the last page's cursor."""
    asked_at = parse_instant(progress["asked_at"])
    while progress["cursor"] is not None:
        page = catalogue.list_variants(product_id, progress["currency"], progress["cursor"])
        with db.begin() as tx:
            Products(tx).save_variants(page.variants, asked_at)
            Seen(tx).save(run.id, "variants", progress["pages"], [variant.id for variant in page.variants])
        progress |= {
            "cursor": page.next_cursor,
            "pages": progress["pages"] + 1,
            "variants": progress["variants"] + len(page.variants),
        }
        run.save_checkpoint(progress)
        if run.time_left(clock.now()) < ENOUGH:
            return run.continue_with(progress)
    with db.begin() as tx:
        updated_at = parse_instant(progress["updated_at"])
        Products(tx).prune_unseen_variants(product_id, run.id, updated_at, asked_at)
        Seen(tx).forget(run.id)
    return _result(product_id, progress)


def _result(product_id: int, progress: dict[str, Any]) -> SyncedProduct:
    return SyncedProduct(product_id, "written" if progress["written"] else "outdated", progress["variants"])


def delete(run: Run, db: TenantDb, product_ids: Sequence[int], at: datetime) -> list[int]:
    """Archive products that Shopify has no more, and tell of each once."""
    with db.begin() as tx:
        gone = Products(tx).mark_deleted(product_ids, at)
        publish(
            tx,
            run.correlation_id,
            [
                Told(
                    "product.deleted",
                    f"{each}@{at.isoformat()}",
                    ProductDeleted(product_id=each, deleted_at=at),
                )
                for each in gone
            ],
        )
    return gone


def fetch_page(payload: ProductBatch, catalogue: Catalogue, cursor: str | None) -> ProductPage:
    """The next page; by ids the cursor is the place in the list, of a collection its own."""
    if payload.product_ids:
        start = int(cursor or 0)
        end = start + min(payload.page_size, IDS_A_PAGE)
        products = catalogue.list_products_by_id(payload.product_ids[start:end])
        return ProductPage(products, str(end) if end < len(payload.product_ids) else None)
    if payload.collection_id is not None:
        members = catalogue.list_members(payload.collection_id, cursor)
        if members is None:
            return ProductPage((), None)
        return ProductPage(catalogue.list_products_by_id(members.product_ids), members.next_cursor)
    return catalogue.list_products(updated_from=payload.updated_since, cursor=cursor, limit=payload.page_size)
