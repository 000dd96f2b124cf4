"""The events of the platform's own applications: type -> what its body must be.

A task that names an event type as its trigger needs the type's contract here, and takes what the contract gives.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping

from pydantic import BaseModel


class Contracts(Mapping[str, type[BaseModel]]):
    """Contracts by event type, each imported when it is asked for: every function has the table, few need its types."""

    def __init__(self, names: Mapping[str, str]) -> None:
        """``names`` are ``module:class``, the module in this package."""
        self._names = names

    def __getitem__(self, kind: str) -> type[BaseModel]:
        module, _, name = self._names[kind].partition(":")
        contract: type[BaseModel] = getattr(importlib.import_module(f"tradewind.contracts.{module}"), name)
        return contract

    def __contains__(self, kind: object) -> bool:
        return kind in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


EVENTS = Contracts(
    {
        "ab.testCreated": "ab_tests:AbTestCreated",
        "ab.testEnded": "ab_tests:AbTestEnded",
        "ab.testStarted": "ab_tests:AbTestStarted",
        "customer.created": "catalogue:CustomerChanged",
        "customer.updated": "catalogue:CustomerChanged",
        "inventory.sync": "catalogue:InventorySyncRequested",
        "order.converted": "orders:OrderConverted",
        "product.sync": "catalogue:ProductSyncRequested",
        "review.email.queued": "reviews:ReviewEmailQueued",
        "review.email.sent": "reviews:ReviewEmailSent",
        "touchpoint.recorded": "touchpoints:TouchpointRecorded",
        "visitor.identified": "touchpoints:VisitorIdentified",
    }
)

PUBLISHED = Contracts(
    {
        "customer.segments-changed": "catalogue:SegmentsChanged",
        "customer.welcome": "catalogue:CustomerChanged",
        "inventory.low": "catalogue:InventoryLow",
        "product.deleted": "catalogue:ProductDeleted",
    }
)
"""What our own tasks tell. It is kept for thirty days, and handed to a task that names the type once there is one."""
