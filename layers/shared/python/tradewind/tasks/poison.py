"""Messages that cannot even be read: kept under the platform's own tenant, so that nothing is lost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tradewind.errors import TradewindError
from tradewind.tasks.message import message_key
from tradewind.tenancy.database import Connections, Jsonb, Session
from tradewind.tenancy.tenant import PLATFORM_TENANT

_KEEP = """
INSERT INTO dead_letter (tenant_id, task, cause, source, correlation_id, body, headers, error_kind, error_class,
                         error_message, attempts)
VALUES (%(tenant)s, %(task)s, %(cause)s, 'queue', %(cause)s, %(body)s, %(headers)s, %(kind)s, %(class)s, %(message)s, 1)
ON CONFLICT (tenant_id, task, cause) DO NOTHING
"""


def keep_poison(
    connections: Connections, task: str, record: Mapping[str, Any], error: TradewindError
) -> None:
    """Write the raw queue message as a dead letter, once per message id. Raises RetryableError if it cannot."""
    session = Session(connections)
    body = str(record["body"])
    try:
        with session.transaction(PLATFORM_TENANT) as transaction:
            transaction.execute(
                _KEEP,
                {
                    "tenant": PLATFORM_TENANT,
                    "task": task,
                    "cause": f"unreadable:{message_key(task, body)}",
                    "body": body.encode(),
                    "headers": Jsonb(dict(record.get("attributes") or {})),
                    "kind": error.kind,
                    "class": type(error).__name__,
                    "message": str(error)[:2000].replace("\x00", ""),
                },
            )
        session.settle()
    finally:
        session.close()
