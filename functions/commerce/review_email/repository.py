"""The review e-mail queue in Postgres."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from commerce.review_email.model import (
    Batch,
    Candidate,
    Counts,
    FrozenEmail,
    Incentive,
    Item,
    Template,
)
from tradewind.ports import Email
from tradewind.sql import load_queries
from tradewind.tenancy.database import Jsonb, Transaction

QUERIES = load_queries(__file__)


@dataclass(frozen=True, slots=True)
class RowKey:
    """A row of the queue."""

    order_id: int
    sequence: int


@dataclass(frozen=True, slots=True)
class Work:
    """What waits now."""

    due: bool
    left_over: bool
    failed: bool
    paused_until: datetime | None


@dataclass(frozen=True, slots=True)
class Standing:
    """How a row stands."""

    state: str
    batch_id: UUID | None
    message_id: str | None
    email: str | None
    attempts: int


@dataclass(frozen=True, slots=True)
class Skip:
    """A row that is not sent."""

    row: RowKey
    reason: str


@dataclass(frozen=True, slots=True)
class Frozen:
    """A row with its e-mail, of which kind it is and what it offers."""

    row: RowKey
    email: Email
    template: Template
    incentive: Incentive | None
    attempts: int


@dataclass(frozen=True, slots=True)
class FrozenBatch:
    """Rows that one call carries, in their order."""

    id: UUID
    members: tuple[Frozen, ...]


@dataclass(frozen=True, slots=True)
class Sent:
    row: RowKey
    batch_id: UUID
    message_id: str


@dataclass(frozen=True, slots=True)
class Failed:
    """A row that did not go out, or of which nobody knows; then ``keep`` leaves it as it was frozen."""

    row: RowKey
    batch_id: UUID
    attempts: int
    error: str
    next_attempt_at: datetime | None
    keep: bool


@dataclass(frozen=True, slots=True)
class WantedCode:
    """A code as it is to be written; of its order's two the first stands."""

    order_id: int
    sequence: int
    incentive: Incentive


