"""When an order's review e-mail is due, pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from commerce.order_sync.model import OrderState, OrderStatus

REQUEST_SEQUENCE = 1
OLDEST_ORDER = timedelta(days=60)
"""An order that is older when it is first seen (an import, a late edit) asks nobody for a review."""


class ReviewTrigger(StrEnum):
    DELIVERED = "delivered"
    FULFILLED = "fulfilled"
    IMMEDIATE = "immediate"


class EmailState(StrEnum):
    """States that order sync sets; processing, sent and failed belong to the sender and are never touched here."""

    PENDING = "pending"
    AWAITING_DELIVERY = "awaiting_delivery"
    SCHEDULED = "scheduled"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class ReviewSettings:
    trigger: ReviewTrigger = ReviewTrigger.DELIVERED
    delay: timedelta = timedelta(days=7)

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> ReviewSettings:
        """Read ``settings["review_email"]`` (trigger, delay_days) of a tenant."""
        own = settings.get("review_email") or {}
        return cls(ReviewTrigger(own.get("trigger", "delivered")), timedelta(days=own.get("delay_days", 7)))


@dataclass(frozen=True, slots=True)
class ReviewEmail:
    """The row as it should stand. ``awaiting_since`` starts the delivery fallback's fourteen days."""

    state: EmailState
    scheduled_at: datetime | None = None
    awaiting_since: datetime | None = None
    skip_reason: str | None = None


def plan_review_email(
    order: OrderState, settings: ReviewSettings, *, reviewed: bool, suppressed: bool
) -> ReviewEmail:
    """The row for an order's present state: the same state gives the same row, whatever arrived first."""
    skip_reason = _skip_reason(order, reviewed=reviewed, suppressed=suppressed)
    if skip_reason is not None:
        return ReviewEmail(EmailState.SKIPPED, skip_reason=skip_reason)
    if settings.trigger is ReviewTrigger.IMMEDIATE:
        return ReviewEmail(EmailState.SCHEDULED, order.placed_at + settings.delay)
    if order.fulfilled_at is None:
        return ReviewEmail(EmailState.PENDING)
    if settings.trigger is ReviewTrigger.FULFILLED:
        return ReviewEmail(EmailState.SCHEDULED, order.fulfilled_at + settings.delay)
    if order.delivered_at is None:
        return ReviewEmail(EmailState.AWAITING_DELIVERY, awaiting_since=order.fulfilled_at)
    return ReviewEmail(EmailState.SCHEDULED, order.delivered_at + settings.delay)


def may_insert(order: OrderState, *, reviewed: bool, suppressed: bool, backfill: bool, now: datetime) -> bool:
    """Whether a first row may be written: not for the unsubscribed or reviewed, not for a backfill or an old order."""
    return not (reviewed or suppressed or backfill or now - order.placed_at > OLDEST_ORDER)


def _skip_reason(order: OrderState, *, reviewed: bool, suppressed: bool) -> str | None:
    if order.status is OrderStatus.CANCELLED:
        return "cancelled"
    if order.status is OrderStatus.REFUNDED:
        return "refunded"
    if order.email is None:
        return "no_email"
    if suppressed:
        return "unsubscribed"
    return "reviewed" if reviewed else None
