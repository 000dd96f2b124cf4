"""A marketing-mix model: how much of each day's revenue the day's and earlier days' spend explains.

Revenue is a level, a trend, the day of the week, and for each channel what its spend does: it lingers (geometric
adstock) and saturates (s = a / (a + half)). Coefficients are those of a Bayesian linear regression with a normal prior
on what channels do: a ridge whose uncertainty is known. How long a channel lingers and where it saturates is chosen,
channel by channel, by how well the last fifth of the days is told that nothing was learnt from. Source: Jin, Wang, Sun,
Chan and Koehler, "Bayesian methods for media mix modeling with carryover and shape effects" (Google, 2017).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.signal import lfilter
from scipy.stats import t as student

from analytics.ml_training.learning.journeys import Floats, Whole

LINGERING = (0.0, 0.25, 0.5, 0.7, 0.85)
"""What of a day's effect is left on the next."""
HALVES = (0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0)
"""Where half of the most that a channel can do is reached, in means of its adstock."""
ROUNDS = 3
WIDTH = 5.0
"""Of the prior: what a channel can do at the most, in standard deviations of a day's revenue. Wide, so that it holds in
check only what the days say nothing about."""
SUNDAY = 6
SURE = 0.95
_NOTHING = 1e-9


def adstock(spend: Floats, lingering: float) -> Floats:
    """What is felt of spend each day: the day's own, and ``lingering`` of what was felt the day before."""
    felt: Floats = lfilter([1.0], [1.0, -lingering], spend)
    return felt


def saturate(felt: Floats, half: float) -> Floats:
    """From 0 to 1, one half at ``half``."""
    return felt / (felt + half)


@dataclass(frozen=True, slots=True)
class Shape:
    """How a channel lingers and saturates; ``half`` in cents of adstock."""

    lingering: float = 0.5
    half: float = 1.0

    def effect(self, spend: Floats) -> Floats:
        return saturate(adstock(spend, self.lingering), self.half)


@dataclass(frozen=True, slots=True)
class Contribution:
    """A channel's part of the revenue, in cents over all days, from ``low`` to ``high`` with 95 percent, and what it
    cost. ``lingering`` and ``half`` are those of the shape that tells the last days best.
    """

    channel: str
    cents: int
    low_cents: int
    high_cents: int
    spend_cents: int
    lingering: float
    half_cents: int

    @property
    def known(self) -> bool:
        """Whether the interval says more than that there may be nothing."""
        return self.low_cents > 0


