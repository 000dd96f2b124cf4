"""From outbox rows to queues: send what may be sent, then say so. What cannot be sent now stays for the relay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from tradewind.aws.queues import Queues
from tradewind.crash import Point, reached
from tradewind.errors import TradewindError
from tradewind.loglines import log_line
from tradewind.tasks.message import to_entry
from tradewind.tenancy.database import Session

_MARK_SENT = "SELECT mark_sent(%(tenant)s, %(keys)s)"
_BODIES = "SELECT inbox_id, body, claim FROM webhook_inbox WHERE inbox_id = ANY (%(inbox_ids)s)"


@dataclass(frozen=True, slots=True)
class Body:
    """A webhook's body: its JSON text, or the key under which the payload store has it."""

    text: str | None
    claim: str | None = None


class Dispatcher:
    """Sends outbox rows of this stage."""

    def __init__(self, queues: Queues, stage: str) -> None:
        self._queues = queues
        self._stage = stage

    def flush(
        self,
        session: Session,
        rows: Sequence[Mapping[str, Any]],
        bodies: Mapping[str, Body] | None = None,
    ) -> int:
        """Send rows and mark them; returns how many went out.

        A fault is logged, not raised: the rows are committed as ``ready`` and the relay sends them within a minute.
        ``bodies`` are webhook bodies by inbox id where the caller has them; others are read from the inbox.
        """
        if not rows:
            return 0
        try:
            known = dict(bodies or {})
            known |= self._load_bodies(
                session, [row for row in rows if _refers(row) and str(row["inbox_id"]) not in known]
            )
            entries = [to_entry(self._stage, *_with_body(row, known)) for row in rows]
            sent = set(self._queues.send(entries))
            reached(Point.OUTBOX_SENT)
            for tenant_id, keys in _by_tenant(rows, sent).items():
                session.call(_MARK_SENT, {"tenant": tenant_id, "keys": keys})
            reached(Point.OUTBOX_MARKED)
        except TradewindError as error:
            log_line("warning", "follow-ups not sent, left to the relay", error=repr(error), rows=len(rows))
            return 0
        return len(sent)

    def _load_bodies(self, session: Session, rows: Sequence[Mapping[str, Any]]) -> dict[str, Body]:
        bodies: dict[str, Body] = {}
        wanted: dict[UUID, list[UUID]] = {}
        for row in rows:
            wanted.setdefault(UUID(str(row["tenant_id"])), []).append(UUID(str(row["inbox_id"])))
        for tenant_id, inbox_ids in wanted.items():
            with session.transaction(tenant_id) as transaction:
                found = transaction.fetch_all(_BODIES, {"inbox_ids": inbox_ids})
            session.settle()
            for row in found:
                text = None if row["body"] is None else bytes(row["body"]).decode()
                bodies[str(row["inbox_id"])] = Body(text, row["claim"])
        return bodies


def _refers(row: Mapping[str, Any]) -> bool:
    return row.get("payload") is None and row.get("inbox_id") is not None


def _with_body(row: Mapping[str, Any], bodies: Mapping[str, Body]) -> tuple[Mapping[str, Any], str | None]:
    if not _refers(row):
        return row, None
    body = bodies.get(str(row["inbox_id"]))
    if body is None:
        return row, None
    return {**row, "claim": body.claim}, body.text


def _by_tenant(rows: Sequence[Mapping[str, Any]], sent: set[str]) -> dict[UUID, list[str]]:
    keys: dict[UUID, list[str]] = {}
    for row in rows:
        if row["key"] in sent:
            keys.setdefault(UUID(str(row["tenant_id"])), []).append(row["key"])
    return keys
