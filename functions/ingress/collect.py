"""``POST /collect``: what storefronts' visitors do before they buy, open to their pages.

no key, or one that may not collect touches      401
a tenant that uninstalled                        403
a field that cannot be                           400, with its path; nothing of the batch is kept
too much at once                                 413; 429 with Retry-After
Postgres does not answer                         503: send the same again
anything else                                    202 once every touch is in Postgres

A touch has its channel when it is answered for. Told again, under its ``touch_id`` or with all that was told the same,
it is stored once. A browser's question before (OPTIONS) is the gateway's to answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from http import HTTPStatus
from typing import Any, Protocol
from uuid import UUID

from ingress.collecting_api.requests import read_touches
from ingress.experiments_api.directory import Directory
from ingress.pages import Words, answer_page, read_body, token_of
from ingress.platform_api.answers import RefusedError, answer
from tradewind.aws.client import AwsClient
from tradewind.contracts.touches import Touchpoint
from tradewind.errors import RateLimitedError
from tradewind.loglines import log_line
from tradewind.settings import current_settings
from tradewind.tenancy.database import Connections, Jsonb, Session
from tradewind.tenancy.secrets import database_url

PATIENCE = timedelta(seconds=3)
"""How long Postgres has; a page does not wait longer."""
SCOPE = "touchpoints:collect"
ROUTE = "POST /collect"
_WORDS = Words("touches refused", "touches not kept, caller must ask again", "TouchesNotKept")
_SAVE = "SELECT count(*)::integer AS stored FROM save_touchpoints(%(touches)s)"


class Edge(Protocol):
    """A tenant's limit; where it cannot be asked, touches pass."""

    def admit(self, tenant_id: UUID, events: int) -> timedelta:
        """Zero where as many touches may pass now, else the wait."""


def handle(event: Mapping[str, Any], context: object) -> dict[str, Any]:
    """Lambda's entry."""
    return _door().answer(event)


@cache
def _door() -> Door:
    from ingress.experiments_api.edge import ValkeyEdge  # noqa: PLC0415 - Valkey's client takes longest to import

    settings = current_settings()
    aws = AwsClient(settings.region, settings.endpoint_url)
    connections = Connections(database_url(settings, aws), patience=PATIENCE)
    return Door(connections, ValkeyEdge(settings, "touches"))


class Door:
    """Answers HTTP API events of ``POST /collect``."""

    def __init__(self, connections: Connections, edge: Edge) -> None:
        self._connections = connections
        self._edge = edge
        self._directory = Directory(SCOPE)

    def answer(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """Answer one request; a batch that is refused leaves nothing."""
        return answer_page(self._connections, _WORDS, lambda session: self._take(event, session))

    def _take(self, event: Mapping[str, Any], session: Session) -> dict[str, Any]:
        if event.get("routeKey") != ROUTE:
            raise RefusedError(HTTPStatus.NOT_FOUND, "no such route")
        content = read_body(event)
        tenant_id = self._directory.tenant_of(token_of(event, content), session)
        touches = read_touches(content, datetime.now(UTC))
        wait = self._edge.admit(tenant_id, len(touches))
        if wait:
            raise RateLimitedError("touches of a tenant", wait)
        stored = self._store(tenant_id, touches, session)
        told = {"accepted": stored, "duplicates": len(touches) - stored}
        log_line("info", "touches kept", tenant_id=tenant_id, **told)
        return answer(HTTPStatus.ACCEPTED, told)

    def _store(self, tenant_id: UUID, touches: Sequence[Touchpoint], session: Session) -> int:
        """Commit the touches; how many were new."""
        with session.transaction(tenant_id) as transaction:
            row = transaction.fetch_one(_SAVE, {"touches": Jsonb([touch.row() for touch in touches])})
        session.settle()
        assert row is not None  # noqa: S101 - a count is always one row
        stored: int = row["stored"]
        return stored
