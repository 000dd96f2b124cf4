"""Tenants with queued review e-mails, real workers, a real Valkey, the sandbox's Resend; tests turn the clock."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from infra.local.postgres import DatabaseUrls
from tests.fakes import FakeDiscountCodes, FakePayloads, FakeQueues
from tests.integration.door import LocalKeys
from tests.integration.harness import local_settings
from tradewind.aws.client import AwsClient
from tradewind.clock import FixedClock
from tradewind.integrations.resend.provider import ResendEmailSender, _kept
from tradewind.integrations.shopify.admin_api import AdminApi
from tradewind.integrations.shopify.discounts import ShopifyDiscountCodes
from tradewind.integrations.shopify.provider import ShopLimiter
from tradewind.integrations.transport import shared_transport
from tradewind.ratelimit import RateLimiter, connected
from tradewind.tasks.message import Message, Source, message_key, read_message
from tradewind.tasks.registry import REGISTRY
from tradewind.tasks.scope import Process, Scope
from tradewind.tasks.worker import Done, End, Worker
from tradewind.tenancy.credentials import CredentialVault, Label, TenantCredentials
from tradewind.tenancy.database import Connections, Session
from tradewind.tenancy.links import TenantLinks
from tradewind.tenancy.tenant import PLATFORM_TENANT, Tenant

PROCESS, RETRY = "commerce-process-review-email-queue", "commerce-retry-failed-review-emails"
BASE = "https://tradewind.example.com"


class LastingToken:
    """A shop's token that is never refused."""

    def access_token(self) -> str:
        return "shpat_mailroom"

    def refresh(self, rejected: str) -> str:
        raise AssertionError(f"{rejected} was refused")


