"""Orders and what follows from them in Postgres: a method per query, model types in and out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from commerce.order_sync import model
from commerce.order_sync.attribution import Credit, OwnTouch, Touch
from commerce.order_sync.commission import Commission, Creator
from commerce.order_sync.model import OrderState, OrderStatus
from commerce.order_sync.review_email import ReviewEmail, ReviewTrigger
from tradewind.ports import OrderUpdate, ShopifyOrder, WebhookSubscription
from tradewind.sql import load_queries
from tradewind.tenancy.database import Jsonb, Transaction

QUERIES = load_queries(__file__)
WINDOW_DAYS = 30


@dataclass(frozen=True, slots=True)
class ReviewStanding:
    """What decides on a review e-mail beside the order itself."""

    reviewed: bool
    suppressed: bool
    has_row: bool


@dataclass(frozen=True, slots=True)
class LaterCommission:
    """A commission after another order, and the sales that came before it (cents)."""

    order_id: int
    tier: str
    lifetime_cents: int


class Orders:
    """Orders with their lines, parcels, refunds and customers."""

    def __init__(self, transaction: Transaction) -> None:
        self._tx = transaction

    def find(self, order_id: int) -> OrderState | None:
        return _state(self._tx.fetch_one(QUERIES["find_order"], {"order_id": order_id}))

    def lock(self, order_id: int) -> OrderState | None:
        return _state(self._tx.fetch_one(QUERIES["lock_order"], {"order_id": order_id}))

    def save(
        self, orders: Sequence[ShopifyOrder], transit: timedelta, *, only_newer: bool = False
    ) -> set[int]:
        """Write orders as they are now, set-based; returns the ids that were written (an older state is not).

        With ``only_newer`` a state of the stored one's own instant is not written either.
        """
        about = {"orders": _json(map(model.to_row, orders)), "only_newer": only_newer}
        rows = self._tx.fetch_all(QUERIES["save_orders"], about)
        written = {row["shopify_order_id"] for row in rows}
        newer = [order for order in orders if order.id in written]
        if newer:
            self._save_parts(newer, transit)
        return written

    def _save_parts(self, orders: Sequence[ShopifyOrder], transit: timedelta) -> None:
        ids = [order.id for order in orders]
        lines = [row for order in orders for row in model.to_line_rows(order)]
        self._tx.execute(QUERIES["replace_lines"], {"lines": _json(lines), "order_ids": ids})
        parts = {
            "customers": [row for order in orders for row in model.to_customer_rows(order)],
            "fulfillments": [row for order in orders for row in model.to_fulfillment_rows(order, transit)],
            "refunds": [row for order in orders for row in model.to_refund_rows(order)],
            "refund_lines": [row for order in orders for row in model.to_refund_line_rows(order)],
        }
        for name, rows in parts.items():
            if rows:
                self._tx.execute(QUERIES[f"save_{name}"], {name: _json(rows)})

    def list_stored_updates(self, order_ids: Sequence[int]) -> dict[int, datetime]:
        rows = self._tx.fetch_all(QUERIES["list_stored_updates"], {"order_ids": list(order_ids)})
        return {row["shopify_order_id"]: row["shopify_updated_at"] for row in rows}

    def save_discrepancies(self, found: Sequence[tuple[OrderUpdate, str]]) -> None:
        rows = [
            {"shopify_order_id": update.id, "shopify_updated_at": update.updated_at.isoformat(), "kind": kind}
            for update, kind in found
        ]
        self._tx.execute(QUERIES["save_discrepancies"], {"discrepancies": _json(rows)})

    def save_registrations(self, shop: str, subscriptions: Sequence[WebhookSubscription]) -> None:
        by_topic = {item.topic: item for item in subscriptions}
        rows = [
            {"shop_domain": shop, "topic": item.topic, "subscription_id": item.id, "uri": item.uri}
            for item in by_topic.values()
        ]
        self._tx.execute(QUERIES["save_registrations"], {"registrations": _json(rows)})


class Journeys:
    """Touchpoints, conversions and their credits."""

    def __init__(self, transaction: Transaction) -> None:
        self._tx = transaction

    def lock(self, order: OrderState) -> None:
        """Serialise whoever recomputes this customer's and this visitor's conversions, always in this order."""
        for what in (f"customer:{order.customer_id}", f"visitor:{order.visitor_id}"):
            if not what.endswith(":None"):
                self._tx.execute(QUERIES["lock_journey"], {"what": what})

    def save_own_touch(self, order: OrderState, touch: OwnTouch) -> bool:
        """Write the order's own touch; True where it is new or has changed."""
        row = self._tx.fetch_one(
            QUERIES["save_own_touch"],
            {
                "touchpoint_id": touch.id,
                "dedupe_hash": touch.dedupe_hash,
                "visitor_id": order.visitor_id,
                "customer_id": order.customer_id,
                "order_id": order.order_id,
                "channel": touch.visit.channel,
                "source": touch.visit.source,
                "medium": touch.visit.medium,
                "campaign": touch.visit.campaign,
                "click_id": touch.visit.click_id,
                "landing_page": order.landing_page,
                "referrer_url": order.referrer_url,
                "occurred_at": touch.occurred_at,
            },
        )
        return row is not None

    def list_touches(self, order: OrderState, window: timedelta) -> list[Touch]:
        rows = self._tx.fetch_all(
            QUERIES["list_touches"],
            {
                **_journey(order),
                "opened_at": order.placed_at - window,
                "converted_at": order.placed_at,
            },
        )
        return [Touch(row["touchpoint_id"], row["channel"], row["occurred_at"]) for row in rows]

    def list_later_orders(
        self, order: OrderState, touched_at: datetime, window: timedelta, *, touch_is_new: bool
    ) -> list[int]:
        rows = self._tx.fetch_all(
            QUERIES["list_later_orders"],
            {
                **_journey(order),
                "placed_at": order.placed_at,
                "touched_at": touched_at,
                "closes_at": touched_at + window,
                "touch_is_new": touch_is_new,
            },
        )
        return [row["shopify_order_id"] for row in rows]

    def has_earlier_order(self, order: OrderState) -> bool:
        row = self._tx.fetch_one(
            QUERIES["has_earlier_order"], {**_journey(order), "placed_at": order.placed_at}
        )
        return bool(row and row["found"])

    def save_conversion(self, order: OrderState, credited: Sequence[Credit], *, first_purchase: bool) -> None:
        touches = len({credit.touch.id for credit in credited})
        self._tx.execute(
            QUERIES["save_conversion"],
            {
                **_journey(order),
                "revenue_cents": order.remaining_cents,
                "gross_revenue_cents": order.total_cents,
                "currency": order.currency,
                "first_purchase": first_purchase,
                "touchpoints": touches,
                "status": "attributed" if touches else "unattributed",
                "converted_at": order.placed_at,
            },
        )
        rows = [
            {
                "shopify_order_id": order.order_id,
                "touchpoint_id": str(credit.touch.id),
                "model": credit.model,
                "window_days": WINDOW_DAYS,
                "position": credit.position,
                "channel": credit.touch.channel,
                "credit": f"{credit.share.numerator / credit.share.denominator:.9f}",
                "revenue_cents": credit.revenue_cents,
            }
            for credit in credited
        ]
        self._tx.execute(QUERIES["replace_results"], {"results": _json(rows), "order_id": order.order_id})

    def delete_conversion(self, order_id: int) -> None:
        self._tx.execute(QUERIES["delete_conversion"], {"order_id": order_id})


