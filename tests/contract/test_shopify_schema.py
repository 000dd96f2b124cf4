"""Every operation that is sent to Shopify, against Shopify's own schema: of the pinned API version and of the next."""

from __future__ import annotations

import gzip
import importlib
import json
import pkgutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from graphql import (
    GraphQLSchema,
    NoDeprecatedCustomRule,
    build_client_schema,
    build_schema,
    parse,
    specified_rules,
    validate,
)

from tests.conftest import ROOT
from tradewind.integrations import shopify
from tradewind.integrations.shopify.queries import OPERATIONS, Operation
from tradewind.settings import DEFAULT_SHOPIFY_VERSION

PUBLISHED = ROOT / ".tradewind/node/node_modules/@shopify/dev-mcp/dist/data"
VERSIONS = (DEFAULT_SHOPIFY_VERSION, "2026-10")
PLAYED = ROOT / "infra/local/sandbox/shopify/schema.graphql"


def published(version: str) -> dict[str, Any]:
    """The introspection's answer, as Shopify publishes it."""
    path = PUBLISHED / f"admin_{version}.json.gz"
    found: dict[str, Any] = json.loads(gzip.decompress(path.read_bytes()))["data"]
    return found


@cache
def schema_of(version: str) -> GraphQLSchema:
    return build_client_schema(published(version), assume_valid=True)  # type: ignore[arg-type]


def operations() -> Iterator[Operation]:
    """Whatever stands in a module of the adapter: an operation that no list names is found as well."""
    seen: set[int] = set()
    for about in pkgutil.iter_modules([str(Path(shopify.__file__).parent)]):
        module = importlib.import_module(f"{shopify.__name__}.{about.name}")
        for value in vars(module).values():
            if isinstance(value, Operation) and id(value) not in seen:
                seen.add(id(value))
                yield value


ALL = sorted(operations(), key=lambda each: each.name)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("operation", ALL, ids=lambda each: each.name)
def test_operation_is_valid_and_uses_nothing_deprecated(operation: Operation, version: str) -> None:
    rules = [*specified_rules, NoDeprecatedCustomRule]
    assert [error.message for error in validate(schema_of(version), parse(operation.text), rules)] == []


def test_operations_are_found_and_told_apart_by_their_names() -> None:
    assert set(OPERATIONS) <= set(ALL)
    assert len({operation.name for operation in ALL}) == len(ALL)


@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_wrong_or_deprecated_would_be_found(version: str) -> None:
    """Else the test above would prove nothing."""
    rules = [*specified_rules, NoDeprecatedCustomRule]

    def faults(text: str) -> int:
        return len(validate(schema_of(version), parse(text), rules))

    assert faults('{ product(id: "gid://shopify/Product/1") { id title } }') == 0
    assert faults('{ product(id: "gid://shopify/Product/1") { id price } }') == 1
    assert faults('{ product(id: "gid://shopify/Product/1") { id bodyHtml } }') == 1


def test_the_sandbox_plays_a_part_of_shopifys_schema_and_nothing_else() -> None:
    """Names, types and nullability of what the sandbox plays are Shopify's."""
    real, played = schema_of(DEFAULT_SHOPIFY_VERSION), build_schema(PLAYED.read_text())
    differing = []
    for name, kind in played.type_map.items():
        if name.startswith("__") or name in {"QueryRoot", "Int", "String", "Boolean", "ID", "Float"}:
            continue
        counterpart = real.type_map.get(name)
        if counterpart is None:
            differing.append(name)
            continue
        for field, about in (getattr(kind, "fields", None) or {}).items():
            theirs = (getattr(counterpart, "fields", None) or {}).get(field)
            if theirs is None or str(theirs.type) != str(about.type):
                differing.append(f"{name}.{field}: {about.type}, not {theirs and theirs.type}")
        values = {*getattr(kind, "values", {})} - {*getattr(counterpart, "values", {})}
        differing.extend(f"{name}.{value}" for value in values)
    assert differing == []
