"""Tenants acme and bolt in one process: one pool of connections, one runtime, a shop and texts of each one's own."""

from __future__ import annotations

import contextvars
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg

from commerce.order_sync.workflow import order_sync
from tests.fakes import (
    FakeAdReports,
    FakeConversionApis,
    FakeCounters,
    FakeCouriers,
    FakeDiscountCodes,
    FakeEmailSender,
    FakeLinks,
    FakeLongMachines,
    FakeMachines,
    FakeMessenger,
    FakePayloads,
    FakeQueues,
    FakeShopify,
    FakeSurvey,
    FakeWebhookSender,
    an_order,
)
from tests.integration.belongings import LATELY, MADE, contact
from tests.integration.harness import Context, local_settings
from tests.integration.world import CHECKED, LINKS, OURS, THEIRS, World
from tests.played import PlayedShop, a_collection, a_customer, a_level, a_product, a_variant
from tradewind.aws.client import AwsClient
from tradewind.clock import SystemClock
from tradewind.errors import TradewindError
from tradewind.settings import Settings
from tradewind.tasks.message import Message, Source, message_key
from tradewind.tasks.registry import REGISTRY
from tradewind.tasks.runtime import Runtime
from tradewind.tasks.scope import Process
from tradewind.tasks.task import Task
from tradewind.tenancy.database import Connections

PREPARED: Mapping[str, str] = {
    "commerce-process-review-email-queue": "scheduled_at = now() - interval '1 hour'",
    "commerce-send-queued-review-email": "scheduled_at = now() - interval '1 hour'",
    "commerce-retry-failed-review-emails": "state = 'failed', next_attempt_at = now() - interval '1 hour'",
    "commerce-review-email-awaiting-delivery": (
        "state = 'awaiting_delivery', awaiting_since = now() - interval '30 days'"
    ),
    "commerce-review-email-stats": "state = 'sent', sent_at = CASE sequence WHEN 2 THEN now() END",
    "commerce-schedule-follow-up": "state = 'sent', sent_at = now()",
}
"""What a task looks for in the review e-mail that each tenant has: by its id, what is set in it."""

LAID_OUT: Mapping[str, tuple[str, ...]] = {
    "analytics-attribution-export-scheduler": (
        "UPDATE attribution_exports SET next_run_at = now() - interval '1 hour'",
    ),
    "analytics-sync-meta-ads-spend": ("UPDATE ad_account_mappings SET platform = 'meta'",),
    "analytics-sync-google-ads-spend": ("UPDATE ad_account_mappings SET platform = 'google_ads'",),
    "analytics-sync-tiktok-spend-daily": ("UPDATE ad_account_mappings SET platform = 'tiktok'",),
    "analytics-attribution-order-reconciliation": (
        "UPDATE orders SET total_cents = 100, placed_at = now() - interval '1 hour'",
        "DELETE FROM attribution_conversions",
    ),
    "analytics-attribution-process-unattributed": (
        "UPDATE attribution_conversions SET status = 'unattributed', converted_at = now() - interval '1 hour'",
    ),
    "analytics-attribution-recalculate-recent": (
        "UPDATE attribution_conversions SET converted_at = now() - interval '1 hour'",
    ),
}
"""What else a task looks for that each tenant has: by its id, what is done before."""

LEDGER = {"dead_letter", "outbox", "task_attempt", "task_run"}
"""What any run of a task writes, whatever it does."""


def mark(world: World, tenant_id: UUID, number: int) -> None:
    """Give a tenant's rows texts that nothing but these rows can tell, wherever a column takes them."""
    with world.bound(tenant_id, keep=True) as app:
        for name in world.order:
            parents = {own for pairs in world.tables[name].parents.values() for own, _ in pairs}
            for column in world.tables[name].columns:
                linking = column.name in parents | LINKS or (name, column.name) in CHECKED
                if column.kind not in {"text", "jsonb"} or column.required or column.identity or linking:
                    continue
                text = contact(column.name, number) or f"only-{number}-{name}-{column.name}"
                value = text if column.kind == "text" else json.dumps({"note": text})
                try:
                    with app.transaction():
                        app.execute(f"UPDATE {name} SET {column.name} = %s".encode(), (value,))
                except (psycopg.errors.IntegrityError, psycopg.errors.InsufficientPrivilege):
                    continue


def own_texts(number: int) -> str:
    """How every text begins that only the rows of this tenant hold."""
    return f"only-{number}-"


