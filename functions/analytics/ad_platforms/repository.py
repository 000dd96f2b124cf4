"""Orders as ad platforms are told of them, and the ledger of what was told, in Postgres."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from analytics.ad_platforms.model import Line, Order, Refund, RefundedLine, SkipReason
from tradewind.advertising import ConversionEvent, Destination, Person, Prepared, Receipt
from tradewind.sql import load_queries
from tradewind.tenancy.database import Jsonb, Row, Transaction

QUERIES = load_queries(__file__)


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of the ledger: what is told of whom to which platform."""

    destination: Destination
    subject: str
    event: ConversionEvent

    def key(self) -> dict[str, Any]:
        return {
            "destination": self.destination,
            "event_name": self.event.name,
            "subject_key": self.subject,
        }


@dataclass(frozen=True, slots=True)
class Claim:
    """How a row stood before a claim (None: there was none) and, where it was taken, when it was first told."""

    before: str | None
    held_by_another: bool
    first_told_at: datetime | None


@dataclass(frozen=True, slots=True)
class Standing:
    """A purchase's row; ``first_told_at`` is None where it was never told."""

    state: str
    first_told_at: datetime | None
    noted_at: datetime


class Shop:
    """Orders and refunds."""

    def __init__(self, transaction: Transaction) -> None:
        self._tx = transaction

    def find_order(self, order_id: int) -> Order | None:
        row = self._tx.fetch_one(QUERIES["find_order"], {"order_id": order_id})
        return None if row is None else _order(row)

    def find_refund(self, refund_id: int) -> Refund | None:
        row = self._tx.fetch_one(QUERIES["find_refund"], {"refund_id": refund_id})
        if row is None:
            return None
        lines = tuple(RefundedLine(each["line_id"], each["quantity"], each["cents"]) for each in row["lines"])
        return Refund(
            row["shopify_refund_id"],
            row["shopify_order_id"],
            row["amount_cents"],
            row["net_cents"],
            row["refunded_at"],
            lines,
        )


class Ledger:
    """What the platforms were told."""

    def __init__(self, transaction: Transaction) -> None:
        self._tx = transaction

    def list_purchases(self, order_id: int) -> Mapping[Destination, str]:
        """How an order's purchase stands at each platform that knows of it."""
        rows = self._tx.fetch_all(QUERIES["list_standings"], {"order_id": order_id})
        return {Destination(row["destination"]): row["state"] for row in rows}

    def lock_order(self, order_id: int) -> None:
        """Until the transaction ends nobody else decides what is told of this order's refunds."""
        self._tx.execute(QUERIES["lock_order"], {"order_id": order_id})

    def pick_untold_refunds(self, destination: Destination, order_id: int) -> list[int]:
        """Refunds that a platform was not told, since it did not know of the purchase."""
        about = {"destination": destination, "order_id": order_id}
        rows = self._tx.fetch_all(QUERIES["pick_untold_refunds"], about)
        return [int(row["shopify_refund_id"]) for row in rows]

    def pick_told(self, order_id: int) -> Mapping[Destination, Standing]:
        """The same with its times."""
        rows = self._tx.fetch_all(QUERIES["pick_told"], {"order_id": order_id})
        return {
            Destination(row["destination"]): Standing(row["state"], row["first_told_at"], row["updated_at"])
            for row in rows
        }

    def pick_mappings(self) -> Mapping[str, int]:
        """The synced ad accounts of each platform."""
        return {row["platform"]: row["accounts"] for row in self._tx.fetch_all(QUERIES["pick_mappings"])}

    def claim(
        self,
        entry: Entry,
        prepared: Prepared,
        run_id: UUID,
        now: datetime,
        lease: datetime,
        *,
        repeatable: bool,
    ) -> Claim:
        """Take an event to tell it, if it may be told (again)."""
        event = entry.event
        row = self._tx.fetch_one(
            QUERIES["claim_event"],
            {
                **entry.key(),
                "order_id": event.order_id,
                "event_key": event.id,
                "value_cents": prepared.value_cents,
                "currency": event.currency,
                "payload_hash": prepared.sha256,
                "run_id": run_id,
                "lease_at": lease,
                "occurred_at": event.occurred_at,
                "now_at": now,
                "repeatable": repeatable,
            },
        )
        assert row is not None, "the query answers one row"  # noqa: S101 - a SELECT without FROM
        held = row["state"] == "claimed" and row["held"] is True and row["own"] is not True
        return Claim(row["state"], held, row["first_told_at"])

    def mark_acknowledged(self, entry: Entry, run_id: UUID, receipt: Receipt, now: datetime) -> None:
        told = {name: value for name, value in asdict(receipt).items() if value not in (None, ())}
        self._record(entry, run_id, "acknowledged", None, told, now)

    def mark_sent(self, entry: Entry, run_id: UUID, now: datetime) -> None:
        """It left; what became of it is not known."""
        self._record(entry, run_id, "sent", "outcome_unknown", {}, now)

    def mark_failed(self, entry: Entry, run_id: UUID, why: str, now: datetime) -> None:
        self._record(entry, run_id, "failed", why[:300], {}, now)

    def leave(self, entry: Entry, run_id: UUID, now: datetime) -> None:
        """Give up what may have been told and must not be told twice."""
        self._tx.execute(QUERIES["leave_event"], {**entry.key(), "run_id": run_id, "now_at": now})

    def skip(self, entry: Entry, reason: SkipReason, now: datetime) -> None:
        event = entry.event
        self._tx.execute(
            QUERIES["skip_event"],
            {
                **entry.key(),
                "order_id": event.order_id,
                "event_key": event.id,
                "currency": event.currency,
                "occurred_at": event.occurred_at,
                "reason": reason,
                "now_at": now,
            },
        )

    def _record(
        self,
        entry: Entry,
        run_id: UUID,
        state: str,
        reason: str | None,
        answer: Mapping[str, Any],
        now: datetime,
    ) -> None:
        about = {
            "run_id": run_id,
            "event_state": state,
            "reason": reason,
            "event_answer": Jsonb(dict(answer)),
        }
        self._tx.execute(QUERIES["record_event"], {**entry.key(), **about, "now_at": now})


def _order(row: Row) -> Order:
    person = Person(
        row["shopify_customer_id"],
        row["email"],
        row["phone"],
        row["first_name"],
        row["last_name"],
        row["city"],
        row["province_code"],
        row["zip"],
        row["country_code"],
    )
    codes = row["discount_codes"]
    return Order(
        row["shopify_order_id"],
        row["currency"],
        row["net_cents"],
        row["total_cents"],
        row["tax_cents"],
        row["shipping_cents"],
        row["test"],
        row["placed_at"],
        codes[0] if codes else None,
        person,
        row["attributes"],
        row["landing_page"],
        row["visited_at"],
        tuple(_line(each) for each in row["lines"]),
        row["converted"],
    )


def _line(document: Mapping[str, Any]) -> Line:
    """A variant is what catalogues at the platforms know; else the shop's own number, the product or the line."""
    known = (document[name] for name in ("variant_id", "sku", "product_id", "line_id"))
    item_id = next(str(each) for each in known if each)
    return Line(document["line_id"], item_id, document["title"], document["quantity"], document["cents"])
