"""``python -m tradewind.tasks [functions folder]``: the registry, one JSON object a line, then the named schedules."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tradewind.tasks.registry import Registry, discover


def lines(registry: Registry) -> list[str]:
    """Each task, then each clock under its schedule's id."""
    tasks = [json.dumps(task.describe()) for task in registry]
    schedules = [
        json.dumps(
            {"id": name, "kind": "schedule", "cron": cron.expression, "zone": cron.zone, "starts": task.id}
        )
        for name, cron, task in registry.schedules()
    ]
    return tasks + schedules


if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "functions").resolve()
    sys.path.insert(0, str(folder))
    sys.stdout.write("".join(f"{line}\n" for line in lines(discover(folder))))
