"""A/B tests, pure: what a test is, how its life goes on, what is counted of it and how counts are compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from tradewind.contracts.experiments import WHOLE, Rule

DEFAULT_ZONE = "America/New_York"
FOLD_GRACE = timedelta(minutes=5)
"""An hour is closed when it is over for so long: who kept an event in it has counted it by then, or never will."""
COUNTED = (
    "visitors",
    "viewers",
    "views",
    "carts",
    "cart_visitors",
    "checkouts",
    "checkout_visitors",
    "bounces",
    "bounce_visitors",
    "errors",
    "error_visitors",
)
"""What Valkey counts; purchases and revenue follow from the conversions."""


class Status(StrEnum):
    DRAFT = "draft"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"


class Mode(StrEnum):
    """``mab`` is epsilon-greedy, the simplest bandit; ``manual`` leaves the weights alone."""

    MANUAL = "manual"
    MAB = "mab"
    THOMPSON = "thompson"


class Kind(StrEnum):
    LANDING_PAGE = "landing_page"
    SHIPPING = "shipping"
    EMAIL = "email"


class Goal(StrEnum):
    PAGE_VIEW = "page_view"
    ADD_TO_CART = "add_to_cart"
    BEGIN_CHECKOUT = "begin_checkout"
    PURCHASE = "purchase"


class Metric(StrEnum):
    REVENUE = "revenue_per_visitor"
    RATE = "conversion_rate"


@dataclass(frozen=True, slots=True)
class Variant:
    """``weight`` in basis points; a test's sum to 10,000."""

    id: str
    name: str
    weight: int
    is_control: bool


@dataclass(frozen=True, slots=True)
class AbTest:
    """A test with its variants in their places."""

    id: str
    name: str
    status: Status
    mode: Mode
    goal: Goal
    metric: Metric
    confidence: float
    variants: tuple[Variant, ...]
    started_at: datetime | None = None
    ended_at: datetime | None = None
    winner_id: str | None = None
    optimized_at: datetime | None = None

    @property
    def control(self) -> Variant:
        """What the others are compared with; the first where none is marked."""
        return next((variant for variant in self.variants if variant.is_control), self.variants[0])

    @property
    def is_over(self) -> bool:
        return self.status is Status.COMPLETED


@dataclass(frozen=True, slots=True)
class Standing:
    """What a variant has come to. Whatever ends in ``visitors`` counts each once, and so do ``viewers`` and
    ``purchasers``; ``squares`` sums the squares of what each spent (cents); ``refunded`` counts orders of which
    something was given back.
    """

    variant_id: str
    visitors: int = 0
    viewers: int = 0
    cart_visitors: int = 0
    checkout_visitors: int = 0
    views: int = 0
    bounce_visitors: int = 0
    error_visitors: int = 0
    purchasers: int = 0
    purchases: int = 0
    revenue_cents: int = 0
    squares: float = 0.0
    refunded: int = 0

    def reached(self, goal: Goal) -> int:
        """Visitors who did what the test is for, each once."""
        return {
            Goal.PAGE_VIEW: self.viewers,
            Goal.ADD_TO_CART: self.cart_visitors,
            Goal.BEGIN_CHECKOUT: self.checkout_visitors,
            Goal.PURCHASE: self.purchasers,
        }[goal]

    def present(self, goal: Goal) -> int:
        """Visitors of whom we know. Who did what the test is for was there: they are no fewer."""
        return max(self.visitors, self.reached(goal))


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a variant is thought to be worth: a rate, or cents a visitor. Weights in basis points.

    The last four are the frequentist view of its change against the control: at the end, and at every look.
    """

    variant_id: str
    visitors: int
    conversions: int
    mean: float
    low: float
    high: float
    chance_to_be_best: float
    expected_loss: float
    weight_before: int
    weight_after: int
    uplift: float | None = None
    p_value: float | None = None
    any_time_low: float | None = None
    any_time_high: float | None = None


LEAST_VISITORS, LEAST_CONVERSIONS = 100, 10
"""Of every arm, before anybody wins."""
CARING = 0.01
"""A loss below this part of the control's value is nobody's concern: the winner may cost no more."""
BURN_IN = timedelta(days=1)
OPTIMIZED_EVERY = timedelta(minutes=14)
"""Weights stand for this long at least; a little less than the schedule's quarter hour."""


def find_winner(test: AbTest, measured: Sequence[Measurement]) -> str | None:
    """The variant that wins: the best with the test's confidence, at a loss that nobody would care for.

    The control may win too. Nobody does before every arm has enough visitors and conversions.
    """
    if any(m.visitors < LEAST_VISITORS or m.conversions < LEAST_CONVERSIONS for m in measured):
        return None
    best = max(measured, key=lambda each: each.chance_to_be_best)
    control = next(each for each in measured if each.variant_id == test.control.id)
    sure = best.chance_to_be_best >= test.confidence
    return best.variant_id if sure and best.expected_loss <= CARING * control.mean else None