class Commissions:
    """Creators' commissions."""

    def __init__(self, transaction: Transaction) -> None:
        self._tx = transaction

    def lock(self, creator: Creator) -> None:
        self._tx.execute(QUERIES["lock_journey"], {"what": f"creator:{creator.id}"})

    def find_creator(self, order_id: int) -> Creator | None:
        """The creator whom the order is booked for already."""
        row = self._tx.fetch_one(QUERIES["find_commission_creator"], {"order_id": order_id})
        return None if row is None else Creator(row["creator_id"], row["code"], row["rate_basis_points"])

    def list_creators(self, codes: Iterable[str]) -> list[Creator]:
        lowered = [code.lower() for code in codes]
        rows = self._tx.fetch_all(QUERIES["list_creators_by_code"], {"codes": lowered})
        return [Creator(row["creator_id"], row["code"], row["rate_basis_points"]) for row in rows]

    def sum_earlier_sales(self, creator: Creator, order: OrderState) -> int:
        row = self._tx.fetch_one(
            QUERIES["sum_earlier_sales"],
            {"creator_id": creator.id, "ordered_at": order.placed_at, "order_id": order.order_id},
        )
        return int(row["cents"]) if row else 0

    def save(self, order: OrderState, commission: Commission) -> bool:
        """Write the commission unless it was decided on; True where the creator's sales have changed by it."""
        row = self._tx.fetch_one(
            QUERIES["save_commission"],
            {
                "order_id": order.order_id,
                "creator_id": commission.creator_id,
                "code": commission.code,
                "currency": order.currency,
                "net_sales_cents": commission.net_sales_cents,
                "rate": commission.rate,
                "tier": commission.tier,
                "earned_cents": commission.earned_cents,
                "commission_cents": commission.commission_cents,
                "state": commission.state,
                "ordered_at": order.placed_at,
            },
        )
        return row is not None and row["sales_before"] != row["sales_now"]

    def list_later(self, creator: Creator, order: OrderState, sales_so_far: int) -> list[LaterCommission]:
        rows = self._tx.fetch_all(
            QUERIES["list_later_commissions"],
            {
                "creator_id": creator.id,
                "ordered_at": order.placed_at,
                "order_id": order.order_id,
                "sales_so_far": sales_so_far,
            },
        )
        return [LaterCommission(row["shopify_order_id"], row["tier"], row["lifetime_cents"]) for row in rows]


