"""What SQS or EventBridge gave up on becomes a row among the dead letters, where it can be found and replayed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ingress.platform import Platform, current_platform
from tradewind.crash import Point, reached
from tradewind.errors import InvalidPayloadError, TradewindError
from tradewind.loglines import count_line, log_line
from tradewind.tasks.message import Message, message_key, read_message
from tradewind.tenancy.database import Jsonb, Session
from tradewind.tenancy.tenant import PLATFORM_TENANT

_KEEP = """
INSERT INTO dead_letter (tenant_id, run_id, task, cause, entity, source, correlation_id, message, body, headers,
                         error_kind, error_class, error_message, attempts)
SELECT t.tenant_id, (SELECT r.run_id FROM task_run r WHERE r.tenant_id = t.tenant_id AND r.task = %(task)s
                                                       AND r.cause = %(cause)s),
       %(task)s, %(cause)s, %(entity)s, %(source)s, %(correlation_id)s, %(message)s, %(body)s, %(headers)s,
       'RetryableError', 'QueueGaveUp', 'the queue gave the message up after its last receive', %(attempts)s
FROM tenants t WHERE t.tenant_id = %(tenant)s
ON CONFLICT (tenant_id, task, cause) DO UPDATE SET headers = coalesce(dead_letter.headers, excluded.headers)
"""
"""Touches no row only where there is no such tenant."""


def handle(event: Mapping[str, Any], context: object) -> dict[str, Any]:
    """Lambda's entry: a batch of a domain's dead-letter queue. Answers the messages that could not be kept."""
    platform = current_platform()
    failed: list[str] = []
    for record in event["Records"]:
        try:
            keep(platform, record)
        except TradewindError as error:
            log_line("error", "dead letter not kept, will be tried again", error=repr(error))
            failed.append(record["messageId"])
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in failed]}


def keep(platform: Platform, record: Mapping[str, Any]) -> None:
    """Keep one record, once. Raises RetryableError where the database does not take it."""
    body = str(record["body"])
    message: Message | None
    try:
        message = read_message(body)
    except InvalidPayloadError:
        message = None
    queue = str(record.get("eventSourceARN", "")).rsplit(":", 1)[-1]
    with platform.session() as session:
        kept = _insert(session, message, body, record, queue)
        if not kept and message is not None:
            _insert(session, None, body, record, queue)
    reached(Point.DEAD_LETTER_KEPT)
    count_line("DeadLetter", task=message.task if message else queue)
    log_line("error", "dead letter kept", queue=queue, task=message.task if message else None)


def _insert(
    session: Session, message: Message | None, body: str, record: Mapping[str, Any], queue: str
) -> int:
    """Insert under the message's tenant, or the platform's where there is no message. 0 where no such tenant is."""
    tenant_id = PLATFORM_TENANT if message is None else message.tenant_id
    with session.transaction(tenant_id) as transaction:
        return transaction.execute(
            _KEEP,
            {
                "tenant": tenant_id,
                "task": queue if message is None else message.task,
                "cause": f"unreadable:{message_key(body)}" if message is None else message.cause,
                "entity": None if message is None else message.entity,
                "source": "queue" if message is None else message.source,
                "correlation_id": record["messageId"] if message is None else message.correlation_id,
                "message": None if message is None else Jsonb(message.to_stored()),
                "body": body.encode() if message is None else None,
                "headers": Jsonb(dict(record.get("attributes") or {})),
                "attempts": int((record.get("attributes") or {}).get("ApproximateReceiveCount", 1)),
            },
        )
