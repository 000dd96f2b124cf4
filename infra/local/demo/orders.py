"""Life stories of orders: each purchase from its creation to its parcel, refund or cancellation, as Shopify
tells it.

Deterministic: the same seed and the same ``now`` give the same stories. What would happen after ``now`` has
not happened yet, so the youngest orders are still open.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from random import Random
from typing import Any

from infra.local.demo.basket import codes_of, fill
from infra.local.demo.cdnow import Purchase, last_purchases
from infra.local.demo.journeys import Touchpoint, touchpoints_before, visit_of
from infra.local.demo.payloads import Buyer, Draft, fulfillment_payload, order_payload, refund_payload
from infra.local.demo.shops import FIRST_NAMES, LAST_NAMES, DemoShop, shop_of

ORDERS = 1_200
_FIRST_ORDER_ID = 5_400_000_000_000
_FIRST_CUSTOMER_ID = 6_100_000_000_000
_REVIEW_AGE = timedelta(days=60)
_CLEAR_OF_REVIEW_AGE = timedelta(hours=3)
_SHARE_WITHOUT_VISITOR = 0.1
_SHARE_WITHOUT_EMAIL = 0.02
_SHARE_OF_SUBSCRIBERS = 0.6
_SHARE_DELIVERED = 0.85
_SHARE_SENT_BACK_WHOLE = 0.2
_VOIDED, _CANCELLED, _SHIPPED = 0.02, 0.06, 0.45
_PARTLY_REFUNDED, _REFUNDED = (0.10, 0.20), (0.20, 0.24)
"""An order's fate is one number from 0 to 1; a refund may befall what was shipped."""
_TAX_PERCENT = 8
_SHIPPING_CENTS = (0, 0, 495, 795)
_EDITS = (1, 1, 1, 2)
_TAGS = ("gift", "vip", "first-box", "priority", "wrapped")


@dataclass(frozen=True, slots=True)
class StoryEvent:
    """One webhook. ``payload`` is its body, ``order_state`` the whole order (webhook shape) at that
    moment.
    """

    topic: str
    payload: dict[str, Any]
    order_state: dict[str, Any]
    at: datetime


@dataclass(frozen=True, slots=True)
class Story:
    """An order's life, oldest event first; each event has a later ``updated_at`` than the one before."""

    tenant_slug: str
    shop: str
    order_id: int
    events: tuple[StoryEvent, ...]
    touchpoints: tuple[Touchpoint, ...]

    @property
    def final_state(self) -> dict[str, Any]:
        return self.events[-1].order_state


