"""What an ad platform keeps of events: each once by its key, and how often it was told of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from infra.local.sandbox.wire import Request


@dataclass(slots=True)
class Received:
    """An account's events. A second one under a key is a duplicate; ``tests`` are those sent with a test code;
    ``dropped`` are those that a platform drops without a word.
    """

    events: dict[str, dict[str, Any]] = field(default_factory=dict)
    unkeyed: list[dict[str, Any]] = field(default_factory=list)
    tests: list[dict[str, Any]] = field(default_factory=list)
    dropped: list[dict[str, Any]] = field(default_factory=list)
    duplicates: int = 0

    def keep(self, key: str | None, event: Mapping[str, Any]) -> None:
        """Without a key an event counts as often as it comes."""
        if key is None:
            self.unkeyed.append(dict(event))
        elif key in self.events:
            self.duplicates += 1
        else:
            self.events[key] = dict(event)

    def drop(self, why: str, event: Any) -> None:
        self.dropped.append({"why": why, "event": event})

    def document(self) -> dict[str, Any]:
        return {
            "events": [*self.events.values(), *self.unkeyed],
            "tests": self.tests,
            "dropped": self.dropped,
            "duplicates": self.duplicates,
        }

    def save(self) -> dict[str, Any]:
        return {"events": self.events, "unkeyed": self.unkeyed, "duplicates": self.duplicates}

    @classmethod
    def load(cls, state: Mapping[str, Any]) -> Received:
        return cls(state["events"], state["unkeyed"], duplicates=state["duplicates"])

    @property
    def summary(self) -> dict[str, Any]:
        return {"events": len(self.events) + len(self.unkeyed), "told again": self.duplicates}


def object_of(request: Request) -> dict[str, Any] | None:
    """The body as a JSON object; None where it is none."""
    if not request.headers.get("content-type", "").startswith("application/json"):
        return None
    try:
        document = json.loads(request.body)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None
