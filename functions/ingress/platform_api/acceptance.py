"""Keeping what was asked for and writing its messages: the webhooks' own way in, one statement, once per key.

A request that comes again gets the first one's runs; with another body it is refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any, Protocol
from uuid import UUID

from ingress.manifest import Manifest
from ingress.platform_api.answers import RefusedError
from ingress.platform_api.bodies import IDEMPOTENCY_HEADER, Body
from ingress.platform_api.callers import Caller
from tradewind.settings import Settings
from tradewind.tasks import dispatch
from tradewind.tasks.message import Lane, Source, message_key, run_id_of, shard_of
from tradewind.tenancy.database import Jsonb, Session

PROVIDER = "api"
MAX_ENTITY = 200
"""Characters of what orders messages: it is part of an index."""

_ACCEPT = "SELECT * FROM accept_webhook(%(inbox)s, %(body)s, %(messages)s, %(bound)s)"


class Payloads(Protocol):
    """Where bodies go that no queue takes."""

    def put(self, key: str, body: bytes) -> None: ...


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that was checked. ``kind`` is ``events`` or ``tasks``, ``target`` the event's type or the task's id."""

    kind: str
    target: str
    key: str
    body: Body
    tasks: Sequence[str]
    source: Source
    at: datetime

    @property
    def event_id(self) -> str:
        """What makes it the same request again."""
        return f"{self.target}:{self.key}"

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.body.raw).hexdigest()


@dataclass(frozen=True, slots=True)
class Begun:
    """The runs that a request has begun, by task; ``again`` where an earlier request under its key had."""

    runs: Mapping[str, UUID]
    again: bool


class Acceptance:
    """Keeps requests of any tenant."""

    def __init__(
        self, settings: Settings, dispatcher: dispatch.Dispatcher, payloads: Payloads, manifest: Manifest
    ) -> None:
        self._settings = settings
        self._dispatcher = dispatcher
        self._payloads = payloads
        self._manifest = manifest

    def accept(self, session: Session, caller: Caller, asked: Asked) -> Begun:
        """Keep, enqueue, send. Raises RefusedError (409) for a key that was used with another body."""
        messages = [self._message(caller.tenant_id, task, asked) for task in asked.tasks]
        claim = self._check_in(caller.tenant_id, asked)
        inbox = {
            "tenant_id": str(caller.tenant_id),
            "provider": PROVIDER,
            "app": asked.kind,
            "event_id": asked.event_id,
            "topic": asked.target,
            "shop": caller.name[:200],
            "state": "routed",
            "correlation_id": asked.key,
            "claim": claim,
            "body_sha256": asked.sha256,
        }
        [row] = session.call(
            _ACCEPT,
            {
                "inbox": Jsonb(inbox),
                "body": None if claim else asked.body.raw,
                "messages": Jsonb(messages),
                "bound": self._settings.admission_bound,
            },
        )
        if not row["same_body"]:
            raise RefusedError(
                HTTPStatus.CONFLICT,
                "was used for a request with another body",
                IDEMPOTENCY_HEADER,
                "send the first body again, or another key for another request",
            )
        body = dispatch.Body(None, claim) if claim else dispatch.Body(asked.body.text)
        self._dispatcher.flush(session, row["ready"], {str(row["accepted_inbox_id"]): body})
        runs = {item["task"]: run_id_of(item["key"]) for item in row["written"]}
        return Begun(runs, again=row["duplicate"])

    def _check_in(self, tenant_id: UUID, asked: Asked) -> str | None:
        """The body's hash is part of the name: a refused body must not take the place of the first one."""
        if len(asked.body.raw) <= self._settings.max_message_bytes:
            return None
        name = message_key(PROVIDER, asked.kind, asked.event_id, asked.sha256)
        key = f"tenants/{tenant_id}/requests/{name}.json"
        self._payloads.put(key, asked.body.raw)
        return key

    def _message(self, tenant_id: UUID, task: str, asked: Asked) -> dict[str, Any]:
        about = self._manifest.tasks[task]
        cause = f"{PROVIDER}:{asked.kind}:{asked.event_id}"
        entity = _entity(asked.body.content, about["entity"])
        backfill = about["backfill"] and asked.source is Source.MANUAL
        return {
            "key": message_key(tenant_id, PROVIDER, asked.kind, asked.event_id, task),
            "task": task,
            "lane": Lane.BACKFILL if backfill else Lane.LIVE,
            "shard": shard_of(entity or cause, int(about["cap"])),
            "cause": cause,
            "source": asked.source,
            "entity": entity,
            "correlation_id": asked.key,
            "accepted_at": asked.at.isoformat(),
        }


def _entity(content: Mapping[str, Any], field: str | None) -> str | None:
    if field is None or content.get(field) is None:
        return None
    entity = str(content[field])
    if len(entity) > MAX_ENTITY:
        raise RefusedError(
            HTTPStatus.BAD_REQUEST, f"is longer than {MAX_ENTITY} characters", field, "shorten it"
        )
    return entity
