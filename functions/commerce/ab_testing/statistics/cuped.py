"""CUPED: what visitors did before a test explains a part of what they do in it, and that part is taken out.

Deng, Xu, Kohavi and Walker, "Improving the Sensitivity of Online Controlled Experiments by Utilizing Pre-Experiment
Data", WSDM 2013. The coefficient is estimated over both variants together, so that it favours neither.
"""

from __future__ import annotations

from dataclasses import dataclass

from commerce.ab_testing.statistics.samples import Sample, mean_of

FEWEST_DAYS = 7
"""So many days of history are needed before the test's start."""


@dataclass(frozen=True, slots=True)
class History:
    """A variant's sums: of the amount in the test (``total``), of the amount before it, and of their products."""

    visitors: int
    total: float
    squares: float
    before_total: float
    before_squares: float
    products: float

    def __add__(self, other: History) -> History:
        return History(
            self.visitors + other.visitors,
            self.total + other.total,
            self.squares + other.squares,
            self.before_total + other.before_total,
            self.before_squares + other.before_squares,
            self.products + other.products,
        )

    @property
    def covariance(self) -> float:
        return (self.products - self.total * self.before_total / self.visitors) / (self.visitors - 1)

    @property
    def plain(self) -> Sample:
        return mean_of(self.visitors, self.total, self.squares)

    @property
    def before(self) -> Sample:
        return mean_of(self.visitors, self.before_total, self.before_squares)


def coefficient(control: History, variant: History) -> float:
    """How much of an amount before the test is taken off the amount in it; 0 where history explains nothing."""
    both = control + variant
    if both.visitors < 2 or both.before.variance == 0 or both.plain.variance == 0:  # noqa: PLR2004
        return 0.0
    return both.covariance / both.before.variance


def adjust(control: History, variant: History) -> tuple[Sample, Sample]:
    """Both variants with history taken out: the same expected difference, with less noise."""
    theta = coefficient(control, variant)
    return _adjusted(control, theta), _adjusted(variant, theta)


def _adjusted(history: History, theta: float) -> Sample:
    plain = history.plain
    if theta == 0:
        return plain
    before = history.before
    variance = plain.variance + theta**2 * before.variance - 2 * theta * history.covariance
    return Sample(history.visitors, plain.mean - theta * before.mean, max(0.0, variance), plain.mean)
