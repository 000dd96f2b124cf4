"""GraphQL execution over a shop's state, with the reference implementation for Python."""

from __future__ import annotations

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

from infra.local.sandbox.shopify.catalogue_execution import CATALOGUE_RESOLVERS
from infra.local.sandbox.shopify.cost import CostTree, cost_tree
from infra.local.sandbox.shopify.paging import (
    MOST_IN_A_PAGE,
    Node,
    matcher,
    own_list,
    own_page,
    page,
    unbounded,
)
from infra.local.sandbox.shopify.shop import Shop

_SORT_FIELDS = {"CREATED_AT": "createdAt", "PROCESSED_AT": "processedAt", "UPDATED_AT": "updatedAt"}

Info = GraphQLResolveInfo[Any]


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


def read_whole(shop: Shop, text: str) -> dict[str, Any]:
    """Everything that a query without page sizes asks for, as a bulk operation reads it. Raises GraphQLError."""
    prepared = prepare(text, None)
    if prepared.errors:
        raise prepared.errors[0]
    token = unbounded.set(True)
    try:
        data, errors = run(prepared, shop, {}, None)
    finally:
        unbounded.reset(token)
    if errors:
        raise errors[0]
    return data or {}


@lru_cache(maxsize=1)
def schema() -> GraphQLSchema:
    """The schema beside this file, with its resolvers."""
    built = build_schema(Path(__file__).with_name("schema.graphql").read_text(encoding="utf-8"))
    for kind, fields in [*_RESOLVERS.items(), *CATALOGUE_RESOLVERS.items()]:
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

    wanted = matcher(arguments.get("query"))
    return page([order for order in _shop_of(info).list_orders() if wanted(order)], key, arguments)


def _subscriptions(_: Any, info: Info, **arguments: Any) -> Node:
    topics, uri = arguments.get("topics"), arguments.get("uri")
    listed = [
        subscription
        for subscription in _shop_of(info).subscriptions
        if (not topics or subscription["topic"] in topics) and uri in (None, subscription["uri"])
    ]
    return page(listed, lambda node: ("", int(node["legacyResourceId"])), arguments)


def _subscribe(_: Any, info: Info, topic: str, **arguments: Any) -> Node:
    created, problem = _shop_of(info).subscribe(topic, arguments["webhookSubscription"])
    errors = [{"field": ["webhookSubscription", "callbackUrl"], "message": problem}] if problem else []
    return {"webhookSubscription": created, "userErrors": errors}


def _create_discount(_: Any, info: Info, **arguments: Any) -> Node:
    made, problem = _shop_of(info).create_discount(arguments["basicCodeDiscount"])
    errors = [{"field": ["basicCodeDiscount", "code"], **problem}] if problem else []
    return {"codeDiscountNode": made, "userErrors": errors}


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
    "Mutation": {"webhookSubscriptionCreate": _subscribe, "discountCodeBasicCreate": _create_discount},
    "Order": {
        "lineItems": own_page("lineItems"),
        "refunds": own_list("refunds"),
        "fulfillments": own_list("fulfillments"),
    },
    "Refund": {"refundLineItems": own_page("refundLineItems")},
    "Fulfillment": {"trackingInfo": own_list("trackingInfo")},
}
