"""A receiver and an intake on a fresh database, and a shop that posts to them."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import dict_row

from infra.local.postgres import DatabaseUrls
from ingress.accept import Acceptor
from ingress.intake import Intake
from ingress.manifest import load_manifest
from ingress.receiver import Receiver
from ingress.shops import ShopDirectory
from tests.fakes import FakePayloads, FakeQueues
from tests.integration.harness import add_tenant, local_settings
from tradewind.aws.keys import DataKey
from tradewind.integrations.resend.webhook import sign as sign_svix
from tradewind.integrations.shopify.webhook import sign
from tradewind.tasks.dispatch import Dispatcher
from tradewind.tenancy.credentials import CredentialVault, Label, TenantCredentials
from tradewind.tenancy.database import Connections, Session

SECRET, OTHER_SECRET = b"acme-secret", b"bolt-secret"
ORDER = {"id": 1001, "admin_graphql_api_id": "gid://shopify/Order/1001", "updated_at": "2026-11-20T12:00:00Z"}
LIMIT = 64 * 1024


class LocalKeys:
    """Data keys that their own context opens; what KMS does, without its cipher."""

    def generate(self, context: Mapping[str, str]) -> DataKey:
        return DataKey(b"k" * 32, json.dumps(dict(context)).encode())

    def decrypt(self, encrypted: bytes, context: Mapping[str, str]) -> bytes:
        assert json.loads(encrypted) == dict(context)
        return b"k" * 32


@dataclass
class Door:
    """A receiver on a fresh database, with tenants acme, bolt, and gone (uninstalled)."""

    urls: DatabaseUrls

    def __post_init__(self) -> None:
        limits = {"TRADEWIND_MAX_BODY_BYTES": str(LIMIT), "TRADEWIND_MAX_MESSAGE_BYTES": str(LIMIT // 2)}
        self.settings = local_settings(self.urls, **limits)
        self.connections = Connections(self.urls.platform, patience=self.settings.receiver_database_wait)
        vault = CredentialVault(LocalKeys())
        self.tenants = {slug: add_tenant(self.urls, slug) for slug in ("acme", "bolt", "gone")}
        for slug, secret in {"acme": SECRET, "bolt": OTHER_SECRET, "gone": b"gone-secret"}.items():
            self.store_secret(vault, self.tenants[slug], secret)
        with psycopg.connect(self.urls.platform) as connection:
            connection.execute("UPDATE tenants SET status = 'uninstalled' WHERE slug = 'gone'")
        self.queues = FakeQueues()
        self.objects = FakePayloads()
        self.dispatcher = Dispatcher(self.queues, "test")  # type: ignore[arg-type]
        self.vault = vault
        self.receiver, self.acceptor = self.new_receiver()

    def new_receiver(self) -> tuple[Receiver, Acceptor]:
        """A cold one: nothing is kept of any shop."""
        acceptor = Acceptor(
            self.settings,
            self.connections,
            ShopDirectory(self.connections, self.vault),
            self.dispatcher,
            self.objects,  # type: ignore[arg-type]
            load_manifest(),
        )
        return Receiver(self.settings, acceptor, self.queues, self.objects), acceptor

    def take_in(self, *bodies: str, age: timedelta = timedelta()) -> list[str]:
        """Give an intake of its own what lies in the intake queue, or ``bodies``; returns what must come again."""
        given = bodies or tuple(body for _, body in self.queues.put_aside)
        self.queues.put_aside.clear()
        _, acceptor = self.new_receiver()
        sent = datetime.now(UTC) - age
        records = [
            {
                "messageId": body,
                "receiptHandle": f"handle-{at}",
                "body": body,
                "attributes": {"SentTimestamp": str(int(sent.timestamp() * 1000))},
                "eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:tradewind-test-intake",
            }
            for at, body in enumerate(given)
        ]
        answer = Intake(acceptor, self.connections, self.queues, self.objects).work_batch(records)
        left = [failed["itemIdentifier"] for failed in answer["batchItemFailures"]]
        self.queues.put_aside += [("tradewind-test-intake", body) for body in left]
        return left

    def store_secret(
        self, vault: CredentialVault, tenant_id: UUID, secret: bytes, overlap: timedelta | None = None
    ) -> None:
        session = Session(self.connections)
        with session.transaction(tenant_id) as tx:
            TenantCredentials(tenant_id, vault).put(
                tx, Label("shopify", "app_secret"), secret.decode(), previous_life=overlap
            )
        session.settle()
        session.close()

    def post(
        self,
        body: bytes | dict[str, Any] = ORDER,
        *,
        secret: bytes | None = SECRET,
        shop: str = "acme.myshopify.com",
        topic: str = "orders/create",
        webhook_id: str = "hook-1",
        provider: str = "shopify",
        encode: bool = False,
        **headers: str,
    ) -> tuple[int, dict[str, Any]]:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        given = {
            "x-shopify-topic": topic,
            "x-shopify-shop-domain": shop,
            "x-shopify-api-version": "2026-07",
            "x-shopify-webhook-id": webhook_id,
            **({} if secret is None else {"x-shopify-hmac-sha256": sign(raw, secret)}),
            **{name.replace("_", "-"): text for name, text in headers.items()},
        }
        event: dict[str, Any] = {
            "pathParameters": {"provider": provider},
            "headers": {name: text for name, text in given.items() if text != "missing"},
            "body": base64.b64encode(raw).decode() if encode else raw.decode("utf-8", "surrogateescape"),
            "isBase64Encoded": encode,
        }
        answer = self.receiver.receive(event)
        return answer["statusCode"], json.loads(answer["body"])

    def store_resend_secret(self, tenant_id: UUID, secret: str) -> None:
        """The signing secret of a Resend account: a tenant's own, or the platform's."""
        session = Session(self.connections)
        with session.transaction(tenant_id) as tx:
            TenantCredentials(tenant_id, self.vault).put(tx, Label("resend", "webhook_secret"), secret)
        session.settle()
        session.close()

    def post_resend(
        self,
        body: bytes | dict[str, Any],
        secret: str,
        *,
        app: str | None = None,
        message_id: str = "msg_1",
        sent_at: datetime | None = None,
        **headers: str,
    ) -> tuple[int, dict[str, Any]]:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        given = sign_svix(raw, message_id, sent_at or datetime.now(UTC), secret)
        given |= {name.replace("_", "-"): text for name, text in headers.items()}
        event = {
            "pathParameters": {"provider": "resend", **({"app": app} if app else {})},
            "headers": {name: text for name, text in given.items() if text != "missing"},
            "body": base64.b64encode(raw).decode(),
            "isBase64Encoded": True,
        }
        answer = self.receiver.receive(event)
        return answer["statusCode"], json.loads(answer["body"])

    def query(self, statement: str) -> list[dict[str, Any]]:
        with psycopg.connect(self.urls.reader, row_factory=dict_row) as connection:
            return connection.execute(statement.encode()).fetchall()

    def counts(self) -> tuple[int, int, int]:
        """(inbox rows, messages sent, dead letters)"""
        inbox = self.query("SELECT 1 AS x FROM webhook_inbox")
        return len(inbox), len(self.queues.sent), len(self.query("SELECT 1 AS x FROM dead_letter"))
