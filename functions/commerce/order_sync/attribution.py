"""Attribution, pure: which touch gets how much of a conversion's revenue under each of five models.

Every model credits each *touch* (a channel seen twice has two shares). Revenue is split by the largest remainder, so
each model's cents sum exactly to the conversion's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal, localcontext
from enum import StrEnum
from fractions import Fraction
from typing import Any
from uuid import UUID

from commerce.order_sync.model import OrderState
from tradewind.contracts.visits import Visit, classify_visit
from tradewind.money import split_by_weight

WINDOW = timedelta(days=30)
MAX_TOUCHES = 50
HALF_LIFE = timedelta(days=7)


class Model(StrEnum):
    FIRST_TOUCH = "first_touch"
    LAST_TOUCH = "last_touch"
    LINEAR = "linear"
    TIME_DECAY = "time_decay"
    POSITION_BASED = "position_based"


@dataclass(frozen=True, slots=True)
class AttributionSettings:
    """A tenant's numbers. ``ends`` are the first and last touch's shares of the position model, in percent."""

    half_life: timedelta = HALF_LIFE
    ends: tuple[int, int] = (40, 40)

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> AttributionSettings:
        """Read ``settings["attribution"]`` of a tenant; what is not set keeps its default."""
        own = settings.get("attribution") or {}
        first, last = own.get("position_percent", (40, 40))
        return cls(timedelta(hours=own.get("half_life_hours", 168)), (int(first), int(last)))


@dataclass(frozen=True, slots=True)
class Touch:
    """A visitor's touch. ``id`` breaks the tie of equal instants."""

    id: UUID
    channel: str
    occurred_at: datetime


@dataclass(frozen=True, slots=True)
class Credit:
    """A touch's share of one conversion under one model. ``position`` counts from 1, oldest first."""

    touch: Touch
    model: Model
    position: int
    share: Fraction
    revenue_cents: int


@dataclass(frozen=True, slots=True)
class Journey:
    """What an order's conversion is computed from."""

    touches: list[Touch]
    bought_before: bool


@dataclass(frozen=True, slots=True)
class Conversion:
    """An order with every model's credits; ``touches`` is how many share its revenue."""

    order: OrderState
    credits: Sequence[Credit]
    touches: int
    first_purchase: bool


def is_conversion(order: OrderState) -> bool:
    """A conversion needs a value above zero and someone who converted."""
    return order.total_cents > 0 and (order.visitor_id is not None or order.customer_id is not None)


def convert(order: OrderState, journey: Journey, settings: AttributionSettings) -> Conversion:
    """An order's conversion from what led to it."""
    touches = select_touches(journey.touches, order.placed_at)
    credited = attribute(order.remaining_cents, touches, order.placed_at, settings)
    return Conversion(order, credited, len(touches), first_purchase=not journey.bought_before)


def select_touches(
    touches: Sequence[Touch], converted_at: datetime, window: timedelta = WINDOW
) -> list[Touch]:
    """The touches that count: within the window, both ends included, none later than the conversion, oldest first.

    Of more than ``MAX_TOUCHES`` the latest are kept.
    """
    counted = [touch for touch in touches if converted_at - window <= touch.occurred_at <= converted_at]
    return sorted(counted, key=lambda touch: (touch.occurred_at, str(touch.id)))[-MAX_TOUCHES:]


def weights(
    model: Model, touches: Sequence[Touch], converted_at: datetime, settings: AttributionSettings
) -> list[Fraction]:
    """Unnormalised weights of touches in order, oldest first; at least one touch is required."""
    number = len(touches)
    match model:
        case Model.FIRST_TOUCH:
            return [Fraction(at == 0) for at in range(number)]
        case Model.LAST_TOUCH:
            return [Fraction(at == number - 1) for at in range(number)]
        case Model.LINEAR:
            return [Fraction(1)] * number
        case Model.TIME_DECAY:
            return [_decay(converted_at - touch.occurred_at, settings.half_life) for touch in touches]
        case Model.POSITION_BASED:
            return _by_position(number, *settings.ends)


def _decay(age: timedelta, half_life: timedelta) -> Fraction:
    """2 to the power of minus age over half-life, continuous in seconds, to 30 digits."""
    with localcontext(prec=30):
        exponent = Decimal(age // timedelta(microseconds=1)) / Decimal(half_life // timedelta(microseconds=1))
        return Fraction(Decimal(2) ** -exponent)


def _by_position(number: int, first: int, last: int) -> list[Fraction]:
    """One touch takes all, two take the ends' shares only, and the middle shares what the ends leave."""
    if number == 1:
        return [Fraction(1)]
    if number == 2:  # noqa: PLR2004 - no middle
        return [Fraction(first), Fraction(last)]
    middle = Fraction(100 - first - last, number - 2)
    return [Fraction(first), *([middle] * (number - 2)), Fraction(last)]


def attribute(
    revenue_cents: int,
    touches: Sequence[Touch],
    converted_at: datetime,
    settings: AttributionSettings,
) -> list[Credit]:
    """Credits of every model for selected touches, oldest first. Each model's cents sum to ``revenue_cents``."""
    credited: list[Credit] = []
    if not touches:
        return credited
    for model in Model:
        shares = weights(model, touches, converted_at, settings)
        whole = sum(shares, Fraction(0))
        cents = split_by_weight(revenue_cents, shares)
        credited += [
            Credit(touch, model, at, share / whole, part)
            for at, (touch, share, part) in enumerate(zip(touches, shares, cents, strict=True), start=1)
        ]
    return credited


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
