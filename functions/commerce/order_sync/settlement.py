"""What follows from orders' present state: attribution, commission and the review e-mails' rows.

Each part is recomputed from what is saved, so that create, update, fulfilment, refund and cancellation in any order of
arrival end in the same tables. Every function takes a set of orders, their rows locked, and ends as if it had been
called for each of them in any order; a webhook's order is a set of one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from commerce.ab_conversions.repository import Conversions
from commerce.order_sync.attribution import as_attributed, own_touch
from commerce.order_sync.commission import (
    Commission,
    Creator,
    Tier,
    compute_commission,
    match_creator,
    tier_at,
    tiers_of,
)
from commerce.order_sync.model import OrderState
from commerce.order_sync.repository import Commissions, Journeys, Orders, ReviewEmails
from commerce.order_sync.review_email import ReviewEmail, ReviewSettings, may_insert, plan_review_email
from tradewind.contracts.attribution import AttributionSettings, convert
from tradewind.contracts.orders import OrderConverted
from tradewind.tasks.events import Told, publish
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
    tx: Transaction,
    orders: Sequence[OrderState],
    settings: Mapping[str, Any],
    now: datetime,
    *,
    backfill: bool = False,
    correlation_id: str | None = None,
) -> list[Attributed]:
    """All three, in the order in which their locks are always taken; returns what the first has done."""
    told_under = None if backfill else correlation_id
    attributed = settle_attribution(tx, orders, settings, told_under)
    settle_commission(tx, orders, settings)
    settle_review_email(tx, orders, settings, now, backfill=backfill)
    return attributed


def settle_attribution(
    tx: Transaction, orders: Sequence[OrderState], settings: Mapping[str, Any], correlation_id: str | None
) -> list[Attributed]:
    """Recompute orders' conversions, and the later ones that their own touches or their being earlier change.

    Where an order is an A/B test's conversion, that is worth what is left of it. Orders' conversions are told once as
    ``order.converted``, under ``correlation_id``; without one nobody is told.
    """
    Conversions(tx).settle_orders([order.order_id for order in orders])
    journeys = Journeys(tx)
    journeys.lock(orders)
    numbers = AttributionSettings.of(settings, journeys.list_weights())
    own = [(order, touch) for order in orders if (touch := own_touch(order)) is not None]
    changed = journeys.save_own_touches(own)
    later = journeys.list_later_orders([order.order_id for order in orders], changed, numbers.look_back)
    tell = [order.order_id for order in orders if correlation_id is not None]
    touches, new = _save_conversions(journeys, [*orders, *later], numbers, tell)
    if correlation_id is not None:
        told = [Told("order.converted", str(number), OrderConverted(order_id=number)) for number in new]
        publish(tx, correlation_id, told)
    return [
        Attributed(order.order_id, order.remaining_cents, touches.get(order.order_id, 0), len(later))
        for order in orders
    ]


def _save_conversions(
    journeys: Journeys, orders: Sequence[OrderState], numbers: AttributionSettings, tell: Sequence[int]
) -> tuple[dict[int, int], list[int]]:
    """Write each order's conversion, delete that of what is none.

    Returns how many touches each has, by its id, and those of ``tell`` that are told for the first time.
    """
    attributed = [as_attributed(order) for order in orders]
    none = [order.order_id for order in attributed if not order.converts]
    if none:
        journeys.delete_conversions(none)
    converted = [order for order in attributed if order.converts]
    if not converted:
        return {}, []
    found = journeys.list_journeys([order.order_id for order in converted], numbers)
    conversions = [convert(order, found[order.order_id], numbers) for order in converted]
    new = journeys.save_conversions(conversions, tell)
    return {conversion.order.order_id: conversion.touches for conversion in conversions}, new


def settle_commission(
    tx: Transaction, orders: Sequence[OrderState], settings: Mapping[str, Any]
) -> list[Commissioned]:
    """Recompute orders' commissions; refunds and a cancellation leave their share of them."""
    commissions, tiers = Commissions(tx), tiers_of(settings)
    creators = _creators_of(commissions, orders)
    booked: dict[int, Commission] = {}
    if creators:
        commissions.lock(creators.values())
        booked = _book(
            commissions, [order for order in orders if order.order_id in creators], creators, tiers
        )
        changed = commissions.save(
            [(order, booked[order.order_id]) for order in orders if order.order_id in booked]
        )
        if changed:
            _settle_later(tx, commissions, changed, {each.id: each for each in creators.values()}, tiers)
    return [
        Commissioned(
            order.order_id,
            creators[order.order_id].code if order.order_id in creators else None,
            booked[order.order_id].commission_cents if order.order_id in booked else 0,
            booked[order.order_id].state if order.order_id in booked else None,
        )
        for order in orders
    ]


