"""Exports, their files, and what they hold, in Postgres."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from analytics.attribution_exports.model import Dataset, Every, Export, Extract, Format, Rhythm, Span
from tradewind.exporting import Destination, DestinationKind
from tradewind.sql import load_queries
from tradewind.tenancy.database import Jsonb, Transaction

QUERIES = load_queries(__file__)


@dataclass(frozen=True, slots=True)
class Due:
    """An export and the time at which it is due."""

    export: Export
    due_at: datetime


@dataclass(frozen=True, slots=True)
class Archived:
    """A file as it lies in the archive."""

    key: str
    rows: int
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class FileRun:
    """A file of an export: what it covers, and where it lies once it is made."""

    name: str
    due_at: datetime
    span: Span
    file_name: str
    archived: Archived | None = None


class Exports:
    """A tenant's exports and their files."""

    def __init__(self, transaction: Transaction) -> None:
        self._tx = transaction

    def lock_all(self) -> list[str]:
        """All exports' names."""
        return [row["name"] for row in self._tx.fetch_all(QUERIES["lock_exports"])]

    def save(self, export: Export, next_run_at: datetime | None) -> None:
        destination = export.destination
        about = {
            "export_name": export.name,
            "dataset": export.dataset,
            "format": export.format,
            "place_kind": destination.kind,
            "address_told": Jsonb(dict(destination.address)),
            "columns": list(export.columns),
            "models": list(export.models),
            "windows": list(export.windows),
            "every": export.rhythm.every,
            "at_hour": export.rhythm.at_hour,
            "look_back_days": export.look_back_days,
            "active_is_on": export.active,
            "next_run_at": next_run_at if export.active else None,
        }
        self._tx.execute(QUERIES["save_export"], about)

    def mark_due(self) -> None:
        """Say when the schedule has work next."""
        self._tx.execute(QUERIES["mark_exports_due"])

    def pick_due(self, now: datetime, page: int) -> list[Due]:
        """Those that have waited longest first."""
        rows = self._tx.fetch_all(QUERIES["pick_due"], {"now": now, "page": page})
        return [Due(_export(row), row["next_run_at"]) for row in rows]

    def put_off(self, name: str, next_run_at: datetime) -> None:
        self._tx.execute(QUERIES["put_off"], {"export_name": name, "next_run_at": next_run_at})

    def find(self, name: str) -> Export | None:
        row = self._tx.fetch_one(QUERIES["find_export"], {"export_name": name})
        return None if row is None else _export(row)

    def open_run(self, run: FileRun) -> FileRun:
        """Begin a file or go on with it: what it covers was decided when it was begun."""
        about = _key(run) | {"since_at": run.span.since_at, "until_at": run.span.until_at}
        row = self._tx.fetch_one(QUERIES["open_run"], about | {"file_name": run.file_name})
        assert row is not None, "the statement returns its row"  # noqa: S101 - an upsert
        archived = None
        if row["object_key"] is not None:
            archived = Archived(row["object_key"], row["row_count"], row["byte_count"], row["sha256"])
        span = Span(row["since_at"], row["until_at"])
        return FileRun(run.name, run.due_at, span, row["file_name"], archived)

    def mark_made(self, run: FileRun, made: Archived) -> None:
        about = {"object_key": made.key, "row_count": made.rows, "byte_count": made.size}
        self._tx.execute(QUERIES["mark_made"], {**_key(run), **about, "file_sha256": made.sha256})

    def mark_delivered(self, run: FileRun, now: datetime) -> None:
        self._tx.execute(QUERIES["mark_delivered"], {**_key(run), "now": now})

    def note_failure(self, run: FileRun, reason: str, *, for_good: bool) -> None:
        self._tx.execute(
            QUERIES["note_failure"], {**_key(run), "reason": reason[:300], "for_good_is_on": for_good}
        )


class Extracts:
    """What files hold, as the database writes it: one statement a file, so that it shows one moment."""

    def __init__(self, transaction: Transaction) -> None:
        self._tx = transaction

    def give_time(self) -> None:
        """Let the next statement take ten minutes."""
        self._tx.execute(QUERIES["give_time"])

    def extract_touches(self, extract: Extract, into: Path) -> int:
        """Write a file; how many rows it has."""
        return self._tx.copy_out(QUERIES["extract_touches"], *_copy(extract, into), as_json=extract.as_json)

    def extract_conversions(self, extract: Extract, into: Path) -> int:
        return self._tx.copy_out(
            QUERIES["extract_conversions"], *_copy(extract, into), as_json=extract.as_json
        )

    def extract_channels(self, extract: Extract, into: Path) -> int:
        return self._tx.copy_out(QUERIES["extract_channels"], *_copy(extract, into), as_json=extract.as_json)


def _copy(extract: Extract, into: Path) -> tuple[Mapping[str, Any], tuple[str, ...], Path]:
    about = {
        "since_at": extract.span.since_at,
        "until_at": extract.span.until_at,
        "models": list(extract.models),
        "windows": list(extract.windows),
        "window_days": extract.default_window,
        "guarded_is_on": extract.guarded,
    }
    return about, extract.columns, into


def _key(run: FileRun) -> dict[str, Any]:
    return {"export_name": run.name, "due_at": run.due_at}


def _export(row: Mapping[str, Any]) -> Export:
    return Export(
        row["name"],
        Dataset(row["dataset"]),
        Format(row["format"]),
        Destination(DestinationKind(row["destination"]), row["name"], row["address"]),
        tuple(row["columns"]),
        tuple(row["models"]),
        tuple(row["windows"]),
        Rhythm(Every(row["every"]), row["at_hour"]),
        row["look_back_days"],
        row["active"],
    )
