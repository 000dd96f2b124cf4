"""Full loads in Postgres: a part's lines are staged by COPY and written by one statement a table."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from tradewind.catalogue import BulkKind
from tradewind.sql import load_queries
from tradewind.tenancy.database import Transaction

QUERIES = load_queries(__file__)


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
    """Parts of a full load. ``read_at`` is when it began; ``factor`` how many cents a unit of the currency has."""

    def __init__(self, transaction: Transaction) -> None:
        self._tx = transaction

    def load_products(self, lines: bytes, run_id: UUID, part: int, read_at: datetime, factor: int) -> int:
        """Write products; how many were newer."""
        about = self._stage(lines, run_id, part, read_at, factor)
        return self._tx.execute(QUERIES["load_products"], about)

    def load_variants(self, lines: bytes, run_id: UUID, part: int, read_at: datetime, factor: int) -> int:
        """Write variants and images; how many were newer."""
        about = self._stage(lines, run_id, part, read_at, factor)
        written = self._tx.execute(QUERIES["load_variants"], about)
        return written + self._tx.execute(QUERIES["load_images"], about)

    def load_customers(self, lines: bytes, run_id: UUID, part: int, read_at: datetime, factor: int) -> int:
        """Write customers; how many were newer."""
        about = self._stage(lines, run_id, part, read_at, factor)
        return self._tx.execute(QUERIES["load_customers"], about)

    def load_addresses(self, lines: bytes, run_id: UUID, part: int, read_at: datetime, factor: int) -> int:
        """Write addresses; how many have changed."""
        about = self._stage(lines, run_id, part, read_at, factor)
        return self._tx.execute(QUERIES["load_addresses"], about)

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
        self, lines: bytes, run_id: UUID, part: int, read_at: datetime, factor: int
    ) -> Mapping[str, object]:
        self._tx.execute(QUERIES["stage_lines"])
        self._tx.copy_text(QUERIES["copy_lines"], [lines])
        self._tx.execute(QUERIES["note_seen"], {"run_id": run_id, "part": part})
        return {"read_at": read_at, "factor": factor}
