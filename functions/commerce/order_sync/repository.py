"""Orders and what follows from them in Postgres: a method per query, model types in and out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from commerce.order_sync import model
from commerce.order_sync.attribution import OwnTouch, as_attributed
from commerce.order_sync.commission import Commission, Creator
from commerce.order_sync.model import OrderState, OrderStatus
from commerce.order_sync.review_email import ReviewEmail, ReviewTrigger
from tradewind.contracts.attribution import (
    AttributionSettings,
    Conversion,
    Journey,
    journeys_of,
)
from tradewind.ports import OrderUpdate, ShopifyOrder, WebhookSubscription
from tradewind.sql import load_queries
from tradewind.tenancy.database import Jsonb, Transaction

QUERIES = load_queries(__file__)


@dataclass(frozen=True, slots=True)
class ReviewStanding:
    """What decides on a review e-mail beside the order itself."""

    reviewed: bool = False
    suppressed: bool = False
    has_row: bool = False


@dataclass(frozen=True, slots=True)
class LaterCommission:
    """A commission after another order, and the sales that came before it (cents)."""

    order_id: int
    creator_id: UUID
    tier: str
    lifetime_cents: int


class Orders:
    """Orders with their lines, parcels, refunds and customers."""

    def __init__(self, transaction: Transaction) -> None:
        self._tx = transaction

    def find(self, order_id: int) -> OrderState | None:
        return next(iter(self.list_present([order_id])), None)

    def list_present(self, order_ids: Sequence[int]) -> list[OrderState]:
        rows = self._tx.fetch_all(QUERIES["find_orders"], {"order_ids": list(order_ids)})
        return [_state(row) for row in rows]

    def lock(self, order_ids: Sequence[int]) -> list[OrderState]:
        """Those that are stored, locked, by their ids."""
        rows = self._tx.fetch_all(QUERIES["lock_orders"], {"order_ids": list(order_ids)})
        return [_state(row) for row in rows]

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

    def lock(self, orders: Sequence[OrderState]) -> None:
        """Serialise whoever recomputes these customers' and visitors' conversions."""
        owners = {owner for order in orders for owner in as_attributed(order).owners}
        if owners:
            self._tx.execute(QUERIES["lock_owners"], {"owners": sorted(owners)})

    def save_own_touches(self, touches: Sequence[tuple[OrderState, OwnTouch]]) -> list[UUID]:
        """Write what orders carry themselves; the ids of the touches that are new or have changed."""
        rows = [
            {
                "touchpoint_id": str(touch.id),
                "dedupe_hash": touch.dedupe_hash,
                "visitor_id": order.visitor_id,
                "shopify_customer_id": order.customer_id,
                "shopify_order_id": order.order_id,
                "channel": touch.visit.channel,
                "source": touch.visit.source,
                "medium": touch.visit.medium,
                "campaign": touch.visit.campaign,
                "click_id": touch.visit.click_id,
                "landing_page": order.landing_page,
                "referrer_url": order.referrer_url,
                "occurred_at": touch.occurred_at.isoformat(),
            }
            for order, touch in touches
        ]
        found = self._tx.fetch_all(QUERIES["save_own_touches"], {"touches": _json(rows)}) if rows else []
        return [row["touchpoint_id"] for row in found]

    def list_later_orders(
        self, order_ids: Sequence[int], touchpoint_ids: Sequence[UUID], window: timedelta
    ) -> list[OrderState]:
        rows = self._tx.fetch_all(
            QUERIES["list_later_orders"],
            {"order_ids": list(order_ids), "touchpoint_ids": list(touchpoint_ids), "look_back": window},
        )
        return [_state(row) for row in rows]

    def list_weights(self) -> dict[str, float]:
        """What the data-driven model has learnt of each channel; nothing where it had too little to learn from."""
        rows = self._tx.fetch_all(QUERIES["list_weights"])
        return {row["channel"]: row["weight"] for row in rows}

    def list_journeys(self, order_ids: Sequence[int], settings: AttributionSettings) -> dict[int, Journey]:
        """What led to each order, by its id."""
        about = {"order_ids": list(order_ids), "look_back": settings.look_back, "types": settings.types}
        return journeys_of(self._tx.fetch_all(QUERIES["list_journeys"], about))

    def save_conversions(self, conversions: Sequence[Conversion], told_ids: Sequence[int] = ()) -> list[int]:
        """Write conversions with their credits; those of ``told_ids`` come back that were not told before."""
        new = self._tx.fetch_all(
            QUERIES["save_conversions"],
            {
                "conversions": _json(each.row() for each in conversions),
                "credits": _json(
                    window.row(each.order.order_id) for each in conversions for window in each.windows
                ),
                "told_ids": list(told_ids),
            },
        )
        return [row["shopify_order_id"] for row in new]

    def delete_conversions(self, order_ids: Sequence[int]) -> None:
        self._tx.execute(QUERIES["delete_conversions"], {"order_ids": list(order_ids)})


class Commissions:
    """Creators' commissions."""

    def __init__(self, transaction: Transaction) -> None:
        self._tx = transaction

    def lock(self, creators: Iterable[Creator]) -> None:
        owners = sorted({f"creator:{creator.id}" for creator in creators})
        self._tx.execute(QUERIES["lock_owners"], {"owners": owners})

    def list_booked_creators(self, order_ids: Sequence[int]) -> dict[int, Creator]:
        """For whom orders are booked already, by the orders' ids."""
        rows = self._tx.fetch_all(QUERIES["list_booked_creators"], {"order_ids": list(order_ids)})
        return {row["shopify_order_id"]: _creator(row) for row in rows}

    def list_creators(self, codes: Iterable[str]) -> list[Creator]:
        lowered = sorted({code.lower() for code in codes})
        return [
            _creator(row) for row in self._tx.fetch_all(QUERIES["list_creators_by_code"], {"codes": lowered})
        ]

    def sum_earlier_sales(self, sales: Sequence[tuple[OrderState, Creator]]) -> dict[int, int]:
        """The creators' net sales before each order (cents), by the orders' ids."""
        rows = [
            {
                "shopify_order_id": order.order_id,
                "creator_id": str(creator.id),
                "ordered_at": order.placed_at.isoformat(),
                "net_sales_cents": order.net_cents,
            }
            for order, creator in sales
        ]
        found = self._tx.fetch_all(QUERIES["sum_earlier_sales"], {"sales": _json(rows)})
        return {row["shopify_order_id"]: row["cents"] for row in found}

    def save(self, commissions: Sequence[tuple[OrderState, Commission]]) -> list[int]:
        """Write commissions unless they were decided on; the orders whose sales count newly or otherwise."""
        rows = [
            {
                "shopify_order_id": order.order_id,
                "creator_id": str(commission.creator_id),
                "code": commission.code,
                "currency": order.currency,
                "net_sales_cents": commission.net_sales_cents,
                "rate_basis_points": commission.rate,
                "tier": commission.tier,
                "earned_cents": commission.earned_cents,
                "commission_cents": commission.commission_cents,
                "state": commission.state,
                "ordered_at": order.placed_at.isoformat(),
            }
            for order, commission in commissions
        ]
        saved = self._tx.fetch_all(QUERIES["save_commissions"], {"commissions": _json(rows)})
        return [row["shopify_order_id"] for row in saved if row["sales_before"] != row["sales_now"]]

    def list_later(self, order_ids: Sequence[int]) -> list[LaterCommission]:
        rows = self._tx.fetch_all(QUERIES["list_later_commissions"], {"order_ids": list(order_ids)})
        return [
            LaterCommission(row["shopify_order_id"], row["creator_id"], row["tier"], row["lifetime_cents"])
            for row in rows
        ]


