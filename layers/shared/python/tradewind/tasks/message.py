"""The envelope that travels through the queues, and the keys that make it one effect."""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from tradewind.aws.queues import Entry
from tradewind.clock import parse_instant
from tradewind.errors import InvalidPayloadError

VERSION = 1
_KEY = re.compile(r"[0-9a-f]{32}")
ACCEPTED_VERSIONS = frozenset({1})
"""A worker accepts the present version and the previous one, so that a deployment may overlap."""


REPLAY_MARK = "~replay-"
"""A replay's cause is the original's, this mark and a number: a run of its own, with the same effect keys."""


class Source(StrEnum):
    """Who asked for the run."""

    WEBHOOK = "webhook"
    EVENT = "event"
    SCHEDULE = "schedule"
    TASK = "task"
    WORKFLOW = "workflow"
    MANUAL = "manual"
    RECONCILIATION = "reconciliation"
    BACKFILL = "backfill"


class Lane(StrEnum):
    """Which of a task's queues: a backfill never stands before live traffic."""

    LIVE = "live"
    BACKFILL = "backfill"


@dataclass(frozen=True, slots=True)
class Message:
    """One request to run a task. ``cause`` makes the run unique per tenant and task; ``entity`` orders messages."""

    tenant_id: UUID
    task: str
    cause: str
    key: str
    source: Source
    correlation_id: str
    accepted_at: datetime
    payload: Mapping[str, Any] | None = None
    claim: str | None = None
    entity: str | None = None
    lane: Lane = Lane.LIVE
    inbox_id: UUID | None = None
    parent_run: UUID | None = None
    parent_step: str | None = None
    replay_of: UUID | None = None
    hops: int = 0

    def to_json(self) -> str:
        return json.dumps(
            {
                "version": VERSION,
                "payload": self.payload,
                "tenant_id": str(self.tenant_id),
                "task": self.task,
                "cause": self.cause,
                "key": self.key,
                "source": self.source,
                "correlation_id": self.correlation_id,
                "accepted_at": self.accepted_at.isoformat(),
                "claim": self.claim,
                "entity": self.entity,
                "lane": self.lane,
                "inbox_id": _text(self.inbox_id),
                "parent_run": _text(self.parent_run),
                "parent_step": self.parent_step,
                "replay_of": _text(self.replay_of),
                "hops": self.hops,
            },
            separators=(",", ":"),
        )

    def to_stored(self) -> dict[str, Any]:
        """The message as a JSON column can hold it. Postgres has neither a null byte in text nor half a surrogate
        pair, though JSON has both: U+FFFD stands for them.
        """
        text = self.to_json()
        stored: dict[str, Any] = json.loads(text)
        return _storable(stored) if "\\u0000" in text or "\\ud" in text else stored


def _storable(value: Any) -> Any:
    match value:
        case str():
            text = value.replace("\x00", "\ufffd")
            return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        case list():
            return [_storable(item) for item in value]
        case dict():
            return {_storable(name): _storable(item) for name, item in value.items()}
        case _:
            return value


def _text(value: UUID | None) -> str | None:
    return None if value is None else str(value)


def _uuid(value: str | None) -> UUID | None:
    return None if value is None else UUID(value)


def read_message(text: str) -> Message:
    """Parse a queue message's body. Raises InvalidPayloadError that names the field."""
    try:
        raw = json.loads(text)
    except ValueError as error:
        raise InvalidPayloadError("body", f"is not JSON ({error})") from error
    if not isinstance(raw, dict) or raw.get("version") not in ACCEPTED_VERSIONS:
        version = raw.get("version") if isinstance(raw, dict) else None
        raise InvalidPayloadError("version", f"is {version!r}", f"accepted: {sorted(ACCEPTED_VERSIONS)}")
    try:
        message = message_from(raw)
    except KeyError as error:
        raise InvalidPayloadError(str(error.args[0]), "is missing") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise InvalidPayloadError("body", f"has an unusable field ({error})") from error
    check_keys(message)
    return message


def check_keys(message: Message) -> None:
    """Raise InvalidPayloadError where a key column could not hold its value, no run's id follows from the key, or the
    stored payload lies with another tenant.
    """
    for name in ("task", "cause", "key", "correlation_id", "entity"):
        value = getattr(message, name)
        if name == "entity" and value is None:
            continue
        if not isinstance(value, str) or "\x00" in value:
            raise InvalidPayloadError(name, f"is {value!r:.40}", "text without a null byte is expected")
    if message.claim is not None and not message.claim.startswith(f"tenants/{message.tenant_id}/"):
        raise InvalidPayloadError("claim", "lies with another tenant", "its own payloads are expected")
    if not _KEY.match(message.key):
        raise InvalidPayloadError(
            "key", f"is {message.key!r:.40}", "at least 32 hexadecimal digits are expected"
        )


def message_from(raw: Mapping[str, Any]) -> Message:
    """Build a message from its fields, as JSON or an outbox row has them. Raises KeyError or ValueError."""
    accepted = raw["accepted_at"]
    return Message(
        tenant_id=UUID(str(raw["tenant_id"])),
        task=raw["task"],
        cause=raw["cause"],
        key=raw["key"],
        source=Source(raw["source"]),
        correlation_id=raw["correlation_id"],
        accepted_at=accepted.astimezone(UTC) if isinstance(accepted, datetime) else parse_instant(accepted),
        payload=raw.get("payload"),
        claim=raw.get("claim"),
        entity=raw.get("entity"),
        lane=Lane(raw.get("lane") or "live"),
        inbox_id=_uuid(_plain(raw.get("inbox_id"))),
        parent_run=_uuid(_plain(raw.get("parent_run"))),
        parent_step=raw.get("parent_step"),
        replay_of=_uuid(_plain(raw.get("replay_of"))),
        hops=int(raw.get("hops") or 0),
    )


def _plain(value: Any) -> str | None:
    return None if value is None else str(value)


def message_key(*parts: object) -> str:
    """A message's key: a hash of what makes it the same message, so that writing it twice writes it once."""
    return hashlib.sha256("\x1f".join(map(str, parts)).encode()).hexdigest()[:40]


def run_id_of(key: str) -> UUID:
    """The id of the run that a message with this key begins."""
    return UUID(key[:32])


def shard_of(ordered_by: str, cap: int) -> int:
    """Which of a tenant's ``cap`` message groups an entity belongs to; the same in every process."""
    return zlib.crc32(ordered_by.encode()) % cap


def queue_name(stage: str, task: str, lane: Lane = Lane.LIVE) -> str:
    return f"tradewind-{stage}-{task}" + ("-backfill" if lane is Lane.BACKFILL else "") + ".fifo"


def to_entry(stage: str, row: Mapping[str, Any], body: str | None = None) -> Entry:
    """An outbox row as a queue entry. ``body`` is the webhook's JSON text where the row only refers to its inbox.

    The body's text goes in as it came: it is not parsed and written again. The deduplication id carries the delivery
    number, since SQS would swallow a repeat within five minutes.
    """
    message = message_from(row)
    text = message.to_json()
    if body is not None:
        text = text.replace('"payload":null', f'"payload":{body}', 1)
    return Entry(
        key=message.key,
        queue=queue_name(stage, message.task, message.lane),
        body=text,
        group=f"{message.tenant_id}#{row['shard']}",
        deduplication=f"{message.key}-{row['delivery']}",
    )
