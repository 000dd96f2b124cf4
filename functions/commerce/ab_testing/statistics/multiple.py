"""Several variants against one control: the more comparisons, the more of them win by chance."""

from __future__ import annotations

from collections.abc import Sequence

FEWEST_VARIANTS = 3
"""From so many variants on, the control among them, p-values are adjusted."""


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values that bound the chance of any false win (Holm, Scandinavian Journal of Statistics 6, 1979)."""
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, at in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[at]))
        adjusted[at] = highest
    return adjusted
