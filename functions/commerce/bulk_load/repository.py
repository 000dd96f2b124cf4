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
INSERTS = {
    name: query.partition("ON CONFLICT")[0] for name, query in QUERIES.items() if name.startswith("load_")
}
"""The same statements where nothing can conflict: they fail where something does."""
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
        found = self._tx.fetch_one(QUERIES["knows_products"])
        return found is not None and found["found"]

    def knows_customers(self) -> bool:
        """The same of customers."""
        found = self._tx.fetch_one(QUERIES["knows_customers"])
        return found is not None and found["found"]

    def load_products(self, lines: bytes, read: Reader, about: About) -> Written:
        """Write products, variants and images; how many were newer. Raises QueryError, also for a row that is here
        though all were new.
        """
        self._tx.execute(QUERIES["stage_products"])
        queries, named = self._stage(lines, read, about)
        products = self._tx.execute(queries["load_products"], named)
        variants = self._tx.execute(queries["load_variants"], named)
        return Written(products, variants + self._tx.execute(queries["load_images"], named))

    def load_customers(self, lines: bytes, read: Reader, about: About) -> Written:
        """Write customers, how many were newer, and addresses, how many have changed. Raises like load_products."""
        self._tx.execute(QUERIES["stage_customers"])
        queries, named = self._stage(lines, read, about)
        customers = self._tx.execute(queries["load_customers"], named)
        return Written(customers, self._tx.execute(queries["load_addresses"], named))

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

    def _stage(
        self, lines: bytes, read: Reader, about: About
    ) -> tuple[Mapping[str, str], Mapping[str, object]]:
        """Fill the staged table; with which statements it is written, and what these are given."""
        fields = [row["field"] for row in self._tx.fetch_all(QUERIES["staged_fields"])]
        self._tx.copy_text(QUERIES["copy_lines"], [read(lines, fields)])
        if not about.all_new:
            self._tx.execute(QUERIES["note_seen"], {"run_id": about.run_id, "part": about.part})
        return INSERTS if about.all_new else QUERIES, {"read_at": about.read_at, "factor": about.factor}
