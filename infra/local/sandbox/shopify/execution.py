"""GraphQL execution over a shop's state, with the reference implementation for Python."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from graphql import (
    DocumentNode,
    GraphQLError,
    GraphQLObjectType,
    GraphQLResolveInfo,
    GraphQLSchema,
    build_schema,
    execute_sync,
    parse,
    validate,
)

from infra.local.sandbox.shopify.cost import CostTree, cost_tree
from infra.local.sandbox.shopify.shop import Shop

MOST_IN_A_PAGE = 250
_TERM = re.compile(r"(\w+):(>=|<=|>|<)?(?:'([^']*)'|\"([^\"]*)\"|(\S+))")
_SEARCHABLE = {"updated_at": "updatedAt", "created_at": "createdAt", "processed_at": "processedAt"}
_SORT_FIELDS = {"CREATED_AT": "createdAt", "PROCESSED_AT": "processedAt", "UPDATED_AT": "updatedAt"}

Info = GraphQLResolveInfo[Any]
Node = Mapping[str, Any]
Key = Callable[[Node], tuple[str, int]]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A document, parsed and validated. ``errors`` is empty where it can be executed."""

    document: DocumentNode | None
    costs: CostTree | None
    errors: tuple[GraphQLError, ...]


@lru_cache(maxsize=256)
def prepare(text: str, operation_name: str | None) -> Prepared:
    """Parse, validate and cost a document; the same text is prepared once."""
    try:
        document = parse(text)
        errors = validate(schema(), document)
        if errors:
            return Prepared(None, None, tuple(errors))
        return Prepared(document, cost_tree(schema(), document, operation_name), ())
    except (GraphQLError, ValueError) as error:
        return Prepared(None, None, (error if isinstance(error, GraphQLError) else GraphQLError(str(error)),))


def run(
    prepared: Prepared, shop: Shop, variables: Mapping[str, Any], operation_name: str | None
) -> tuple[dict[str, Any] | None, Sequence[GraphQLError]]:
    """Execute. Returns data and errors."""
    if prepared.document is None:
        raise ValueError("the document has errors and cannot be executed")
    result = execute_sync(
        schema(),
        prepared.document,
        context_value=shop,
        variable_values=dict(variables),
        operation_name=operation_name,
    )
    return result.data, result.errors or ()


@lru_cache(maxsize=1)
def schema() -> GraphQLSchema:
    """The schema beside this file, with its resolvers."""
    built = build_schema(Path(__file__).with_name("schema.graphql").read_text(encoding="utf-8"))
    for kind, fields in _RESOLVERS.items():
        definition = built.type_map[kind]
        if not isinstance(definition, GraphQLObjectType):
            raise TypeError(f"{kind} is no object type of the schema")
        for name, resolver in fields.items():
            definition.fields[name].resolve = resolver
    return built


def _shop_of(info: Info) -> Shop:
    shop: Shop = info.context
    return shop


def _order(_: Any, info: Info, id: str) -> Node | None:  # noqa: A002 - the schema's name
    return _shop_of(info).find_node(id, "Order")


def _refund(_: Any, info: Info, id: str) -> Node | None:  # noqa: A002 - the schema's name
    return _shop_of(info).find_node(id, "Refund")


def _node(_: Any, info: Info, id: str) -> Node | None:  # noqa: A002 - the schema's name
    return _shop_of(info).find_node(id, None)


def _nodes(_: Any, info: Info, ids: list[str]) -> list[Node | None]:
    if len(ids) > MOST_IN_A_PAGE:
        raise GraphQLError(f"The input array size of {len(ids)} is greater than the maximum allowed of 250.")
    return [_shop_of(info).find_node(gid, None) for gid in ids]


def _orders(_: Any, info: Info, **arguments: Any) -> Node:
    sort = arguments.get("sortKey") or "PROCESSED_AT"
    field = _SORT_FIELDS.get(sort)

    def key(order: Node) -> tuple[str, int]:
        number = int(order["legacyResourceId"])
        return (str(order[field]) if field else f"{number:020d}", number)

    wanted = _matcher(arguments.get("query"))
    return _page([order for order in _shop_of(info).list_orders() if wanted(order)], key, arguments)


def _matcher(query: str | None) -> Callable[[Node], bool]:
    """Shopify's search text, the part of it that sync needs: dates compared, name and id."""
    terms = []
    for match in _TERM.finditer(query or ""):
        field, comparison, value = match[1], match[2] or "=", match[3] or match[4] or match[5] or ""
        if field not in _SEARCHABLE and field not in ("name", "id"):
            raise GraphQLError(f"The sandbox does not search orders by {field}.")
        terms.append((field, comparison, value))
    return lambda order: all(_fits(order, *term) for term in terms)


