"""A day's orders with their places in the ledger, and what a day came to, in Postgres."""

from __future__ import annotations

from datetime import datetime

from analytics.ad_platforms.reconciliation import (
    DayCount,
    DayOrder,
    DayRefund,
    Noted,
    connected_since,
)
from analytics.metrics.model import Period
from tradewind.advertising import Destination
from tradewind.sql import load_queries
from tradewind.tenancy.database import Jsonb, Row, Transaction

QUERIES = load_queries(__file__)
PAGE = 1000


class Days:
    """What a tenant's ad platforms were told of its days."""

    def __init__(self, transaction: Transaction) -> None:
        self._tx = transaction

    def pick_connections(self) -> dict[Destination, datetime | None]:
        """The connected platforms, each with the moment from which on it is."""
        rows = self._tx.fetch_all(QUERIES["pick_connections"], {"destinations": [*Destination]})
        return connected_since((row["provider"], row["names"], row["since"]) for row in rows)

    def pick_orders(self, day: Period, after_id: int) -> list[DayOrder]:
        """The next page of the orders that were placed on a day."""
        about = {"opened_at": day.opened_at, "closes_at": day.closes_at, "after_id": after_id, "page": PAGE}
        return [_order(row) for row in self._tx.fetch_all(QUERIES["pick_day_orders"], about)]

    def pick_refunds(self, day: Period, after_id: int) -> list[DayRefund]:
        """The next page of the refunds that were made on a day."""
        about = {"opened_at": day.opened_at, "closes_at": day.closes_at, "after_id": after_id, "page": PAGE}
        return [_refund(row) for row in self._tx.fetch_all(QUERIES["pick_day_refunds"], about)]

    def save(self, day: Period, count: DayCount, currency: str) -> None:
        """Note a day at a platform; noting it again overwrites."""
        self._tx.execute(
            QUERIES["save_reconciliation"],
            {
                "reconciled_on": day.starts_on,
                "destination": count.destination,
                "event_name": count.event,
                "currency": currency,
                "orders_counted": count.orders,
                "excluded_orders": Jsonb(count.excluded),
                "other_currency_orders": count.other_currency,
                "expected_purchases": count.expected,
                "expected_cents": count.expected_cents,
                "sent_purchases": count.sent,
                "sent_cents": count.sent_cents,
                "acknowledged_purchases": count.acknowledged,
                "acknowledged_cents": count.acknowledged_cents,
                "missing_purchases": count.missing,
                "unacknowledged_purchases": count.unacknowledged,
                "unlike_purchases": count.unlike,
                "unexpected_purchases": count.unexpected,
            },
        )


def _refund(row: Row) -> DayRefund:
    return DayRefund(
        row["shopify_refund_id"],
        row["refunded_at"],
        row["amount_cents"],
        row["refund_net_cents"],
        _order(row),
        _ledger(row["refund_ledger"]),
    )


def _ledger(found: dict[str, Row]) -> dict[Destination, Noted]:
    return {
        Destination(name): Noted(
            noted["state"], noted["reason"], noted["value_cents"], datetime.fromisoformat(noted["noted_at"])
        )
        for name, noted in found.items()
    }


def _order(row: Row) -> DayOrder:
    return DayOrder(
        row["shopify_order_id"],
        row["placed_at"],
        row["currency"],
        row["net_cents"],
        row["total_cents"],
        row["test"],
        row["identified"],
        row["told"],
        row["attributes"],
        _ledger(row["ledger"]),
    )
