"""What visitors of the demo's A/B test do, and what must be counted of it, by plain arithmetic.

Independent of the product, as the other expectations are: a visitor's variant is worked out here from the published
rule (the first 13 hexadecimal digits of SHA-256 of ``test:visitor``, over 2^52), and so is the chance that the second
variant is the better one.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any

from infra.local.demo.expectations import ExpectedOrder

TEST_ID, CONTROL, BOLD = "hero-image", "control", "bold"
VARIANTS = (CONTROL, BOLD)
VISITORS = 400
COUNTED = ("visitors", "viewers", "views", "carts", "cart_visitors", "checkouts", "checkout_visitors", "bounces",
           "bounce_visitors", "errors", "error_visitors")  # fmt: skip
LATEST, EARLIEST = timedelta(hours=3), timedelta(hours=40)
WHOLE, FLOOR = 10_000, 500
"""Basis points: all traffic, and the least of a variant."""
_STEP = timedelta(seconds=40)
_CARTS = {CONTROL: 5, BOLD: 3}
_BUYERS = {CONTROL: 20, BOLD: 8}
"""Every fifth visitor who sees the control has a cart, every third of the other variant, and so on."""


@dataclass(frozen=True, slots=True)
class Visits:
    """``asking`` are the visitors whose page asks for their variant first; ``events`` are shuffled, some twice."""

    asking: tuple[str, ...]
    variants: Mapping[str, str]
    events: tuple[Mapping[str, Any], ...]
    repeated: int
    buyers: Mapping[str, tuple[ExpectedOrder, ...]]


def plan_visits(seed: int, now: datetime, orders: Sequence[ExpectedOrder]) -> Visits:
    """Visitors of the last days; those who buy take one of the orders each, as long as there are any."""
    chance = Random(f"visits:{seed}")  # noqa: S311 - a story, no secret
    left = _with_some_taken_back(orders)
    variants: dict[str, str] = {}
    buyers: dict[str, tuple[ExpectedOrder, ...]] = dict.fromkeys(VARIANTS, ())
    events: list[Mapping[str, Any]] = []
    of_variant = Counter[str]()
    for number in range(VISITORS):
        visitor = f"visitor-{seed}-{number}"
        variant = variants[visitor] = variant_of(visitor)
        of_variant[variant] += 1
        order = left.pop() if of_variant[variant] % _BUYERS[variant] == 0 and left else None
        if order is not None:
            buyers[variant] = (*buyers[variant], order)
        at = now - LATEST - timedelta(seconds=int((EARLIEST - LATEST).total_seconds() * chance.random()))
        events += _visit(visitor, variant, of_variant[variant], order, at)
    again = chance.sample(events, len(events) // 10)
    shown = [*events, *again]
    chance.shuffle(shown)
    return Visits(tuple(variants)[::2], variants, tuple(shown), len(again), buyers)


def _with_some_taken_back(orders: Sequence[ExpectedOrder]) -> list[ExpectedOrder]:
    """Orders of which nothing was taken back, and at the end, whence they are taken, some that were."""
    cancelled = [order for order in orders if order.status == "cancelled"]
    refunded = [order for order in orders if order not in cancelled and order.refunded_cents]
    whole = [order for order in orders if order.remaining_cents == order.total_cents]
    return [*whole, *refunded[:4], *cancelled[:4]]


def variant_of(visitor: str) -> str:
    """Of equal weights: the lower half of positions sees the control."""
    digest = hashlib.sha256(f"{TEST_ID}:{visitor}".encode()).hexdigest()
    return CONTROL if int(digest[:13], 16) / 2**52 < 1 / 2 else BOLD


def _visit(
    visitor: str, variant: str, number: int, order: ExpectedOrder | None, at: datetime
) -> Iterator[Mapping[str, Any]]:
    """A visitor's events, the ``number``-th of a variant; who buys has a cart and goes to the checkout first."""
    kinds = ["page_view"] * (1 + number % 2)
    carts = order is not None or number % _CARTS[variant] == 0
    kinds += ["add_to_cart"] * carts + ["begin_checkout"] * (order is not None)
    kinds += ["bounce"] * (not carts and number % 7 == 0)
    told = {"test_id": TEST_ID, "visitor_id": visitor}
    for place, kind in enumerate(kinds):
        moment = (at + place * _STEP).isoformat()
        yield {**told, "event_id": f"{visitor}-{place}", "type": kind, "occurred_at": moment}
    if order is not None:
        bought = {"order_id": order.order_id, "value_cents": order.total_cents, "type": "purchase"}
        moment = (at + len(kinds) * _STEP).isoformat()
        yield {**told, **bought, "event_id": f"{visitor}-bought", "occurred_at": moment}


def expected_counts(visits: Visits) -> dict[str, dict[str, int]]:
    """What a variant's days must sum to: an event counts once, a purchase once an order, at what is left of it."""
    once = {event["event_id"]: event for event in visits.events}.values()
    found: dict[str, dict[str, int]] = {}
    for variant in VARIANTS:
        own = [event for event in once if visits.variants[event["visitor_id"]] == variant]
        people = {kind: len({each["visitor_id"] for each in own if each["type"] == kind}) for kind in _KINDS}
        times = Counter(each["type"] for each in own)
        kept = [order for order in visits.buyers[variant] if order.status != "cancelled"]
        found[variant] = {
            "visitors": sum(each == variant for each in visits.variants.values()),
            "viewers": people["page_view"],
            "views": times["page_view"],
            "carts": times["add_to_cart"],
            "cart_visitors": people["add_to_cart"],
            "checkouts": times["begin_checkout"],
            "checkout_visitors": people["begin_checkout"],
            "bounces": times["bounce"],
            "bounce_visitors": people["bounce"],
            "errors": times["error"],
            "error_visitors": people["error"],
            "purchases": len(kept),
            "revenue_cents": sum(order.remaining_cents for order in kept),
        }
    return found


_KINDS = ("page_view", "add_to_cart", "begin_checkout", "bounce", "error")


def expected_weights(counts: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    """Thompson sampling's weights in basis points: the floor, and the rest by the chance to be the better one."""
    rates = [(counts[each]["purchases"] + 1, counts[each]["visitors"] - counts[each]["purchases"] + 1)
             for each in VARIANTS]  # fmt: skip
    better = chance_to_be_better(*rates)
    bold = int(FLOOR + (WHOLE - 2 * FLOOR) * better + 1e-6)
    return {CONTROL: WHOLE - bold, BOLD: bold}


def chance_to_be_better(one: tuple[int, int], other: tuple[int, int]) -> float:
    """P(Beta(*other) > Beta(*one)), in closed form (E. Miller, "Formulas for Bayesian A/B Testing", 2014)."""
    (a, b), (c, d) = one, other
    logs = (
        _log_beta(a + i, b + d) - math.log(d + i) - _log_beta(1 + i, d) - _log_beta(a, b) for i in range(c)
    )
    return math.fsum(math.exp(each) for each in logs)


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