def _creators_of(commissions: Commissions, orders: Sequence[OrderState]) -> dict[int, Creator]:
    """Whose code each order used, by the orders' ids: whoever it is booked for already, else the code's owner. Test
    orders earn nobody anything.
    """
    creators = commissions.list_booked_creators([order.order_id for order in orders])
    coded = [
        order
        for order in orders
        if order.discount_codes and not order.test and order.order_id not in creators
    ]
    if coded:
        owners = commissions.list_creators(code for order in coded for code in order.discount_codes)
        for order in coded:
            creator = match_creator(order.discount_codes, owners)
            if creator is not None:
                creators[order.order_id] = creator
    return creators


def _book(
    commissions: Commissions,
    orders: Sequence[OrderState],
    creators: Mapping[int, Creator],
    tiers: Sequence[Tier],
) -> dict[int, Commission]:
    """Orders' commissions at the rates that the sales before each of them had reached, by the orders' ids."""
    sales = [(order, creators[order.order_id]) for order in orders if order.net_cents > 0]
    if not sales:
        return {}
    earlier = commissions.sum_earlier_sales(sales)
    computed = {
        order.order_id: compute_commission(order, creator, earlier[order.order_id], tiers)
        for order, creator in sales
    }
    return {order_id: commission for order_id, commission in computed.items() if commission is not None}


def _settle_later(
    tx: Transaction,
    commissions: Commissions,
    changed: Sequence[int],
    creators: Mapping[UUID, Creator],
    tiers: Sequence[Tier],
) -> None:
    """Orders that came late raise the sales before later ones: those whose tier changes are computed again."""
    moved = {
        each.order_id: each
        for each in commissions.list_later(changed)
        if tier_at(each.lifetime_cents, tiers).name != each.tier
    }
    if not moved:
        return
    again = []
    for order in Orders(tx).list_present(list(moved)):
        later = moved[order.order_id]
        commission = compute_commission(order, creators[later.creator_id], later.lifetime_cents, tiers)
        if commission is not None:
            again.append((order, commission))
    commissions.save(again)


def settle_review_email(
    tx: Transaction,
    orders: Sequence[OrderState],
    settings: Mapping[str, Any],
    now: datetime,
    *,
    backfill: bool,
) -> list[Scheduled]:
    """Write or move the review requests' rows, unless the sender has taken them."""
    emails, own = ReviewEmails(tx), ReviewSettings.of(settings)
    standings = emails.list_standings([order.order_id for order in orders])
    planned: dict[int, tuple[OrderState, ReviewEmail]] = {}
    for order in orders:
        standing = standings[order.order_id]
        known = {"reviewed": standing.reviewed, "suppressed": standing.suppressed}
        if standing.has_row or may_insert(order, **known, backfill=backfill, now=now):
            planned[order.order_id] = (order, plan_review_email(order, own, **known))
    if planned:
        emails.save(list(planned.values()), own.trigger)
    return [
        Scheduled(order.order_id, planned[order.order_id][1].state, planned[order.order_id][1].scheduled_at)
        if order.order_id in planned
        else Scheduled(order.order_id, None, None)
        for order in orders
    ]
