"""Full loads in Postgres: a part's lines are staged by COPY and written by one statement a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from commerce.bulk_load.model import Written
from tradewind.catalogue import BulkKind
from tradewind.sql import load_queries
from tradewind.tenancy.database import Transaction

QUERIES = load_queries(__file__)
Reader = Callable[[bytes, Sequence[str]], bytes]
"""JSON lines and the fields that they are asked for -> CSV. Raises UnreadableLinesError."""


@dataclass(frozen=True, slots=True)
class About:
    """Which part of which load. ``read_at`` is when the load began, ``factor`` how many cents a unit of the currency
    has, and ``all_new`` that none of its rows is here already.
    """

    run_id: UUID
    part: int
    read_at: datetime
    factor: int
    all_new: bool


class BulkOperations:
    """Who waits for which operation."""

    def __init__(self, transaction: Transaction) -> None:
        self._tx = transaction

    def save(self, operation_id: int, bulk_kind: BulkKind, task: str, cause: str) -> None:
        about = {"operation_id": operation_id, "bulk_kind": bulk_kind, "task": task, "cause": cause}
        self._tx.execute(QUERIES["save_operation"], about)

    def close(self, operation_id: int) -> None:
        self._tx.execute(QUERIES["close_operation"], {"operation_id": operation_id})


class Loads:
    """Parts of a full load."""

    def __init__(self, transaction: Transaction) -> None:
        self._tx = transaction

    def knows_products(self) -> bool:
        """Whether the shop has any row that a load of products writes."""
        return self._tx.fetch_one(QUERIES["knows_products"]) is not None

    def knows_customers(self) -> bool:
        """The same of customers."""
        return self._tx.fetch_one(QUERIES["knows_customers"]) is not None

    def load_products(self, lines: bytes, read: Reader, about: About) -> Written:
        """Write products, variants and images; how many were newer. Raises QueryError, also for a row that is here
        though all were new.
        """
        self._tx.execute(QUERIES["stage_products"])
        named, all_new = self._stage(lines, read, about), about.all_new
        products = self._tx.upsert(QUERIES["load_products"], named, all_new=all_new)
        variants = self._tx.upsert(QUERIES["load_variants"], named, all_new=all_new)
        images = self._tx.upsert(QUERIES["load_images"], named, all_new=all_new)
        return Written(products, variants + images)

    def load_customers(self, lines: bytes, read: Reader, about: About) -> Written:
        """Write customers, how many were newer, and addresses, how many have changed. Raises like load_products."""
        self._tx.execute(QUERIES["stage_customers"])
        named, all_new = self._stage(lines, read, about), about.all_new
        customers = self._tx.upsert(QUERIES["load_customers"], named, all_new=all_new)
        return Written(customers, self._tx.upsert(QUERIES["load_addresses"], named, all_new=all_new))

    def archive_products(self, run_id: UUID, read_at: datetime) -> list[int]:
        """Archive what a complete load has not met; the products."""
        about = {"run_id": run_id, "read_at": read_at}
        gone = [row["id"] for row in self._tx.fetch_all(QUERIES["archive_products"], about)]
        self._tx.execute(QUERIES["archive_variants"], about)
        self._tx.execute(QUERIES["delete_images"], about)
        return gone

    def archive_customers(self, run_id: UUID, read_at: datetime) -> list[int]:
        """Mark what a complete load has not met; the customers."""
        about = {"run_id": run_id, "read_at": read_at}
        gone = [row["id"] for row in self._tx.fetch_all(QUERIES["archive_customers"], about)]
        self._tx.execute(QUERIES["delete_addresses"], about)
        return gone

    def _stage(self, lines: bytes, read: Reader, about: About) -> Mapping[str, object]:
        """Fill the staged table; what the statements that write it are given."""
        fields = [row["field"] for row in self._tx.fetch_all(QUERIES["staged_fields"])]
        self._tx.copy_text(QUERIES["copy_lines"], [read(lines, fields)])
        if not about.all_new:
            self._tx.execute(QUERIES["note_seen"], {"run_id": about.run_id, "part": about.part})
        return {"read_at": about.read_at, "factor": about.factor}
