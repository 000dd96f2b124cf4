"""Numbers out of samples: medians, percentiles, and how they are told."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Spread:
    """Samples in one unit, reduced to what is quoted."""

    median: float
    p95: float
    p99: float
    least: float
    most: float
    samples: int

    @classmethod
    def of(cls, samples: Sequence[float]) -> Spread:
        """Raises ValueError where there is no sample."""
        if not samples:
            raise ValueError("nothing was measured")
        ordered = sorted(samples)
        return cls(
            median=statistics.median(ordered),
            p95=percentile(ordered, 0.95),
            p99=percentile(ordered, 0.99),
            least=ordered[0],
            most=ordered[-1],
            samples=len(ordered),
        )

    def document(self) -> dict[str, Any]:
        """Rounded to four significant digits, which is more than the machine can repeat."""
        return {
            "median": digits(self.median),
            "p95": digits(self.p95),
            "p99": digits(self.p99),
            "min": digits(self.least),
            "max": digits(self.most),
            "samples": self.samples,
        }


def percentile(ordered: Sequence[float], share: float) -> float:
    """The nearest-rank percentile of sorted samples: a value that was measured, never one between two."""
    return ordered[math.ceil(round(share * len(ordered), 9)) - 1]


def digits(number: float) -> float:
    return float(f"{number:.4g}")