class ReviewEmails:
    """The request's row in the review e-mail queue."""

    def __init__(self, transaction: Transaction) -> None:
        self._tx = transaction

    def find_standing(self, order: OrderState) -> ReviewStanding:
        row = self._tx.fetch_one(
            QUERIES["find_review_standing"], {"order_id": order.order_id, "email": order.email}
        )
        found = row or {}
        return ReviewStanding(
            bool(found.get("reviewed")), bool(found.get("suppressed")), bool(found.get("has_row"))
        )

    def save(self, order: OrderState, trigger: ReviewTrigger, email: ReviewEmail) -> None:
        self._tx.execute(
            QUERIES["save_review_email"],
            {
                "order_id": order.order_id,
                "email": order.email,
                "trigger": trigger,
                "state": email.state,
                "scheduled_at": email.scheduled_at,
                "awaiting_since": email.awaiting_since,
                "skip_reason": email.skip_reason,
            },
        )


def _json(rows: Iterable[Mapping[str, Any]]) -> Jsonb:
    return Jsonb(list(rows))


def _journey(order: OrderState) -> dict[str, Any]:
    return {"visitor_id": order.visitor_id, "customer_id": order.customer_id, "order_id": order.order_id}


def _state(row: Mapping[str, Any] | None) -> OrderState | None:
    if row is None:
        return None
    return OrderState(
        order_id=row["shopify_order_id"],
        currency=row["currency"],
        net_cents=row["net_cents"],
        total_cents=row["total_cents"],
        refunded_cents=row["refunded_cents"],
        refunded_net_cents=row["refunded_net_cents"],
        status=OrderStatus(row["status"]),
        discount_codes=tuple(row["discount_codes"]),
        visitor_id=row["visitor_id"],
        customer_id=row["shopify_customer_id"],
        email=row["email"],
        landing_page=row["landing_page"],
        referrer_url=row["referrer_url"],
        utm=row["utm"],
        visited_at=row["visited_at"],
        placed_at=row["placed_at"],
        fulfilled_at=row["fulfilled_at"],
        delivered_at=row["delivered_at"],
        updated_at=row["shopify_updated_at"],
        content_hash=row["content_hash"],
    )
