"""What an order itself tells attribution, pure: who placed it and what it is worth, and the touch that it carries."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from commerce.order_sync.model import OrderState
from tradewind.contracts.attribution import Order
from tradewind.contracts.visits import Visit, classify_visit


def as_attributed(order: OrderState) -> Order:
    """An order as attribution sees it."""
    return Order(
        order_id=order.order_id,
        visitor_id=order.visitor_id,
        customer_id=order.customer_id,
        currency=order.currency,
        total_cents=order.total_cents,
        remaining_cents=order.remaining_cents,
        placed_at=order.placed_at,
        test=order.test,
    )


@dataclass(frozen=True, slots=True)
class OwnTouch:
    """The touch that an order itself carries: its landing page, at its visit's time or the order's own."""

    id: UUID
    dedupe_hash: str
    visit: Visit
    occurred_at: datetime


def own_touch(order: OrderState) -> OwnTouch | None:
    """The order's last touch; None where the order says nothing of its origin.

    Its id follows from the order, so that the same order always has the same touch.
    """
    if order.landing_page is None and order.referrer_url is None and not order.utm:
        return None
    digest = hashlib.sha256(f"order:{order.order_id}".encode())
    occurred = min(order.visited_at or order.placed_at, order.placed_at)
    visit = classify_visit(order.landing_page, order.referrer_url, order.utm)
    return OwnTouch(UUID(bytes=digest.digest()[:16]), digest.hexdigest(), visit, occurred)
