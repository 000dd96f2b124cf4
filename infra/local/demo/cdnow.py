"""The purchases behind the demo: the last of the CDNOW sample, moved so that the last day is today."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from datetime import date
from pathlib import Path

_FILE = Path(__file__).with_name("cdnow.csv")


@dataclass(frozen=True, slots=True)
class Purchase:
    """A row of the data set. ``number`` is its place there, from 1; the amount is in cents."""

    number: int
    customer_id: int
    day: date
    quantity: int
    amount_cents: int


def last_purchases(count: int, today: date) -> tuple[Purchase, ...]:
    """The last ``count`` purchases, oldest first, their days shifted by the same number so that the last is
    today.
    """
    with _FILE.open(encoding="utf-8", newline="") as file:
        rows = [
            Purchase(
                number=number,
                customer_id=int(row["customer_id"]),
                day=date.fromisoformat(row["order_date"]),
                quantity=int(row["quantity"]),
                amount_cents=int(row["amount_cents"]),
            )
            for number, row in enumerate(csv.DictReader(file), start=1)
        ]
    if not 0 < count <= len(rows):
        raise ValueError(f"{count} purchases are asked for; the data set has {len(rows)}")
    chosen = sorted(rows, key=lambda purchase: (purchase.day, purchase.customer_id, purchase.number))[-count:]
    shift = today - chosen[-1].day
    return tuple(
        Purchase(old.number, old.customer_id, old.day + shift, old.quantity, old.amount_cents)
        for old in chosen
    )