class ReviewQueue:
    """A tenant's review e-mails."""

    def __init__(self, transaction: Transaction) -> None:
        self._tx = transaction

    def look_for_work(self, run_id: UUID, now: datetime) -> Work:
        row = self._tx.fetch_one(QUERIES["look_for_work"], {"run_id": run_id, "now_at": now})
        return Work(**(row or {}))

    def claim_due(self, run_id: UUID, now: datetime, lease_until: datetime, most: int) -> list[RowKey]:
        """Take at most ``most`` rows that are due, past whatever another worker holds."""
        values = {"run_id": run_id, "now_at": now, "lease_at": lease_until, "most": most}
        return [_key(row) for row in self._tx.fetch_all(QUERIES["claim_due"], values)]

    def claim_one(
        self, row: RowKey, run_id: UUID, now: datetime, lease_until: datetime, *, force: bool
    ) -> UUID | bool:
        """Take one row: True, or the call that it is frozen for; False where its state forbids it."""
        values = {**asdict(row), "run_id": run_id, "now_at": now, "lease_at": lease_until, "force": force}
        found = self._tx.fetch_one(QUERIES["claim_one"], values)
        if found is None:
            return False
        return found["batch_id"] or True

    def find_email(self, row: RowKey) -> Standing | None:
        found = self._tx.fetch_one(QUERIES["find_email"], asdict(row))
        return None if found is None else Standing(**found)

    def peek_due(self, now: datetime, most: int) -> list[RowKey]:
        return [_key(row) for row in self._tx.fetch_all(QUERIES["peek_due"], {"now_at": now, "most": most})]

    def list_candidates(self, rows: Sequence[RowKey]) -> list[Candidate]:
        found = self._tx.fetch_all(QUERIES["list_candidates"], {"emails": _rows(map(_columns, rows))})
        return [_candidate(row) for row in found]

    def skip(self, skips: Sequence[Skip], now: datetime) -> None:
        """Close rows with a reason; ``reviewed`` closes every open row of its order."""
        told = _rows({**_columns(each.row), "skip_reason": each.reason} for each in skips)
        self._tx.execute(QUERIES["skip_emails"], {"skipped": told, "now_at": now})

    def freeze(self, batches: Sequence[FrozenBatch], now: datetime) -> None:
        rows = [row for batch in batches for row in _frozen(batch)]
        self._tx.execute(QUERIES["freeze_emails"], {"frozen": _rows(rows), "now_at": now})

    def claim_left_over(self, run_id: UUID, now: datetime, lease_until: datetime, most: int) -> set[UUID]:
        """Take calls that nobody is working on."""
        values = {"run_id": run_id, "now_at": now, "lease_at": lease_until, "most": most}
        return {row["batch_id"] for row in self._tx.fetch_all(QUERIES["claim_left_over"], values)}

    def claim_failed(
        self, run_id: UUID, now: datetime, lease_until: datetime, most: int
    ) -> tuple[set[UUID], int]:
        """The calls to repeat, and how many rows went back into the queue."""
        values = {"run_id": run_id, "now_at": now, "lease_at": lease_until, "most": most}
        rows = self._tx.fetch_all(QUERIES["claim_failed"], values)
        batches = [row["batch_id"] for row in rows if row["batch_id"] is not None]
        return set(batches), len(rows) - len(batches)

    def thaw(self, batch_ids: Iterable[UUID]) -> list[Batch]:
        rows = self._tx.fetch_all(QUERIES["thaw_batches"], {"batch_ids": sorted(batch_ids)})
        grouped: dict[UUID, list[Mapping[str, Any]]] = {}
        for row in rows:
            grouped.setdefault(row["batch_id"], []).append(row)
        return [
            Batch(batch_id, tuple(map(_thawed, members)), members[0]["batch_size"], members[0]["frozen_at"])
            for batch_id, members in grouped.items()
        ]

    def mark_sent(self, sent: Sequence[Sent], now: datetime) -> int:
        """Returns how many rows it found frozen for that very call."""
        rows = _rows(
            {**_columns(each.row), "batch_id": str(each.batch_id), "message_id": each.message_id}
            for each in sent
        )
        return self._tx.execute(QUERIES["mark_sent"], {"sent": rows, "now_at": now})

    def mark_failed(self, failed: Sequence[Failed], now: datetime) -> int:
        return self._tx.execute(
            QUERIES["mark_failed"], {"failed": _rows(map(_failed, failed)), "now_at": now}
        )

    def give_back(self, batch_ids: Iterable[UUID], now: datetime) -> int:
        """Calls that were certainly not taken: their rows are due as before."""
        return self._tx.execute(QUERIES["give_back"], {"batch_ids": sorted(batch_ids), "now_at": now})

    def save_codes(self, wanted: Sequence[WantedCode]) -> dict[int, Incentive]:
        """Write codes; by order the one that stands."""
        rows = self._tx.fetch_all(QUERIES["save_codes"], {"codes_wanted": _rows(map(_code, wanted))})
        return {row["shopify_order_id"]: _incentive(row) for row in rows}

    def pick_intended_codes(self, batch_ids: Iterable[UUID]) -> list[Incentive]:
        """What these calls offer and Shopify does not know yet."""
        rows = self._tx.fetch_all(QUERIES["pick_intended_codes"], {"batch_ids": sorted(batch_ids)})
        return [_incentive(row) for row in rows]

    def activate_code(self, code: str, discount_id: str | None) -> bool:
        values = {"code": code, "shopify_discount_id": discount_id}
        return self._tx.execute(QUERIES["activate_code"], values) > 0

    def schedule_follow_ups(self, order_ids: Sequence[int], wait: timedelta, most: int) -> int:
        """Insert the next e-mail of orders whose last was sent; returns how many are new."""
        values = {"order_ids": list(order_ids), "wait": wait, "most": most}
        return self._tx.execute(QUERIES["schedule_follow_ups"], values)

    def end_waiting(self, waiting_since: datetime, wait: timedelta, now: datetime) -> int:
        """Schedule what has waited for a parcel since ``waiting_since`` or longer."""
        values = {"waiting_since": waiting_since, "wait": wait, "now_at": now}
        return self._tx.execute(QUERIES["end_waiting"], values)

    def queue_email(
        self,
        row: RowKey,
        scheduled_at: datetime,
        *,
        email: str | None,
        template: Template | None,
        force: bool,
    ) -> bool:
        """Whether the row was written; False where the sender has taken it or there is no such order."""
        values = {
            **asdict(row),
            "scheduled_at": scheduled_at,
            "email": email,
            "template": template,
            "force": force,
        }
        return self._tx.fetch_one(QUERIES["queue_email"], values) is not None

    def record_event(
        self, row: RowKey, event_id: str, kind: str, occurred_at: datetime, message_id: str | None
    ) -> str | None:
        """Count an event; the row's state before, None where it was counted before or there is no such row."""
        values = {
            **asdict(row),
            "event_id": event_id,
            "news": kind,
            "occurred_at": occurred_at,
            "message_id": message_id,
        }
        found = self._tx.fetch_one(QUERIES["record_event"], values)
        return None if found is None else str(found["state"])

    def suppress_recipient(self, row: RowKey, reason: str) -> bool:
        return self._tx.execute(QUERIES["suppress_recipient"], {**asdict(row), "reason": reason}) > 0

    def pause_sending(self, until: datetime, reason: str, now: datetime) -> None:
        values = {"until_at": until, "reason": reason, "now_at": now}
        self._tx.execute(QUERIES["pause_sending"], values)

    def count_emails(self, opened_at: datetime, closes_at: datetime) -> Counts:
        """What was sent from ``opened_at`` on and before ``closes_at``."""
        row = self._tx.fetch_one(QUERIES["count_emails"], {"opened_at": opened_at, "closes_at": closes_at})
        return Counts(**(row or {}))


