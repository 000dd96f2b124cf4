"""One delivery, from its signature to its messages: the receiver and the intake both take this way and no other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from ingress.deliveries import Delivery, Request, WebhookProvider
from ingress.manifest import Manifest
from ingress.shops import Shop, ShopDirectory
from ingress.strict_json import parse_object
from tradewind.aws.objects import PayloadStore
from tradewind.crash import Point, reached
from tradewind.errors import InvalidPayloadError, TradewindError
from tradewind.loglines import count_line, log_line
from tradewind.settings import Settings
from tradewind.tasks.dispatch import Body, Dispatcher
from tradewind.tasks.message import Source, message_key, shard_of
from tradewind.tenancy.database import Connections, Jsonb, Session
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


class Outcome(StrEnum):
    """How a delivery ended."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    IGNORED = "ignored"
    DEAD_LETTER = "dead_letter"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class End:
    """``about`` is the correlation id of what was accepted, and the reason of everything else."""

    outcome: Outcome
    about: str


REFUSED = End(Outcome.REFUSED, "signature does not fit the body")


class Acceptor:
    """Verifies, finds the tenant, keeps, enqueues. Every step may be repeated: the inbox has a delivery once."""

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

    def accept(self, provider: WebhookProvider, request: Request, *, verified: bool = False) -> End:
        """Accept one delivery. ``verified``: its signature was found to fit when it arrived.

        Raises RetryableError or RateLimitedError where Postgres, KMS or the payload store give no answer; whether
        the delivery was kept is then unknown, and it is to be accepted again.
        """
        account = provider.account_of(request)
        shop = self._directory.find(request.provider, request.app, account)
        # What is kept may be a minute old: the shop may have been installed or its secret rotated meanwhile.
        if not (shop.installed and (verified or self._fits(provider, request, shop))):
            shop = self._directory.find(request.provider, request.app, account, fresh=True)
            if not (verified or self._fits(provider, request, shop)):
                return refuse(request, account)
        try:
            delivery = provider.read(request)
            return self._keep(provider, request, delivery, shop)
        except InvalidPayloadError as error:
            return self._keep_dead(provider, request, shop.tenant_id or PLATFORM_TENANT, error)

    def verify_by_kept(self, provider: WebhookProvider, request: Request) -> bool | None:
        """Whether the signature fits the secrets that this process still has, however old; None where it has none
        of this shop. Asks nobody.
        """
        shop = self._directory.kept(request.provider, request.app, provider.account_of(request))
        if shop is None or (shop.tenant_id is None and not self._fits(provider, request, shop)):
            return None
        return self._fits(provider, request, shop)

    def _fits(self, provider: WebhookProvider, request: Request, shop: Shop) -> bool:
        return provider.verify(request, shop.secrets)

    def _keep(self, provider: WebhookProvider, request: Request, delivery: Delivery, shop: Shop) -> End:
        tasks = self._manifest.tasks_for(request.provider, delivery.topic)
        if not delivery.compliance and (shop.tenant_id is None or not shop.installed or not tasks):
            reason = "topic" if shop.installed else "uninstalled" if shop.tenant_id else "shop"
            return _ignore(request, delivery, reason)
        text = _read_text(request.raw_body)
        entity = provider.entity_of(delivery.topic, parse_object(text))
        tenant_id = shop.tenant_id or PLATFORM_TENANT
        claim = self._check_in(request, tenant_id, delivery)
        messages = [self._message(tenant_id, task, request, delivery, entity) for task in tasks]
        written = self._write(request, delivery, tenant_id, claim, messages)
        if written is None:
            return _ignore(request, delivery, "uninstalled")
        duplicate, inbox_id, ready = written
        sent = self._send(ready, {inbox_id: Body(None, claim) if claim else Body(text)})
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
        return End(Outcome.DUPLICATE if duplicate else Outcome.ACCEPTED, delivery.correlation_id)

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
        self, tenant_id: UUID, task: str, request: Request, delivery: Delivery, entity: str
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
            "accepted_at": request.received_at.isoformat(),
        }

    def _write(
        self,
        request: Request,
        delivery: Delivery,
        tenant_id: UUID,
        claim: str | None,
        messages: list[dict[str, Any]],
    ) -> tuple[bool, str, list[dict[str, Any]]] | None:
        """Whether it is a copy, its row's id and what may be sent; None where the tenant has left meanwhile."""
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
            "triggered_at": _iso(delivery.triggered_at),
            "received_at": _iso(request.received_at),
            "compliance": delivery.compliance,
        }
        session = Session(self._connections)
        try:
            rows = session.call(
                _ACCEPT,
                {
                    "inbox": Jsonb(inbox),
                    "body": None if claim else request.raw_body,
                    "messages": Jsonb(messages),
                    "bound": self._settings.admission_bound,
                },
            )
        finally:
            session.close()
        reached(Point.RECEIVER_KEPT)
        if not rows:
            return None
        row = rows[0]
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

    def _keep_dead(
        self, provider: WebhookProvider, request: Request, tenant_id: UUID, error: InvalidPayloadError
    ) -> End:
        """What is validly signed and yet unusable is kept as it came, once."""
        cause = provider.id_of(request.headers) or message_key(request.raw_body.hex())
        headers = {
            name: value[:500].replace("\x00", "")
            for name, value in request.headers.items()
            if name.startswith(provider.header_prefixes) or name in _KEPT_HEADERS
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
                        "headers": Jsonb(headers),
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
        return End(Outcome.DEAD_LETTER, str(error))


def refuse(request: Request, account: str) -> End:
    """Count a delivery whose signature does not fit, and leave nothing of it."""
    count_line("WebhookRefused", provider=request.provider)
    log_line("warning", "webhook refused: signature", provider=request.provider, shop=account[:80])
    return REFUSED


def _ignore(request: Request, delivery: Delivery, reason: str) -> End:
    count_line("WebhookIgnored", provider=request.provider, reason=reason)
    log_line("info", "webhook ignored", reason=reason, topic=delivery.topic, event_id=delivery.event_id)
    return End(Outcome.IGNORED, reason if reason == "uninstalled" else f"unknown {reason}")


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _read_text(raw_body: bytes) -> str:
    try:
        return raw_body.decode()
    except UnicodeDecodeError as error:
        raise InvalidPayloadError("body", f"is not UTF-8 ({error.reason} at byte {error.start})") from error
