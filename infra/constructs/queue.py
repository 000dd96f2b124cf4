"""Queues: FIFO with high throughput, encrypted, reachable over TLS alone."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.grants import tls_only
from infra.names import queue_arn
from tradewind.retention import QUEUES

if TYPE_CHECKING:
    from infra.stacks.base import TradewindStack

MAX_RECEIVES = 1000
"""Attempts are counted by the kernel; this bound only catches what the kernel never sees."""


class Queue(Construct):
    """``name`` decides the kind: a name ending in ``.fifo`` makes a FIFO queue."""

    def __init__(
        self,
        stack: TradewindStack,
        construct_id: str,
        *,
        name: str,
        visibility: timedelta,
        dead_letters: str | None = None,
    ) -> None:
        super().__init__(stack, construct_id)
        self.name = name
        fifo = name.endswith(".fifo")
        self.resource = sqs.CfnQueue(
            self,
            "queue",
            queue_name=name,
            fifo_queue=True if fifo else None,
            content_based_deduplication=False if fifo else None,
            deduplication_scope="messageGroup" if fifo else None,
            fifo_throughput_limit="perMessageGroupId" if fifo else None,
            visibility_timeout=int(visibility.total_seconds()),
            message_retention_period=int(QUEUES.total_seconds()),
            sqs_managed_sse_enabled=True,
            redrive_policy=None
            if dead_letters is None
            else {"deadLetterTargetArn": queue_arn(dead_letters), "maxReceiveCount": MAX_RECEIVES},
        )
        if not stack.settings.is_local:
            document = {
                "Version": "2012-10-17",
                "Statement": [tls_only("sqs:*", self.resource.attr_arn)],
            }
            sqs.CfnQueuePolicy(self, "policy", queues=[self.resource.ref], policy_document=document)
