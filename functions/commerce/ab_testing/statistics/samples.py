"""Means with their variances, from sums: all that a comparison needs to know of a variant."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sample:
    """A variant's ``size`` (visitors), the ``mean`` of what is measured, and the ``variance`` of one visitor.

    ``baseline`` is the mean before any adjustment: relative changes are told against it.
    """

    size: int
    mean: float
    variance: float
    baseline: float


def proportion(visitors: int, converted: int) -> Sample:
    """A share of visitors. Raises ValueError where more converted than came."""
    if not 0 <= converted <= visitors:
        raise ValueError(f"converted must lie between 0 and visitors, {visitors}; it is {converted}")
    share = converted / visitors if visitors else 0.0
    return Sample(visitors, share, share * (1 - share), share)


def mean_of(visitors: int, total: float, squares: float) -> Sample:
    """An amount per visitor, from the sum of all amounts and of their squares; most visitors may have none."""
    mean = total / visitors if visitors else 0.0
    return Sample(visitors, mean, _variance(visitors, total, squares), mean)


def ratio_of(
    visitors: int,
    total: float,
    squares: float,
    parts: float,
    part_squares: float,
    products: float,
) -> Sample:
    """A ratio of two amounts of the same visitors, such as revenue per order: ``total`` over ``parts``.

    The variance is the delta method's (Deng, Knoblich and Lu, "Applying the Delta Method in Metric Analytics", KDD
    2018).
    """
    if visitors < 2 or parts == 0:  # noqa: PLR2004 - a variance needs two
        return Sample(visitors, 0.0, 0.0, 0.0)
    above, below = total / visitors, parts / visitors
    covariance = (products - total * parts / visitors) / (visitors - 1)
    variance = (
        _variance(visitors, total, squares) / below**2
        - 2 * covariance * above / below**3
        + above**2 * _variance(visitors, parts, part_squares) / below**4
    )
    return Sample(visitors, total / parts, variance, total / parts)


def _variance(size: int, total: float, squares: float) -> float:
    """The unbiased sample variance; sums of equal amounts may round to just below nothing."""
    return max(0.0, (squares - total**2 / size) / (size - 1)) if size > 1 else 0.0


@dataclass(frozen=True, slots=True)
class Effect:
    """A variant against the control: the estimate, its standard error, and Welch's degrees of freedom."""

    estimate: float
    error: float
    freedom: float
    visitors: int


def effect_of(control: Sample, variant: Sample, *, relative: bool = True) -> Effect | None:
    """The change from control to variant; None where nothing can be said yet (nobody, no variance, nothing to
    relate to).

    The relative change is (variant - control) / control, its variance the delta method's. Degrees of freedom by
    Welch and Satterthwaite.
    """
    if min(control.size, variant.size) < 2 or min(control.variance, variant.variance) <= 0:  # noqa: PLR2004
        return None
    if relative and control.baseline == 0:
        return None
    of_control, of_variant = control.variance / control.size, variant.variance / variant.size
    freedom = (of_control + of_variant) ** 2 / (
        of_control**2 / (control.size - 1) + of_variant**2 / (variant.size - 1)
    )
    estimate, variance = variant.mean - control.mean, of_control + of_variant
    if relative:
        estimate /= control.baseline
        variance = of_variant / control.baseline**2 + of_control * variant.baseline**2 / control.baseline**4
    return Effect(estimate, math.sqrt(variance), freedom, control.size + variant.size)
