"""A product's own rules, pure: what is written of it, and whether what is stored contains a change already."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tradewind.catalogue import ShopifyProduct, ShopifyVariant


@dataclass(frozen=True, slots=True)
class StoredProduct:
    product_id: int
    updated_at: datetime
    deleted_at: datetime | None


def contains(stored: StoredProduct | None, changed_at: datetime | None) -> bool:
    """Whether the stored product is the changed one already: an equal instant is the same state."""
    return (
        stored is not None
        and changed_at is not None
        and stored.deleted_at is None
        and stored.updated_at >= changed_at
    )


def to_row(product: ShopifyProduct) -> dict[str, Any]:
    return {
        "shopify_product_id": product.id,
        "title": product.title,
        "handle": product.handle,
        "status": product.status,
        "vendor": product.vendor,
        "product_type": product.product_type,
        "tags": list(product.tags),
        "description_html": product.description_html,
        "seo_title": product.seo_title,
        "seo_description": product.seo_description,
        "options": [{"name": each.name, "values": list(each.values)} for each in product.options],
        "currency": product.currency,
        "min_price_cents": product.min_price_cents,
        "max_price_cents": product.max_price_cents,
        "inventory_quantity": product.inventory_quantity,
        "variants_count": product.variants_count,
        "published_at": product.published_at and product.published_at.isoformat(),
        "shopify_created_at": product.created_at.isoformat(),
        "shopify_updated_at": product.updated_at.isoformat(),
    }


def to_variant_rows(variants: Iterable[ShopifyVariant]) -> list[dict[str, Any]]:
    return [
        {
            "shopify_variant_id": each.id,
            "shopify_product_id": each.product_id,
            "title": each.title,
            "position": each.position,
            "price_cents": each.price_cents,
            "compare_at_price_cents": each.compare_at_price_cents,
            "sku": each.sku,
            "barcode": each.barcode,
            "options": [{"name": name, "value": value} for name, value in each.options.items()],
            "shopify_inventory_item_id": each.inventory_item_id,
            "inventory_quantity": each.inventory_quantity,
            "sells_without_stock": each.sells_without_stock,
            "taxable": each.taxable,
            "shopify_updated_at": each.updated_at.isoformat(),
        }
        for each in variants
    ]


def to_image_rows(products: Iterable[ShopifyProduct]) -> list[dict[str, Any]]:
    return [
        {
            "shopify_product_id": product.id,
            "shopify_media_id": image.id,
            "position": place,
            "url": image.url,
            "alt": image.alt,
        }
        for product in products
        for place, image in enumerate(product.images, 1)
    ]


def is_whole(product: ShopifyProduct) -> bool:
    """Whether one answer brought all of its variants."""
    return product.variants_cursor is None
