"""A full load, step by step: start a bulk operation, wait for it, copy its result, load the parts, archive the rest.

Each step leaves a checkpoint. What was done and not noted is done again to the same end: a part has its name, and an
upsert of the same state writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from commerce.bulk_load.lines import mend
from commerce.bulk_load.model import RANGE_BYTES, Loaded, Written, cut, is_denied, is_usable, next_look
from commerce.bulk_load.repository import About, BulkOperations, Loads, Reader
from commerce.product_sync.repository import Seen
from tradewind.catalogue import BulkKind, BulkStatus, Catalogue
from tradewind.clock import Clock, parse_instant
from tradewind.columnar import JsonLines, UnreadableLinesError
from tradewind.contracts.catalogue import ProductDeleted
from tradewind.errors import CredentialsRejectedError, InvalidPayloadError, RetryableError, TerminalError
from tradewind.loglines import count_line
from tradewind.money import minor_digits
from tradewind.ports import PayloadStore
from tradewind.tasks.events import Told, publish
from tradewind.tasks.run import Continuation, Run
from tradewind.tenancy.database import QueryError, TenantDb, Transaction

ENOUGH = timedelta(seconds=20)
ABREAST, STEP = 3, 12
"""Parts that are loaded side by side, as many connections for as long, and between two checkpoints."""
Progress = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Tools:
    """What a full load works with."""

    run: Run
    db: TenantDb
    catalogue: Catalogue
    payloads: PayloadStore
    clock: Clock
    kind: BulkKind
    tenant_id: str

    def key(self, part: int) -> str:
        return f"tenants/{self.tenant_id}/bulk/{self.run.id}/{part:06d}.jsonl"


def load_everything(tools: Tools) -> Loaded | Continuation:
    """Go on from the last checkpoint to the end, or as far as the time allows: a step at least, so that a message
    never hands the run on as it was.
    """
    progress: Progress = dict(tools.run.checkpoint or {"phase": "start"})
    while True:
        ended = _PHASES[progress["phase"]](tools, progress)
        if ended is not None:
            return ended
        tools.run.save_checkpoint(progress)
        if tools.run.time_left(tools.clock.now()) < ENOUGH:
            return tools.run.continue_with(progress)


def _start(tools: Tools, progress: Progress) -> None:
    """Ask Shopify to read everything; what it reads counts as read from now on."""
    begun_at = tools.clock.now()
    operation = tools.catalogue.start_bulk(tools.kind)
    with tools.db.begin() as tx:
        BulkOperations(tx).save(operation.id, tools.kind, tools.run.message.task, tools.run.cause)
    progress |= {
        "phase": "wait",
        "operation_id": operation.id,
        "currency": operation.currency,
        "begun_at": begun_at.isoformat(),
        "looks": 0,
    }


def _wait(tools: Tools, progress: Progress) -> Continuation | None:
    """Look at the operation. Its webhook may wake the run before the time of its next look."""
    operation = tools.catalogue.find_bulk(progress["operation_id"])
    if operation is not None and operation.status.is_open:
        looks = progress["looks"]
        progress["looks"] = looks + 1
        return tools.run.continue_with(progress, wait=next_look(looks))
    if operation is None or not is_usable(operation):
        _give_up(
            tools, operation.status if operation else None, denied=bool(operation and is_denied(operation))
        )
        return None
    progress |= {
        "phase": "copy" if operation.url else "end",
        "all_new": _has_none(tools),
        "complete": operation.status is BulkStatus.COMPLETED,
        "offset": 0,
        "parts": 0,
        "loaded": 0,
        "parents": 0,
        "children": 0,
        "refused": 0,
    }
    return None


def _has_none(tools: Tools) -> bool:
    with tools.db.begin() as tx:
        return not _KNOWN[tools.kind](Loads(tx))


def _give_up(tools: Tools, status: BulkStatus | None, *, denied: bool) -> None:
    """An operation that brought nothing: begin anew at the next attempt, unless it cannot go better."""
    if denied:
        raise CredentialsRejectedError(f"Shopify may not show {tools.kind} to this app; grant it access")
    tools.run.save_checkpoint({"phase": "start"})
    if status is BulkStatus.CANCELED:
        raise TerminalError(f"somebody cancelled the bulk operation that reads {tools.kind}")
    raise RetryableError(f"the bulk operation that reads {tools.kind} is {status or 'unknown'}")


def _copy(tools: Tools, progress: Progress) -> None:
    """Copy a range of the result, cut after its last whole line."""
    operation = tools.catalogue.find_bulk(progress["operation_id"])
    if operation is None or operation.url is None:
        raise RetryableError("the bulk operation's result is gone")
    content = tools.catalogue.read_bulk_result(operation.url, progress["offset"], RANGE_BYTES)
    last = len(content) < RANGE_BYTES
    lines = cut(content, last=last)
    if content and not lines:
        raise InvalidPayloadError(
            "bulk operation", f"a line of its result is longer than {RANGE_BYTES} bytes"
        )
    if lines:
        tools.payloads.put(tools.key(progress["parts"]), lines)
        progress["parts"] += 1
    progress["offset"] += len(lines)
    if last:
        progress["phase"] = "load"


def _load(tools: Tools, progress: Progress) -> None:
    """Load the next parts side by side, each with a connection and a transaction of its own: a row costs Postgres far
    more than it costs the function, and Postgres works for as many as ask. No row waits for another: a child may come
    long before its parent.
    """
    first = progress["loaded"]
    if first == progress["parts"]:
        progress["phase"] = "end"
        return
    parts = range(first, min(first + STEP, progress["parts"]))
    begun, factor = parse_instant(progress["begun_at"]), 10 ** minor_digits(progress["currency"])
    with JsonLines() as lines, ThreadPoolExecutor(ABREAST) as pool:

        def load(part: int) -> tuple[Written, int]:
            about = About(tools.run.id, part, begun, factor, progress["all_new"])
            with tools.db.aside() as db:
                return _load_part(replace(tools, db=db), lines.as_csv, about)

        for written, refused in pool.map(load, parts):
            progress["parents"] += written.parents
            progress["children"] += written.children
            progress["refused"] += refused
    progress["loaded"] = parts.stop


def _load_part(tools: Tools, read: Reader, about: About) -> tuple[Written, int]:
    """Write a part; how many rows were newer, and how many lines were not usable.

    Where all should be new and something is here by now, it is written again as if nothing were known.
    """

    def write(lines: bytes, about: About) -> Written:
        with tools.db.begin() as tx:
            return _LOADERS[tools.kind](Loads(tx), lines, read, about)

    lines = tools.payloads.get(tools.key(about.part))
    upsert = replace(about, all_new=False)
    for attempt in (about, upsert) if about.all_new else (upsert,):
        with suppress(QueryError, UnreadableLinesError):
            return write(lines, attempt), 0
    usable, refused = mend(lines)
    return (write(usable, upsert) if usable else Written()), refused


def _end(tools: Tools, progress: Progress) -> Loaded:
    """Archive what Shopify has no more, which only a complete load can know, and clean up. Where nothing was here
    before, nothing is gone.
    """
    read_at = parse_instant(progress["begun_at"])
    complete = progress["complete"] and not progress["refused"]
    gone: Sequence[int] = ()
    with tools.db.begin() as tx:
        if complete and not progress["all_new"]:
            gone = _ARCHIVERS[tools.kind](tools, tx, read_at)
        Seen(tx).forget(tools.run.id)
        BulkOperations(tx).close(progress["operation_id"])
    for part in range(progress["parts"]):
        tools.payloads.delete(tools.key(part))
    if not complete:
        count_line("FullLoadIncomplete", kind=tools.kind)
    return Loaded(
        tools.kind, progress["parents"], progress["children"], progress["refused"], len(gone), complete
    )


def _archive_products(tools: Tools, tx: Transaction, read_at: datetime) -> Sequence[int]:
    gone = Loads(tx).archive_products(tools.run.id, read_at)
    told = [
        Told(
            "product.deleted",
            f"{each}@{read_at.isoformat()}",
            ProductDeleted(product_id=each, deleted_at=read_at),
        )
        for each in gone
    ]
    publish(tx, tools.run.correlation_id, told)
    return gone


def _archive_customers(tools: Tools, tx: Transaction, read_at: datetime) -> Sequence[int]:
    return Loads(tx).archive_customers(tools.run.id, read_at)


_PHASES: Mapping[str, Callable[[Tools, Progress], Loaded | Continuation | None]] = {
    "start": _start,
    "wait": _wait,
    "copy": _copy,
    "load": _load,
    "end": _end,
}
_KNOWN: Mapping[BulkKind, Callable[[Loads], bool]] = {
    BulkKind.PRODUCTS: Loads.knows_products,
    BulkKind.CUSTOMERS: Loads.knows_customers,
}
_LOADERS: Mapping[BulkKind, Callable[[Loads, bytes, Reader, About], Written]] = {
    BulkKind.PRODUCTS: Loads.load_products,
    BulkKind.CUSTOMERS: Loads.load_customers,
}
_ARCHIVERS: Mapping[BulkKind, Callable[[Tools, Transaction, datetime], Sequence[int]]] = {
    BulkKind.PRODUCTS: _archive_products,
    BulkKind.CUSTOMERS: _archive_customers,
}
