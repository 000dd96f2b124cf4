"""Training a model from many journeys, from the claim to the registry: how long it takes, and how much memory."""

from __future__ import annotations

import os
import resource
import time
from typing import Any

from infra.local.postgres import DatabaseUrls
from tests.bench.figures import digits
from tests.integration.classroom import Classroom
from tests.integration.harness import House, add_tenant, local_settings

JOURNEYS = int(os.environ.get("BENCH_JOURNEYS", "200000"))


def measure(urls: DatabaseUrls) -> dict[str, Any]:
    """Raises AssertionError where the training does not end with a model that is used."""
    house = House(urls, local_settings(urls), add_tenant(urls, "acme"))
    room = Classroom(house)
    room.fill(JOURNEYS)
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
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
