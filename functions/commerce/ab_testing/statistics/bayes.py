"""A Bayesian comparison: the posterior of the change, by the normal approximation that large samples allow."""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy.special import ndtr, ndtri

from commerce.ab_testing.statistics.samples import Sample, effect_of


@dataclass(frozen=True, slots=True)
class Prior:
    """What is believed of the change before the test: normal, on the scale on which the change is told.

    ``Prior(0, 0.3)`` says that two changes of three lie within 30 %; None instead of a prior lets the data speak alone.
    """

    mean: float
    deviation: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """A variant against the control. Losses are what one gives away, on the scale of the uplift, by choosing the
    variant where the control is the better, and the other way round.
    """

    chance_to_win: float
    uplift: float
    interval: tuple[float, float]
    expected_loss: float
    expected_loss_of_control: float
    deviation: float

    def chance_above(self, change: float) -> float:
        """The probability that the true change is above ``change``."""
        return float(ndtr((self.uplift - change) / self.deviation))


def compare(
    control: Sample,
    variant: Sample,
    *,
    prior: Prior | None = None,
    confidence: float = 0.95,
    relative: bool = True,
    lower_is_better: bool = False,
) -> Comparison | None:
    """The posterior of the change; None where nothing can be said yet.

    With a normal prior and a normal likelihood the posterior is normal, precisions add up (Gelman et al., "Bayesian
    Data Analysis", 3rd ed., section 2.5). The expected loss is the mean of the posterior's wrong side.
    """
    effect = effect_of(control, variant, relative=relative)
    if effect is None:
        return None
    mean, deviation = effect.estimate, effect.error
    if prior is not None:
        precision = 1 / effect.error**2 + 1 / prior.deviation**2
        mean = (effect.estimate / effect.error**2 + prior.mean / prior.deviation**2) / precision
        deviation = math.sqrt(1 / precision)
    above = float(ndtr(mean / deviation))
    below_loss, above_loss = _shortfall(mean, deviation), _shortfall(-mean, deviation)
    half = float(ndtri(0.5 + confidence / 2)) * deviation
    return Comparison(
        chance_to_win=1 - above if lower_is_better else above,
        uplift=mean,
        interval=(mean - half, mean + half),
        expected_loss=above_loss if lower_is_better else below_loss,
        expected_loss_of_control=below_loss if lower_is_better else above_loss,
        deviation=deviation,
    )


def _shortfall(mean: float, deviation: float) -> float:
    """E[max(0, -X)] of a normal X: deviation * pdf(z) - mean * cdf(-z) with z = mean / deviation."""
    z = mean / deviation
    density = math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    return deviation * density - mean * float(ndtr(-z))
