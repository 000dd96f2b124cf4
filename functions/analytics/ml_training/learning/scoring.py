"""How good predictions of conversions are."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from analytics.ml_training.learning.journeys import Floats

CERTAIN = 1e-12


@dataclass(frozen=True, slots=True)
class Score:
    """``log_loss`` in nats per journey, lower is better; ``auc`` is 0.5 for a guess and None where one kind of journey
    is missing; ``brier`` the mean squared error; ``base`` the log loss of telling every journey the known rate.
    """

    log_loss: float
    auc: float | None
    brier: float
    base: float

    def document(self) -> dict[str, float | None]:
        return asdict(self)


def log_loss(predicted: Floats, converted: NDArray[np.bool_]) -> float:
    """The mean negative logarithm of what was told of what came; certainty counts as ``CERTAIN`` less than that."""
    told = np.clip(predicted, CERTAIN, 1 - CERTAIN)
    return float(-np.where(converted, np.log(told), np.log1p(-told)).mean())


def area_under_curve(predicted: Floats, converted: NDArray[np.bool_]) -> float | None:
    """How often a journey that converts is told a higher probability than one that does not; equal ones count half."""
    yes = int(converted.sum())
    no = len(converted) - yes
    if not yes or not no:
        return None
    ranks = rankdata(predicted)
    return float((ranks[converted].sum() - yes * (yes + 1) / 2) / (yes * no))


def score(predicted: Floats, converted: NDArray[np.bool_], rate: float) -> Score:
    """``rate`` is the share of conversions that was known beforehand."""
    return Score(
        log_loss=log_loss(predicted, converted),
        auc=area_under_curve(predicted, converted),
        brier=float(((predicted - converted) ** 2).mean()),
        base=log_loss(np.full(len(converted), rate), converted),
    )
