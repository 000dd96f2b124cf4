"""``POST /webhooks/{provider}[/{app}]``: verify, find the tenant, keep, enqueue, answer. Nothing else.

body over the limit                      413, before anything is looked at
unknown provider                         404
bad or missing signature                 401, whoever it claims to be for
unknown shop, uninstalled, no such topic 202, counted
compliance topics                        kept and enqueued all the same
broken JSON or impossible content        200, kept as a dead letter
a copy                                   200, nothing enqueued twice
anything else                            200, once it is kept and enqueued
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any
from uuid import UUID

from ingress.deliveries import PROVIDERS, Delivery, WebhookProvider
from ingress.manifest import Manifest, load_manifest
from ingress.shops import Shop, ShopDirectory
from tradewind.aws.client import AwsClient
from tradewind.aws.keys import KeyService
from tradewind.aws.objects import PayloadStore
from tradewind.aws.queues import Queues
from tradewind.crash import Point, reached
from tradewind.errors import InvalidPayloadError, RetryableError, TradewindError
from tradewind.loglines import count_line, log_line
from tradewind.settings import Settings, current_settings
from tradewind.tasks.dispatch import Body, Dispatcher
from tradewind.tasks.message import Source, message_key, shard_of
from tradewind.tenancy.credentials import CredentialVault
from tradewind.tenancy.database import Connections, Jsonb, Session
from tradewind.tenancy.secrets import database_url
from tradewind.tenancy.tenant import PLATFORM_TENANT

_ACCEPT = "SELECT * FROM accept_webhook(%(inbox)s, %(body)s, %(messages)s, %(bound)s)"
_KEEP_DEAD = """
INSERT INTO dead_letter (tenant_id, task, cause, source, correlation_id, body, headers, error_kind, error_class,
                         error_message, attempts)
VALUES (%(tenant)s, %(task)s, %(cause)s, 'webhook', %(correlation_id)s, %(body)s, %(headers)s, 'TerminalError',
        'InvalidPayloadError', %(error)s, 1)
ON CONFLICT (tenant_id, task, cause) DO NOTHING
RETURNING 1 AS kept
"""
_KEPT_HEADERS = ("content-type", "user-agent")
_BASE64_GROWTH = 4 / 3


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP API request (payload format 2.0), as far as it is read."""

    provider: str
    app: str
    headers: Mapping[str, str]
    raw_body: bytes


def handle(event: Mapping[str, Any], context: object) -> dict[str, Any]:
    """Lambda's entry."""
    return _receiver().receive(event)


@cache
def _receiver() -> Receiver:
    settings = current_settings()
    aws = AwsClient(settings.region, settings.endpoint_url)
    connections = Connections(database_url(settings, aws), connect_timeout=2)
    directory = ShopDirectory(connections, CredentialVault(KeyService(aws, settings.kms_key)))
    return Receiver(
        settings,
        connections,
        directory,
        Dispatcher(Queues(aws, settings.queue_prefix), settings.stage),
        PayloadStore(aws, settings.payload_bucket, settings.region),
        load_manifest(),
    )


