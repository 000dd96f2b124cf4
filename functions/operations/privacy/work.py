"""The three requests, each page by page: a large tenant's run is handed on, and begun again it goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from operations.privacy.model import Subject, is_mentioned, readable, redact_bytes, redact_content
from operations.privacy.repository import DocumentTable, Found, Privacy
from tradewind.clock import Clock
from tradewind.errors import NotFoundError
from tradewind.ports import PayloadStore
from tradewind.tasks.run import Continuation, Run
from tradewind.tenancy.database import TenantDb
from tradewind.tenancy.tenant import Tenant

WINDOW = 2000
PURGE_PAGE = 1000
ENOUGH = timedelta(seconds=45)
"""A page is begun only with this much time left."""
TASK = "gdpr-request-process"


@dataclass(frozen=True, slots=True)
class Done:
    """``state`` is done, or ignored with a ``reason``; ``counts`` are rows by table, documents and objects."""

    topic: str
    state: str
    counts: Mapping[str, int]
    claim: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Work:
    """What the steps of a request work with."""

    run: Run
    tenant: Tenant
    db: TenantDb
    payloads: PayloadStore
    clock: Clock
    topic: str
    request_id: UUID

    @property
    def folder(self) -> str:
        return f"tenants/{self.tenant.id}/"

    @property
    def is_short_of_time(self) -> bool:
        return self.run.time_left(self.clock.now()) < ENOUGH

    def is_own(self, table: str, key: Mapping[str, Any]) -> bool:
        """Whether a row is the request's own, which is needed until it is done and emptied then."""
        own = {"webhook_inbox": ("inbox_id", self.run.message.inbox_id), "task_run": ("run_id", self.run.id)}
        name, value = own.get(table, ("", None))
        return bool(name) and key.get(name) == str(value)

    def close(
        self, state: str, counts: Mapping[str, int], claim: str | None = None, reason: str | None = None
    ) -> Done:
        """End the request and empty its own messages, in the transaction that ends the run."""
        with self.db.begin() as tx:
            privacy = Privacy(tx)
            privacy.close_request(self.request_id, state, counts, claim)
            self.forget_messages(privacy)
        return Done(self.topic, state, counts, claim, reason)

    def forget_messages(self, privacy: Privacy) -> None:
        privacy.forget_request(self.run.id, TASK, self.run.cause, self.run.message.inbox_id)


def export_customer(work: Work, asked: Subject) -> Done:
    """Everything of the customer as one document in the payload store."""
    with work.db.begin() as tx:
        subject = Privacy(tx).complete(asked)
        tables = Privacy(tx).export(subject)
    documents = [
        {"table": table.name, **readable(row.content, table.binary)}
        for table, rows, _ in _windows(work, subject, {})
        for row in rows
        if not work.is_own(table.name, row.key) and redact_content(row.content, subject, table.binary)
    ]
    earlier = f"{work.folder}privacy/"
    objects = [
        json.loads(body) for key, body in _objects_about(work, subject, "") if not key.startswith(earlier)
    ]
    document = {"subject": subject.to_json(), "tables": tables, "documents": documents, "objects": objects}
    claim = f"{work.folder}privacy/{work.request_id}.json"
    work.payloads.put(claim, json.dumps(document, ensure_ascii=False, indent=1).encode())
    counts = {name: len(rows) for name, rows in tables.items()}
    return work.close("done", {**counts, "documents": len(documents), "objects": len(objects)}, claim)


def redact_customer(work: Work, asked: Subject) -> Done | Continuation:
    """First what may bring data back, then documents and objects, last the tables by which they are found."""
    progress = dict(work.run.checkpoint or {})
    if "subject" not in progress:
        with work.db.begin() as tx:
            subject = Privacy(tx).complete(asked)
            Privacy(tx).remember_redacted(subject)
        progress = {"subject": subject.to_json(), "documents": 0, "objects": 0}
    subject = Subject.read(progress["subject"])
    if not (_redact_documents(work, subject, progress) and _redact_objects(work, subject, progress)):
        return work.run.continue_with(progress)
    with work.db.begin() as tx:
        privacy = Privacy(tx)
        counts = privacy.redact(subject) | {name: int(progress[name]) for name in ("documents", "objects")}
        privacy.close_request(work.request_id, "done", counts, None)
        work.forget_messages(privacy)
    return Done(work.topic, "done", counts)