@dataclass(frozen=True, slots=True)
class Mix:
    """``r2`` and ``mape`` (percent, over days with revenue) of all days as they are told, and ``held_out_mape`` of the
    last fifth by what the days before tell; None where no such day has revenue.
    """

    days: int
    base_cents: int
    revenue_cents: int
    r2: float
    mape: float | None
    held_out_mape: float | None
    contributions: tuple[Contribution, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Channels of whom nothing can be said, and why."""


@dataclass(frozen=True, slots=True)
class _Problem:
    """Days without spend, spend by channel, and revenue in units of ``scale`` cents."""

    plain: Floats
    used: Mapping[str, Floats]
    revenue: Floats
    scale: float


@dataclass(frozen=True, slots=True)
class _Fit:
    beta: Floats
    spread: Floats
    freedom: float
    left: float

    def tell(self, design: Floats) -> Floats:
        told: Floats = design @ self.beta
        return told


def fit_mix(weekdays: Sequence[int], revenue: Floats, spend: Mapping[str, Floats]) -> Mix:
    """A model of days in order; ``weekdays`` are theirs, revenue and spend in cents. At least four weeks are needed for
    anything to be said; channels without spend, or with the same each day, are left out.
    """
    left_out = {name: why for name, column in spend.items() if (why := _unusable(column)) is not None}
    used = {name: column for name, column in sorted(spend.items()) if name not in left_out}
    plain = _plain(np.array(weekdays), len(revenue))
    scale = float(revenue.std()) or 1.0
    shapes = _choose(plain, revenue / scale, used)
    design = _design(plain, used, shapes)
    fit = _fit(design, revenue / scale, plain.shape[1])
    told = fit.tell(design) * scale
    total = float(((revenue - revenue.mean()) ** 2).sum())
    problem = _Problem(plain, used, revenue / scale, scale)
    contributions = tuple(_contribution(problem, name, shapes) for name in used)
    explained = sum(each.cents for each in contributions)
    split = _learnt(len(revenue))
    early = _fit(design[:split], revenue[:split] / scale, plain.shape[1])
    return Mix(
        days=len(revenue),
        base_cents=round(float(revenue.sum())) - explained,
        revenue_cents=round(float(revenue.sum())),
        r2=1 - float(((revenue - told) ** 2).sum()) / total if total else 0.0,
        mape=mean_error(revenue, told),
        held_out_mape=mean_error(revenue[split:], early.tell(design[split:]) * scale),
        contributions=contributions,
        left_out=left_out,
    )


def mean_error(came: Floats, told: Floats) -> float | None:
    """The mean absolute error in percent of what came, over days on which something did; None where none was."""
    some = came > 0
    return float(np.abs((came[some] - told[some]) / came[some]).mean() * 100) if some.any() else None


def _unusable(column: Floats) -> str | None:
    if not column.any():
        return "no_spend"
    return "same_every_day" if np.ptp(column) == 0 else None


def _plain(weekdays: Whole, days: int) -> Floats:
    """Level, trend and six weekdays, of which the mean week is the level."""
    trend = np.linspace(-1, 1, days)
    week = (weekdays[:, None] == np.arange(6)).astype(float)
    week[weekdays == SUNDAY] = -1.0
    plain: Floats = np.c_[np.ones(days), trend, week]
    return plain


def _design(plain: Floats, used: Mapping[str, Floats], shapes: Mapping[str, Shape]) -> Floats:
    return np.c_[plain, *(shapes[name].effect(column) for name, column in used.items())] if used else plain


def _learnt(days: int) -> int:
    return days * 4 // 5


def _shapes(spend: Floats) -> list[Shape]:
    """Every shape that a channel may have."""
    return [
        Shape(lingering, half * float(adstock(spend, lingering).mean()))
        for lingering in LINGERING
        for half in HALVES
    ]


def _choose(plain: Floats, revenue: Floats, used: Mapping[str, Floats]) -> dict[str, Shape]:
    """One channel's shape after the other, in rounds, by the last fifth's squared error; of equal ones the first."""
    split = _learnt(len(revenue))
    shapes = {name: next(iter(_shapes(column))) for name, column in used.items()}
    for _ in range(ROUNDS):
        before = dict(shapes)
        for name in used:
            tried = {}
            for candidate in _shapes(used[name]):
                design = _design(plain, used, {**shapes, name: candidate})
                told = _fit(design[:split], revenue[:split], plain.shape[1]).tell(design[split:])
                tried[candidate] = float(((revenue[split:] - told) ** 2).sum())
            shapes[name] = min(tried, key=tried.__getitem__)
        if shapes == before:
            break
    return shapes


def _fit(design: Floats, revenue: Floats, free: int) -> _Fit:
    """The posterior of coefficients under a normal prior of ``WIDTH``, but for the first ``free``, which have none. The
    noise that it is weighed against is what a fit without prior leaves.
    """
    plain = _posterior(design, revenue, np.full(design.shape[1], _NOTHING))
    ridge = np.full(design.shape[1], max(_NOTHING, plain.left / plain.freedom / WIDTH**2))
    ridge[:free] = _NOTHING
    return _posterior(design, revenue, ridge)


def _posterior(design: Floats, revenue: Floats, ridge: Floats) -> _Fit:
    inverse = np.linalg.inv(design.T @ design + np.diag(ridge))
    beta = inverse @ design.T @ revenue
    freedom = max(1.0, len(revenue) - float(((design @ inverse) * design).sum()))
    left = float(((revenue - design @ beta) ** 2).sum())
    return _Fit(beta, np.sqrt(left / freedom * np.diag(inverse)), freedom, left)


def _contribution(problem: _Problem, name: str, shapes: Mapping[str, Shape]) -> Contribution:
    """Over every shape that the channel may have, by how likely each makes the revenue: which one it is remains
    unknown, and the interval holds that too.
    """
    spend, free = problem.used[name], problem.plain.shape[1]
    at = free + list(problem.used).index(name)
    likely, middles, spreads, freedom = [], [], [], 1.0
    for candidate in _shapes(spend):
        design = _design(problem.plain, problem.used, {**shapes, name: candidate})
        fit = _fit(design, problem.revenue, free)
        whole = float(design[:, at].sum()) * problem.scale
        likely.append(-len(spend) / 2 * np.log(max(fit.left, 1e-300)))
        middles.append(fit.beta[at] * whole)
        spreads.append(fit.spread[at] * whole)
        freedom = fit.freedom
    weight = np.exp(np.array(likely) - max(likely))
    weight /= weight.sum()
    middle = float(weight @ np.array(middles))
    spread = float(np.sqrt(weight @ (np.array(spreads) ** 2 + (np.array(middles) - middle) ** 2)))
    wide = float(student.ppf((1 + SURE) / 2, freedom)) * spread
    low, high, cost = round(middle - wide), round(middle + wide), round(float(spend.sum()))
    chosen = shapes[name]
    return Contribution(name, round(middle), low, high, cost, chosen.lingering, round(chosen.half))
