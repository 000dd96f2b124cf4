"""Every variant against the control, by every method, as one table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from commerce.ab_testing.statistics.bayes import Comparison, Prior, compare
from commerce.ab_testing.statistics.frequentist import Verdict, always_valid, welch
from commerce.ab_testing.statistics.multiple import FEWEST_VARIANTS, holm
from commerce.ab_testing.statistics.samples import Sample


@dataclass(frozen=True, slots=True)
class Analysis:
    """One variant's comparisons with the control. ``adjusted_p_value`` is Holm's, of the fixed-horizon test, where more
    than one variant is compared.
    """

    bayesian: Comparison
    fixed_horizon: Verdict
    any_time: Verdict
    adjusted_p_value: float


def analyse(
    control: Sample,
    variants: Mapping[str, Sample],
    *,
    confidence: float = 0.95,
    prior: Prior | None = None,
) -> dict[str, Analysis]:
    """Relative changes by variant; a variant of which nothing can be said yet is left out."""
    found: dict[str, tuple[Comparison, Verdict, Verdict]] = {}
    for name, sample in variants.items():
        bayesian = compare(control, sample, prior=prior, confidence=confidence)
        fixed = welch(control, sample, confidence=confidence)
        any_time = always_valid(control, sample, confidence=confidence)
        if bayesian is not None and fixed is not None and any_time is not None:
            found[name] = (bayesian, fixed, any_time)
    p_values = [fixed.p_value for _, fixed, _ in found.values()]
    adjusted = holm(p_values) if len(variants) + 1 >= FEWEST_VARIANTS else p_values
    return {
        name: Analysis(bayesian, fixed, any_time, p_value)
        for (name, (bayesian, fixed, any_time)), p_value in zip(found.items(), adjusted, strict=True)
    }
