"""GraphQL resolvers of products, customers, stock, collections and bulk operations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from graphql import GraphQLError

from infra.local.sandbox.shopify.paging import Info, Node, matcher, own_list, own_page, page
from infra.local.sandbox.shopify.shop import Shop

_SORT_FIELDS = {"CREATED_AT": "createdAt", "UPDATED_AT": "updatedAt"}


def _shop(info: Info) -> Shop:
    shop: Shop = info.context
    return shop


def _one(kind: str) -> Callable[..., Node | None]:
    def resolve(_: Any, info: Info, id: str) -> Node | None:  # noqa: A002 - the schema's name
        node = _shop(info).catalogue.nodes.get(id)
        return node if node is not None and node["__typename"] == kind else None

    return resolve


def _all(kind: str) -> Callable[..., Node]:
    def resolve(_: Any, info: Info, **arguments: Any) -> Node:
        field = _SORT_FIELDS.get(arguments.get("sortKey") or "ID")
        wanted = matcher(arguments.get("query"))
        nodes = [node for node in _shop(info).catalogue.all_of(kind) if wanted(node)]

        def key(node: Node) -> tuple[str, int]:
            number = int(node["legacyResourceId"])
            return (str(node[field]) if field else f"{number:020d}", number)

        return page(nodes, key, arguments)

    return resolve


def _locations(_: Any, info: Info, **arguments: Any) -> Node:
    nodes = _shop(info).catalogue.all_of("Location")
    shown = [node for node in nodes if node["isActive"] or arguments.get("includeInactive")]
    return page(shown, lambda node: (node["name"], int(node["legacyResourceId"])), arguments)


def _levels(parent: Node, info: Info, **arguments: Any) -> Node:
    wanted = matcher(arguments.get("query"))
    nodes = _shop(info).catalogue.levels_of(parent["legacyResourceId"])
    return page([node for node in nodes if wanted(node)], _by_item, arguments)


def _by_item(level: Node) -> tuple[str, int]:
    return ("", int(level["item"]["id"].rsplit("/", 1)[1]))


def _item(_: Any, info: Info, id: str) -> Node | None:  # noqa: A002 - the schema's name
    known = any(level["item"]["id"] == id for level in _shop(info).catalogue.all_of("InventoryLevel"))
    return {"__typename": "InventoryItem", "id": id} if known else None


def _items(_: Any, info: Info, **arguments: Any) -> Node:
    wanted = matcher(arguments.get("query"))
    products = _shop(info).catalogue.all_of("Product")
    items = [variant["inventoryItem"] for product in products for variant in product["variants"]]
    shown = [item for item in items if wanted(item)]
    return page(shown, lambda item: (f"{int(item['id'].rsplit('/', 1)[1]):020d}", 0), arguments)


def _level_at(parent: Node, info: Info, locationId: str) -> Node | None:  # noqa: N803 - the schema's name
    item, location = parent["id"].rsplit("/", 1)[1], locationId.rsplit("/", 1)[1]
    return _shop(info).catalogue.nodes.get(
        f"gid://shopify/InventoryLevel/{location}?inventory_item_id={item}"
    )


def _quantities(parent: Node, _: Info, names: list[str]) -> list[Node]:
    return [{"name": name, "quantity": parent["available"] if name == "available" else 0} for name in names]


def _location_of(parent: Node, info: Info) -> Node | None:
    return _shop(info).catalogue.nodes.get(f"gid://shopify/Location/{parent['location_number']}")


def _members(parent: Node, info: Info, **arguments: Any) -> Node:
    numbers = parent["member_numbers"]
    places = {f"gid://shopify/Product/{number}": place for place, number in enumerate(numbers)}
    nodes = _shop(info).catalogue.nodes
    members = [nodes[gid] for gid in places if gid in nodes]
    return page(members, lambda node: ("", places[node["id"]]), arguments)


def _add_tags(_: Any, info: Info, id: str, tags: list[str]) -> Node:  # noqa: A002 - the schema's name
    state = _shop(info).catalogue
    number = id.rsplit("/", 1)[1]
    customer = state.customers.get(number)
    if customer is None:
        return {"node": None, "userErrors": [{"field": ["id"], "message": "Customer does not exist"}]}
    present = [tag.strip() for tag in str(customer.get("tags") or "").split(",") if tag.strip()]
    missing = [tag for tag in tags if tag not in present]
    if missing:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        state.put("customers", {**customer, "tags": ", ".join([*present, *missing]), "updated_at": now})
    return {"node": state.nodes[id], "userErrors": []}


def _run_bulk(_: Any, info: Info, query: str, **about: Any) -> Node:
    shop = _shop(info)
    if about.get("groupObjects"):
        raise GraphQLError("The sandbox does not group objects.")
    started, code = shop.bulk.start(query)
    if started is None:
        message = "A bulk query operation for this app and shop is already in progress."
        return {"bulkOperation": None, "userErrors": [{"field": None, "message": message, "code": code}]}
    return {"bulkOperation": shop.bulk.node(started, shop.base), "userErrors": []}


def _bulk(_: Any, info: Info, id: str) -> Node | None:  # noqa: A002 - the schema's name
    shop = _shop(info)
    found = shop.bulk.look(id.rsplit("/", 1)[1])
    return None if found is None else shop.bulk.node(found, shop.base)


def _bulks(_: Any, info: Info, **arguments: Any) -> Node:
    shop = _shop(info)
    nodes = [shop.bulk.node(each, shop.base) for each in shop.bulk.operations.values()]
    return page(nodes, lambda node: (node["createdAt"], int(node["legacyResourceId"])), arguments)


CATALOGUE_RESOLVERS: Mapping[str, Mapping[str, Callable[..., Any]]] = {
    "QueryRoot": {
        "product": _one("Product"),
        "products": _all("Product"),
        "customer": _one("Customer"),
        "customers": _all("Customer"),
        "collection": _one("Collection"),
        "collections": _all("Collection"),
        "location": _one("Location"),
        "locations": _locations,
        "inventoryItem": _item,
        "inventoryItems": _items,
        "bulkOperation": _bulk,
        "bulkOperations": _bulks,
    },
    "Mutation": {"tagsAdd": _add_tags, "bulkOperationRunQuery": _run_bulk},
    "Product": {
        "options": own_list("options"),
        "media": own_page("media"),
        "variants": own_page("variants"),
    },
    "Customer": {"addressesV2": own_page("addressesV2")},
    "Location": {"inventoryLevels": _levels},
    "InventoryItem": {"inventoryLevel": _level_at},
    "InventoryLevel": {"quantities": _quantities, "location": _location_of},
    "Collection": {"products": _members},
}
