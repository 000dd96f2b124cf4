"""The events of the platform's own applications: type -> what its body must be.

A task that names an event type as its trigger needs the type's contract here, and takes what the contract gives.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel

from tradewind.contracts.ab_tests import AbTestCreated, AbTestEnded, AbTestStarted
from tradewind.contracts.catalogue import (
    CustomerChanged,
    InventoryLow,
    InventorySyncRequested,
    ProductDeleted,
    ProductSyncRequested,
    SegmentsChanged,
)
from tradewind.contracts.orders import OrderConverted
from tradewind.contracts.reviews import ReviewEmailQueued, ReviewEmailSent
from tradewind.contracts.touchpoints import TouchpointRecorded, VisitorIdentified

EVENTS: Mapping[str, type[BaseModel]] = {
    "ab.testCreated": AbTestCreated,
    "ab.testEnded": AbTestEnded,
    "ab.testStarted": AbTestStarted,
    "customer.created": CustomerChanged,
    "customer.updated": CustomerChanged,
    "inventory.sync": InventorySyncRequested,
    "order.converted": OrderConverted,
    "product.sync": ProductSyncRequested,
    "review.email.queued": ReviewEmailQueued,
    "review.email.sent": ReviewEmailSent,
    "touchpoint.recorded": TouchpointRecorded,
    "visitor.identified": VisitorIdentified,
}

PUBLISHED: Mapping[str, type[BaseModel]] = {
    "customer.segments-changed": SegmentsChanged,
    "customer.welcome": CustomerChanged,
    "inventory.low": InventoryLow,
    "product.deleted": ProductDeleted,
}
"""What our own tasks tell. It is kept for thirty days, and handed to a task that names the type once there is one."""