def delete_shop(work: Work) -> Done | Continuation:
    """Every row and object of the tenant; what stays is that it was here, under no name."""
    progress = dict(work.run.checkpoint or {"counts": {}})
    counts: dict[str, int] = dict(progress["counts"])
    with work.db.begin() as tx:
        tables = Privacy(tx).tenant_tables()
    for table in tables:
        deleted = PURGE_PAGE
        while deleted == PURGE_PAGE:
            if work.is_short_of_time:
                return work.run.continue_with({"counts": counts})
            with work.db.begin() as tx:
                deleted = Privacy(tx).purge_rows(table, work.run.id, work.run.message.inbox_id, PURGE_PAGE)
            counts[table] = counts.get(table, 0) + deleted
    while keys := work.payloads.list(work.folder):
        for key in keys:
            work.payloads.delete(key)
        counts["objects"] = counts.get("objects", 0) + len(keys)
        if work.is_short_of_time:
            return work.run.continue_with({"counts": counts})
    counts = {name: count for name, count in counts.items() if count}
    with work.db.begin() as tx:
        privacy = Privacy(tx)
        privacy.close_request(work.request_id, "done", counts, None)
        work.forget_messages(privacy)
        privacy.forget_tenant(work.run.message.inbox_id)
    return Done(work.topic, "done", counts)


def _redact_documents(work: Work, subject: Subject, progress: dict[str, Any]) -> bool:
    """Whether the tables are through; where time runs short ``progress`` says how far it came."""
    if progress.get("tables_done"):
        return True
    for table, rows, last in _windows(work, subject, progress):
        changed = [(row.key, redact_content(row.content, subject, table.binary)) for row in rows]
        with work.db.begin() as tx:
            for key, content in changed:
                if content and not work.is_own(table.name, key):
                    Privacy(tx).write(table.name, key, content)
                    progress["documents"] += 1
        progress |= {"table": table.name, "after": last}
        if work.is_short_of_time:
            return False
    progress["tables_done"] = True
    return True


def _windows(
    work: Work, subject: Subject, progress: Mapping[str, Any]
) -> Iterator[tuple[DocumentTable, list[Found], Mapping[str, Any]]]:
    """Every table's documents that may mention the subject, a window at a time, behind where ``progress`` stands."""
    if subject.is_nobody:
        return
    with work.db.begin() as tx:
        tables = Privacy(tx).document_tables()
    for table in tables:
        if table.name < progress.get("table", ""):
            continue
        after = progress.get("after") if table.name == progress.get("table") else None
        while True:
            with work.db.begin() as tx:
                rows, last = Privacy(tx).scan(table.name, after, WINDOW, subject.pattern())
            if last is None:
                break
            yield table, rows, last
            after = last


def _redact_objects(work: Work, subject: Subject, progress: dict[str, Any]) -> bool:
    for key, body in _objects_about(work, subject, str(progress.get("object", ""))):
        if key.startswith(f"{work.folder}privacy/"):
            work.payloads.delete(key)
        else:
            work.payloads.put(key, redact_bytes(body, subject) or b"{}")
        progress["objects"] += 1
        progress["object"] = key
        if work.is_short_of_time:
            return False
    return True


def _objects_about(work: Work, subject: Subject, after: str) -> Iterator[tuple[str, bytes]]:
    """The tenant's stored bodies that mention the subject."""
    if subject.is_nobody:
        return
    while keys := work.payloads.list(work.folder, after):
        for key in keys:
            try:
                body = work.payloads.get(key)
            except NotFoundError:  # its retention has passed since it was listed
                continue
            try:
                mentioned = is_mentioned(json.loads(body), subject)
            except ValueError:
                mentioned = False
            if mentioned:
                yield key, body
        after = keys[-1]
