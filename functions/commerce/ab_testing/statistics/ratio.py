"""Sample-ratio mismatch: do the variants have the visitors that the weights give them?

A mismatch says that assignment or counting is broken, and with it every comparison (Fabijan et al., "Diagnosing Sample
Ratio Mismatch in Online Controlled Experiments", KDD 2019).
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from scipy.special import chdtrc

FEWEST_EXPECTED = 5
"""Below this many expected visitors a variant the chi-square test means nothing."""
WARNING_BELOW, CRITICAL_BELOW = 0.05, 0.001


class Mismatch(StrEnum):
    NONE = "none"
    WARNING = "warning"
    CRITICAL = "critical"


def sample_ratio_mismatch(visitors: Sequence[int], weights: Sequence[float]) -> float:
    """Pearson's chi-square p-value of ``visitors`` under ``weights`` (any scale); 1.0 where too few came to tell.

    Variants of weight 0 are left out: a bandit may have switched them off. Raises ValueError for unlike lengths.
    """
    pairs = [pair for pair in zip(visitors, weights, strict=True) if pair[1] > 0]
    total, whole = sum(seen for seen, _ in pairs), sum(weight for _, weight in pairs)
    expected = [total * weight / whole for _, weight in pairs]
    if len(pairs) < 2 or min(expected) < FEWEST_EXPECTED:  # noqa: PLR2004 - one variant has no ratio
        return 1.0
    distance = sum((seen - due) ** 2 / due for (seen, _), due in zip(pairs, expected, strict=True))
    return float(chdtrc(len(pairs) - 1, distance))


def judge(p_value: float) -> Mismatch:
    """What a p-value asks for: below 0.05 a look, below 0.001 a stop."""
    if p_value < CRITICAL_BELOW:
        return Mismatch.CRITICAL
    return Mismatch.WARNING if p_value < WARNING_BELOW else Mismatch.NONE
