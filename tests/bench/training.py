"""Training a model from many journeys, from the claim to the registry: how long it takes, and how much memory.

It runs in a process of its own, as in its container, so that the memory is the training's alone.
"""

from __future__ import annotations

import os
import resource
import time
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from uuid import UUID

from infra.local.postgres import DatabaseUrls
from tests.bench.figures import digits
from tests.integration.classroom import Classroom
from tests.integration.harness import House, add_tenant, local_settings

JOURNEYS = int(os.environ.get("BENCH_JOURNEYS", "200000"))


def measure(urls: DatabaseUrls) -> dict[str, Any]:
    """Raises AssertionError where the training does not end with a model that is used."""
    house = House(urls, local_settings(urls), add_tenant(urls, "acme"))
    Classroom(house).fill(JOURNEYS)
    with get_context("spawn").Pool(1) as pool:
        measured = pool.apply(train, (urls, house.tenant_id))
    house.close()
    return measured


def train(urls: DatabaseUrls, tenant_id: UUID) -> dict[str, Any]:
    """What a container does, measured from its claim on; ``peak_memory_mb`` is that of the whole process."""
    house = House(urls, local_settings(urls), tenant_id)
    room = Classroom(house)
    before = _peak()
    marks: dict[str, float] = {}
    begun = time.monotonic()
    training_id = room.ask()
    told = room.train(training_id, noted=lambda message: marks.setdefault(message, time.monotonic() - begun))
    whole = time.monotonic() - begun
    assert told["used"], told
    house.close()
    return {
        "journeys": told["samples"],
        "conversions": told["conversions"],
        "algorithm": told["algorithm"],
        "units": len(room.units()),
        "seconds": digits(whole),
        "read_seconds": digits(marks["training begins"]),
        "learn_seconds": digits(marks["checkpoint saved"] - marks["training begins"]),
        "journeys_per_second": digits(told["samples"] / whole),
        "peak_memory_mb": digits(_peak()),
        "peak_memory_before_mb": digits(before),
    }


def _peak() -> float:
    """In MiB. Linux keeps in ``ru_maxrss`` what the process was before it became this one: its own count is read."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    [peak] = [line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM")]
    return int(peak) / 1024
