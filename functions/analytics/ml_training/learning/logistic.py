"""A regularised logistic regression, by Newton's method.

The same optimum as scikit-learn's ``LogisticRegression(C=1 / penalty)`` on standardised features: half the penalty
times the squared coefficients is added to the sum of log losses, and the intercept is left free.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from analytics.ml_training.learning.conversion import ConversionModel
from analytics.ml_training.learning.features import Encoding, features
from analytics.ml_training.learning.journeys import Floats, Journeys

EPOCHS = 100
_SETTLED = 1e-10


def fit_logistic(rows: Floats, converted: NDArray[np.bool_], penalty: float) -> tuple[Floats, int]:
    """Intercept and coefficients, and the epochs that it took: a hundred at most."""
    design = np.c_[np.ones(len(rows)), rows]
    ridge = np.full(design.shape[1], penalty)
    ridge[0] = 0.0
    known = converted.mean()
    beta = np.zeros(design.shape[1])
    beta[0] = np.log(known / (1 - known))
    loss = _loss(design, converted, beta, ridge)
    for epoch in range(1, EPOCHS + 1):
        told = expit(design @ beta)
        slope = design.T @ (told - converted) + ridge * beta
        curve = (design * (told * (1 - told))[:, None]).T @ design + np.diag(np.maximum(ridge, 1e-12))
        step = np.linalg.solve(curve, slope)
        size = 1.0
        while (further := _loss(design, converted, beta - size * step, ridge)) > loss and size > _SETTLED:
            size /= 2
        beta, loss = beta - size * step, min(loss, further)
        if np.abs(step).max() < _SETTLED or size <= _SETTLED:
            return beta, epoch
    return beta, EPOCHS


def _loss(design: Floats, converted: NDArray[np.bool_], beta: Floats, ridge: Floats) -> float:
    margin = design @ beta
    return float(np.logaddexp(0, np.where(converted, -margin, margin)).sum() + (ridge * beta**2).sum() / 2)


@dataclass(frozen=True, slots=True)
class LogisticModel(ConversionModel):
    """``beta`` begins with the intercept and is for features less their ``mean``, by their ``spread``."""

    names: tuple[str, ...]
    encoding: Encoding
    penalty: float
    mean: tuple[float, ...]
    spread: tuple[float, ...]
    beta: tuple[float, ...]
    epochs: int

    @classmethod
    def fit(cls, journeys: Journeys, encoding: Encoding, penalty: float) -> LogisticModel:
        rows = features(journeys, encoding)
        mean, spread = rows.mean(axis=0), rows.std(axis=0)
        spread[spread < 1e-12] = 1.0  # noqa: PLR2004 - a feature that is the same in all
        beta, epochs = fit_logistic((rows - mean) / spread, journeys.converted, penalty)
        middle, width, slopes = (tuple(map(float, each)) for each in (mean, spread, beta))
        return cls(journeys.names, encoding, penalty, middle, width, slopes, epochs)

    def told(self, rows: Floats) -> Floats:
        beta = np.array(self.beta)
        told: Floats = expit(beta[0] + (rows - self.mean) / self.spread @ beta[1:])
        return told

    def document(self) -> dict[str, Any]:
        return {
            "names": list(self.names),
            "encoding": self.encoding.document(),
            "penalty": self.penalty,
            "mean": list(self.mean),
            "spread": list(self.spread),
            "beta": list(self.beta),
            "epochs": self.epochs,
        }

    @classmethod
    def load(cls, document: dict[str, Any]) -> Self:
        """Raises KeyError, TypeError and ValueError for what is no such document."""
        mean, spread, beta = (
            tuple(float(each) for each in document[name]) for name in ("mean", "spread", "beta")
        )
        encoding = Encoding.load(document["encoding"])
        penalty = float(document["penalty"])
        return cls(tuple(document["names"]), encoding, penalty, mean, spread, beta, int(document["epochs"]))
