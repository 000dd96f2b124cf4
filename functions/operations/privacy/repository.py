"""Privacy requests, a customer's traces and a tenant's rows in Postgres."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from operations.privacy.model import Subject, Topic
from tradewind.sql import load_queries
from tradewind.tenancy.database import Jsonb, Transaction

QUERIES = load_queries(__file__)


@dataclass(frozen=True, slots=True)
class KeptWebhook:
    """How a webhook was kept."""

    topic: str
    app: str
    sent_at: datetime


@dataclass(frozen=True, slots=True)
class Installation:
    app: str
    shop: str
    status: str
    installed_at: datetime


@dataclass(frozen=True, slots=True)
class DocumentTable:
    """A table with documents; ``binary`` are the columns that come in hexadecimal."""

    name: str
    binary: frozenset[str]


@dataclass(frozen=True, slots=True)
class Found:
    """A row whose documents may mention somebody."""

    key: Mapping[str, Any]
    content: Mapping[str, Any]


class Privacy:
    """A tenant's privacy through one transaction."""

    def __init__(self, transaction: Transaction) -> None:
        self._tx = transaction

    def find_webhook(self, inbox_id: UUID | None) -> KeptWebhook | None:
        row = self._tx.fetch_one(QUERIES["find_webhook"], {"inbox_id": inbox_id})
        if row is None:
            return None
        return KeptWebhook(row["topic"], row["app"], row["triggered_at"] or row["received_at"])

    def open_request(
        self,
        request_id: UUID,
        cause: str,
        topic: Topic,
        number: int | None,
        subject: Subject,
        requested_at: datetime,
        due_at: datetime,
    ) -> UUID:
        row = self._tx.fetch_one(
            QUERIES["open_request"],
            {
                "request_id": request_id,
                "cause": cause,
                "kind": topic,
                "number": number,
                "customer": next(iter(subject.customers), None),
                "order_ids": sorted(subject.orders),
                "requested_at": requested_at,
                "due_at": due_at,
            },
        )
        assert row is not None  # noqa: S101 - an upsert returns its row
        return UUID(str(row["request_id"]))

    def close_request(
        self, request_id: UUID, state: str, counts: Mapping[str, int], claim: str | None
    ) -> None:
        about = {"request_id": request_id, "state": state, "counts": Jsonb(dict(counts)), "claim": claim}
        self._tx.execute(QUERIES["close_request"], about)

    def complete(self, asked: Subject) -> Subject:
        """The subject with everything else that is known of it."""
        about = {
            "customer": next(iter(asked.customers), None),
            "order_ids": sorted(asked.orders),
            "address": next(iter(asked.emails), None),
        }
        found = Subject.read(self._tx.fetch_one(QUERIES["find_subject"], about) or Subject().to_json())
        return Subject(
            customers=asked.customers | found.customers,
            orders=asked.orders | found.orders,
            emails=asked.emails | found.emails,
            phones=asked.phones | found.phones,
            visitors=asked.visitors | found.visitors,
        )

    def remember_redacted(self, subject: Subject) -> None:
        self._tx.execute(QUERIES["remember_redacted"], {"subject": Jsonb(subject.to_json())})

    def export(self, subject: Subject) -> dict[str, Any]:
        row = self._tx.fetch_one(QUERIES["export_subject"], {"subject": Jsonb(subject.to_json())})
        return {} if row is None else dict(row["tables"])

    def redact(self, subject: Subject) -> dict[str, int]:
        row = self._tx.fetch_one(QUERIES["redact_subject"], {"subject": Jsonb(subject.to_json())})
        return {} if row is None else dict(row["counts"])

    def document_tables(self) -> list[DocumentTable]:
        rows = self._tx.fetch_all(QUERIES["document_tables"])
        return [DocumentTable(row["table_name"], frozenset(row["binary_columns"])) for row in rows]

    def scan(
        self, table: str, after: Mapping[str, Any] | None, window: int, pattern: str
    ) -> tuple[list[Found], Mapping[str, Any] | None]:
        """The matching rows of a window, and its last key; None at the table's end."""
        about = {
            "table": table,
            "after": None if after is None else Jsonb(dict(after)),
            "window": window,
            "pattern": pattern,
        }
        rows = self._tx.fetch_all(QUERIES["scan_documents"], about)
        found = [Found(row["key"], row["content"]) for row in rows if row["content"] is not None]
        return found, next((row["key"] for row in rows if row["content"] is None), None)

    def write(self, table: str, key: Mapping[str, Any], content: Mapping[str, Any]) -> None:
        about = {"table": table, "key": Jsonb(dict(key)), "content": Jsonb(dict(content))}
        self._tx.execute(QUERIES["write_documents"], about)

    def forget_request(self, run_id: UUID, task: str, cause: str, inbox_id: UUID | None) -> None:
        about = {"run_id": run_id, "task": task, "cause": cause, "inbox_id": inbox_id}
        self._tx.execute(QUERIES["forget_request"], about)

    def installations(self) -> list[Installation]:
        rows = self._tx.fetch_all(QUERIES["find_installations"])
        return [
            Installation(row["app"], row["shop_domain"], row["status"], row["installed_at"]) for row in rows
        ]

    def tenant_tables(self) -> Sequence[str]:
        return [row["table_name"] for row in self._tx.fetch_all(QUERIES["tenant_tables"])]

    def purge_rows(self, table: str, run_id: UUID, inbox_id: UUID | None, most: int) -> int:
        about = {"table": table, "run_id": run_id, "inbox_id": inbox_id, "most": most}
        row = self._tx.fetch_one(QUERIES["purge_rows"], about)
        return 0 if row is None else int(row["deleted"])

    def forget_tenant(self, inbox_id: UUID | None) -> None:
        self._tx.execute(QUERIES["forget_own_webhook"], {"inbox_id": inbox_id})
        self._tx.execute(QUERIES["forget_own_messages"])
        self._tx.execute(QUERIES["forget_tenant"])

    def uninstall(self, app: str, shop: str, at: datetime) -> bool:
        """Mark the shop uninstalled and end what its token was for; False where it was installed again since."""
        about = {"app": app, "shop": shop, "uninstalled_at": at}
        if self._tx.fetch_one(QUERIES["uninstall_shop"], about) is None:
            return False
        self._tx.execute(QUERIES["mark_registrations_deleted"], {"shop": shop})
        self._tx.execute(QUERIES["delete_tokens"], {"app": app})
        return True

    def leave(self) -> bool:
        """End everything of a tenant without a shop; False where it has another one."""
        if self._tx.fetch_one(QUERIES["leave"]) is None:
            return False
        for query in ("delete_other_credentials", "stop_schedules", "revoke_api_keys"):
            self._tx.execute(QUERIES[query])
        return True

    def cancel_messages(self) -> int:
        return self._tx.execute(QUERIES["cancel_messages"])
