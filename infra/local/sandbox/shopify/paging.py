"""Connections and searches, as every part of the Admin API has them."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any

from graphql import GraphQLError, GraphQLResolveInfo

MOST_IN_A_PAGE = 250
_TERM = re.compile(r"(\w+):(>=|<=|>|<)?(?:'([^']*)'|\"([^\"]*)\"|(\S+))")
_SEARCHABLE = {"updated_at": "updatedAt", "created_at": "createdAt", "processed_at": "processedAt"}

Info = GraphQLResolveInfo[Any]
Node = Mapping[str, Any]
Key = Callable[[Node], tuple[str, int]]

unbounded: ContextVar[bool] = ContextVar("unbounded", default=False)
"""Whether a connection without a size is given whole, as a bulk operation reads it."""


def matcher(query: str | None) -> Callable[[Node], bool]:
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


def in_order(nodes: Sequence[Node]) -> Key:
    """The key of a list that is shown in its own order: the place."""
    places = {id(node): at for at, node in enumerate(nodes)}
    return lambda node: ("", places[id(node)])


def own_page(name: str) -> Callable[..., Node]:
    """Resolves a connection that the node itself holds, in its own order."""

    def resolve(parent: Node, _: Info, **arguments: Any) -> Node:
        return page(parent[name], in_order(parent[name]), arguments)

    return resolve


def own_list(name: str) -> Callable[..., Sequence[Node]]:
    """Resolves a list that the node itself holds."""

    def resolve(parent: Node, _: Info, first: int | None = None) -> Sequence[Node]:
        listed: Sequence[Node] = parent[name]
        return listed if first is None else listed[: size(first)]

    return resolve


def size(asked: int) -> int:
    """A page's size. Raises GraphQLError for one that Shopify refuses."""
    if not 0 <= asked <= MOST_IN_A_PAGE:
        raise GraphQLError(f"The requested page size {asked} must be between 0 and {MOST_IN_A_PAGE}.")
    return asked


def page(nodes: Sequence[Node], key: Key, arguments: Mapping[str, Any]) -> Node:
    """A Relay connection by key, so that a page stays true while others write."""
    forward, backward = arguments.get("first"), arguments.get("last")
    if unbounded.get() and forward is None and backward is None:
        everything = sorted(nodes, key=key)
        return {"nodes": everything, "edges": [{"node": node} for node in everything], "pageInfo": None}
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
        shown[: size(forward)] if forward is not None else shown[max(0, len(shown) - size(backward or 0)) :]
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