def _rows(values: Iterable[Mapping[str, Any]]) -> Jsonb:
    return Jsonb(list(values))


def _key(row: Mapping[str, Any]) -> RowKey:
    return RowKey(row["shopify_order_id"], row["sequence"])


def _columns(row: RowKey) -> dict[str, Any]:
    return {"shopify_order_id": row.order_id, "sequence": row.sequence}


def _frozen(batch: FrozenBatch) -> list[dict[str, Any]]:
    return [
        {
            **_columns(each.row),
            "batch_id": str(batch.id),
            "batch_place": place,
            "batch_size": len(batch.members),
            "message": asdict(each.email),
            "template": each.template,
            "incentive_offered": each.incentive is not None,
            "incentive_code": None if each.incentive is None else each.incentive.code,
        }
        for place, each in enumerate(batch.members)
    ]


def _failed(each: Failed) -> dict[str, Any]:
    return {
        **_columns(each.row),
        "batch_id": str(each.batch_id),
        "attempts": each.attempts,
        "error": each.error[:500].replace("\x00", ""),
        "next_attempt_at": None if each.next_attempt_at is None else each.next_attempt_at.isoformat(),
        "message": {} if each.keep else None,
    }


def _code(each: WantedCode) -> dict[str, Any]:
    return {
        "shopify_order_id": each.order_id,
        "sequence": each.sequence,
        "code": each.incentive.code,
        "percent": each.incentive.percent,
        "photo_percent": each.incentive.photo_percent,
        "expires_at": each.incentive.expires_at.isoformat(),
    }


def _incentive(row: Mapping[str, Any]) -> Incentive:
    return Incentive(row["code"], row["percent"], row["photo_percent"], row["expires_at"])


def _thawed(row: Mapping[str, Any]) -> FrozenEmail:
    return FrozenEmail(
        order_id=row["shopify_order_id"],
        sequence=row["sequence"],
        attempts=row["attempts"],
        email=Email(**row["message"]),
        state=row["state"],
        objected=row["objected"],
    )


def _candidate(row: Mapping[str, Any]) -> Candidate:
    return Candidate(
        order_id=row["shopify_order_id"],
        sequence=row["sequence"],
        email=row["email"],
        attempts=row["attempts"],
        template=None if row["template"] is None else Template(row["template"]),
        force_incentive=row["force_incentive"],
        order_number=row["order_number"],
        order_status=row["status"],
        total_cents=row["total_cents"],
        refunded_cents=row["refunded_cents"],
        first_name=row["first_name"],
        reviewed=row["reviewed"],
        suppression=row["suppression"],
        incentive=None if row["code"] is None else _incentive(row),
        code_state=row["code_state"],
        items=tuple(Item(line["title"], line["quantity"]) for line in row["lines"]),
    )