@dataclass
class MailRoom:
    urls: DatabaseUrls
    redis_url: str
    sandbox_url: str
    clock: FixedClock
    limits: Mapping[str, str] = field(default_factory=dict)
    queues: FakeQueues = field(default_factory=FakeQueues)
    discounts: FakeDiscountCodes = field(default_factory=FakeDiscountCodes)
    shops: bool = False
    """Whether codes are made at the sandbox's shops, under their limits, instead of ``discounts``."""

    def __post_init__(self) -> None:
        _kept().clear()
        self.settings = local_settings(
            self.urls,
            TRADEWIND_REDIS_URL=self.redis_url,
            TRADEWIND_RESEND_URL=f"{self.sandbox_url}/resend",
            **self.limits,
        )
        self.vault = CredentialVault(LocalKeys())
        self.connections = Connections(self.urls.app)
        self.process = Process(
            settings=self.settings,
            connections=self.connections,
            aws=AwsClient("us-east-1", "http://127.0.0.1:9"),
            queues=self.queues,  # type: ignore[arg-type]
            payloads=FakePayloads(),  # type: ignore[arg-type]
            clock=self.clock,
        )

    def close(self) -> None:
        self.connections.close()

    def add_tenant(self, slug: str, settings: Mapping[str, Any] | None = None) -> UUID:
        with psycopg.connect(self.urls.platform) as connection:
            row = connection.execute(
                "INSERT INTO tenants (slug, name, settings) VALUES (%s, %s, %s) RETURNING tenant_id",
                (slug, slug.title(), Jsonb({"webhook_url": BASE, **(settings or {})})),
            ).fetchone()
            assert row is not None
            connection.execute(
                "INSERT INTO shopify_app_installations (tenant_id, shop_domain) VALUES (%s, %s)",
                (row[0], f"{slug}.myshopify.com"),
            )
        return UUID(str(row[0]))

    def give_account(self, tenant_id: UUID, **secrets: str) -> None:
        """Store a Resend account's credentials; the platform's is the shared one."""
        session = Session(self.connections)
        with session.transaction(tenant_id) as tx:
            for name, secret in {"from": "reviews@example.com", **secrets}.items():
                TenantCredentials(tenant_id, self.vault).put(tx, Label("resend", name), secret)
        session.settle()
        session.close()
        _kept().clear()

    def share_account(self, api_key: str = "re_shared") -> None:
        self.give_account(PLATFORM_TENANT, api_key=api_key)

    def signer(self, tenant_id: UUID) -> Callable[[int, int], str]:
        """What signs the tenant's unsubscribe links."""
        [row] = self.query(
            "SELECT tenant_id::text, slug, name, status, zone, currency, settings FROM tenants WHERE tenant_id = %s",
            tenant_id,
        )
        session = Session(self.connections)
        try:
            return TenantLinks(Tenant.from_row(row), session, self.vault).signer()
        finally:
            session.close()

    def queue(
        self,
        tenant_id: UUID,
        orders: Sequence[int],
        *,
        state: str = "scheduled",
        email: str | None = "ann-{}@example.com",
        total_cents: int = 60_00,
        **columns: Any,
    ) -> None:
        """Orders, each with a review e-mail of sequence 1; ``email`` may hold the order's number."""
        now = self.clock.now()
        with psycopg.connect(self.urls.app) as connection:
            connection.execute("SELECT set_config('app.tenant_id', %s, true)", (str(tenant_id),))
            connection.execute(
                "INSERT INTO orders (shopify_order_id, order_number, email, currency, gross_cents, discount_cents,"
                " net_cents, shipping_cents, tax_cents, total_cents, financial_status, status, placed_at,"
                " shopify_updated_at) SELECT n, '#' || n, %s, 'USD', %s, 0, %s, 0, 0, %s, 'paid', 'open', %s, %s"
                " FROM unnest(%s::bigint[]) n",
                (email, total_cents, total_cents, total_cents, now, now, list(orders)),
            )
            connection.execute(
                "INSERT INTO order_line_items (shopify_order_id, shopify_line_id, title, quantity, unit_price_cents,"
                " discount_cents) SELECT n, n * 10, 'Enamel Mug & Co', 2, 3000, 0 FROM unnest(%s::bigint[]) n",
                (list(orders),),
            )
            connection.execute(
                "INSERT INTO review_email_queue (shopify_order_id, sequence, email, trigger, state, scheduled_at)"
                " SELECT n, 1, replace(%s, '{}', n::text), 'delivered', %s, %s FROM unnest(%s::bigint[]) n",
                (email, state, now - timedelta(minutes=1), list(orders)),
            )
            for name, value in columns.items():
                connection.execute(
                    f"UPDATE review_email_queue SET {name} = %s WHERE shopify_order_id = ANY (%s)".encode(),
                    (value, list(orders)),
                )

    def worker(self, task_id: str) -> Worker:
        worker = Worker(REGISTRY.get(task_id), self.process)
        fakes = {
            "email": lambda scope: ResendEmailSender(self.settings, scope.tenant, scope.session, self.vault),
            "discounts": self._codes if self.shops else lambda _: self.discounts,
            "links": lambda scope: TenantLinks(scope.tenant, scope.session, self.vault),
        }
        worker._factories.update({name: fake for name, fake in fakes.items() if name in worker._factories})
        return worker

    def _codes(self, scope: Scope) -> ShopifyDiscountCodes:
        shop = str(scope.tenant.shop_domain)
        limiter = ShopLimiter(RateLimiter(connected(self.redis_url)), scope.tenant, 10, scope.session.settle)
        return ShopifyDiscountCodes(
            AdminApi(
                shop,
                base_url=f"{self.sandbox_url}/shopify/{shop}",
                api_version=self.settings.shopify_api_version,
                transport=shared_transport(self.settings.provider_timeout).bound_to(scope.session.settle),
                limiter=limiter,
                tokens=LastingToken(),
            )
        )

    def message(
        self, tenant_id: UUID, task_id: str, payload: Mapping[str, Any], cause: str, **about: Any
    ) -> Message:
        fields: dict[str, Any] = {
            "tenant_id": tenant_id,
            "task": task_id,
            "cause": cause,
            "key": message_key(tenant_id, task_id, cause),
            "source": Source.SCHEDULE,
            "correlation_id": cause,
            "accepted_at": self.clock.now(),
            "payload": payload,
        }
        return Message(**{**fields, **about})

    def deadline(self) -> datetime:
        return self.clock.now() + timedelta(minutes=2)

    def run(
        self,
        tenant_id: UUID,
        task_id: str = PROCESS,
        payload: Mapping[str, Any] | None = None,
        cause: str = "",
    ) -> End:
        """Run a task to its end, its own continuations included; the last end."""
        made = cause or f"slot-{task_id}-{self.clock.now().isoformat()}-{json.dumps(payload)}"
        end = self.worker(task_id).work(
            self.message(tenant_id, task_id, payload or {}, made), self.deadline()
        )
        while isinstance(end, Done) and (again := self._own_messages(task_id)):
            for message in again:
                next_end = self.worker(message.task).work(message, self.deadline())
                end = next_end if message.task == task_id else end
        return end

    def _own_messages(self, task_id: str) -> list[Message]:
        found = list(self.queues.sent)
        self.queues.sent.clear()
        return [read_message(entry.body) for entry in found]

    def result(
        self, tenant_id: UUID, task_id: str = PROCESS, payload: Mapping[str, Any] | None = None
    ) -> Any:
        end = self.run(tenant_id, task_id, payload)
        assert isinstance(end, Done), end
        return end.result

    def rows(self, columns: str = "shopify_order_id, sequence, state") -> list[dict[str, Any]]:
        return self.query(f"SELECT {columns} FROM review_email_queue ORDER BY shopify_order_id, sequence")

    def query(self, statement: str, *params: Any) -> list[dict[str, Any]]:
        with psycopg.connect(self.urls.reader, row_factory=dict_row) as connection:
            return connection.execute(statement.encode(), params).fetchall()

    def write(self, tenant_id: UUID, statement: str, *params: Any) -> None:
        with psycopg.connect(self.urls.app) as connection:
            connection.execute("SELECT set_config('app.tenant_id', %s, true)", (str(tenant_id),))
            connection.execute(statement.encode(), params)

    def control(self, method: str, path: str, document: Any = None) -> Any:
        answer = httpx.request(method, f"{self.sandbox_url}/_sandbox/{path}", json=document, timeout=30)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def sent(self) -> list[dict[str, Any]]:
        """Everything that has left, in order."""
        found: list[dict[str, Any]] = []
        while True:
            page = self.control("GET", f"resend/emails?after={len(found)}&limit=5000")
            found += page["emails"]
            if len(found) >= page["all"]:
                return found
