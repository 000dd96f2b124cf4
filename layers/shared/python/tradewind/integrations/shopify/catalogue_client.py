"""The part of the Admin API that reads a shop's catalogue: ``CatalogueClient`` is the port ``Catalogue``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from tradewind.catalogue import (
    BulkKind,
    BulkOperation,
    CollectionPage,
    CustomerPage,
    CustomerProfile,
    InventoryLevel,
    ItemCostPage,
    LevelPage,
    Location,
    MemberPage,
    ProductPage,
    ShopifyCollection,
    ShopifyProduct,
    VariantPage,
)
from tradewind.errors import InvalidPayloadError, RateLimitedError
from tradewind.integrations.shopify import catalogue_queries as queries
from tradewind.integrations.shopify.admin_api import AdminApi
from tradewind.integrations.shopify.answers import PROVIDER, messages_of, refuse_status, refuse_user_errors
from tradewind.integrations.shopify.catalogue_models import (
    Bulk,
    BulkList,
    Collection,
    CollectionConnection,
    Level,
    LevelConnection,
    MemberConnection,
    PlaceConnection,
    Product,
    ProductConnection,
    Profile,
    ProfileConnection,
    VariantConnection,
)
from tradewind.integrations.shopify.cost_models import CostedItem, CostedItemConnection
from tradewind.integrations.shopify.models import Identified, Wire, gid, read
from tradewind.integrations.shopify.queries import Operation

_Port = TypeVar("_Port")
_W = TypeVar("_W", bound=Wire)
_OK = {200, 206}
_BEHIND_ITS_END = 416


class _Variants(Wire):
    variants: VariantConnection


class _Levels(Wire):
    inventory_levels: LevelConnection


class _Members(Wire):
    products: MemberConnection


@dataclass(frozen=True, slots=True)
class _Listing:
    operation: Operation
    field: str
    connection: Any
    at_once: int


_PRODUCTS = _Listing(queries.LIST_PRODUCTS, "products", ProductConnection, queries.PRODUCTS_PER_CALL)
_CUSTOMERS = _Listing(queries.LIST_CUSTOMERS, "customers", ProfileConnection, queries.CUSTOMERS_PER_CALL)


class CatalogueClient:
    """One shop's catalogue."""

    def __init__(self, api: AdminApi) -> None:
        self._api = api

    def find_product(self, product_id: int) -> ShopifyProduct | None:
        return self._find(queries.FIND_PRODUCT, "product", "Product", product_id, Product, Product.to_port)

    def list_variants(self, product_id: int, currency: str, cursor: str) -> VariantPage:
        data = self._api.call(queries.PRODUCT_VARIANTS, {"id": gid("Product", product_id), "after": cursor})
        if data.get("product") is None:
            return VariantPage((), None)
        page = read(_Variants, data["product"], "product").variants
        variants = tuple(_to_port(each, lambda one: one.to_port(product_id, currency)) for each in page.nodes)
        return VariantPage(variants, page.page_info.next_cursor)

    def list_products(self, *, updated_from: datetime | None, cursor: str | None, limit: int) -> ProductPage:
        search = _search(updated_at=updated_from)
        return ProductPage(*self._pages(_PRODUCTS, search, cursor, limit, Product.to_port))

    def list_products_by_id(self, product_ids: Sequence[int]) -> tuple[ShopifyProduct, ...]:
        nodes = self._nodes(
            queries.LIST_PRODUCTS_BY_ID, "Product", product_ids, queries.PRODUCTS_PER_CALL, Product
        )
        return tuple(_to_port(node, Product.to_port) for node in nodes)

    def find_customer(self, customer_id: int) -> CustomerProfile | None:
        return self._find(
            queries.FIND_CUSTOMER, "customer", "Customer", customer_id, Profile, Profile.to_port
        )

    def list_customers(
        self,
        *,
        created_from: datetime | None,
        updated_from: datetime | None,
        cursor: str | None,
        limit: int,
    ) -> CustomerPage:
        search = _search(created_at=created_from, updated_at=updated_from)
        return CustomerPage(*self._pages(_CUSTOMERS, search, cursor, limit, Profile.to_port))

    def list_customers_by_id(self, customer_ids: Sequence[int]) -> tuple[CustomerProfile, ...]:
        nodes = self._nodes(
            queries.LIST_CUSTOMERS_BY_ID, "Customer", customer_ids, queries.CUSTOMERS_PER_CALL, Profile
        )
        return tuple(_to_port(node, Profile.to_port) for node in nodes)

    def add_customer_tags(self, customer_id: int, tags: Sequence[str]) -> None:
        data = self._api.call(queries.ADD_TAGS, {"id": gid("Customer", customer_id), "tags": list(tags)})
        added = data.get("tagsAdd")
        if not isinstance(added, dict):
            raise InvalidPayloadError("tagsAdd", "missing from Shopify's answer")
        refuse_user_errors(queries.ADD_TAGS.name, messages_of(added.get("userErrors")))

    def list_locations(self) -> tuple[Location, ...]:
        data = self._api.call(queries.LIST_LOCATIONS, {})
        return tuple(
            place.to_port() for place in read(PlaceConnection, data.get("locations"), "locations").nodes
        )

    def find_level(self, inventory_item_id: int, location_id: int) -> InventoryLevel | None:
        asked = {"item": gid("InventoryItem", inventory_item_id), "location": gid("Location", location_id)}
        item = self._api.call(queries.FIND_LEVEL, asked).get("inventoryItem")
        level = item.get("inventoryLevel") if isinstance(item, dict) else None
        return None if level is None else read(Level, level, "inventoryLevel").to_port(location_id)

    def list_levels(
        self, location_id: int, *, updated_from: datetime | None, cursor: str | None
    ) -> LevelPage:
        asked = {
            "location": gid("Location", location_id),
            "query": _search(updated_at=updated_from),
            "after": cursor,
        }
        location = self._api.call(queries.LIST_LEVELS, asked).get("location")
        if location is None:
            return LevelPage((), None)
        page = read(_Levels, location, "location").inventory_levels
        return LevelPage(
            tuple(level.to_port(location_id) for level in page.nodes), page.page_info.next_cursor
        )

    def list_item_costs(self, *, updated_from: datetime | None, cursor: str | None) -> ItemCostPage:
        asked = {"query": _search(updated_at=updated_from), "after": cursor}
        data = self._api.call(queries.LIST_ITEM_COSTS, asked)
        page = read(CostedItemConnection, data.get("inventoryItems"), "inventoryItems")
        costs = (_to_port(node, CostedItem.to_port) for node in page.nodes)
        return ItemCostPage(tuple(cost for cost in costs if cost is not None), page.page_info.next_cursor)

    def find_collection(self, collection_id: int) -> ShopifyCollection | None:
        return self._find(
            queries.FIND_COLLECTION, "collection", "Collection", collection_id, Collection, Collection.to_port
        )

    def list_collections(self, *, cursor: str | None) -> CollectionPage:
        data = self._api.call(queries.LIST_COLLECTIONS, {"after": cursor})
        page = read(CollectionConnection, data.get("collections"), "collections")
        return CollectionPage(tuple(each.to_port() for each in page.nodes), page.page_info.next_cursor)

    def list_members(self, collection_id: int, cursor: str | None) -> MemberPage | None:
        asked = {"id": gid("Collection", collection_id), "after": cursor}
        collection = self._api.call(queries.LIST_MEMBERS, asked).get("collection")
        if collection is None:
            return None
        page = read(_Members, collection, "collection").products
        return MemberPage(tuple(member.number for member in page.nodes), page.page_info.next_cursor)

    def start_bulk(self, kind: BulkKind) -> BulkOperation:
        """An operation that runs the same text already is ours, from a lost answer or a crash: it is taken."""
        text = queries.BULK_QUERIES[kind].text
        data = self._api.call(queries.LIST_BULKS, {})
        currency = _currency(data)
        for bulk in read(BulkList, data.get("bulkOperations"), "bulkOperations").nodes:
            running = _to_port(bulk, lambda one: one.to_port(currency))
            if bulk.query == text and running.status.is_open:
                return running
        started = self._api.call(queries.START_BULK, {"query": text}).get("bulkOperationRunQuery")
        if not isinstance(started, dict):
            raise InvalidPayloadError("bulkOperationRunQuery", "missing from Shopify's answer")
        refuse_user_errors(queries.START_BULK.name, messages_of(started.get("userErrors")))
        path = "bulkOperationRunQuery.bulkOperation"
        return _to_port(read(Bulk, started.get("bulkOperation"), path), lambda one: one.to_port(currency))

    def find_bulk(self, operation_id: int) -> BulkOperation | None:
        data = self._api.call(queries.FIND_BULK, {"id": gid("BulkOperation", operation_id)})
        if data.get("bulkOperation") is None:
            return None
        currency = _currency(data)
        return _to_port(read(Bulk, data["bulkOperation"], "bulkOperation"), lambda one: one.to_port(currency))

    def read_bulk_result(self, url: str, offset: int, length: int) -> bytes:
        answer = self._api.transport.get_range(PROVIDER, url, offset, length)
        if answer.status == _BEHIND_ITS_END:
            return b""
        if answer.status not in _OK:
            refuse_status(answer, self._api.shop, mutates=False)
        return answer.body

    def _find(
        self,
        operation: Operation,
        field: str,
        kind: str,
        number: int,
        wire: type[_W],
        translate: Callable[[_W], _Port],
    ) -> _Port | None:
        found = self._api.call(operation, {"id": gid(kind, number)}).get(field)
        return None if found is None else _to_port(read(wire, found, field), translate)

    def _pages(
        self,
        listing: _Listing,
        search: str | None,
        cursor: str | None,
        limit: int,
        translate: Callable[[Any], _Port],
    ) -> tuple[tuple[_Port, ...], str | None]:
        """Read until ``limit`` or the shop's limit is reached: what was found, and the cursor of what comes next.

        Raises RateLimitedError only where not even the first call may pass, so that a page is always progress.
        """
        found: list[_Port] = []
        while True:
            first = min(limit - len(found), listing.at_once)
            try:
                data = self._api.call(listing.operation, {"first": first, "after": cursor, "query": search})
            except RateLimitedError:
                if not found:
                    raise
                return tuple(found), cursor
            page = read(listing.connection, data.get(listing.field), listing.field)
            found.extend(_to_port(node, translate) for node in page.nodes)
            cursor = page.page_info.next_cursor
            if cursor is None or len(found) >= limit:
                return tuple(found), cursor

    def _nodes(
        self, operation: Operation, kind: str, numbers: Sequence[int], at_once: int, wire: type[_W]
    ) -> list[_W]:
        if len(numbers) > queries.IDS_PER_CALL:
            raise ValueError(f"{len(numbers)} ids; ask for at most {queries.IDS_PER_CALL}")
        found: list[_W] = []
        for start in range(0, len(numbers), at_once):
            ids = [gid(kind, number) for number in numbers[start : start + at_once]]
            nodes = self._api.call(operation, {"ids": ids}).get("nodes")
            if not isinstance(nodes, list):
                raise InvalidPayloadError("nodes", "missing from Shopify's answer")
            found.extend(read(wire, node, f"nodes.{at}") for at, node in enumerate(nodes) if node)
        return found


def _to_port(wire: _W, translate: Callable[[_W], _Port]) -> _Port:
    """Translate, and say of an amount that cannot be whose it is."""
    try:
        return translate(wire)
    except ValueError as error:
        name = type(wire).__name__.lower()
        number = wire.number if isinstance(wire, Identified) else ""
        raise InvalidPayloadError(f"{name} {number}", str(error)) from None


def _currency(data: Mapping[str, Any]) -> str:
    shop = data.get("shop")
    if not isinstance(shop, dict) or not isinstance(shop.get("currencyCode"), str):
        raise InvalidPayloadError("shop.currencyCode", "missing from Shopify's answer")
    return str(shop["currencyCode"])


def _search(**bounds: datetime | None) -> str | None:
    """Shopify's search text: each named instant and later; Shopify keeps whole seconds."""
    terms = [
        f"{name}:>='{moment.astimezone(UTC).strftime('%Y-%m-%dT%H:%M:%SZ')}'"
        for name, moment in bounds.items()
        if moment is not None
    ]
    return " ".join(terms) or None
