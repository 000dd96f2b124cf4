"""Conversions and their credits in Postgres."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from tradewind.advertising import Destination
from tradewind.contracts.attribution import (
    CHANNEL_CODES,
    AttributionSettings,
    Conversion,
    Journey,
    Order,
    journeys_of,
)
from tradewind.sql import load_queries
from tradewind.tenancy.database import Jsonb, Transaction

QUERIES = load_queries(__file__)


class Conversions:
    """A tenant's conversions, and what they are computed from."""

    def __init__(self, transaction: Transaction) -> None:
        self._tx = transaction

    def lock(self, order_ids: Sequence[int]) -> list[Order]:
        """The orders that are stored, locked with their visitors and customers, by their ids."""
        rows = self._tx.fetch_all(QUERIES["lock_orders"], {"order_ids": list(order_ids)})
        orders = [_order(row) for row in rows]
        owners = sorted({owner for order in orders for owner in order.owners})
        if owners:
            self._tx.execute(QUERIES["lock_owners"], {"owners": owners})
        return orders

    def list_weights(self) -> dict[str, float]:
        """What the data-driven model has learnt of each channel; nothing where it had too little to learn from."""
        return {row["channel"]: row["weight"] for row in self._tx.fetch_all(QUERIES["list_weights"])}

    def list_journeys(self, order_ids: Sequence[int], settings: AttributionSettings) -> dict[int, Journey]:
        """What led to each order, by its id."""
        about = {"order_ids": list(order_ids), "look_back": settings.look_back, "types": settings.types}
        return journeys_of(self._tx.fetch_all(QUERIES["list_journeys"], about))

    def save(self, conversions: Sequence[Conversion]) -> None:
        """Write conversions with their credits; what stands already is not written again."""
        self._tx.execute(
            QUERIES["save_conversions"],
            {
                "conversions": _json(each.row() for each in conversions),
                "credits": _json(
                    window.row(each.order.order_id) for each in conversions for window in each.windows
                ),
            },
        )

    def delete(self, order_ids: Sequence[int]) -> None:
        self._tx.execute(QUERIES["delete_conversions"], {"order_ids": list(order_ids)})

    def pick_platforms(self) -> frozenset[Destination]:
        """The ad platforms of which the tenant has stored an account."""
        asked = {"destinations": [*Destination]}
        rows = self._tx.fetch_all(QUERIES["pick_platforms"], asked)
        return frozenset(Destination(row["provider"]) for row in rows)

    def cut_range(self, since: datetime, until: datetime, page: int, abreast: int) -> list[datetime]:
        """When a range's chunks begin: ``page`` conversions each at most, of equal size, a multiple of ``abreast``."""
        about = {"begin_at": since, "end_at": until, "page": page, "abreast": abreast}
        return [row["converted_at"] for row in self._tx.fetch_all(QUERIES["cut_range"], about)]

    def take_chunk(self, since: datetime, until: datetime, settings: AttributionSettings) -> bytes:
        """Lay a time's conversions aside for this transaction; these, as records of ``CONVERSION``."""
        self._tx.execute(QUERIES["begin_chunk"])
        about = {"since": since, "until": until, "look_back": settings.look_back}
        self._tx.execute(QUERIES["fill_chunk"], about)
        self._tx.execute(QUERIES["know_chunk"])
        self._tx.execute(QUERIES["hold_chunk"])
        return _packed(self._tx.fetch_one(QUERIES["pack_conversions"]))

    def pack_touches(self, since: datetime, until: datetime, settings: AttributionSettings) -> bytes:
        """What may lead to the chunk's conversions, which lie between these times, as records of ``TOUCH``."""
        about = {
            "types": settings.types,
            "channels": list(CHANNEL_CODES),
            "first_at": since - settings.look_back,
            "until": until,
        }
        return _packed(self._tx.fetch_one(QUERIES["pack_touches"], about))

    def pack_standing(self) -> bytes:
        """What stands of the chunk's credits, as records of ``STANDING``."""
        return _packed(self._tx.fetch_one(QUERIES["pack_standing"]))

    def lock_computed(
        self, order_ids: Sequence[int], computed_at_us: Sequence[int], since: datetime, until: datetime
    ) -> list[int]:
        """Those that nobody has computed since, of conversions between two times; ``_us``: microseconds since 2000."""
        about: dict[str, Any] = {"since": since, "until": until}
        about |= {"computed_ids": _numbers(order_ids), "computed_at_us": _numbers(computed_at_us)}
        locked = _packed(self._tx.fetch_one(QUERIES["lock_computed"], about))
        return [order_id for (order_id,) in struct.iter_unpack(">q", locked)]

    def write_credits(self, credits_copy: Iterable[bytes], *, all_new: bool = False) -> int:
        """Write credits as COPY has them; how many rows. Raises QueryError where one stands though all are new."""
        self._tx.execute(QUERIES["stage_credits"])
        self._tx.copy_text(QUERIES["copy_credits"], credits_copy)
        return self._tx.upsert(QUERIES["write_credits"], all_new=all_new)

    def drop_credits(self, order_ids: Sequence[int], windows: Sequence[int]) -> int:
        about = {"gone_ids": _numbers(order_ids), "gone_windows": _numbers(windows)}
        return self._tx.execute(QUERIES["drop_credits"], about)

    def count_touches(self, order_ids: Sequence[int], touches: Sequence[int]) -> int:
        about = {"counted_ids": _numbers(order_ids), "touch_counts": _numbers(touches)}
        return self._tx.execute(QUERIES["count_touches"], about)

    def wants_credits(self) -> bool:
        """Whether anybody wants to be told of changed credits."""
        return self._tx.fetch_one(QUERIES["wants_credits"]) is not None

    def tell_of_credits(self, order_ids: Sequence[int]) -> None:
        """Have those told of changed credits who want to be."""
        self._tx.execute(QUERIES["tell_of_credits"], {"computed_ids": list(order_ids)})

    def has_refund(self, refund_id: int) -> bool:
        return self._tx.fetch_one(QUERIES["has_refund"], {"refund_id": refund_id}) is not None


def _packed(row: Mapping[str, Any] | None) -> bytes:
    return b"" if row is None or row["packed"] is None else bytes(row["packed"])


def _numbers(values: Sequence[int]) -> str:
    """As Postgres writes an array: of many numbers a tenth of what the driver's own way costs."""
    return f"{{{str(list(values))[1:-1]}}}"


def _json(rows: Iterable[Mapping[str, Any]]) -> Jsonb:
    return Jsonb(list(rows))


def _order(row: Mapping[str, Any]) -> Order:
    return Order(
        order_id=row["shopify_order_id"],
        visitor_id=row["visitor_id"],
        customer_id=row["shopify_customer_id"],
        currency=row["currency"],
        total_cents=row["total_cents"],
        remaining_cents=row["remaining_cents"],
        placed_at=row["placed_at"],
        test=row["test"],
    )
