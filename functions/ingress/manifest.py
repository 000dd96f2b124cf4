"""The registry as the ingress functions see it: data written at build time beside this file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Manifest:
    """``tasks`` by id, ``routes`` by provider and topic, ``schedules`` by name, ``events`` by type; see
    ``tradewind.tasks.manifest``.
    """

    tasks: Mapping[str, Mapping[str, Any]]
    routes: Mapping[str, Mapping[str, list[str]]]
    schedules: Mapping[str, Mapping[str, Any]]
    events: Mapping[str, list[str]] = field(default_factory=dict)

    def tasks_for(self, provider: str, topic: str) -> list[str]:
        return self.routes.get(provider, {}).get(topic, [])


@cache
def load_manifest() -> Manifest:
    """The bundle's manifest; in a work tree, where no bundle was built, it is made from the registry itself."""
    return Manifest(**_load("manifest.json", "describe_registry"))


@cache
def load_payload_schemas() -> dict[str, Any]:
    """Each task's payload as a JSON schema, by task id. A file of its own: only the platform's API reads it."""
    return _load("payloads.json", "describe_payloads")


def _load(name: str, describe: str) -> dict[str, Any]:
    path = Path(__file__).with_name(name)
    if path.exists():
        loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return loaded
    from tradewind.tasks import manifest  # noqa: PLC0415 - a work tree only
    from tradewind.tasks.registry import discover  # noqa: PLC0415 - a work tree only

    made: dict[str, Any] = getattr(manifest, describe)(discover(Path(__file__).parents[1]))
    return made
