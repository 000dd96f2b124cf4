"""What a shop sells and to whom, as Shopify tells it, and the port that asks for it.

Money in cents of ``currency``, instants in UTC, ids as Shopify's numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class ShopifyVariant:
    """``options`` is option name -> value, in the product's order."""

    id: int
    product_id: int
    title: str
    position: int
    price_cents: int
    updated_at: datetime
    compare_at_price_cents: int | None = None
    sku: str | None = None
    barcode: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    inventory_item_id: int | None = None
    inventory_quantity: int | None = None
    sells_without_stock: bool = False
    taxable: bool = True


@dataclass(frozen=True, slots=True)
class ShopifyImage:
    """``id`` is the media's; the place in the product's list is its position."""

    id: int
    url: str
    alt: str | None = None


@dataclass(frozen=True, slots=True)
class ProductOption:
    name: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ShopifyProduct:
    """A product's present state. Where it has more variants than one answer brings, ``variants_cursor`` says where they
    go on; ``status`` in lower case: active, draft, archived, unlisted.
    """

    id: int
    title: str
    handle: str
    status: str
    currency: str
    created_at: datetime
    updated_at: datetime
    vendor: str | None = None
    product_type: str | None = None
    description_html: str | None = None
    seo_title: str | None = None
    seo_description: str | None = None
    published_at: datetime | None = None
    min_price_cents: int | None = None
    max_price_cents: int | None = None
    inventory_quantity: int | None = None
    variants_count: int | None = None
    tags: tuple[str, ...] = ()
    options: tuple[ProductOption, ...] = ()
    images: tuple[ShopifyImage, ...] = ()
    variants: tuple[ShopifyVariant, ...] = ()
    variants_cursor: str | None = None


