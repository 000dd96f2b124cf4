"""Which arm is thought best, and how much traffic each then gets. Pure: numpy and scipy on sufficient statistics.

A rate's posterior is Beta(conversions + 1, visitors - conversions + 1). A visitor's revenue is zero-inflated: a Beta
for whether there is any, times the mean of a normal-inverse-gamma for how much (K. Murphy, "Conjugate Bayesian
analysis of the Gaussian distribution", 2007, section 3), whose prior is the arms' pooled buyers with the weight of one.
The first two moments of the product are exact; its shape is taken as normal, as the central limit theorem has it.

The chance to be best and the expected loss (C. Stucchio, "Bayesian A/B Testing at VWO", 2015) are integrals over one
dimension and taken by quadrature, not by draws: the same numbers give the same weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from scipy import special

WHOLE = 10_000
"""Basis points."""
FLOOR = 0.05
"""The least share of an arm."""
EPSILON = 0.1
LEAST_SAMPLES = 100
_PRIOR_BUYERS, _PRIOR_SHAPE = 1.0, 2.0
_TAIL = 1e-10
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(12)
_PIECES = 24
Array = Any
"""A numpy array of floats."""


class Kind(StrEnum):
    """``rate``: each visitor converts or not. ``mean``: each visitor is worth an amount, most of them nothing."""

    RATE = "rate"
    MEAN = "mean"


@dataclass(frozen=True, slots=True)
class Arm:
    """An arm's sums: ``conversions`` are the visitors whose value is not zero, ``total`` and ``squares`` the sum of
    the values and of their squares.
    """

    visitors: int
    conversions: int
    total: float = 0.0
    squares: float = 0.0
    kind: Kind = Kind.RATE


class Algorithm(StrEnum):
    THOMPSON = "thompson"
    EPSILON_GREEDY = "epsilon_greedy"


class UninformativeError(ValueError):
    """The numbers say nothing yet; the message says why."""


class Posterior(Protocol):
    """What is believed of an arm's value."""

    @property
    def mean(self) -> float: ...

    def cdf(self, at: Array) -> Array: ...

    def quantile(self, at: Array) -> Array: ...

    def pdf(self, at: Array) -> Array: ...


@dataclass(frozen=True, slots=True)
class Beta:
    a: float
    b: float

    @property
    def mean(self) -> float:
        return self.a / (self.a + self.b)

    def cdf(self, at: Array) -> Array:
        return special.betainc(self.a, self.b, np.clip(at, 0.0, 1.0))

    def quantile(self, at: Array) -> Array:
        return special.betaincinv(self.a, self.b, at)

    def pdf(self, at: Array) -> Array:
        at = np.asarray(at, dtype=float)
        inside = np.clip(at, 1e-300, 1 - 1e-16)
        log = special.xlogy(self.a - 1, inside) + special.xlog1py(self.b - 1, -inside)
        return np.where((at >= 0) & (at <= 1), np.exp(log - special.betaln(self.a, self.b)), 0.0)


@dataclass(frozen=True, slots=True)
class Normal:
    mean: float
    deviation: float

    def cdf(self, at: Array) -> Array:
        return special.ndtr((np.asarray(at) - self.mean) / self.deviation)

    def quantile(self, at: Array) -> Array:
        return self.mean + self.deviation * special.ndtri(at)

    def pdf(self, at: Array) -> Array:
        z = (np.asarray(at) - self.mean) / self.deviation
        return np.exp(-z * z / 2) / (self.deviation * np.sqrt(2 * np.pi))


@dataclass(frozen=True, slots=True)
class Belief:
    """An arm as the posterior has it: its mean with an interval, the chance to be best, what choosing it may cost."""

    mean: float
    low: float
    high: float
    chance_to_be_best: float
    expected_loss: float


def posteriors_of(arms: Sequence[Arm]) -> list[Posterior]:
    """A posterior for each arm. Raises UninformativeError where a mean's arms have no buyer at all."""
    if all(arm.kind is Kind.RATE for arm in arms):
        return [Beta(arm.conversions + 1, max(0, arm.visitors - arm.conversions) + 1) for arm in arms]
    return _revenues(arms)


