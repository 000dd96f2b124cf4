"""Structured logs and metrics. Tenant, task, attempt and correlation id are bound per message, not per process.

Powertools does the formatting; its keys and metrics are process-wide by default, so messages that run side by side use
its context keys and a metrics object each.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

NAMESPACE = "Tradewind"


@cache
def logger() -> Logger:
    """The process's logger: one JSON object a line on standard output."""
    return Logger(
        service=os.environ.get("POWERTOOLS_SERVICE_NAME", "tradewind"),
        level=os.environ.get("TRADEWIND_LOG_LEVEL", "INFO"),
        use_rfc3339=True,
        utc=True,
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


def count(name: str, by: int = 1, *, dimensions: Mapping[str, str] | None = None, **fields: str) -> None:
    """Count something, as an EMF line. ``fields`` go along as searchable text; each dimension makes a billed series."""
    _emit(name, MetricUnit.Count, by, dimensions, fields)


def duration(
    name: str, took: timedelta, *, dimensions: Mapping[str, str] | None = None, **fields: str
) -> None:
    """Record how long something took, in milliseconds."""
    _emit(name, MetricUnit.Milliseconds, took.total_seconds() * 1000, dimensions, fields)


def _emit(
    name: str, unit: MetricUnit, value: float, dimensions: Mapping[str, str] | None, fields: Mapping[str, str]
) -> None:
    metrics = EphemeralMetrics(namespace=NAMESPACE, service="tradewind")
    for dimension, text in (dimensions or {}).items():
        metrics.add_dimension(dimension, text)
    for field, text in fields.items():
        metrics.add_metadata(field, text)
    metrics.add_metric(name=name, unit=unit, value=value)
    metrics.flush_metrics()
