"""The registry as data: what the ingress functions know of tasks without importing them.

Written when the bundles are built, ``ingress/manifest.json`` for all of them, and ``ingress/payloads.json``, which only
the platform's API reads: the receiver starts fast.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from tradewind.tasks.registry import Registry

FILE = "manifest.json"
PAYLOADS_FILE = "payloads.json"


def describe_registry(
    registry: Registry, concurrency: Mapping[str, int] | None = None, deployed: Collection[str] | None = None
) -> dict[str, Any]:
    """``tasks`` by id (cap, entity, backfill, each_tenant, domain), ``routes`` by provider and topic, ``schedules``,
    ``events`` by type. ``concurrency`` by task is what the stage gives its queue instead of the task's own. Where
    only some domains are ``deployed``, nothing is routed to the queues of the others: they do not exist.
    """
    return {
        "tasks": {
            task.id: {
                "domain": task.domain,
                "feature": task.feature,
                "cap": task.cap,
                "concurrency": (concurrency or {}).get(task.id, task.concurrency),
                "entity": task.entity,
                "backfill": task.backfill,
                "scope": task.scope,
                "each_tenant": task.each_tenant,
            }
            for task in registry
        },
        "routes": registry.routes(deployed),
        "events": registry.events(deployed),
        "schedules": {
            name: {
                "task": task.id,
                "cron": cron.expression,
                "zone": cron.zone,
                "payload": dict(cron.payload),
                "overlap": cron.overlap,
                "only_due": cron.only_due,
                "each_tenant": task.each_tenant,
            }
            for name, cron, task in registry.schedules()
        },
    }


def describe_payloads(registry: Registry) -> dict[str, Any]:
    """Each task's payload as a JSON schema. A field that the payload does not name is refused, where a webhook's
    body may well have more: our own callers learn of a misspelt name at once.
    """
    return {task.id: _closed(task.payload.model_json_schema()) for task in registry}


def _closed(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: _closed(item) for name, item in schema.items()}
    if closed.get("type") == "object" and isinstance(closed.get("properties", {}), dict):
        closed.setdefault("additionalProperties", False)
    return closed


def generated_files(
    registry: Registry, concurrency: Mapping[str, int] | None = None, deployed: Collection[str] | None = None
) -> dict[str, str]:
    """File name -> text of everything that lies beside the ingress functions."""
    described = {
        FILE: describe_registry(registry, concurrency, deployed),
        PAYLOADS_FILE: describe_payloads(registry),
    }
    return {name: json.dumps(data, indent=1, sort_keys=True) + "\n" for name, data in described.items()}
