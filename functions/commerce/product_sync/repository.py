"""Products, variants and images in Postgres: a method per query, model types in and out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from commerce.product_sync import model
from commerce.product_sync.model import StoredProduct
from tradewind.catalogue import ShopifyProduct, ShopifyVariant
from tradewind.sql import load_queries
from tradewind.tenancy.database import Jsonb, Transaction

QUERIES = load_queries(__file__)


class Products:
    """Products with their variants and images. ``read_at`` is when Shopify was asked."""

    def __init__(self, transaction: Transaction) -> None:
        self._tx = transaction

    def find(self, product_id: int) -> StoredProduct | None:
        row = self._tx.fetch_one(QUERIES["find_product"], {"product_id": product_id})
        if row is None:
            return None
        return StoredProduct(row["shopify_product_id"], row["shopify_updated_at"], row["deleted_at"])

    def save(self, products: Sequence[ShopifyProduct], read_at: datetime) -> set[int]:
        """Write products with what came of their variants, set-based; returns the ids of those that were written."""
        rows = [model.to_row(product) for product in products]
        found = self._tx.fetch_all(QUERIES["save_products"], {"products": _json(rows), "read_at": read_at})
        written = {row["shopify_product_id"] for row in found}
        self.save_variants([each for product in products for each in product.variants], read_at)
        newer = [product for product in products if product.id in written]
        if newer:
            images = {"images": _json(model.to_image_rows(newer)), "product_ids": [each.id for each in newer]}
            self._tx.execute(QUERIES["replace_images"], images)
        self._prune([product for product in products if model.is_whole(product)], read_at)
        return written

    def save_variants(self, variants: Sequence[ShopifyVariant], read_at: datetime) -> None:
        if variants:
            about = {"variants": _json(model.to_variant_rows(variants)), "read_at": read_at}
            self._tx.execute(QUERIES["save_variants"], about)

    def _prune(self, whole: Sequence[ShopifyProduct], read_at: datetime) -> None:
        if whole:
            about = {
                "whole_products": _json([model.to_row(product) for product in whole]),
                "variant_ids": [variant.id for product in whole for variant in product.variants],
                "read_at": read_at,
            }
            self._tx.execute(QUERIES["prune_variants"], about)

    def prune_unseen_variants(
        self, product_id: int, run_id: UUID, updated_at: datetime, read_at: datetime
    ) -> None:
        about = {"product_id": product_id, "run_id": run_id, "updated_at": updated_at, "read_at": read_at}
        self._tx.execute(QUERIES["prune_unseen_variants"], about)

    def mark_deleted(self, product_ids: Sequence[int], read_at: datetime) -> list[int]:
        """Archive products; returns those that were not deleted before."""
        about = {"product_ids": list(product_ids), "read_at": read_at}
        return [row["shopify_product_id"] for row in self._tx.fetch_all(QUERIES["mark_deleted"], about)]


class Seen:
    """What a run has seen at Shopify, until it has ended."""

    def __init__(self, transaction: Transaction) -> None:
        self._tx = transaction

    def save(self, run_id: UUID, kind: str, part: int, seen_ids: Iterable[int]) -> None:
        about = {"run_id": run_id, "kind": kind, "part": part, "seen_ids": list(seen_ids)}
        self._tx.execute(QUERIES["save_seen"], about)

    def forget(self, run_id: UUID) -> None:
        self._tx.execute(QUERIES["forget_seen"], {"run_id": run_id})


class Waiting:
    """Runs that wait for a bulk operation."""

    def __init__(self, transaction: Transaction) -> None:
        self._tx = transaction

    def wake(self, operation_id: int) -> bool:
        """Let the run go on that waits for this operation; False where none does, or did not wait yet."""
        row = self._tx.fetch_one(QUERIES["find_waiting_run"], {"operation_id": operation_id})
        if row is None:
            return False
        woken = self._tx.fetch_one(QUERIES["wake_run"], {"task": row["task"], "cause": row["cause"]})
        return bool(woken and woken["woken"])


def _json(rows: Iterable[Any]) -> Jsonb:
    return Jsonb(list(rows))