def why_not_yet(test: AbTest, standings: Sequence[Standing], now: datetime) -> str | None:
    """Why weights stay as they are; None where they may be changed."""
    if test.status is not Status.RUNNING or test.started_at is None:
        return "it does not run"
    if now - test.started_at < BURN_IN:
        return "it has run for less than a day"
    if any(standing.visitors < LEAST_VISITORS for standing in standings):
        return f"a variant has fewer than {LEAST_VISITORS} visitors"
    if test.optimized_at is not None and now - test.optimized_at < OPTIMIZED_EVERY:
        return "its weights were changed a moment ago"
    return None


@dataclass(frozen=True, slots=True)
class GuardrailRule:
    """``threshold`` is the relative change against the control that is too much; of the error rate, the rise itself."""

    metric: str
    threshold: float
    action: str


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong with a test. Values are rates, or cents a visitor; of a sample ratio, visitors."""

    test_id: str
    kind: str
    metric: str
    variant_id: str
    level: str
    action: str
    control_value: float
    variant_value: float
    p_value: float


PRESETS = (
    GuardrailRule("revenue_per_visitor", -0.10, "stop"),
    GuardrailRule("conversion_rate", -0.15, "pause"),
    GuardrailRule("bounce_rate", 0.20, "warn"),
    GuardrailRule("error_rate", 0.05, "stop"),
    GuardrailRule("add_to_cart_rate", -0.20, "warn"),
    GuardrailRule("checkout_rate", -0.15, "pause"),
    GuardrailRule("refund_rate", 0.50, "warn"),
)
"""What is watched where a test names no guardrails of its own."""


@dataclass(frozen=True, slots=True)
class Definition:
    """A test as it is created, its variants in their places."""

    id: str
    name: str
    mode: Mode
    kind: Kind
    goal: Goal
    metric: Metric
    confidence: float
    zone: str
    variants: tuple[Variant, ...]
    rules: tuple[Rule, ...] = ()
    guardrails: tuple[GuardrailRule, ...] = PRESETS
    exclusion_group: str | None = None
    forced_variant_id: str | None = None
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    auto_start: bool = True
    auto_end: bool = True


def equal_weights(variants: int) -> list[int]:
    """Basis points that sum to 10,000; what does not divide goes to the first."""
    share, rest = divmod(WHOLE, variants)
    return [share + rest, *([share] * (variants - 1))]


def weights_of(percents: Sequence[float | None]) -> list[int]:
    """Basis points of weights in percent, equal ones where there are none."""
    if any(percent is None for percent in percents):
        return equal_weights(len(percents))
    weights = [round((percent or 0) * 100) for percent in percents]
    return [weights[0] + WHOLE - sum(weights), *weights[1:]]


def instant_of(local: datetime | None, zone: str) -> datetime | None:
    """A local time as an instant. One that a clock skips counts from before the change, one that comes twice is the
    first.
    """
    return None if local is None else local.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


def closed_before(now: datetime, grace: timedelta = FOLD_GRACE) -> datetime:
    """The end of the last closed hour: everything that was kept before it is counted or lost."""
    return (now - grace).astimezone(UTC).replace(minute=0, second=0, microsecond=0)


@dataclass(frozen=True, slots=True)
class Count:
    """Something that happened to a variant on a day, so many times."""

    day: date
    test_id: str
    variant_id: str
    metric: str
    amount: int


def read_counts(amounts: Mapping[str, int]) -> list[Count]:
    """Counters by their fields' names: ``day:test:variant:metric``; what is none of ours is left out."""
    counts = []
    for field_name, amount in amounts.items():
        parts = field_name.split(":")
        if len(parts) == 4 and parts[3] in COUNTED:  # noqa: PLR2004 - the four parts of a name
            counts.append(Count(date.fromisoformat(parts[0]), parts[1], parts[2], parts[3], amount))
    return sorted(counts, key=lambda count: (count.day, count.test_id, count.variant_id, count.metric))


@dataclass(frozen=True, slots=True)
class DayMetrics:
    """A variant's day."""

    test_id: str
    variant_id: str
    day: date
    values: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Difference:
    """A number that was stored and what it should be."""

    test_id: str
    variant_id: str
    day: date
    metric: str
    stored: int
    actual: int


def compare(stored: Iterable[DayMetrics], actual: Iterable[DayMetrics]) -> list[Difference]:
    """Every number that differs; a row that is missing on one side counts as zeros."""
    left = {(each.test_id, each.variant_id, each.day): each.values for each in stored}
    right = {(each.test_id, each.variant_id, each.day): each.values for each in actual}
    found = []
    for key in sorted(left.keys() | right.keys()):
        before, after = left.get(key, {}), right.get(key, {})
        found += [
            Difference(*key, metric, before.get(metric, 0), after.get(metric, 0))
            for metric in sorted(before.keys() | after.keys())
            if before.get(metric, 0) != after.get(metric, 0)
        ]
    return found
