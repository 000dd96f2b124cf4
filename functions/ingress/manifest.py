"""The registry as the ingress functions see it: data written at build time beside this file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Manifest:
    """``tasks`` by id, ``routes`` by provider and topic, ``schedules`` by name; see ``tradewind.tasks.manifest``."""

    tasks: Mapping[str, Mapping[str, Any]]
    routes: Mapping[str, Mapping[str, list[str]]]
    schedules: Mapping[str, Mapping[str, Any]]

    def tasks_for(self, provider: str, topic: str) -> list[str]:
        return self.routes.get(provider, {}).get(topic, [])


@cache
def load_manifest() -> Manifest:
    """The bundle's manifest; in a work tree, where no bundle was built, it is made from the registry itself."""
    path = Path(__file__).with_name("manifest.json")
    if path.exists():
        return Manifest(**json.loads(path.read_text(encoding="utf-8")))
    from tradewind.tasks.manifest import describe_registry  # noqa: PLC0415 - a work tree only
    from tradewind.tasks.registry import discover  # noqa: PLC0415 - a work tree only

    return Manifest(**describe_registry(discover(Path(__file__).parents[1])))
