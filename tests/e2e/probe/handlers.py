"""Handlers of the conformance test. They run inside the emulator, on the project's interpreter, but without
the kernel.

Every delivery of a message is one JSON line in the file that PROBE_JOURNAL names.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import boto3


class RefusedError(Exception):
    """The name that a caller must see as the error type."""


def fail(event: dict[str, Any], _context: object) -> None:
    """Raise an exception of a class of our own."""
    raise RefusedError(f"refused {event['order']}")


def echo(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Return the event and what the runtime says about time and place."""
    print("called")
    return {
        "event": event,
        "remaining_ms": context.get_remaining_time_in_millis(),
        "setting": os.environ["PROBE_SETTING"],
    }


def list_queues(_event: object, _context: object) -> int:
    """Call SQS with the role of the function; returns how many queues it sees."""
    print("called")
    return len(boto3.client("sqs").list_queues().get("QueueUrls", []))


def work(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Work each message for `work_s`; one that is to be refused ends its group in this batch.

    The refused message gets its `backoff_s` as visibility timeout, the rest of its group 0, as the kernel
    does.
    """
    print("called")
    refused_groups: dict[str, str] = {}
    for record in event["Records"]:
        body = json.loads(record["body"])
        group = record["attributes"]["MessageGroupId"]
        attempt = int(record["attributes"]["ApproximateReceiveCount"])
        if group in refused_groups:
            _give_back(record, 0)
            refused_groups[record["messageId"]] = group
            continue
        started = time.time()
        time.sleep(body["work_s"])
        refused = attempt <= body["refusals"]
        _journal(group, body["number"], attempt, started, refused=refused)
        if refused:
            _give_back(record, body["backoff_s"])
            refused_groups[group] = refused_groups[record["messageId"]] = group
    failures = [record["messageId"] for record in event["Records"] if record["messageId"] in refused_groups]
    return {"batchItemFailures": [{"itemIdentifier": message} for message in failures]}


def _give_back(record: dict[str, Any], seconds: int) -> None:
    queue_name = record["eventSourceARN"].rsplit(":", 1)[1]
    sqs = boto3.client("sqs")
    url = sqs.get_queue_url(QueueName=queue_name)["QueueUrl"]
    sqs.change_message_visibility(
        QueueUrl=url, ReceiptHandle=record["receiptHandle"], VisibilityTimeout=seconds
    )


def _journal(group: str, number: int, attempt: int, started: float, *, refused: bool) -> None:
    line = {"group": group, "number": number, "attempt": attempt, "refused": refused}
    line |= {"started": started, "ended": time.time()}
    with Path(os.environ["PROBE_JOURNAL"]).open("a") as journal:
        journal.write(json.dumps(line) + "\n")
