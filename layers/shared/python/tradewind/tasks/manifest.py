"""The registry as data: what the ingress functions know of tasks without importing them.

Written when the bundles are built (``ingress/manifest.json``) and read by receiver, fan-out, relay and admin.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tradewind.tasks.registry import Registry

FILE = "manifest.json"


def describe_registry(registry: Registry) -> dict[str, Any]:
    """``tasks`` by id (cap, entity, backfill, each_tenant, domain), ``routes`` by provider and topic, ``schedules``."""
    return {
        "tasks": {
            task.id: {
                "domain": task.domain,
                "feature": task.feature,
                "cap": task.cap,
                "entity": task.entity,
                "backfill": task.backfill,
                "scope": task.scope,
                "each_tenant": task.each_tenant,
            }
            for task in registry
        },
        "routes": registry.routes(),
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


def write_manifest(registry: Registry, folder: Path) -> Path:
    """Write the manifest into ``folder`` and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE
    path.write_text(
        json.dumps(describe_registry(registry), indent=1, sort_keys=True) + "\n", encoding="utf-8"
    )
    return path
