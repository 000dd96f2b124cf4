"""Sending to queues, and giving messages back with a wait."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from tradewind.aws.client import AwsClient, AwsUnavailableError

MAX_ENTRIES = 10
MAX_BATCH_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Entry:
    """One message to send. ``queue`` is the queue's name; ``key`` identifies the entry to the caller."""

    key: str
    queue: str
    body: str
    group: str
    deduplication: str


class Queues:
    """The queues of this stage, named relative to ``url_prefix``."""

    def __init__(self, client: AwsClient, url_prefix: str) -> None:
        self._client = client
        self._url_prefix = url_prefix

    def send(self, entries: Sequence[Entry]) -> list[str]:
        """Send all entries and return the keys of those accepted.

        An entry that SQS refuses alone is left out of the answer, and stays in the outbox for the relay. Raises what
        the client raises where nothing at all is known to be sent.
        """
        accepted: list[str] = []
        for queue, batch in _batches(entries):
            answer = self._client.json_call(
                "sqs",
                "AmazonSQS.SendMessageBatch",
                {
                    "QueueUrl": self._url_prefix + queue,
                    "Entries": [
                        {
                            "Id": str(at),
                            "MessageBody": entry.body,
                            "MessageGroupId": entry.group,
                            "MessageDeduplicationId": entry.deduplication,
                        }
                        for at, entry in enumerate(batch)
                    ],
                },
            )
            accepted += [batch[int(item["Id"])].key for item in answer.get("Successful", [])]
        return accepted

    def put(self, queue: str, body: str) -> None:
        """Send one message to a standard queue. Raises what the client raises where it is not known to be sent."""
        self._client.json_call(
            "sqs", "AmazonSQS.SendMessage", {"QueueUrl": self._url_prefix + queue, "MessageBody": body}
        )

    def set_visibility(self, queue: str, waits: Sequence[tuple[str, timedelta]]) -> None:
        """Make received messages (receipt handle, wait) visible again after their wait."""
        for start in range(0, len(waits), MAX_ENTRIES):
            answer = self._client.json_call(
                "sqs",
                "AmazonSQS.ChangeMessageVisibilityBatch",
                {
                    "QueueUrl": self._url_prefix + queue,
                    "Entries": [
                        {
                            "Id": str(at),
                            "ReceiptHandle": handle,
                            "VisibilityTimeout": math.ceil(wait.total_seconds()),
                        }
                        for at, (handle, wait) in enumerate(waits[start : start + MAX_ENTRIES])
                    ],
                },
            )
            if answer.get("Failed"):
                raise AwsUnavailableError(f"sqs: visibility not changed: {answer['Failed'][0].get('Code')}")


def _batches(entries: Iterable[Entry]) -> Iterator[tuple[str, list[Entry]]]:
    """Group entries by queue into batches within SQS's limits of 10 messages and 1 MiB, order kept."""
    open_batches: dict[str, tuple[list[Entry], int]] = {}
    for entry in entries:
        batch, size = open_batches.get(entry.queue, ([], 0))
        length = len(entry.body.encode())
        if batch and (len(batch) == MAX_ENTRIES or size + length > MAX_BATCH_BYTES):
            yield entry.queue, batch
            batch, size = [], 0
        open_batches[entry.queue] = ([*batch, entry], size + length)
    for queue, (batch, _) in open_batches.items():
        yield queue, batch