@dataclass
class Twins:
    """A filled world's tenants at work in one process."""

    world: World
    settings: Settings = field(init=False)
    queues: FakeQueues = field(default_factory=FakeQueues)
    payloads: FakePayloads = field(default_factory=FakePayloads)

    def __post_init__(self) -> None:
        self.settings = local_settings(self.world.urls)
        self.connections = Connections(self.world.urls.app)
        self.shops = {
            self.world.acme: self._shop(OURS),
            self.world.bolt: self._shop(THEIRS),
        }
        self.played = {self.world.acme: self._play(OURS), self.world.bolt: self._play(THEIRS)}
        self.process = Process(
            settings=self.settings,
            connections=self.connections,
            aws=AwsClient("us-east-1", "http://127.0.0.1:9"),
            queues=self.queues,  # type: ignore[arg-type]
            payloads=self.payloads,  # type: ignore[arg-type]
            clock=SystemClock(),
        )

    def close(self) -> None:
        self.connections.close()

    def _shop(self, number: int) -> FakeShopify:
        """A shop with one order, which no other shop knows."""
        shop = FakeShopify()
        order = an_order(number, name=f"only-{number}-order", updated_at=LATELY, placed_at=LATELY)
        assert order.customer is not None
        customer = replace(order.customer, id=number, first_name=f"only-{number}-name")
        shop.put(replace(order, customer=customer, attributes={"visitor_id": f"text-{number}"}))
        return shop

    def _play(self, number: int) -> PlayedShop:
        """A shop of one product, customer, level and collection, each with the tenant's own number and texts."""
        shop = PlayedShop(f"t-{number}.myshopify.com")
        variant = a_variant(number, 1, at=LATELY, id=number, inventory_item_id=number)
        shop.put(
            "products",
            a_product(number, at=LATELY, title=f"only-{number}-product") | {"variants": [variant]},
        )
        shop.put("customers", a_customer(number, at=LATELY, first_name=f"only-{number}-name"))
        shop.put("locations", {"id": number, "name": f"only-{number}-place"})
        shop.put("levels", a_level(number, number, 5, LATELY))
        shop.put("collections", a_collection(number, [number], at=LATELY, title=f"only-{number}-collection"))
        return shop

    def prepare(self, task: Task) -> None:
        """Give each tenant what the task looks for. Nobody has written a review: there is something to ask for."""
        for tenant_id in (self.world.acme, self.world.bolt):
            with self.world.bound(tenant_id, keep=True) as app:
                for statement in LAID_OUT.get(task.id, ()):
                    app.execute(statement.encode())
                if task.id in PREPARED:
                    app.execute("DELETE FROM reviews")
                    app.execute(f"UPDATE review_email_queue SET {PREPARED[task.id]}".encode())
                    app.execute('UPDATE tenants SET settings = \'{"review_email": {"max_sequence": 9}}\'')
                    app.execute("UPDATE email_sending_pauses SET paused_until = now() - interval '1 hour'")

    def runtime(self, task: Task) -> Runtime:
        runtime = Runtime(task, self.process, Context(left=task.timeout + timedelta(seconds=1)))
        fakes = {
            "shopify": lambda scope: self.shops[scope.tenant.id],
            "catalogue": lambda scope: self.played[scope.tenant.id].catalogue,
            "machines": lambda _: FakeMachines(self._run_chain),
            "long_machines": lambda _: FakeLongMachines(),
            "payloads": lambda _: self.payloads,
            "counters": lambda _: FakeCounters(),
            "messenger": lambda _: FakeMessenger(),
            "apis": lambda _: FakeConversionApis(),
            "reports": lambda _: FakeAdReports(),
            "survey": lambda _: FakeSurvey(),
            "email": lambda _: FakeEmailSender(),
            "links": lambda _: FakeLinks(),
            "discounts": lambda _: FakeDiscountCodes(),
            "couriers": lambda _: FakeCouriers(),
            "sender": lambda _: FakeWebhookSender(),
        }
        factories = runtime._worker._factories
        factories.update({name: fake for name, fake in fakes.items() if name in factories})
        return runtime

    def _run_chain(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """The order-sync chain, each step in a Lambda of its own."""
        results: dict[str, Any] = {}
        for step in order_sync.steps:
            if step.when is None or results[step.when[0]][step.when[1]]:
                about = {**event, "source": Source.WORKFLOW}
                invoke = self.runtime(REGISTRY.get(step.task)).invoke
                results[step.task] = contextvars.copy_context().run(invoke, about)
        return results

    def message(
        self, tenant_id: UUID, task: Task, payload: Mapping[str, Any], number: int, **about: Any
    ) -> Message:
        """A message of one tenant that refers to the inbox, the runs and the entity of the tenant with ``number``."""
        theirs = UUID(int=MADE + number)
        cause = f"event-{uuid4()}"
        entity = payload.get(task.entity) if task.entity else None
        fields: dict[str, Any] = {
            "tenant_id": tenant_id,
            "task": task.id,
            "cause": cause,
            "key": message_key(tenant_id, task.id, cause),
            "source": Source.WEBHOOK,
            "correlation_id": f"text-{number}",
            "accepted_at": datetime.now(UTC),
            "payload": payload,
            "inbox_id": theirs,
            "entity": None if entity is None else str(entity),
        }
        return Message(**{**fields, **about})

    def work(self, task: Task, *messages: Message) -> list[str]:
        """Work a batch, a group for each tenant; returns the causes that must come again."""
        records = [
            {
                "messageId": message.cause,
                "receiptHandle": message.cause,
                "body": message.to_json(),
                "attributes": {"MessageGroupId": str(message.tenant_id), "ApproximateReceiveCount": "1"},
                "eventSourceARN": f"arn:aws:sqs:us-east-1:000000000000:tradewind-test-{task.id}.fifo",
            }
            for message in messages
        ]
        answer = self.runtime(task).work_batch(records)
        return [item["itemIdentifier"] for item in answer["batchItemFailures"]]

    def invoke(self, tenant_id: UUID, task: Task, payload: Mapping[str, Any]) -> str:
        """A direct run's result, or its error, as text."""
        try:
            return json.dumps(
                self.runtime(task).invoke({"tenant": str(tenant_id), "payload": payload}), default=str
            )
        except TradewindError as error:
            return repr(error)

    def rows(self, tenant_id: UUID) -> str:
        """Everything that the database holds for a tenant, as text."""
        every = " UNION ALL ".join(
            f"SELECT to_jsonb(x)::text AS row FROM {name} x WHERE tenant_id = %s"
            for name in self.world.tables
        )
        return "\n".join(row["row"] for row in self.world.read(every, *[tenant_id] * len(self.world.tables)))
