"""Attribution, pure: which touch gets how much of a conversion's revenue under each model, in each window.

Shared by whoever writes conversions, so that an order has the same credits whoever computes them. Every model credits
each *touch* (a channel seen twice has two shares). Revenue is split by the largest remainder, so each model's cents sum
exactly to the conversion's in every window.

no touch in a window          no credit in it; the conversion is unattributed where the longest window has none
one touch                     every model gives it all
two touches, position model   only the ends' shares count: half and half by default
equal instants                the lower id is the earlier; time decay gives both the same
at the conversion's instant   counts; a later one does not
only direct touches           the last one, as non-direct model's fallback
channels without a weight     data-driven gives every touch the same
a zone that nobody knows      plays no part: a window is elapsed time, both ends included
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from tradewind.contracts.visits import Channel
from tradewind.money import split_by_weight

MAX_TOUCHES = 50
WINDOWS = (1, 7, 14, 28, 30)
LONGEST_WINDOW = 90
"""Days. Touches are kept longer than that."""
BILLION = 10**9
CHANNEL_CODES: Mapping[str, int] = {channel: at for at, channel in enumerate(Channel, start=1)}
"""As stored with credits: channels are appended, never inserted."""
_MICROSECOND = timedelta(microseconds=1)


class Model(StrEnum):
    """In the order in which results are stored: append, never insert."""

    FIRST_TOUCH = "first_touch"
    LAST_TOUCH = "last_touch"
    LINEAR = "linear"
    TIME_DECAY = "time_decay"
    POSITION_BASED = "position_based"
    LAST_NON_DIRECT = "last_non_direct"
    DATA_DRIVEN = "data_driven"


@dataclass(frozen=True, slots=True)
class AttributionSettings:
    """A tenant's numbers. ``ends`` are the first and last touch's shares of the position model, in percent.

    ``weights`` are the channels' trained weights (from 300 conversions at least); without them the data-driven model is
    not written.
    """

    half_life: timedelta = timedelta(days=7)
    ends: tuple[int, int] = (40, 40)
    models: tuple[Model, ...] = tuple(Model)
    windows: tuple[int, ...] = WINDOWS
    default_model: Model = Model.TIME_DECAY
    default_window: int = 30
    clicks_only: bool = False
    collapse: bool = False
    weights: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(
        cls, settings: Mapping[str, Any], weights: Mapping[str, float] | None = None
    ) -> AttributionSettings:
        """Read ``settings["attribution"]`` of a tenant; what is not set, or cannot be, keeps its default.

        The default model and window are always among those that are written.
        """
        own = settings.get("attribution") or {}
        first, last = _ends(own.get("position_percent"))
        model = _model(own.get("default_model")) or Model.TIME_DECAY
        window = own.get("default_window_days", 30)
        window = window if _is_window(window) else 30
        named = own.get("enabled_models")
        chosen = {_model(name) for name in named} if isinstance(named, list) else set(Model)
        days = own.get("windows_days")
        spans = {each for each in days if _is_window(each)} if isinstance(days, list) else set(WINDOWS)
        hours = own.get("half_life_hours")
        return cls(
            half_life=timedelta(hours=hours if isinstance(hours, (int, float)) and hours >= 1 else 168),
            ends=(first, last),
            models=tuple(each for each in Model if each in chosen or each is model),
            windows=tuple(sorted(spans | {window})),
            default_model=model,
            default_window=window,
            clicks_only=own.get("mode") == "clicks_only",
            collapse=bool(own.get("collapse_consecutive", False)),
            weights=weights or {},
        )

    @property
    def written_models(self) -> tuple[Model, ...]:
        """Those that are computed: the data-driven one only where it has learnt."""
        return tuple(each for each in self.models if each is not Model.DATA_DRIVEN or self.weights)

    @property
    def look_back(self) -> timedelta:
        return timedelta(days=self.windows[-1])

    @property
    def types(self) -> list[str]:
        """Which touches count."""
        return ["click"] if self.clicks_only else ["click", "view"]


def _model(name: object) -> Model | None:
    return next((each for each in Model if each == name), None)


def _is_window(days: object) -> bool:
    return isinstance(days, int) and 1 <= days <= LONGEST_WINDOW


def _ends(told: object) -> tuple[int, int]:
    match told:
        case [int(first), int(last)] if first >= 0 and last >= 0 and 0 < first + last <= 100:  # noqa: PLR2004 - percent
            return first, last
        case _:
            return 40, 40


@dataclass(frozen=True, slots=True)
class Touch:
    """A visitor's touch. ``id`` breaks the tie of equal instants."""

    id: UUID
    channel: str
    occurred_at: datetime


