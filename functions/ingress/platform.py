"""What the platform's own functions share: settings, connections as the platform role, and the release of messages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

from tradewind.aws.client import AwsClient
from tradewind.aws.queues import Queues
from tradewind.crash import Point, reached
from tradewind.settings import Settings, current_settings
from tradewind.tasks.dispatch import Dispatcher
from tradewind.tenancy.database import Connections, Session
from tradewind.tenancy.secrets import database_url

_WAITING = """
SELECT tenant_id, task, lane FROM (
    SELECT o.tenant_id, o.task, o.lane, min(o.created_at) AS oldest
    FROM outbox o
    WHERE o.state = 'held' AND (o.due_at IS NULL OR o.due_at <= clock_timestamp())
    GROUP BY 1, 2, 3
) w WHERE NOT is_paused(tenant_id, task) ORDER BY oldest LIMIT 500
"""
_ADMIT = """
SELECT set_config('app.tenant_id', %(tenant)s::text, true), a.*
FROM admit(%(tenant)s, %(task)s, %(lane)s, %(bound)s, 10) a
"""


class Platform:
    """The platform role's hands."""

    def __init__(self, settings: Settings, connections: Connections, dispatcher: Dispatcher) -> None:
        self.settings = settings
        self.connections = connections
        self.dispatcher = dispatcher

    @contextmanager
    def session(self) -> Iterator[Session]:
        session = Session(self.connections)
        try:
            yield session
            session.settle()
        finally:
            session.close()

    def release(self, session: Session, *, limit: int) -> int:
        """Admit held messages whose time has come, tenants in turn, ten each, until none may go or ``limit`` went."""
        released = 0
        session.settle()
        waiting: Sequence[Mapping[str, Any]] = session.call(_WAITING, {})
        while waiting and released < limit:
            still: list[Mapping[str, Any]] = []
            for lane in waiting:
                rows = session.call(
                    _ADMIT,
                    {
                        "tenant": lane["tenant_id"],
                        "task": lane["task"],
                        "lane": lane["lane"],
                        "bound": self.settings.admission_bound,
                    },
                )
                reached(Point.OUTBOX_ADMITTED)
                released += self.dispatcher.flush(session, rows)
                if len(rows) == 10:  # noqa: PLR2004 - a full turn: there may be more
                    still.append(lane)
            waiting = still
        return released


@cache
def current_platform() -> Platform:
    """The process's platform."""
    settings = current_settings()
    aws = AwsClient(settings.region, settings.endpoint_url)
    connections = Connections(database_url(settings, aws))
    return Platform(settings, connections, Dispatcher(Queues(aws, settings.queue_prefix), settings.stage))