def tell_stories(
    seed: int, now: datetime, count: int = ORDERS, lately_every: int | None = None
) -> tuple[Story, ...]:
    """The stories of the last ``count`` purchases, in order of purchase. Nothing lies after ``now``.

    Every ``lately_every``-th is told as if it were of today or yesterday, when ad platforms still take it.
    """
    present = now.astimezone(UTC).replace(microsecond=0)
    purchases = list(last_purchases(count, present.date()))
    for place in range(0, count, lately_every) if lately_every else ():
        day = present.date() - timedelta(days=place // (lately_every or 1) % 2)
        purchases[place] = replace(purchases[place], day=day)
    return tuple(_tell(seed, present, place, purchase) for place, purchase in enumerate(purchases))


def _tell(seed: int, now: datetime, place: int, purchase: Purchase) -> Story:
    chance = Random(f"{seed}:{purchase.number}")  # noqa: S311 - a story, no secret
    shop = shop_of(purchase.customer_id)
    draft = _begin(chance, shop, place, purchase, _ordered_at(chance, purchase, now))
    touchpoints = touchpoints_before(
        chance, draft.order_id, draft.buyer.id, draft.visitor_id, draft.created_at
    )
    events = _Teller(chance, draft, now).tell()
    return Story(shop.slug, shop.shop, draft.order_id, events, touchpoints)


def _ordered_at(chance: Random, purchase: Purchase, now: datetime) -> datetime:
    """A moment of the purchase's day, not after now, and clear of the age at which reviews are no longer
    asked for.
    """
    start = datetime.combine(purchase.day, time(), UTC)
    seconds = min(86_400.0, (now - start).total_seconds())
    moment = start + timedelta(seconds=int(seconds * chance.random()))
    if abs(now - moment - _REVIEW_AGE) < _CLEAR_OF_REVIEW_AGE:
        moment -= 2 * _CLEAR_OF_REVIEW_AGE
    return moment


def _begin(chance: Random, shop: DemoShop, place: int, purchase: Purchase, at: datetime) -> Draft:
    order_id = _FIRST_ORDER_ID + 1_000 * (place + 1)
    codes, percent = codes_of(chance, shop.slug)
    lines = fill(chance, order_id, purchase.quantity, purchase.amount_cents, percent)
    visit = visit_of(chance)
    refuses_pixel = visit is not None and chance.random() < _SHARE_WITHOUT_VISITOR
    net = sum(line.paid_cents for line in lines)
    return Draft(
        shop=shop,
        order_id=order_id,
        number=1_001 + place,
        buyer=_buyer(chance, purchase.customer_id),
        lines=lines,
        codes=codes,
        shipping_cents=chance.choice(_SHIPPING_CENTS) if net else 0,
        tax_cents=net * _TAX_PERCENT // 100,
        visit=visit,
        visitor_id=None if refuses_pixel else f"visitor-{purchase.customer_id}",
        session_id=f"session-{order_id}",
        created_at=at,
        updated_at=at,
    )


def _buyer(chance: Random, customer_id: int) -> Buyer:
    """The same customer has the same name; now and then an order leaves the address out."""
    own = Random(f"buyer:{customer_id}")  # noqa: S311 - a name, no secret
    first, last = own.choice(FIRST_NAMES), own.choice(LAST_NAMES)
    email = f"{first}.{last}.{customer_id}@example.com"
    return Buyer(
        id=_FIRST_CUSTOMER_ID + customer_id,
        email=None if chance.random() < _SHARE_WITHOUT_EMAIL else email,
        first_name=first,
        last_name=last,
        accepts_marketing=own.random() < _SHARE_OF_SUBSCRIBERS,
    )


class _Teller:
    """Writes one order's events down as they happen, and stops at ``now``."""

    def __init__(self, chance: Random, draft: Draft, now: datetime) -> None:
        self._chance = chance
        self._draft = draft
        self._now = now
        self._events: list[StoryEvent] = []

    def tell(self) -> tuple[StoryEvent, ...]:
        self._record("orders/create", self._draft.created_at)
        with suppress(_NotYetError):
            self._live()
        return tuple(self._events)

    def _live(self) -> None:
        fate = self._chance.random()
        if fate < _VOIDED:
            self._cancel(timedelta(hours=self._chance.randint(1, 20)), is_paid=False)
            return
        self._pay()
        for _ in range(self._chance.choice(_EDITS)):
            self._edit()
        if fate < _CANCELLED:
            self._cancel(timedelta(hours=self._chance.randint(2, 30)), is_paid=True)
            return
        if fate < _SHIPPED:
            self._ship()
        if _PARTLY_REFUNDED[0] <= fate < _PARTLY_REFUNDED[1]:
            self._refund_some()
        elif _REFUNDED[0] <= fate < _REFUNDED[1]:
            self._refund_all("The whole order came back")

    def _record(self, topic: str, at: datetime, payload: dict[str, Any] | None = None) -> None:
        """Note an event, with the order as its body unless a refund or fulfilment is its ``payload``."""
        self._draft.updated_at = at
        state = copy.deepcopy(order_payload(self._draft))
        self._events.append(
            StoryEvent(topic, state if payload is None else copy.deepcopy(payload), state, at)
        )

    def _after(self, wait: timedelta) -> datetime:
        """The moment ``wait`` after the last event, a second at least. Raises _NotYetError beyond now."""
        at = self._draft.updated_at + max(wait, timedelta(seconds=1))
        if at > self._now:
            raise _NotYetError
        return at

    def _pay(self) -> None:
        at = self._after(timedelta(seconds=self._chance.randint(5, 240)))
        self._draft.financial_status = "paid"
        self._record("orders/paid", at)

    def _edit(self) -> None:
        at = self._after(timedelta(minutes=self._chance.randint(3, 600)))
        tag = self._chance.choice(_TAGS)
        if tag not in self._draft.tags:
            self._draft.tags.append(tag)
        self._draft.note = f"Packed with care ({tag})"
        self._record("orders/updated", at)

    def _ship(self) -> None:
        at = self._after(timedelta(hours=self._chance.randint(8, 72)))
        parcel = fulfillment_payload(self._draft, at)
        self._draft.fulfillments.append(parcel)
        self._draft.fulfillment_status = "fulfilled"
        self._record("fulfillments/create", at, parcel)
        self._record("orders/fulfilled", self._after(timedelta(seconds=1)))
        if self._chance.random() < _SHARE_DELIVERED:
            at = self._after(timedelta(hours=self._chance.randint(20, 120)))
            parcel.update(shipment_status="delivered", updated_at=at.isoformat())
            self._record("fulfillments/update", at, parcel)

    def _refund_some(self) -> None:
        at = self._after(timedelta(hours=self._chance.randint(4, 200)))
        line = self._chance.choice(self._draft.lines)
        units = {line.id: self._chance.randint(1, line.quantity)}
        refund = refund_payload(self._draft, at, units, with_shipping=False, note="Not what I hoped for")
        self._give_back(refund, at)
        if self._chance.random() < _SHARE_SENT_BACK_WHOLE:
            self._refund_all("And the rest of it too")

    def _refund_all(self, note: str) -> None:
        at = self._after(timedelta(hours=self._chance.randint(4, 200)))
        already = self._draft.refunded_units
        units = {line.id: line.quantity - already.get(line.id, 0) for line in self._draft.lines}
        self._give_back(refund_payload(self._draft, at, units, with_shipping=True, note=note), at)

    def _give_back(self, refund: dict[str, Any], at: datetime) -> None:
        draft = self._draft
        draft.refunds.append(refund)
        draft.financial_status = (
            "refunded" if draft.refunded_cents >= draft.total_cents else "partially_refunded"
        )
        self._record("refunds/create", at, refund)

    def _cancel(self, wait: timedelta, *, is_paid: bool) -> None:
        """A paid order is given back first; an unpaid one is voided."""
        at = self._after(wait)
        self._after(wait + timedelta(seconds=1))
        if is_paid:
            units = {line.id: line.quantity for line in self._draft.lines}
            note = "Order cancelled"
            self._give_back(refund_payload(self._draft, at, units, with_shipping=True, note=note), at)
        else:
            self._draft.financial_status = "voided"
        cancelled = self._after(timedelta(seconds=1))
        self._draft.cancelled_at = cancelled
        self._draft.cancel_reason = self._chance.choice(("customer", "inventory", "fraud"))
        self._record("orders/cancelled", cancelled)


class _NotYetError(Exception):
    """An event lies after the story's present."""


def all_touchpoints(stories: Sequence[Story]) -> tuple[tuple[str, Touchpoint], ...]:
    """Every touchpoint with its tenant's slug."""
    return tuple((story.tenant_slug, touchpoint) for story in stories for touchpoint in story.touchpoints)
