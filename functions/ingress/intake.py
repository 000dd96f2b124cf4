"""The intake queue's worker: what Postgres could not take when it arrived goes the receiver's own way, later.

While Postgres is away a message waits about half as long again as it has waited already, so that a short outage costs
seconds and a long one few attempts. What cannot be read is kept as a dead letter of the platform's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Protocol

from ingress.accept import Acceptor, Outcome
from ingress.deliveries import PROVIDERS
from ingress.manifest import load_manifest
from ingress.set_aside import SetAside, read_set_aside
from ingress.shops import ShopDirectory
from tradewind.aws.client import AwsClient
from tradewind.aws.keys import KeyService
from tradewind.aws.objects import PayloadStore
from tradewind.aws.queues import Queues
from tradewind.crash import Point, reached
from tradewind.errors import (
    InvalidPayloadError,
    NotFoundError,
    RateLimitedError,
    RetryableError,
    TradewindError,
)
from tradewind.loglines import count_line, log_line
from tradewind.settings import current_settings
from tradewind.tasks.dispatch import Dispatcher
from tradewind.tasks.message import message_key
from tradewind.tenancy.credentials import CredentialVault
from tradewind.tenancy.database import Connections, Session
from tradewind.tenancy.secrets import database_url
from tradewind.tenancy.tenant import PLATFORM_TENANT

PATIENCE = timedelta(seconds=5)
SHORTEST_WAIT, LONGEST_WAIT = timedelta(seconds=5), timedelta(minutes=15)
_KEEP_POISON = """
INSERT INTO dead_letter (tenant_id, task, cause, source, correlation_id, body, error_kind, error_class, error_message,
                         attempts)
VALUES (%(tenant)s, 'ingress-intake', %(cause)s, 'queue', %(correlation_id)s, %(body)s, 'TerminalError',
        'InvalidPayloadError', %(error)s, 1)
ON CONFLICT (tenant_id, task, cause) DO NOTHING
"""


class Payloads(Protocol):
    """Where large bodies lie meanwhile."""

    def put(self, key: str, body: bytes) -> None: ...

    def get(self, key: str) -> bytes: ...

    def delete(self, key: str) -> None: ...


class Visibility(Protocol):
    """The queue's side that lets messages wait."""

    def set_visibility(self, queue: str, waits: Sequence[tuple[str, timedelta]]) -> None: ...


def handle(event: Mapping[str, Any], context: object) -> dict[str, Any]:
    """Lambda's entry: a batch of the intake queue. Answers the messages that must come again."""
    return _intake().work_batch(event["Records"])


@cache
def _intake() -> Intake:
    settings = current_settings()
    aws = AwsClient(settings.region, settings.endpoint_url)
    connections = Connections(database_url(settings, aws), patience=PATIENCE)
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
    return Intake(acceptor, connections, queues, payloads)


class Intake:
    """Works batches one message after the other."""

    def __init__(
        self, acceptor: Acceptor, connections: Connections, queues: Visibility, payloads: Payloads
    ) -> None:
        self._acceptor = acceptor
        self._connections = connections
        self._queues = queues
        self._payloads = payloads

    def work_batch(self, records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Work a batch; after the first message that finds no answer the rest is given back untried."""
        left: list[Mapping[str, Any]] = []
        for at, record in enumerate(records):
            try:
                self._work(str(record["body"]))
            except (RetryableError, RateLimitedError) as error:
                left += records[at:]
                log_line("warning", "intake waits", error=repr(error), messages=len(records) - at)
                break
            except Exception as error:  # noqa: BLE001 - whatever broke, this message must come again, and no other
                left.append(record)
                log_line("error", "intake message given back after a fault", error=repr(error))
        if left:
            self._give_back(left, datetime.now(UTC))
        return {"batchItemFailures": [{"itemIdentifier": each["messageId"]} for each in left]}

    def _work(self, text: str) -> None:
        try:
            kept = read_set_aside(text)
            provider = PROVIDERS.get(kept.provider)
            if provider is None:
                raise InvalidPayloadError("provider", f"is {kept.provider[:80]!r}")
            request = kept.request(self._payloads)
        except (InvalidPayloadError, NotFoundError) as error:
            self._keep_poison(text, error)
            return
        end = self._acceptor.accept(provider, request, verified=kept.verified)
        reached(Point.INTAKE_ACCEPTED)
        if end.outcome is not Outcome.REFUSED:
            count_line("WebhookTakenIn", provider=kept.provider)
        self._forget(kept)

    def _forget(self, kept: SetAside) -> None:
        """A body of its own is not needed any more; where it stays, the bucket's retention ends it."""
        if kept.claim is None:
            return
        try:
            self._payloads.delete(kept.claim)
        except TradewindError as error:
            log_line("warning", "set-aside body stays until its retention ends", error=repr(error))

    def _keep_poison(self, text: str, error: TradewindError) -> None:
        session = Session(self._connections)
        try:
            with session.transaction(PLATFORM_TENANT) as transaction:
                transaction.execute(
                    _KEEP_POISON,
                    {
                        "tenant": PLATFORM_TENANT,
                        "cause": f"unreadable:{message_key(text)}",
                        "correlation_id": f"unreadable:{message_key(text)}",
                        "body": text.encode("utf-8", "replace"),
                        "error": str(error).replace("\x00", "")[:2000],
                    },
                )
            session.settle()
        finally:
            session.close()
        count_line("DeadLetter", task="ingress-intake")
        log_line("error", "intake message cannot be used, kept as a dead letter", error=str(error))

    def _give_back(self, records: Sequence[Mapping[str, Any]], now: datetime) -> None:
        queue = str(records[0]["eventSourceARN"]).rsplit(":", 1)[-1]
        waits = [(str(each["receiptHandle"]), wait_of(each, now)) for each in records]
        try:
            self._queues.set_visibility(queue, waits)
        except TradewindError as error:
            # The messages come again after the queue's own visibility.
            log_line("warning", "visibility not changed", error=repr(error))


def wait_of(record: Mapping[str, Any], now: datetime) -> timedelta:
    """Half of the message's age in the queue, within ``SHORTEST_WAIT`` and ``LONGEST_WAIT``."""
    sent = int(record["attributes"].get("SentTimestamp", now.timestamp() * 1000)) / 1000
    age = timedelta(seconds=max(0.0, now.timestamp() - sent))
    return max(SHORTEST_WAIT, min(LONGEST_WAIT, age / 2))
