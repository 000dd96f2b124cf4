"""Does an effect last? Novelty that wears off, and drift between a test's beginning and its end."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from commerce.ab_testing.statistics.samples import Sample, effect_of

FEWEST_DAYS = 7
GOOD_FIT = 0.6
"""So much of the daily changes' variance the fading curve must explain (its coefficient of determination)."""
EARLY_OVER_STABLE = 1.3
EARLY_DAYS = 3
FEWEST_OF_A_TREND = 3
MOST_TRIES = 2000


@dataclass(frozen=True, slots=True)
class Novelty:
    """A curve ``stable + extra * exp(-day / lasting_days)`` through the daily changes."""

    is_novelty: bool
    early: float
    stable: float
    lasting_days: float
    fit: float


def find_novelty(daily_changes: Sequence[float]) -> Novelty | None:
    """Whether a test's lift is one of its first days; None below seven days or where no fading curve fits at all.

    ``early`` is the mean of the first three days, ``stable`` the level to which the fitted curve falls. It is a
    novelty where the curve explains over 60 % of the variance and the early lift is over 1.3 times a stable one
    above nothing, or nothing stable is left.
    """
    if len(daily_changes) < FEWEST_DAYS:
        return None
    from scipy.optimize import OptimizeWarning, curve_fit  # noqa: PLC0415 - 150 ms that few tests need

    days, changes = np.arange(len(daily_changes), dtype=float), np.asarray(daily_changes, dtype=float)
    total = float(((changes - changes.mean()) ** 2).sum())
    if total == 0:
        return None
    late = float(changes[len(changes) // 2 :].mean())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", OptimizeWarning)
            (stable, extra, lasting), _ = curve_fit(
                _fading,
                days,
                changes,
                p0=(late, float(changes[0]) - late, 2.0),
                bounds=((-np.inf, -np.inf, 0.1), (np.inf, np.inf, float(len(days)))),
                max_nfev=MOST_TRIES,
            )
    except RuntimeError:  # it did not converge
        return None
    fit = 1 - float(((changes - _fading(days, stable, extra, lasting)) ** 2).sum()) / total
    early = float(changes[:EARLY_DAYS].mean())
    is_novelty = fit > GOOD_FIT and early > 0 and early > EARLY_OVER_STABLE * max(float(stable), 0.0)
    return Novelty(is_novelty, early, float(stable), float(lasting), fit)


def _fading(
    day: np.typing.NDArray[np.float64], stable: float, extra: float, lasting: float
) -> np.typing.NDArray[np.float64]:
    return stable + extra * np.exp(-day / lasting)


@dataclass(frozen=True, slots=True)
class Trend:
    """How much a change itself changes a day, and the two-sided p-value of its standing still."""

    a_day: float
    p_value: float


def find_trend(daily: Sequence[tuple[float, float, float]]) -> Trend | None:
    """A straight line through (day, change, its standard error), each day weighted by its precision; None for fewer
    than three days or where they are all the same day.

    Weighted least squares with known variances (W. G. Cochran, "Problems arising in the analysis of a series of similar
    experiments", 1937): the slope's variance is 1 / sum(w (x - mean)^2).
    """
    known = [(day, change, 1 / error**2) for day, change, error in daily if error > 0]
    if len(known) < FEWEST_OF_A_TREND:
        return None
    whole = sum(weight for _, _, weight in known)
    middle = sum(day * weight for day, _, weight in known) / whole
    mean = sum(change * weight for _, change, weight in known) / whole
    spread = sum(weight * (day - middle) ** 2 for day, _, weight in known)
    if spread == 0:
        return None
    slope = sum(weight * (day - middle) * (change - mean) for day, change, weight in known) / spread
    return Trend(slope, 2 * float(ndtr(-abs(slope) * math.sqrt(spread))))


@dataclass(frozen=True, slots=True)
class Drift:
    """The change in a test's first and last quarter, and the two-sided p-value of their being the same."""

    first: float
    last: float
    p_value: float


def find_drift(first: tuple[Sample, Sample], last: tuple[Sample, Sample]) -> Drift | None:
    """Compare (control, variant) of a test's first quarter with those of its last; None where nothing can be said
    yet.
    """
    early, late = effect_of(*first), effect_of(*last)
    if early is None or late is None:
        return None
    z = (late.estimate - early.estimate) / math.hypot(early.error, late.error)
    return Drift(early.estimate, late.estimate, 2 * float(ndtr(-abs(z))))