@dataclass(frozen=True, slots=True)
class Order:
    """What attribution asks of an order. ``remaining_cents`` is what refunds and a cancellation leave of the total."""

    order_id: int
    visitor_id: str | None
    customer_id: int | None
    currency: str
    total_cents: int
    remaining_cents: int
    placed_at: datetime
    test: bool = False

    @property
    def converts(self) -> bool:
        """A conversion needs a value above zero and someone who converted; test orders are none."""
        identified = self.visitor_id is not None or self.customer_id is not None
        return self.total_cents > 0 and identified and not self.test

    @property
    def owners(self) -> set[str]:
        """Whoever recomputes this order's conversion holds these, one at a time."""
        named = {"customer": self.customer_id, "visitor": self.visitor_id}
        return {f"{kind}:{value}" for kind, value in named.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Journey:
    """What an order's conversion is computed from."""

    touches: list[Touch]
    bought_before: bool


def journeys_of(rows: Iterable[Mapping[str, Any]]) -> dict[int, Journey]:
    """Journeys by their orders' ids, from rows of the SQL function ``attribution_journeys``, oldest touch first; an
    order without a touch has one row without one.
    """
    journeys: dict[int, Journey] = {}
    for row in rows:
        journey = journeys.setdefault(row["shopify_order_id"], Journey([], row["bought_before"]))
        if row["touchpoint_id"] is not None:
            journey.touches.append(Touch(row["touchpoint_id"], row["channel"], row["occurred_at"]))
    return journeys


@dataclass(frozen=True, slots=True)
class Share:
    """A model's division of one conversion: for each touch its credit (billionths) and its cents."""

    credits: tuple[int, ...]
    cents: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Window:
    """What the models give in one window: the touches, oldest first, and a share of each model that is written."""

    days: int
    touches: Sequence[Touch]
    shares: Mapping[Model, Share]

    def row(self, order_id: int) -> dict[str, Any]:
        """As it is stored: arrays by model and touch, null where a model is not written."""
        blank = [None] * len(self.touches)
        of = self.shares.get
        return {
            "shopify_order_id": order_id,
            "window_days": self.days,
            "touchpoint_ids": [str(touch.id) for touch in self.touches],
            "channels": [CHANNEL_CODES[touch.channel] for touch in self.touches],
            "credits": [blank if (share := of(model)) is None else share.credits for model in Model],
            "cents": [blank if (share := of(model)) is None else share.cents for model in Model],
        }


@dataclass(frozen=True, slots=True)
class Conversion:
    """An order with its credits in each window that has a touch; ``touches`` is how many the longest has."""

    order: Order
    windows: Sequence[Window]
    touches: int
    first_purchase: bool

    def row(self) -> dict[str, Any]:
        order = self.order
        return {
            "shopify_order_id": order.order_id,
            "visitor_id": order.visitor_id,
            "shopify_customer_id": order.customer_id,
            "revenue_cents": order.remaining_cents,
            "gross_revenue_cents": order.total_cents,
            "currency": order.currency,
            "first_purchase": self.first_purchase,
            "touchpoints": self.touches,
            "status": "attributed" if self.touches else "unattributed",
            "converted_at": order.placed_at.isoformat(),
        }


def convert(order: Order, journey: Journey, settings: AttributionSettings) -> Conversion:
    """An order's conversion from what led to it."""
    touches = select_touches(journey.touches, order.placed_at, settings)
    instants = [touch.occurred_at for touch in touches]
    windows, divided = [], dict[int, Mapping[Model, Share]]()
    for days in settings.windows:
        begin = bisect_left(instants, order.placed_at - timedelta(days=days))
        inside = touches[begin:]
        if not inside:
            continue
        if begin not in divided:
            divided[begin] = attribute(order.remaining_cents, inside, settings)
        windows.append(Window(days, inside, divided[begin]))
    return Conversion(order, windows, len(touches), first_purchase=not journey.bought_before)


def select_touches(
    touches: Sequence[Touch], converted_at: datetime, settings: AttributionSettings
) -> list[Touch]:
    """The touches that count: within the longest window, both ends included, none later than the conversion, oldest
    first. Of more than ``MAX_TOUCHES`` the latest are kept; where a tenant collapses them, of touches of one channel
    in a row the latest is.
    """
    since = converted_at - settings.look_back
    counted = [touch for touch in touches if since <= touch.occurred_at <= converted_at]
    ordered = sorted(counted, key=lambda touch: (touch.occurred_at, touch.id))[-MAX_TOUCHES:]
    if not settings.collapse:
        return ordered
    following = [*(touch.channel for touch in ordered[1:]), None]
    return [touch for touch, then in zip(ordered, following, strict=False) if touch.channel != then]


def attribute(
    revenue_cents: int, touches: Sequence[Touch], settings: AttributionSettings
) -> dict[Model, Share]:
    """Each model's share for touches in order, oldest first, one at least. Each model's cents sum to the revenue."""
    shares = {}
    for model in settings.written_models:
        parts = weights(model, touches, settings)
        whole = sum(parts)
        credit = tuple((2 * part * BILLION + whole) // (2 * whole) for part in parts)
        shares[model] = Share(credit, tuple(split_by_weight(revenue_cents, parts)))
    return shares


def weights(model: Model, touches: Sequence[Touch], settings: AttributionSettings) -> list[int]:  # noqa: PLR0911 - a table of the models
    """Unnormalised weights of touches in order, oldest first; at least one touch is required."""
    number = len(touches)
    match model:
        case Model.FIRST_TOUCH:
            return _only(0, number)
        case Model.LAST_TOUCH:
            return _only(number - 1, number)
        case Model.LINEAR:
            return [1] * number
        case Model.TIME_DECAY:
            return _decayed(touches, settings.half_life)
        case Model.POSITION_BASED:
            return _by_position(number, *settings.ends)
        case Model.LAST_NON_DIRECT:
            named = [at for at, touch in enumerate(touches) if touch.channel != "direct"]
            return _only(named[-1] if named else number - 1, number)
        case Model.DATA_DRIVEN:
            learnt = [round(settings.weights.get(touch.channel, 0.0) * BILLION) for touch in touches]
            return learnt if any(learnt) else [1] * number


def _only(chosen: int, number: int) -> list[int]:
    return [int(at == chosen) for at in range(number)]


def _decayed(touches: Sequence[Touch], half_life: timedelta) -> list[int]:
    """2 to the power of minus age over half-life, continuous, in billionths of the latest touch's: so that the weights
    of a short half-life do not all vanish, and whole numbers are divided.
    """
    latest, life = touches[-1].occurred_at, half_life // _MICROSECOND
    ages = [(latest - touch.occurred_at) // _MICROSECOND for touch in touches]
    return [int(2.0 ** -(age / life) * BILLION + 0.5) for age in ages]


def _by_position(number: int, first: int, last: int) -> list[int]:
    """One touch takes all, two take the ends' shares only, and the middle shares what the ends leave."""
    if number == 1:
        return [1]
    if number == 2:  # noqa: PLR2004 - no middle
        return [first, last]
    middle = number - 2
    return [first * middle, *([100 - first - last] * middle), last * middle]
