"""What happens beside webhooks: schedules that fire, messages nobody can read, queues that give up, a late route."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
from botocore.exceptions import BotoCoreError, ClientError

from tests.chaos.stage import Cast
from tests.e2e.cloud import Cloud, FunctionError
from tradewind.tasks.message import Lane, Message, Source, message_key
from tradewind.tasks.registry import Registry

PERSISTENCE_S = 60.0
LOOK_BACK = timedelta(days=10)
DAY = timedelta(days=1)
START_S = 20.0
_NOT_DONE = "SELECT 1 FROM outbox WHERE task = %s AND tenant_id = ANY (%s) AND state <> 'done' LIMIT 1"
UNREADABLE = "this is no message"
LAST = {"commerce-review-email-awaiting-delivery-scheduled"}
BACKFILL_TASK = "commerce-sync-order-batch"
BACKFILL_PAGE = 20


def insist(cloud: Cloud, function: str, event: Mapping[str, Any]) -> Any:
    """Invoke until it answers, as EventBridge or a person does when a function dies."""
    deadline = time.monotonic() + PERSISTENCE_S
    while True:
        try:
            return cloud.invoke(function, event)
        except (FunctionError, ClientError, BotoCoreError, ValueError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def fire_schedules(cloud: Cloud, registry: Registry, now: datetime, tenants: Sequence[UUID]) -> None:
    """Every schedule, once, for a slot that reaches back some days. Two at a time: were they all to fall on one moment,
    as they never do otherwise, all their functions would start at once on two processors.
    """
    with ThreadPoolExecutor(2) as pool:
        fired = [
            pool.submit(_fire, cloud, schedule, task.id, _slot(now), tenants)
            for schedule, _, task in registry.schedules()
        ]
    for each in fired:
        each.result()


def fire_last(cloud: Cloud, registry: Registry, now: datetime, tenants: Sequence[UUID]) -> None:
    """The schedules whose work depends on which orders are here, once more when all of them are: a day later, since a
    slot is worked once.
    """
    for schedule, _, task in registry.schedules():
        if schedule in LAST:
            _fire(cloud, schedule, task.id, _slot(now + DAY), tenants)


def _slot(now: datetime) -> str:
    return (now - LOOK_BACK).astimezone(UTC).replace(minute=30, second=0, microsecond=0).isoformat()


def _fire(cloud: Cloud, schedule: str, task: str, slot: str, tenants: Sequence[UUID]) -> None:
    insist(cloud, "ingress-fan-out", {"schedule": schedule, "time": slot})
    _wait_for(cloud, task, tenants)


def _wait_for(cloud: Cloud, task: str, tenants: Sequence[UUID]) -> None:
    """Until a task's first messages are done, or a function has had ample time to start: on two processors those that
    start while others still do take each other's time. Postgres may be away.
    """
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        with contextlib.suppress(psycopg.OperationalError):
            if not cloud.query(_NOT_DONE, task, list(tenants)):
                return
        time.sleep(0.2)


def lose_subscriptions(cast: Cast) -> None:
    """Shopify drops a topic that failed too often; the reconciliation has to subscribe to it again, once."""
    for tenant in cast.tenants:
        for topic in ("ORDERS_PAID", "REFUNDS_CREATE"):
            cast.cloud.sandbox.delete(f"/shopify/{tenant.shop}/subscriptions", params={"topic": topic})


def put_rubbish(cloud: Cloud, task: str) -> tuple[str, str]:
    """A message that cannot be read, in a task's queue; its dead letter's task and cause."""
    cloud.client("sqs").send_message(
        QueueUrl=cloud.queue_url(f"{task}.fifo"),
        MessageBody=UNREADABLE,
        MessageGroupId="rubbish",
        MessageDeduplicationId="rubbish",
    )
    return task, f"unreadable:{message_key(task, UNREADABLE)}"


def give_up(cast: Cast, task: str, domain: str) -> tuple[int, str, str]:
    """A copy of a webhook's message among those that a queue gave up; the dead letter that it becomes."""
    sent = next(each for each in cast.scenario.sent if each.topic == "orders/updated" and each.poison is None)
    tenant = cast.tenants[sent.tenant]
    payload = {"id": sent.order_id, "order_id": sent.order_id}
    message = Message(
        tenant_id=tenant.id,
        task=task,
        cause=sent.event_id,
        key=message_key(tenant.id, "given up", sent.event_id),
        source=Source.WEBHOOK,
        correlation_id=sent.event_id,
        accepted_at=datetime.now(UTC),
        payload=payload,
        entity=str(sent.order_id),
    )
    cast.cloud.client("sqs").send_message(
        QueueUrl=cast.cloud.queue_url(f"{domain}-dead.fifo"),
        MessageBody=message.to_json(),
        MessageGroupId="given-up",
        MessageDeduplicationId=message.key,
    )
    return sent.tenant, task, sent.event_id


def start_backfills(cast: Cast) -> None:
    """Every order of every shop once more, in small pages on the backfill's own lane. The shop that is locked out is
    left alone.
    """
    for tenant in cast.tenants[: cast.scenario.locked_out]:
        message = Message(
            tenant_id=tenant.id,
            task=BACKFILL_TASK,
            cause="backfill",
            key=message_key(tenant.id, BACKFILL_TASK, "backfill"),
            source=Source.BACKFILL,
            correlation_id="backfill",
            accepted_at=datetime.now(UTC),
            payload={"limit": BACKFILL_PAGE},
            lane=Lane.BACKFILL,
        )
        cast.cloud.client("sqs").send_message(
            QueueUrl=cast.cloud.queue_url(f"{BACKFILL_TASK}-backfill.fifo"),
            MessageBody=message.to_json(),
            MessageGroupId=str(tenant.id),
            MessageDeduplicationId=message.key,
        )


def forget_routes(cloud: Cloud, tenants: list[UUID]) -> None:
    """Some kept webhooks wait for a route again, as if a release had come before its tasks. The API takes nothing that
    has none.
    """
    with psycopg.connect(cloud.state.platform_database_url) as connection:
        connection.execute(
            "UPDATE webhook_inbox SET state = 'unrouted' WHERE (tenant_id, inbox_id) IN (SELECT tenant_id, inbox_id"
            " FROM webhook_inbox WHERE state = 'routed' AND provider <> 'api' AND tenant_id = ANY (%s)"
            " ORDER BY received_at LIMIT 3)",
            (tenants,),
        )
