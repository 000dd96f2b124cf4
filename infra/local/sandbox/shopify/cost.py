"""Points of a GraphQL operation, before and after it ran.

Shopify's published rule, taken at its strictest: an object is 1, a scalar or enum 0, a mutation 10 with its
payload, a connection 2 and ``first`` times its children, a list with ``first`` that many times its children
(without: once).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    IntValueNode,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    VariableNode,
    get_named_type,
    get_nullable_type,
    is_composite_type,
    is_list_type,
)

MAX_QUERY_COST = 1000
_MUTATION = 10.0
_CONNECTION = 2.0
_SIZE_ARGUMENTS = ("first", "last", "ids")


@dataclass(frozen=True, slots=True)
class Selection:
    """A field with children. ``size`` is a number, a variable's name, or None for an unbounded or single
    field.
    """

    key: str
    size: int | str | None
    is_connection: bool
    children: tuple[Selection, ...]


@dataclass(frozen=True, slots=True)
class CostTree:
    """The fields of one operation that cost something."""

    is_mutation: bool
    roots: tuple[Selection, ...]

    def requested(self, variables: Mapping[str, Any]) -> float:
        """The most that the operation can cost with these variables."""
        if self.is_mutation:
            return _MUTATION * len(self.roots)
        return sum(_requested(root, variables) for root in self.roots)

    def actual(self, data: Mapping[str, Any] | None) -> float:
        """What its result cost."""
        if self.is_mutation:
            return _MUTATION * len(self.roots)
        return sum(_actual(root, (data or {}).get(root.key)) for root in self.roots)


def _requested(selection: Selection, variables: Mapping[str, Any]) -> float:
    size: Any = variables.get(selection.size) if isinstance(selection.size, str) else selection.size
    times = len(size) if isinstance(size, list) else size if isinstance(size, int) else 1
    if selection.is_connection:
        nodes = [
            inner for child in selection.children if child.key in ("nodes", "edges") for inner in _node(child)
        ]
        return _CONNECTION + times * (1 + sum(_requested(inner, variables) for inner in nodes))
    return times * (1 + sum(_requested(child, variables) for child in selection.children))


def _node(child: Selection) -> Sequence[Selection]:
    """The fields of a connection's node, behind ``nodes`` or ``edges { node }``."""
    if child.key == "nodes":
        return child.children
    return [inner for edge in child.children if edge.key == "node" for inner in edge.children]


def _actual(selection: Selection, value: Any) -> float:
    if value is None:
        return 0.0
    if isinstance(value, list):
        return sum(_actual(selection, item) for item in value)
    if selection.is_connection:
        items = value.get("nodes") or [edge["node"] for edge in value.get("edges") or []]
        nodes = [
            inner for child in selection.children if child.key in ("nodes", "edges") for inner in _node(child)
        ]
        return _CONNECTION + sum(
            1 + sum(_actual(inner, item.get(inner.key)) for inner in nodes) for item in items
        )
    return 1 + sum(_actual(child, value.get(child.key)) for child in selection.children)


def cost_tree(schema: GraphQLSchema, document: DocumentNode, operation_name: str | None) -> CostTree:
    """The costing fields of a validated document's operation. Raises ValueError where there is no such
    operation.
    """
    operations = [node for node in document.definitions if isinstance(node, OperationDefinitionNode)]
    named = [node for node in operations if operation_name in (None, node.name.value if node.name else None)]
    if len(named) != 1:
        raise ValueError(f"the document has {len(named)} operations named {operation_name!r}; one is needed")
    fragments = {
        node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)
    }
    is_mutation = named[0].operation is OperationType.MUTATION
    root = schema.mutation_type if is_mutation else schema.query_type
    return CostTree(is_mutation, _selections(schema, root, named[0].selection_set, fragments))


def _selections(
    schema: GraphQLSchema,
    parent: Any,
    selected: SelectionSetNode | None,
    fragments: Mapping[str, FragmentDefinitionNode],
) -> tuple[Selection, ...]:
    found: list[Selection] = []
    for node in selected.selections if selected else ():
        if isinstance(node, FragmentSpreadNode):
            fragment = fragments[node.name.value]
            kind = schema.type_map[fragment.type_condition.name.value]
            found.extend(_selections(schema, kind, fragment.selection_set, fragments))
        elif isinstance(node, InlineFragmentNode):
            kind = schema.type_map[node.type_condition.name.value] if node.type_condition else parent
            found.extend(_selections(schema, kind, node.selection_set, fragments))
        elif isinstance(node, FieldNode) and isinstance(parent, GraphQLObjectType | GraphQLInterfaceType):
            definition = parent.fields.get(node.name.value)
            if definition is None or not is_composite_type(get_named_type(definition.type)):
                continue
            kind = get_named_type(definition.type)
            is_list = is_list_type(get_nullable_type(definition.type))
            is_connection = kind.name.endswith("Connection")
            found.append(
                Selection(
                    key=node.alias.value if node.alias else node.name.value,
                    size=_size(node) if is_list or is_connection else None,
                    is_connection=is_connection,
                    children=_selections(schema, kind, node.selection_set, fragments),
                )
            )
    return tuple(found)


def _size(node: FieldNode) -> int | str | None:
    for argument in node.arguments or ():
        if argument.name.value in _SIZE_ARGUMENTS:
            if isinstance(argument.value, VariableNode):
                return argument.value.name.value
            if isinstance(argument.value, IntValueNode):
                return int(argument.value.value)
    return None
