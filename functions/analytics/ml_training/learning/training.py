"""A training as units of work, between which it can be interrupted: what is done lies in a document of plain JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from analytics.ml_training.learning.features import ENCODINGS, HALF_LIVES, Encoding
from analytics.ml_training.learning.journeys import Journeys, Split, split_by_time
from analytics.ml_training.learning.logistic import LogisticModel
from analytics.ml_training.learning.markov import MarkovModel
from analytics.ml_training.learning.models import ALGORITHMS, Fitted, UnreadableModelError, load_model
from analytics.ml_training.learning.scoring import log_loss, score
from analytics.ml_training.learning.shapley import ShapleyModel
from analytics.ml_training.learning.trees import EPOCHS, Growing, TreesModel
from analytics.ml_training.model import CODE, LEAST_SAMPLES, Reason

PENALTIES = (1.0, 0.1, 10.0)
PATIENCE = 10
"""Trees that may pass without a better validation loss."""
_SAME = 1e-9


def unfit(journeys: Journeys) -> Reason | None:
    """Why there is nothing to learn from these journeys, or None."""
    if len(journeys) < LEAST_SAMPLES:
        return Reason.TOO_FEW_SAMPLES
    if not journeys.conversions:
        return Reason.NO_CONVERSIONS
    if journeys.conversions == len(journeys):
        return Reason.ONLY_CONVERSIONS
    train = split_by_time(journeys).train
    if len(journeys.present) == 1 or len(train.present) == 1:
        return Reason.ONE_CHANNEL
    if train.conversions in {0, len(train)}:
        return Reason.ONE_SIDED
    return None


@dataclass(slots=True)
class Progress:
    """What is done: ``fits`` by their names, each with its validation loss and its model; ``forest`` and its losses
    while it grows.
    """

    data: str
    fits: dict[str, dict[str, Any]] = field(default_factory=dict)
    forest: dict[str, Any] | None = None
    losses: list[float] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        return {
            "code": CODE,
            "data": self.data,
            "fits": self.fits,
            "forest": self.forest,
            "losses": self.losses,
        }

    @classmethod
    def resume(cls, document: Any, data: str) -> Progress:
        """From a checkpoint of this code and of these journeys; from the beginning with any other, or a damaged one."""
        match document:
            case {
                "code": code,
                "data": str(of),
                "fits": dict(fits),
                "forest": forest,
                "losses": list(losses),
            } if code == CODE and of == data:
                return cls(data, fits, forest, losses)
            case _:
                return cls(data)


@dataclass(frozen=True, slots=True)
class Chosen:
    """The model that tells the validation journeys best, and what all of them told."""

    algorithm: str
    model: Fitted
    losses: Mapping[str, float]
    half_life: int
    ends: tuple[int, int]


class Learning:
    """``steps`` does what is not done yet, one unit after the other, and says each one's name when it is done."""

    def __init__(self, journeys: Journeys, checkpoint: Any = None) -> None:
        self.split: Split = split_by_time(journeys)
        self.progress = Progress.resume(checkpoint, journeys.fingerprint)
        self._names = journeys.names

    def steps(self) -> Iterator[str]:
        """Tuning, then the models; a tree is a unit of its own."""
        for encoding in ENCODINGS:
            yield from self._fit(f"logistic, {encoding.name}", self._logistic(encoding, PENALTIES[0]))
        encoding = self._best_encoding(ENCODINGS)
        for penalty in PENALTIES[1:]:
            name = f"logistic, {encoding.name}, penalty {penalty:g}"
            yield from self._fit(name, self._logistic(encoding, penalty))
        for order in (1, 2, 3):
            yield from self._fit(f"markov-{order}", self._markov(order))
        yield from self._fit("shapley", lambda: ShapleyModel.fit(self.split.train))
        if "trees" not in self.progress.fits:
            yield from self._grow(encoding)

    def _logistic(self, encoding: Encoding, penalty: float) -> Callable[[], Fitted]:
        return lambda: LogisticModel.fit(self.split.train, encoding, penalty)

    def _markov(self, order: int) -> Callable[[], Fitted]:
        return lambda: MarkovModel.fit(self.split.train, order)

    def _fit(self, name: str, fit: Callable[[], Fitted]) -> Iterator[str]:
        if name not in self.progress.fits:
            model = fit()
            loss = log_loss(model.predict(self.split.validation), self.split.validation.converted)
            self.progress.fits[name] = {"loss": loss, "model": model.document()}
            yield name

    def _grow(self, encoding: Encoding) -> Iterator[str]:
        """Trees until the validation loss has not fallen for ``PATIENCE`` of them; those up to its lowest stay."""
        progress, train = self.progress, self.split.train
        begun = TreesModel.begin(train, encoding)
        if progress.forest is not None:
            begun = TreesModel.load(progress.forest)
        growing = Growing.of(begun, train, self.split.validation)
        losses = progress.losses
        while len(losses) < EPOCHS and len(losses) - 1 - _lowest(losses) < PATIENCE:
            growing.grow(train.converted)
            told = growing.model.predict(self.split.validation)
            losses.append(log_loss(told, self.split.validation.converted))
            progress.forest = growing.model.document()
            yield f"tree {len(losses)}"
        best = growing.model.first(_lowest(losses) + 1)
        progress.fits["trees"] = {"loss": losses[_lowest(losses)], "model": best.document()}
        progress.forest = None
        yield "trees"

    def _best_encoding(self, among: tuple[Encoding, ...]) -> Encoding:
        fits = self.progress.fits
        return min(among, key=lambda encoding: float(fits[f"logistic, {encoding.name}"]["loss"]))

    def choose(self) -> Chosen:
        """After the last step. Of models whose losses are the same the simpler one."""
        fits = self.progress.fits
        best = {name: name for name in fits if name in ALGORITHMS}
        logistic = [name for name in fits if name.startswith("logistic")]
        best["logistic"] = min(logistic, key=lambda name: float(fits[name]["loss"]))
        losses = {algorithm: float(fits[best[algorithm]]["loss"]) for algorithm in ALGORITHMS}
        lowest = min(losses.values())
        algorithm = next(name for name in ALGORITHMS if losses[name] <= lowest + _SAME)
        model = load_model(algorithm, fits[best[algorithm]]["model"], self._names)
        half_lives = tuple(each for each in ENCODINGS if each.half_life is not None)
        positions = tuple(each for each in ENCODINGS if each.ends is not None)
        half_life = self._best_encoding(half_lives).half_life or HALF_LIVES[0]
        return Chosen(algorithm, model, losses, half_life, self._best_encoding(positions).ends or (40, 40))

    def loss_of(self, algorithm: str, document: dict[str, Any]) -> float | None:
        """A stored model's log loss on the held-out journeys; None where it cannot be read."""
        held_out = self.split.held_out
        try:
            return log_loss(
                load_model(algorithm, document, self._names).predict(held_out), held_out.converted
            )
        except (UnreadableModelError, IndexError, ValueError):
            return None

    def metrics(self, chosen: Chosen) -> dict[str, Any]:
        """What the registry tells of the chosen model, its score on the held-out journeys among it."""
        train, held_out = self.split.train, self.split.held_out
        rate = train.conversions / len(train)
        judged = score(chosen.model.predict(held_out), held_out.converted, rate)
        return {
            "held_out": judged.document(),
            "validation_losses": dict(chosen.losses),
            "tuned": {
                "half_life_days": chosen.half_life,
                "position_percent": [chosen.ends[0], 100 - sum(chosen.ends), chosen.ends[1]],
            },
            "journeys": {
                "train": len(train),
                "validation": len(self.split.validation),
                "held_out": len(held_out),
            },
        }


def _lowest(losses: list[float]) -> int:
    """The place of the lowest; -1 where there is none."""
    return min(range(len(losses)), key=losses.__getitem__, default=-1)
