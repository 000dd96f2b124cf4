"""Structured logs. Tenant, task, attempt and correlation id are bound per message, not per process.

Powertools does the formatting; its keys are process-wide by default, so messages that run side by side use its context
keys. A metric is a field of the line that tells the same (``tradewind.loglines.metric_fields``).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger


@cache
def logger() -> Logger:
    """The process's logger: one JSON object a line on standard output."""
    return Logger(
        service=os.environ.get("POWERTOOLS_SERVICE_NAME", "tradewind"),
        level=os.environ.get("TRADEWIND_LOG_LEVEL", "INFO"),
        use_rfc3339=True,
        utc=True,
        location=None,
    )


@contextmanager
def bound(**fields: Any) -> Iterator[None]:
    """Bind fields to every log line of this context (a message group's own copied context)."""
    log = logger()
    log.thread_safe_append_keys(**fields)
    try:
        yield
    finally:
        log.thread_safe_remove_keys(list(fields))
