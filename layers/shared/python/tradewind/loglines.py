"""One JSON object a line on standard output, with the standard library only.

For what must start fast (the receiver) and for modules that it shares with tasks. Tasks log through
``tradewind.observability``, whose context binds tenant, task and correlation id; a line written here carries its own.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import Any

_NAMESPACE = "Tradewind"
COUNT, MILLISECONDS = "Count", "Milliseconds"


def log_line(level: str, message: str, **fields: Any) -> None:
    """Write a log event: a short constant message with fields."""
    _write({"level": level.upper(), "message": message, "timestamp": datetime.now(UTC).isoformat(), **fields})


def metric_fields(name: str, value: float, unit: str = COUNT, **dimensions: str) -> dict[str, Any]:
    """A metric as fields of a log line, in CloudWatch's embedded metric format. Each set of dimension values is a
    billed series: a tenant is a field of the line, never a dimension.
    """
    metric = {
        "Namespace": _NAMESPACE,
        "Dimensions": [sorted(dimensions)],
        "Metrics": [{"Name": name, "Unit": unit}],
    }
    about = {"Timestamp": int(datetime.now(UTC).timestamp() * 1000), "CloudWatchMetrics": [metric]}
    return {"_aws": about, name: value, **dimensions}


def count_line(name: str, by: int = 1, **dimensions: str) -> None:
    """Count something, in a line of its own."""
    _write(metric_fields(name, by, **dimensions))


def _write(record: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(record, default=str) + "\n")
    sys.stdout.flush()
