"""What follows from an order's present state: attribution, commission and the review e-mail's row.

Each part is recomputed from what is saved, so that create, update, fulfilment, refund and cancellation in any order of
arrival end in the same tables. Every function takes the order's row locked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from commerce.order_sync.attribution import (
    WINDOW,
    AttributionSettings,
    attribute,
    own_touch,
    select_touches,
)
from commerce.order_sync.commission import Creator, compute_commission, match_creator, tier_at, tiers_of
from commerce.order_sync.model import OrderState
from commerce.order_sync.repository import Commissions, Journeys, Orders, ReviewEmails
from commerce.order_sync.review_email import ReviewSettings, may_insert, plan_review_email
from tradewind.tenancy.database import Transaction


@dataclass(frozen=True, slots=True)
class Attributed:
    """How many touches share an order's revenue (cents), and how many later orders were recomputed."""

    order_id: int
    revenue_cents: int
    touchpoints: int
    recomputed: int


@dataclass(frozen=True, slots=True)
class Commissioned:
    """What an order pays its creator; ``code`` is None where no creator's code was used."""

    order_id: int
    code: str | None
    commission_cents: int
    state: str | None


@dataclass(frozen=True, slots=True)
class Scheduled:
    """The review e-mail's row; ``state`` is None where none was written."""

    order_id: int
    state: str | None
    scheduled_at: datetime | None


def settle_all(
    tx: Transaction, order: OrderState, settings: Mapping[str, Any], now: datetime, *, backfill: bool
) -> Attributed:
    """All three, in the order in which their locks are always taken; returns what the first has done."""
    attributed = settle_attribution(tx, order, settings)
    settle_commission(tx, order, settings)
    settle_review_email(tx, order, settings, now, backfill=backfill)
    return attributed


def settle_attribution(tx: Transaction, order: OrderState, settings: Mapping[str, Any]) -> Attributed:
    """Recompute an order's conversion, and the later ones that its own touch or its being earlier changes."""
    journeys = Journeys(tx)
    numbers = AttributionSettings.of(settings)
    journeys.lock(order)
    touch = own_touch(order)
    touch_is_new = touch is not None and journeys.save_own_touch(order, touch)
    touched_at = order.placed_at if touch is None else touch.occurred_at
    later = journeys.list_later_orders(order, touched_at, WINDOW, touch_is_new=touch_is_new)
    touches = _save_conversion(journeys, order, numbers)
    for order_id in later:
        other = Orders(tx).find(order_id)
        if other is not None:
            _save_conversion(journeys, other, numbers)
    return Attributed(order.order_id, order.remaining_cents, touches, len(later))


def _save_conversion(journeys: Journeys, order: OrderState, numbers: AttributionSettings) -> int:
    """A conversion needs a value above zero and someone who converted; what is neither has none."""
    if order.total_cents <= 0 or (order.visitor_id is None and order.customer_id is None):
        journeys.delete_conversion(order.order_id)
        return 0
    touches = select_touches(journeys.list_touches(order, WINDOW), order.placed_at)
    credited = attribute(order.remaining_cents, touches, order.placed_at, numbers)
    journeys.save_conversion(order, credited, first_purchase=not journeys.has_earlier_order(order))
    return len(touches)


def settle_commission(tx: Transaction, order: OrderState, settings: Mapping[str, Any]) -> Commissioned:
    """Recompute an order's commission; refunds and a cancellation leave their share of it."""
    commissions = Commissions(tx)
    creator = commissions.find_creator(order.order_id)
    if creator is None and order.discount_codes:
        creator = match_creator(order.discount_codes, commissions.list_creators(order.discount_codes))
    if creator is None:
        return Commissioned(order.order_id, None, 0, None)
    commissions.lock(creator)
    earlier = commissions.sum_earlier_sales(creator, order)
    commission = compute_commission(order, creator, earlier, tiers_of(settings))
    if commission is None:
        return Commissioned(order.order_id, creator.code, 0, None)
    if commissions.save(order, commission):
        _settle_later(tx, commissions, creator, order, earlier + order.net_cents, settings)
    return Commissioned(order.order_id, creator.code, commission.commission_cents, commission.state)


def _settle_later(
    tx: Transaction,
    commissions: Commissions,
    creator: Creator,
    order: OrderState,
    sales_so_far: int,
    settings: Mapping[str, Any],
) -> None:
    """An order that came late raises the sales before later ones: those whose tier changes are computed again."""
    tiers = tiers_of(settings)
    for later in commissions.list_later(creator, order, sales_so_far):
        other = Orders(tx).find(later.order_id)
        if other is not None and tier_at(later.lifetime_cents, tiers).name != later.tier:
            again = compute_commission(other, creator, later.lifetime_cents, tiers)
            if again is not None:
                commissions.save(other, again)


def settle_review_email(
    tx: Transaction, order: OrderState, settings: Mapping[str, Any], now: datetime, *, backfill: bool
) -> Scheduled:
    """Write or move the review request's row, unless the sender has taken it."""
    emails = ReviewEmails(tx)
    own = ReviewSettings.of(settings)
    standing = emails.find_standing(order)
    may = may_insert(
        order, reviewed=standing.reviewed, suppressed=standing.suppressed, backfill=backfill, now=now
    )
    if not standing.has_row and not may:
        return Scheduled(order.order_id, None, None)
    email = plan_review_email(order, own, reviewed=standing.reviewed, suppressed=standing.suppressed)
    emails.save(order, own.trigger, email)
    return Scheduled(order.order_id, email.state, email.scheduled_at)
