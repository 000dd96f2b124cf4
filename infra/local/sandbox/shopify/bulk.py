"""Bulk operations: a query over everything, run aside, its result a file of JSON lines in no order.

Children are lines of their own that name their parent, and do not follow it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import Any

MOST_AT_ONCE = 5
_OPEN = ("CREATED", "RUNNING", "CANCELING")
_OUTCOMES = ("COMPLETED", "FAILED", "CANCELED", "EXPIRED")
_FIRST_NUMBER = 147_000_000

Node = dict[str, Any]


@dataclass(slots=True)
class Plan:
    """How the next operations go: after how many looks they end, and how. ``partial`` is the share of lines that a
    failed one leaves.
    """

    looks: int = 1
    outcome: str = "COMPLETED"
    error_code: str | None = None
    partial: float = 0.5

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Plan:
        plan = cls(
            **{
                name: document[name]
                for name in ("looks", "outcome", "error_code", "partial")
                if name in document
            }
        )
        if plan.outcome not in _OUTCOMES:
            raise ValueError(f"outcome is {plan.outcome!r}; send one of {', '.join(_OUTCOMES)}")
        return plan


@dataclass(slots=True)
class Operation:
    number: int
    query: str
    plan: Plan
    created_at: str
    status: str = "CREATED"
    looked: int = 0
    completed_at: str | None = None
    lines: list[bytes] = field(default_factory=list)
    roots: int = 0

    @property
    def is_open(self) -> bool:
        return self.status in _OPEN

    @property
    def content(self) -> bytes:
        return b"".join(line + b"\n" for line in self.lines)


class BulkOperations:
    """One shop's. ``run`` gives the data of a query that is read whole."""

    def __init__(self, run: Callable[[str], Mapping[str, Any]]) -> None:
        self._run = run
        self.plan = Plan()
        self.operations: dict[str, Operation] = {}

    def start(self, query: str) -> tuple[Operation | None, str | None]:
        """Begin; it, or the code why not."""
        if sum(each.is_open for each in self.operations.values()) >= MOST_AT_ONCE:
            return None, "LIMIT_REACHED"
        number = _FIRST_NUMBER + len(self.operations) + 1
        made = Operation(number, query, self.plan, _now())
        self.operations[str(number)] = made
        return made, None

    def look(self, number: str) -> Operation | None:
        """An operation, a step further each time that somebody looks at it."""
        found = self.operations.get(number)
        if found is not None and found.is_open:
            found.looked += 1
            found.status = "RUNNING"
            if found.looked >= found.plan.looks:
                self.finish(found)
        return found

    def finish(self, operation: Operation) -> None:
        """End it as planned, with what the shop holds now."""
        lines = list(lines_of(self._run(operation.query)))
        operation.roots = sum(b'"__parentId"' not in line for line in lines)
        Random(operation.number).shuffle(lines)  # noqa: S311 - the same disorder each time
        operation.status, operation.completed_at = operation.plan.outcome, _now()
        kept = len(lines) if operation.status == "COMPLETED" else int(len(lines) * operation.plan.partial)
        operation.lines = lines[:kept]

    def node(self, operation: Operation, base: str) -> Node:
        """As the API shows it. ``base`` is where its file is served."""
        address = f"{base}/bulk/{operation.number}.jsonl" if operation.lines else None
        done = operation.status == "COMPLETED"
        return {
            "__typename": "BulkOperation",
            "id": f"gid://shopify/BulkOperation/{operation.number}",
            "legacyResourceId": str(operation.number),
            "status": operation.status,
            "errorCode": operation.plan.error_code if operation.status == "FAILED" else None,
            "type": "QUERY",
            "query": operation.query,
            "createdAt": operation.created_at,
            "completedAt": operation.completed_at,
            "fileSize": str(len(operation.content)) if operation.lines else None,
            "objectCount": str(len(operation.lines)),
            "rootObjectCount": str(operation.roots),
            "url": address if done else None,
            "partialDataUrl": None if done else address,
        }

    def webhook(self, operation: Operation) -> Node:
        """The body of ``bulk_operations/finish``."""
        return {
            "admin_graphql_api_id": f"gid://shopify/BulkOperation/{operation.number}",
            "completed_at": operation.completed_at,
            "created_at": operation.created_at,
            "error_code": operation.plan.error_code and operation.plan.error_code.lower(),
            "status": operation.status.lower(),
            "type": "query",
        }


def lines_of(data: Mapping[str, Any]) -> Iterator[bytes]:
    """Every object of every connection as a line of its own."""
    for value in data.values():
        for edge in value["edges"]:
            yield from _lines(edge["node"], None)


def _lines(node: Mapping[str, Any], parent: str | None) -> Iterator[bytes]:
    children = {name: value for name, value in node.items() if isinstance(value, dict) and "edges" in value}
    own = {name: value for name, value in node.items() if name not in children}
    if own or parent is None:
        line = own if parent is None else {**own, "__parentId": parent}
        yield _text(line)
    for connection in children.values():
        for edge in connection["edges"]:
            yield from _lines(edge["node"], node.get("id"))


def _text(line: Node) -> bytes:
    """Half a surrogate pair, which no UTF-8 has, is written as an escape."""
    try:
        return json.dumps(line, separators=(",", ":"), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return json.dumps(line, separators=(",", ":")).encode()


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
