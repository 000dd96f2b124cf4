"""Frequentist comparisons: Welch's t, the pooled z for shares, and intervals that hold at every look."""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy.special import ndtr, ndtri, stdtr, stdtrit

from commerce.ab_testing.statistics.samples import Sample, effect_of

TUNED_TO = 5000
"""The number of visitors at which the always-valid interval is the narrowest."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """An estimate of the change with its two-sided p-value and interval."""

    estimate: float
    p_value: float
    interval: tuple[float, float]


def welch(
    control: Sample, variant: Sample, *, confidence: float = 0.95, relative: bool = True
) -> Verdict | None:
    """Welch's two-sided t test (Biometrika 34, 1947); None where nothing can be said yet."""
    effect = effect_of(control, variant, relative=relative)
    if effect is None:
        return None
    p_value = 2 * float(stdtr(effect.freedom, -abs(effect.estimate / effect.error)))
    half = float(stdtrit(effect.freedom, 0.5 + confidence / 2)) * effect.error
    return Verdict(effect.estimate, p_value, (effect.estimate - half, effect.estimate + half))


def pooled_z(control: Sample, variant: Sample, *, confidence: float = 0.95) -> Verdict | None:
    """The two-proportion z test on the absolute difference of shares: pooled for the p-value, unpooled for the interval
    (Fleiss, Levin and Paik, "Statistical Methods for Rates and Proportions", 3rd ed., chapter 3).
    """
    effect = effect_of(control, variant, relative=False)
    if effect is None:
        return None
    half = float(ndtri(0.5 + confidence / 2)) * effect.error
    p_value = pooled_p_value(control, variant)
    return Verdict(effect.estimate, p_value, (effect.estimate - half, effect.estimate + half))


def pooled_p_value(control: Sample, variant: Sample) -> float:
    """How likely chance alone parts two shares as far: the two-proportion z test's, which needs no variance of either,
    so that a control of whom none did it is one to compare with. 1 where nobody came, or all did the same.
    """
    visitors = control.size + variant.size
    pooled = (control.mean * control.size + variant.mean * variant.size) / max(1, visitors)
    if min(control.size, variant.size) == 0 or not 0 < pooled < 1:
        return 1.0
    error = math.sqrt(pooled * (1 - pooled) * (1 / control.size + 1 / variant.size))
    return 2 * float(ndtr(-abs(variant.mean - control.mean) / error))


def always_valid(
    control: Sample,
    variant: Sample,
    *,
    confidence: float = 0.95,
    relative: bool = True,
    tuned_to: int = TUNED_TO,
) -> Verdict | None:
    """An interval that covers the truth at all looks together, so that one may stop whenever one likes.

    Asymptotic confidence sequences: Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, arXiv 2103.06476v7, equations
    9, 155 and 161. None where nothing can be said yet.
    """
    effect = effect_of(control, variant, relative=relative)
    if effect is None:
        return None
    alpha, size = 1 - confidence, effect.visitors
    rho_squared = (-2 * math.log(alpha) + math.log(1 - 2 * math.log(alpha))) / tuned_to
    stretched = size * rho_squared + 1
    spread = effect.error**2 * size
    half = math.sqrt(
        spread * 2 * stretched * math.log(math.sqrt(stretched) / alpha) / (size**2 * rho_squared)
    )
    evidence = rho_squared * size * (effect.estimate / effect.error) ** 2 / (2 * stretched)
    p_value = min(1.0, math.sqrt(stretched) * math.exp(-evidence))
    return Verdict(effect.estimate, p_value, (effect.estimate - half, effect.estimate + half))
