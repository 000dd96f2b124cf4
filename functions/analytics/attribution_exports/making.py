"""An export's file on its way: made in one statement, laid into the archive, brought where it belongs.

Each step is recorded when it is done. An attempt that follows takes the file from the archive instead of making
another, so that what is brought is the same, byte by byte, whatever has changed meanwhile.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from analytics.attribution_exports.model import (
    COLUMNS,
    SUFFIXES,
    Dataset,
    Export,
    Extract,
    Format,
    delivery_id,
    extract_of,
)
from analytics.attribution_exports.repository import Archived, Exports, Extracts, FileRun
from tradewind.clock import Clock
from tradewind.columnar import write_parquet
from tradewind.contracts.attribution import AttributionSettings
from tradewind.errors import ErrorKind, TerminalError, TradewindError, kind_of
from tradewind.exporting import Couriers, FileToBring, sha256_of
from tradewind.loglines import count_line
from tradewind.ports import PayloadStore
from tradewind.tasks.run import Run
from tradewind.tenancy.database import TenantDb
from tradewind.tenancy.tenant import Tenant


class ExportTooLargeError(TerminalError):
    """The file does not fit into this function's storage: look back less far, or choose models, windows and columns."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What a file is made and brought with."""

    run: Run
    tenant: Tenant
    db: TenantDb
    payloads: PayloadStore
    couriers: Couriers
    clock: Clock


def make_and_bring(tools: Tools, export: Export, opened: FileRun) -> Archived:
    """Make a file unless it is made, and bring it; what goes wrong is noted with it."""
    try:
        with TemporaryDirectory(prefix="export-") as folder:
            path = Path(folder) / "file"
            archived = _fetch(tools, opened.archived, path) or _make(tools, export, opened, path)
            with tools.run.step("bring"):
                tools.couriers.bring(export.destination, _to_bring(tools, export, opened, archived, path))
    except TradewindError as error:
        with tools.db.begin() as tx:
            reason = f"{type(error).__name__}: {error}"
            Exports(tx).note_failure(opened, reason, for_good=kind_of(error) is ErrorKind.TERMINAL)
        raise
    with tools.db.begin() as tx:
        Exports(tx).mark_delivered(opened, tools.clock.now())
    count_line("ExportRows", archived.rows)
    return archived


def _fetch(tools: Tools, archived: Archived | None, path: Path) -> Archived | None:
    """Take a file from the archive; None where there is none, or not the one that was laid there."""
    if archived is None:
        return None
    with tools.run.step("fetch"):
        tools.payloads.get_file(archived.key, path)
    return archived if sha256_of(path) == archived.sha256 else None


def _make(tools: Tools, export: Export, opened: FileRun, path: Path) -> Archived:
    window = AttributionSettings.of(tools.tenant.settings).default_window
    with tools.run.step("make"):
        rows = _write(tools.db, export, extract_of(export, opened.span, window), path)
    key = f"tenants/{tools.tenant.id}/exports/{export.name}/{opened.file_name}"
    made = Archived(key, rows, path.stat().st_size, sha256_of(path))
    with tools.run.step("keep"):
        tools.payloads.put_file(key, path, made.sha256)
    with tools.db.begin() as tx:
        Exports(tx).mark_made(opened, made)
    return made


def _write(db: TenantDb, export: Export, extract: Extract, path: Path) -> int:
    """The rows of one moment, as a file; how many they are."""
    as_parquet = export.format is Format.PARQUET
    target = path.with_suffix(".rows") if as_parquet else path
    try:
        with db.begin() as tx:
            extracts = Extracts(tx)
            extracts.give_time()
            match export.dataset:
                case Dataset.TOUCHES:
                    rows = extracts.extract_touches(extract, target)
                case Dataset.CONVERSIONS:
                    rows = extracts.extract_conversions(extract, target)
                case Dataset.CHANNELS:
                    rows = extracts.extract_channels(extract, target)
        if as_parquet:
            types = COLUMNS[export.dataset]
            write_parquet(target, path, {name: types[name] for name in extract.columns})
            target.unlink()
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise ExportTooLargeError(f"export {export.name}: {ExportTooLargeError.__doc__}") from error
        raise
    return rows


def _to_bring(tools: Tools, export: Export, opened: FileRun, archived: Archived, path: Path) -> FileToBring:
    return FileToBring(
        path,
        opened.file_name,
        SUFFIXES[export.format][1],
        archived.sha256,
        archived.size,
        delivery_id(tools.tenant.id, export.name, opened.due_at),
    )