def _fits(order: Node, field: str, comparison: str, value: str) -> bool:
    if field not in _SEARCHABLE:
        return str(order["name" if field == "name" else "legacyResourceId"]) == value
    mine = str(order[_SEARCHABLE[field]])
    # Instants are kept as text of one form, so that text order is time order.
    return {">=": mine >= value, "<=": mine <= value, ">": mine > value, "<": mine < value}.get(
        comparison, mine == value
    )


def _subscriptions(_: Any, info: Info, **arguments: Any) -> Node:
    topics, uri = arguments.get("topics"), arguments.get("uri")
    listed = [
        subscription
        for subscription in _shop_of(info).subscriptions
        if (not topics or subscription["topic"] in topics) and uri in (None, subscription["uri"])
    ]
    return _page(listed, lambda node: ("", int(node["legacyResourceId"])), arguments)


def _subscribe(_: Any, info: Info, topic: str, **arguments: Any) -> Node:
    created, problem = _shop_of(info).subscribe(topic, arguments["webhookSubscription"])
    errors = [{"field": ["webhookSubscription", "callbackUrl"], "message": problem}] if problem else []
    return {"webhookSubscription": created, "userErrors": errors}


def _in_order(nodes: Sequence[Node]) -> Key:
    """The key of a list that is shown in its own order: the place."""
    places = {id(node): at for at, node in enumerate(nodes)}
    return lambda node: ("", places[id(node)])


def _own_page(name: str) -> Callable[..., Node]:
    def resolve(parent: Node, _: Info, **arguments: Any) -> Node:
        return _page(parent[name], _in_order(parent[name]), arguments)

    return resolve


def _own_list(name: str) -> Callable[..., Sequence[Node]]:
    def resolve(parent: Node, _: Info, first: int | None = None) -> Sequence[Node]:
        listed: Sequence[Node] = parent[name]
        return listed if first is None else listed[: _size(first)]

    return resolve


def _size(asked: int) -> int:
    if not 0 <= asked <= MOST_IN_A_PAGE:
        raise GraphQLError(f"The requested page size {asked} must be between 0 and {MOST_IN_A_PAGE}.")
    return asked


def _page(nodes: Sequence[Node], key: Key, arguments: Mapping[str, Any]) -> Node:
    """A Relay connection by key, so that a page stays true while others write."""
    forward, backward = arguments.get("first"), arguments.get("last")
    if (forward is None) == (backward is None):
        raise GraphQLError("you must provide one of first or last")
    ordered = sorted(nodes, key=key, reverse=bool(arguments.get("reverse")))
    start, end = 0, len(ordered)
    places = {key(node): at for at, node in enumerate(ordered)}
    descending = bool(arguments.get("reverse"))
    if arguments.get("after"):
        start = _place(places, _read_cursor(arguments["after"]), descending=descending) + 1
    if arguments.get("before"):
        mark = _read_cursor(arguments["before"])
        end = places.get(mark, _place(places, mark, descending=descending) + 1)
    shown = ordered[start:end]
    shown = (
        shown[: _size(forward)] if forward is not None else shown[max(0, len(shown) - _size(backward or 0)) :]
    )
    last = places[key(shown[-1])] if shown else start - 1
    first = places[key(shown[0])] if shown else start
    info = {
        "hasNextPage": last + 1 < len(ordered) if shown else False,
        "hasPreviousPage": first > 0,
        "startCursor": _cursor(key(shown[0])) if shown else None,
        "endCursor": _cursor(key(shown[-1])) if shown else None,
    }
    edges = [{"cursor": _cursor(key(node)), "node": node} for node in shown]
    return {"nodes": shown, "edges": edges, "pageInfo": info}


def _place(places: Mapping[tuple[str, int], int], mark: tuple[str, int], *, descending: bool) -> int:
    """The place of the last node not behind the mark; the marked node may be gone or have moved."""
    passed = [at for key, at in places.items() if (key >= mark if descending else key <= mark)]
    return max(passed, default=-1)


def _cursor(key: tuple[str, int]) -> str:
    return base64.b64encode(json.dumps(key).encode()).decode()


def _read_cursor(cursor: str) -> tuple[str, int]:
    try:
        value, number = json.loads(base64.b64decode(cursor, validate=True))
        return str(value), int(number)
    except (ValueError, TypeError):
        raise GraphQLError("Invalid cursor for current pagination sort.") from None


_RESOLVERS: Mapping[str, Mapping[str, Callable[..., Any]]] = {
    "QueryRoot": {
        "node": _node,
        "nodes": _nodes,
        "order": _order,
        "refund": _refund,
        "orders": _orders,
        "shop": lambda _, info: _shop_of(info).node(),
        "webhookSubscriptions": _subscriptions,
    },
    "Mutation": {"webhookSubscriptionCreate": _subscribe},
    "Order": {
        "lineItems": _own_page("lineItems"),
        "refunds": _own_list("refunds"),
        "fulfillments": _own_list("fulfillments"),
    },
    "Refund": {"refundLineItems": _own_page("refundLineItems")},
    "Fulfillment": {"trackingInfo": _own_list("trackingInfo")},
}