class ReviewEmails:
    """The requests' rows in the review e-mail queue."""

    def __init__(self, transaction: Transaction) -> None:
        self._tx = transaction

    def list_standings(self, order_ids: Sequence[int]) -> dict[int, ReviewStanding]:
        rows = self._tx.fetch_all(QUERIES["list_review_standings"], {"order_ids": list(order_ids)})
        return {
            row["shopify_order_id"]: ReviewStanding(row["reviewed"], row["suppressed"], row["has_row"])
            for row in rows
        }

    def save(self, emails: Sequence[tuple[OrderState, ReviewEmail]], trigger: ReviewTrigger) -> None:
        rows = [
            {
                "shopify_order_id": order.order_id,
                "email": order.email,
                "trigger": trigger,
                "state": email.state,
                "scheduled_at": _iso(email.scheduled_at),
                "awaiting_since": _iso(email.awaiting_since),
                "skip_reason": email.skip_reason,
            }
            for order, email in emails
        ]
        self._tx.execute(QUERIES["save_review_emails"], {"emails": _json(rows)})


def _json(rows: Iterable[Mapping[str, Any]]) -> Jsonb:
    return Jsonb(list(rows))


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _creator(row: Mapping[str, Any]) -> Creator:
    return Creator(row["creator_id"], row["code"], row["rate_basis_points"])


def _state(row: Mapping[str, Any]) -> OrderState:
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
        test=row["test"],
    )