def _revenues(arms: Sequence[Arm]) -> list[Posterior]:
    buyers = sum(arm.conversions for arm in arms)
    if buyers == 0 or sum(arm.total for arm in arms) <= 0:
        raise UninformativeError("nobody has paid anything yet")
    center = sum(arm.total for arm in arms) / buyers
    spread = max(0.0, sum(arm.squares for arm in arms) / buyers - center**2)
    return [_revenue(arm, center, spread) for arm in arms]


def _revenue(arm: Arm, center: float, spread: float) -> Normal:
    a, b = arm.conversions + 1, max(0, arm.visitors - arm.conversions) + 1
    rate, rate_variance = a / (a + b), a * b / ((a + b) ** 2 * (a + b + 1))
    weight = _PRIOR_BUYERS + arm.conversions
    value = (_PRIOR_BUYERS * center + arm.total) / weight
    shape = _PRIOR_SHAPE + arm.conversions / 2
    scale = spread * (_PRIOR_SHAPE - 1)
    if arm.conversions:
        mean = arm.total / arm.conversions
        scale += max(0.0, arm.squares - arm.conversions * mean**2) / 2
        scale += _PRIOR_BUYERS * arm.conversions * (mean - center) ** 2 / (2 * weight)
    value_variance = scale / ((shape - 1) * weight)
    variance = rate**2 * value_variance + value**2 * rate_variance + rate_variance * value_variance
    return Normal(rate * value, float(np.sqrt(variance)))


def believe(posteriors: Sequence[Posterior], confidence: float) -> list[Belief]:
    """What follows from posteriors that are independent of each other. ``confidence`` is the interval's."""
    tails = np.array([(1 - confidence) / 2, (1 + confidence) / 2])
    points, weights = _grid(posteriors)
    below = np.array([posterior.cdf(points) for posterior in posteriors])
    # The greatest lies between the grid's ends but for _TAIL: its mean is what the product of the others' cdfs leaves.
    greatest = points[-1] - float(np.sum(weights * np.prod(below, axis=0)))
    beliefs = []
    for at, posterior in enumerate(posteriors):
        others = np.prod(np.delete(below, at, axis=0), axis=0)
        best = float(np.sum(weights * posterior.pdf(points) * others))
        low, high = (float(each) for each in posterior.quantile(tails))
        beliefs.append((posterior.mean, low, high, best, max(0.0, greatest - posterior.mean)))
    whole = sum(best for _, _, _, best, _ in beliefs)
    return [Belief(mean, low, high, best / whole, loss) for mean, low, high, best, loss in beliefs]


def _grid(posteriors: Sequence[Posterior]) -> tuple[Array, Array]:
    """Gauss-Legendre nodes between the quantiles of every arm, so that a narrow arm among wide ones is not missed. The
    last node stands at the upper end with no weight.
    """
    levels = special.ndtr(np.linspace(special.ndtri(_TAIL), -special.ndtri(_TAIL), _PIECES + 1))
    edges = np.unique(np.concatenate([posterior.quantile(levels) for posterior in posteriors]))
    points, weights = [], []
    for low, high in pairwise(edges):
        points.append((high + low) / 2 + (high - low) / 2 * _NODES)
        weights.append((high - low) / 2 * _WEIGHTS)
    return np.concatenate([*points, edges[-1:]]), np.concatenate([*weights, np.zeros(1)])


def allocate(beliefs: Sequence[Belief], algorithm: Algorithm, *, epsilon: float = EPSILON) -> list[int]:
    """Weights in basis points that sum to 10,000, none below the floor.

    Thompson sampling gives each arm the chance that it is best, as many draws of it would; epsilon-greedy gives all but
    ``epsilon`` to the arm of the highest mean, the first of equals.
    """
    arms = len(beliefs)
    if algorithm is Algorithm.THOMPSON:
        shares = [belief.chance_to_be_best for belief in beliefs]
    else:
        best = max(range(arms), key=lambda at: beliefs[at].mean)
        shares = [epsilon / arms + (1 - epsilon) * (at == best) for at in range(arms)]
    floor = min(FLOOR, 1 / arms)
    return to_weights([floor + (1 - arms * floor) * share for share in shares])


def to_weights(shares: Sequence[float]) -> list[int]:
    """Shares that sum to one as basis points; what rounding leaves goes to the first."""
    weights = [int(share * WHOLE + 1e-6) for share in shares]
    return [weights[0] + WHOLE - sum(weights), *weights[1:]]
