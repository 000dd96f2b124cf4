"""``POST /webhooks/{provider}[/{app}]``: verify, find the tenant, keep, enqueue, answer. Nothing else.

body over the limit                      413, before anything is looked at
unknown provider                         404
bad or missing signature                 401, whoever it claims to be for
unknown shop, uninstalled, no such topic 202, counted
compliance topics                        kept and enqueued all the same
broken JSON or impossible content        200, kept as a dead letter
a copy                                   200, nothing enqueued twice
Postgres or KMS do not answer in time    200, set aside in the intake queue; 503 only where that is out of reach too
anything else                            200, once it is kept and enqueued
"""

from __future__ import annotations

import base64
import binascii
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from ingress.accept import REFUSED, Acceptor, End, Outcome, refuse
from ingress.deliveries import PROVIDERS, Request, WebhookProvider
from ingress.manifest import load_manifest
from ingress.set_aside import IntakeQueue, Payloads, set_aside
from ingress.shops import ShopDirectory
from tradewind.aws.client import AwsClient, AwsUnavailableError
from tradewind.aws.keys import KeyService
from tradewind.aws.objects import PayloadStore
from tradewind.aws.queues import Queues
from tradewind.crash import Point, reached
from tradewind.errors import RateLimitedError, RetryableError, TradewindError
from tradewind.loglines import count_line, log_line
from tradewind.settings import Settings, current_settings
from tradewind.tasks.dispatch import Dispatcher
from tradewind.tenancy.credentials import CredentialVault
from tradewind.tenancy.database import Connections, DatabaseUnavailableError
from tradewind.tenancy.secrets import database_url

AWS_TIMEOUT = timedelta(seconds=2)
"""Per call, so that a hanging Postgres or KMS and the intake queue together stay below Shopify's 5 seconds."""
_BASE64_GROWTH = 4 / 3
_STATUS = {Outcome.IGNORED: 202, Outcome.REFUSED: 401}


def handle(event: Mapping[str, Any], context: object) -> dict[str, Any]:
    """Lambda's entry."""
    return _receiver().receive(event)


@cache
def _receiver() -> Receiver:
    settings = current_settings()
    aws = AwsClient(settings.region, settings.endpoint_url, timeout=AWS_TIMEOUT)
    connections = Connections(database_url(settings, aws), patience=settings.receiver_database_wait)
    queues = Queues(aws, settings.queue_prefix)
    payloads = PayloadStore(aws, settings.payload_bucket, settings.region)
    acceptor = Acceptor(
        settings,
        connections,
        ShopDirectory(connections, CredentialVault(KeyService(aws, settings.kms_key))),
        Dispatcher(queues, settings.stage),
        payloads,
        load_manifest(),
    )
    return Receiver(settings, acceptor, queues, payloads)


@dataclass(slots=True)
class Breaker:
    """Once two deliveries in a row met no answer, the next ones of ``REST`` seconds do not wait for it either."""

    REST = 3.0
    clock: Callable[[], float] = time.monotonic
    failures: int = 0
    closed_from: float = 0.0

    @property
    def is_open(self) -> bool:
        return self.clock() < self.closed_from

    def answered(self) -> None:
        self.failures = 0

    def failed(self) -> None:
        self.failures += 1
        if self.failures >= 2:  # noqa: PLR2004 - one connection may break by itself
            self.closed_from = self.clock() + self.REST


class Receiver:
    """One receiver serves every provider and app."""

    def __init__(
        self, settings: Settings, acceptor: Acceptor, intake: IntakeQueue, payloads: Payloads
    ) -> None:
        self._settings = settings
        self._acceptor = acceptor
        self._intake = intake
        self._payloads = payloads
        self._breaker = Breaker()

    def receive(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """Answer one delivery. Where nothing takes it the answer is 503, so that the provider delivers it again."""
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
        answer = self._kept(provider, request)
        reached(Point.RECEIVER_DONE)
        return answer

    def _kept(self, provider: WebhookProvider, request: Request) -> dict[str, Any]:
        try:
            return _answer_for(self._accept(provider, request))
        except (RetryableError, RateLimitedError) as error:
            reason = error
        try:
            return _answer_for(self._set_aside(provider, request, reason))
        except TradewindError as error:
            log_line("error", "webhook not kept, provider must deliver again", error=repr(error))
            count_line("WebhookNotKept", provider=request.provider)
            return _answer(503, error="not available at the moment; deliver again")

    def _accept(self, provider: WebhookProvider, request: Request) -> End:
        if self._breaker.is_open:
            raise DatabaseUnavailableError("did not answer a moment ago")
        try:
            end = self._acceptor.accept(provider, request)
        except (DatabaseUnavailableError, AwsUnavailableError):
            self._breaker.failed()
            raise
        self._breaker.answered()
        return end

    def _set_aside(self, provider: WebhookProvider, request: Request, reason: TradewindError) -> End:
        """Into the intake queue, verified as far as this process can; what does not fit known secrets is refused."""
        verified = self._acceptor.verify_by_kept(provider, request)
        if verified is False:
            return refuse(request, provider.account_of(request))
        set_aside(
            self._intake,
            self._payloads,
            self._settings.name("intake"),
            request,
            verified=bool(verified),
            largest=self._settings.max_message_bytes,
        )
        count_line("WebhookSetAside", provider=request.provider)
        log_line("warning", "webhook set aside", verified=bool(verified), error=repr(reason))
        headers = request.headers
        return End(Outcome.ACCEPTED, headers.get("x-shopify-event-id") or provider.id_of(headers))


def _read_request(event: Mapping[str, Any], path: Mapping[str, str]) -> Request:
    body = event.get("body") or ""
    raw = base64.b64decode(body, validate=True) if event.get("isBase64Encoded") else body.encode()
    headers = {name.lower(): str(value) for name, value in (event.get("headers") or {}).items()}
    return Request(
        path.get("provider", ""), path.get("app") or "default", headers, raw, received_at=datetime.now(UTC)
    )


def _answer_for(end: End) -> dict[str, Any]:
    code = _STATUS.get(end.outcome, 200)
    if end is REFUSED:
        return _answer(code, error=end.about)
    field = {Outcome.IGNORED: "reason", Outcome.DEAD_LETTER: "error"}.get(end.outcome, "correlation_id")
    return _answer(code, status=end.outcome, **{field: end.about})


def _answer(code: int, **content: Any) -> dict[str, Any]:
    return {
        "statusCode": code,
        "headers": {"content-type": "application/json"},
        "body": json.dumps(content),
    }