class Receiver:
    """One receiver serves every provider and app."""

    def __init__(
        self,
        settings: Settings,
        connections: Connections,
        directory: ShopDirectory,
        dispatcher: Dispatcher,
        payloads: PayloadStore,
        manifest: Manifest,
    ) -> None:
        self._settings = settings
        self._connections = connections
        self._directory = directory
        self._dispatcher = dispatcher
        self._payloads = payloads
        self._manifest = manifest

    def receive(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """Answer one delivery. Where it cannot be kept the answer is 503, so that the provider delivers it again."""
        limit = self._settings.max_body_bytes
        body = event.get("body") or ""
        if len(body) > limit * (_BASE64_GROWTH + 0.01 if event.get("isBase64Encoded") else 1):
            return _answer(413, error=f"body is larger than {limit} bytes")
        path = event.get("pathParameters") or {}
        provider = PROVIDERS.get(path.get("provider", ""))
        if provider is None:
            return _answer(404, error=f"no provider {path.get('provider')!r}; known: {', '.join(PROVIDERS)}")
        try:
            request = _read_request(event, path)
        except (binascii.Error, UnicodeEncodeError):
            return _answer(401, error="body cannot be read, so its signature cannot be checked")
        if len(request.raw_body) > limit:
            return _answer(413, error=f"body is larger than {limit} bytes")
        try:
            answer = self._verified(provider, request)
        except RetryableError as error:
            log_line("error", "webhook not kept, provider must deliver again", error=repr(error))
            count_line("WebhookNotKept", provider=request.provider)
            return _answer(503, error="not available at the moment; deliver again")
        reached(Point.RECEIVER_DONE)
        return answer

    def _verified(self, provider: WebhookProvider, request: Request) -> dict[str, Any]:
        account = provider.account_of(request.headers)
        shop = self._directory.find(request.provider, request.app, account)
        # What is kept may be a minute old: the shop may have been installed or its secret rotated meanwhile.
        if not (shop.installed and provider.verify(request.raw_body, request.headers, shop.secrets)):
            shop = self._directory.find(request.provider, request.app, account, fresh=True)
            if not provider.verify(request.raw_body, request.headers, shop.secrets):
                count_line("WebhookRefused", provider=request.provider)
                log_line(
                    "warning", "webhook refused: signature", provider=request.provider, shop=account[:80]
                )
                return _answer(401, error="signature does not fit the body")
        tenant_id = shop.tenant_id or PLATFORM_TENANT
        try:
            delivery = provider.read(request.headers)
            return self._accept(provider, request, delivery, shop)
        except InvalidPayloadError as error:
            return self._keep_dead(request, tenant_id, error)

    def _accept(
        self, provider: WebhookProvider, request: Request, delivery: Delivery, shop: Shop
    ) -> dict[str, Any]:
        tasks = self._manifest.tasks_for(request.provider, delivery.topic)
        if not delivery.compliance and (shop.tenant_id is None or not shop.installed or not tasks):
            reason = "topic" if shop.installed else "uninstalled" if shop.tenant_id else "shop"
            count_line("WebhookIgnored", provider=request.provider, reason=reason)
            log_line(
                "info", "webhook ignored", reason=reason, topic=delivery.topic, event_id=delivery.event_id
            )
            return _answer(
                202, status="ignored", reason=f"unknown {reason}" if reason != "uninstalled" else reason
            )
        text = _read_text(request.raw_body)
        parsed = _parse(text)
        entity = provider.entity_of(delivery.topic, parsed)
        tenant_id = shop.tenant_id or PLATFORM_TENANT
        now = datetime.now(UTC)
        claim = self._check_in(request, tenant_id, delivery)
        messages = [self._message(tenant_id, task, request, delivery, entity, now) for task in tasks]
        duplicate, inbox_id, ready = self._keep(request, delivery, tenant_id, claim, messages)
        body = Body(None, claim) if claim else Body(text)
        sent = self._send(ready, {inbox_id: body})
        log_line(
            "info",
            "webhook duplicate" if duplicate else "webhook accepted",
            tenant_id=tenant_id,
            topic=delivery.topic,
            event_id=delivery.event_id,
            correlation_id=delivery.correlation_id,
            entity=entity,
            tasks=len(messages),
            sent=sent,
        )
        return _answer(
            200, status="duplicate" if duplicate else "accepted", correlation_id=delivery.correlation_id
        )

    def _check_in(self, request: Request, tenant_id: UUID, delivery: Delivery) -> str | None:
        """A body that no queue would take goes to the payload store; its key travels instead."""
        if len(request.raw_body) <= self._settings.max_message_bytes:
            return None
        name = message_key(request.provider, request.app, delivery.event_id)
        key = f"tenants/{tenant_id}/webhooks/{name}.json"
        self._payloads.put(key, request.raw_body)
        reached(Point.RECEIVER_CLAIM_CHECKED)
        return key

    def _message(
        self, tenant_id: UUID, task: str, request: Request, delivery: Delivery, entity: str, now: datetime
    ) -> dict[str, Any]:
        return {
            "key": message_key(tenant_id, request.provider, request.app, delivery.event_id, task),
            "task": task,
            "lane": "live",
            "shard": shard_of(entity, int(self._manifest.tasks[task]["cap"])),
            "cause": delivery.event_id,
            "source": Source.WEBHOOK,
            "entity": entity,
            "correlation_id": delivery.correlation_id,
            "accepted_at": now.isoformat(),
        }

    def _keep(
        self,
        request: Request,
        delivery: Delivery,
        tenant_id: UUID,
        claim: str | None,
        messages: list[dict[str, Any]],
    ) -> tuple[bool, str, list[dict[str, Any]]]:
        inbox = {
            "tenant_id": str(tenant_id),
            "provider": request.provider,
            "app": request.app,
            "event_id": delivery.event_id,
            "topic": delivery.topic,
            "shop": delivery.account,
            "state": "routed" if messages else "unrouted",
            "correlation_id": delivery.correlation_id,
            "claim": claim,
            "triggered_at": None if delivery.triggered_at is None else delivery.triggered_at.isoformat(),
        }
        session = Session(self._connections)
        try:
            row = session.call(
                _ACCEPT,
                {
                    "inbox": Jsonb(inbox),
                    "body": None if claim else request.raw_body,
                    "messages": Jsonb(messages),
                    "bound": self._settings.admission_bound,
                },
            )[0]
        finally:
            session.close()
        reached(Point.RECEIVER_KEPT)
        return row["duplicate"], str(row["accepted_inbox_id"]), row["ready"]

    def _send(self, ready: list[dict[str, Any]], bodies: Mapping[str, Body]) -> int:
        session = Session(self._connections)
        try:
            return self._dispatcher.flush(session, ready, bodies)
        except TradewindError as error:
            log_line("warning", "not sent, left to the relay", error=repr(error))
            return 0
        finally:
            session.close()

    def _keep_dead(self, request: Request, tenant_id: UUID, error: InvalidPayloadError) -> dict[str, Any]:
        """What is validly signed and yet unusable is kept as it came, once."""
        cause = request.headers.get("x-shopify-webhook-id") or message_key(request.raw_body.hex())
        headers = {
            name: value[:500]
            for name, value in request.headers.items()
            if name.startswith("x-shopify-") or name in _KEPT_HEADERS
        }
        session = Session(self._connections)
        try:
            with session.transaction(tenant_id) as transaction:
                kept = transaction.fetch_one(
                    _KEEP_DEAD,
                    {
                        "tenant": tenant_id,
                        "task": f"ingress-{request.provider}",
                        "cause": cause[:500].replace("\x00", ""),
                        "correlation_id": cause[:500].replace("\x00", ""),
                        "body": request.raw_body,
                        "headers": Jsonb(
                            {name: value.replace("\x00", "") for name, value in headers.items()}
                        ),
                        "error": str(error).replace("\x00", "")[:2000],
                    },
                )
            session.settle()
        finally:
            session.close()
        reached(Point.RECEIVER_DEAD_KEPT)
        if kept is not None:
            count_line("DeadLetter", task=f"ingress-{request.provider}")
        log_line(
            "error", "webhook kept as a dead letter", tenant_id=tenant_id, cause=cause[:80], error=str(error)
        )
        return _answer(200, status="dead_letter", error=str(error))


def _read_request(event: Mapping[str, Any], path: Mapping[str, str]) -> Request:
    body = event.get("body") or ""
    raw = base64.b64decode(body, validate=True) if event.get("isBase64Encoded") else body.encode()
    headers = {name.lower(): str(value) for name, value in (event.get("headers") or {}).items()}
    return Request(path.get("provider", ""), path.get("app") or "default", headers, raw)


def _read_text(raw_body: bytes) -> str:
    try:
        return raw_body.decode()
    except UnicodeDecodeError as error:
        raise InvalidPayloadError("body", f"is not UTF-8 ({error.reason} at byte {error.start})") from error


def _parse(text: str) -> dict[str, Any]:
    """The body as an object. A number such as NaN is no JSON; nesting beyond the parser's depth is no webhook."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no JSON number")

    try:
        parsed = json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise InvalidPayloadError("body", f"is not JSON ({type(error).__name__}: {error})") from error
    if not isinstance(parsed, dict):
        raise InvalidPayloadError("body", f"is a {type(parsed).__name__}", "an object is expected")
    return parsed


def _answer(code: int, **content: Any) -> dict[str, Any]:
    return {
        "statusCode": code,
        "headers": {"content-type": "application/json"},
        "body": json.dumps(content),
    }