@dataclass(frozen=True, slots=True)
class ProductPage:
    products: tuple[ShopifyProduct, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class VariantPage:
    variants: tuple[ShopifyVariant, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class CustomerAddress:
    id: int
    first_name: str | None = None
    last_name: str | None = None
    company: str | None = None
    address1: str | None = None
    address2: str | None = None
    city: str | None = None
    province_code: str | None = None
    country_code: str | None = None
    zip: str | None = None
    phone: str | None = None
    is_default: bool = False


@dataclass(frozen=True, slots=True)
class CustomerProfile:
    """A customer's whole present state; personal fields are None where Shopify may not show them."""

    id: int
    currency: str
    created_at: datetime
    updated_at: datetime
    email: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    phone: str | None = None
    locale: str | None = None
    state: str = "disabled"
    accepts_marketing: bool = False
    verified_email: bool = False
    orders_count: int = 0
    total_spent_cents: int = 0
    tags: tuple[str, ...] = ()
    addresses: tuple[CustomerAddress, ...] = ()


@dataclass(frozen=True, slots=True)
class CustomerPage:
    customers: tuple[CustomerProfile, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Location:
    id: int
    name: str
    active: bool


@dataclass(frozen=True, slots=True)
class InventoryLevel:
    """What is available of an inventory item at a location; ``updated_at`` is the level's own."""

    inventory_item_id: int
    location_id: int
    available: int
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class ItemCost:
    """What a unit of an inventory item costs its merchant, in cents of ``currency``."""

    inventory_item_id: int
    cents: int
    currency: str


@dataclass(frozen=True, slots=True)
class ItemCostPage:
    """Costs of the page's items; an item without one is not in it."""

    costs: tuple[ItemCost, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class LevelPage:
    levels: tuple[InventoryLevel, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class ShopifyCollection:
    """``rules`` are a smart collection's conditions as we keep them; None where products are chosen by hand."""

    id: int
    title: str
    handle: str
    sort_order: str
    updated_at: datetime
    description_html: str | None = None
    products_count: int | None = None
    rules: Sequence[Mapping[str, Any]] | None = None


@dataclass(frozen=True, slots=True)
class CollectionPage:
    collections: tuple[ShopifyCollection, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class MemberPage:
    """Ids of a collection's products, in the collection's order."""

    product_ids: tuple[int, ...]
    next_cursor: str | None


class BulkKind(StrEnum):
    """What a bulk operation reads."""

    PRODUCTS = "products"
    CUSTOMERS = "customers"


class BulkStatus(StrEnum):
    CREATED = "created"
    RUNNING = "running"
    COMPLETED = "completed"
    CANCELING = "canceling"
    CANCELED = "canceled"
    FAILED = "failed"
    EXPIRED = "expired"

    @property
    def is_open(self) -> bool:
        return self in {BulkStatus.CREATED, BulkStatus.RUNNING, BulkStatus.CANCELING}


@dataclass(frozen=True, slots=True)
class BulkOperation:
    """``url`` is the result's address, of a failed operation that of what it had read until then; ``error_code`` in
    Shopify's words. ``currency`` is the shop's, in which the lines' prices are.
    """

    id: int
    status: BulkStatus
    currency: str
    url: str | None = None
    size: int = 0
    error_code: str | None = None


class Catalogue(Protocol):
    """One shop's products, customers, stock and collections, under the tenant's credentials and limits.

    Every method raises ProviderUnavailableError, RateLimitedError, CredentialsRejectedError or InvalidPayloadError.
    A page may be shorter than its limit where the shop's limit is reached; only its cursor tells whether more follows.
    """

    def find_product(self, product_id: int) -> ShopifyProduct | None:
        """A product with at most 250 of its variants; None where Shopify has none."""

    def list_variants(self, product_id: int, currency: str, cursor: str) -> VariantPage:
        """The product's variants behind ``cursor``, at most 250."""

    def list_products(self, *, updated_from: datetime | None, cursor: str | None, limit: int) -> ProductPage:
        """At most ``limit`` (<= 250) products by id, each with its first ten variants."""

    def list_products_by_id(self, product_ids: Sequence[int]) -> tuple[ShopifyProduct, ...]:
        """The products that exist among at most 250 ids, each with its first ten variants."""

    def find_customer(self, customer_id: int) -> CustomerProfile | None: ...

    def list_customers(
        self,
        *,
        created_from: datetime | None,
        updated_from: datetime | None,
        cursor: str | None,
        limit: int,
    ) -> CustomerPage:
        """At most ``limit`` (<= 250) customers by id."""

    def list_customers_by_id(self, customer_ids: Sequence[int]) -> tuple[CustomerProfile, ...]:
        """The customers that exist among at most 250 ids."""

    def add_customer_tags(self, customer_id: int, tags: Sequence[str]) -> None:
        """Add tags; those that are there already stay as they are."""

    def list_locations(self) -> tuple[Location, ...]: ...

    def find_level(self, inventory_item_id: int, location_id: int) -> InventoryLevel | None: ...

    def list_levels(
        self, location_id: int, *, updated_from: datetime | None, cursor: str | None
    ) -> LevelPage:
        """At most 250 of a location's levels."""

    def list_item_costs(self, *, updated_from: datetime | None, cursor: str | None) -> ItemCostPage:
        """Unit costs of at most 250 inventory items."""

    def find_collection(self, collection_id: int) -> ShopifyCollection | None: ...

    def list_collections(self, *, cursor: str | None) -> CollectionPage: ...

    def list_members(self, collection_id: int, cursor: str | None) -> MemberPage | None:
        """At most 250 of a collection's products; None where Shopify has no such collection."""

    def start_bulk(self, kind: BulkKind) -> BulkOperation:
        """Start reading everything of a kind, or take the one that reads it already. Raises RetryableError where the
        shop runs as many as it may.
        """

    def find_bulk(self, operation_id: int) -> BulkOperation | None: ...

    def read_bulk_result(self, url: str, offset: int, length: int) -> bytes:
        """A range of the result; shorter at its end, empty behind it."""
