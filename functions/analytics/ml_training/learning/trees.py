"""Gradient-boosted trees for conversions, grown one epoch at a time so that a checkpoint can hold them.

Each tree is fitted to what is left of the log loss: splits lower the squared error most, leaves take Newton's step. On
features of few values the same trees as scikit-learn's ``GradientBoostingClassifier(max_depth=3)``; of many values,
splits are looked for at the edges of ``BINS`` bins of equal share. Source: Friedman, "Greedy function approximation: a
gradient boosting machine", Annals of Statistics 29 (2001), algorithm 5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from analytics.ml_training.learning.conversion import ConversionModel
from analytics.ml_training.learning.features import Encoding, features
from analytics.ml_training.learning.journeys import Floats, Journeys, Whole

EPOCHS = 100
DEPTH = 3
RATE = 0.1
SMALLEST_LEAF = 20
BINS = 64
_LEAF = -1


@dataclass(frozen=True, slots=True)
class Binned:
    """Features by their bins: a value is in bin ``b`` where ``b`` edges lie below it."""

    bins: NDArray[np.uint8]
    edges: tuple[Floats, ...]

    @classmethod
    def of(cls, rows: Floats) -> Binned:
        edges = tuple(_edges(column) for column in rows.T)
        table = [np.searchsorted(each, column) for each, column in zip(edges, rows.T, strict=True)]
        return cls(np.array(table, np.uint8), edges)


def _edges(column: Floats) -> Floats:
    values = np.unique(column)
    if len(values) > BINS:
        values = np.unique(np.quantile(column, np.linspace(0, 1, BINS), method="nearest"))
    middles: Floats = (values[1:] + values[:-1]) / 2
    return middles


@dataclass(frozen=True, slots=True)
class Tree:
    """Nodes in order of their making: a node splits ``feature`` at ``edge`` (at most: to ``below``, else to the node
    behind it), and one with the feature -1 is a leaf with a ``value``.
    """

    feature: tuple[int, ...]
    edge: tuple[float, ...]
    below: tuple[int, ...]
    value: tuple[float, ...]

    def tell(self, rows: Floats) -> Floats:
        feature, edge, below = np.array(self.feature), np.array(self.edge), np.array(self.below)
        node = np.zeros(len(rows), np.int64)
        for _ in range(DEPTH):
            split = feature[node] != _LEAF
            above = rows[np.arange(len(rows)), np.maximum(feature[node], 0)] > edge[node]
            node = np.where(split, below[node] + above, node)
        return np.array(self.value)[node]


def grow(binned: Binned, left: Floats, curve: Floats, smallest: int = SMALLEST_LEAF) -> tuple[Tree, Floats]:
    """A tree for what is ``left`` of each row, with its leaves' values for the rows it was grown from."""
    feature, edge, below, value = [_LEAF], [0.0], [0], [0.0]
    told = np.zeros(len(left))
    level: list[tuple[int, Whole]] = [(0, np.arange(len(left)))]
    for depth in range(DEPTH + 1):
        deeper: list[tuple[int, Whole]] = []
        for node, rows in level:
            split = _best_split(binned, left, rows, smallest) if depth < DEPTH else None
            if split is None:
                value[node] = float(left[rows].sum() / max(curve[rows].sum(), 1e-12))
                told[rows] = value[node]
                continue
            column, last = split
            feature[node], edge[node], below[node] = column, float(binned.edges[column][last]), len(feature)
            for part in (binned.bins[column][rows] <= last, binned.bins[column][rows] > last):
                deeper.append((len(feature), rows[part]))
                feature.append(_LEAF)
                edge.append(0.0)
                below.append(0)
                value.append(0.0)
        level = deeper
    return Tree(tuple(feature), tuple(edge), tuple(below), tuple(value)), told


def _best_split(binned: Binned, left: Floats, rows: Whole, smallest: int) -> tuple[int, int] | None:
    """The feature and the last bin below of the split that lowers the squared error most; None where none does."""
    best, chosen = 1e-9, None
    mine = left[rows]
    whole, number = mine.sum(), len(rows)
    for column, edges in enumerate(binned.edges):
        if not len(edges):
            continue
        bins = binned.bins[column][rows]
        sums = np.bincount(bins, mine, minlength=len(edges) + 1).cumsum()[:-1]
        below = np.bincount(bins, minlength=len(edges) + 1).cumsum()[:-1]
        above = number - below
        fits = (below >= smallest) & (above >= smallest)
        if not fits.any():
            continue
        with np.errstate(divide="ignore", invalid="ignore"):
            gain = sums**2 / below + (whole - sums) ** 2 / above - whole**2 / number
        gain = np.where(fits, gain, -np.inf)
        last = int(gain.argmax())
        if gain[last] > best * (1 + 1e-9):
            best, chosen = float(gain[last]), (column, last)
    return chosen


@dataclass(frozen=True, slots=True)
class TreesModel(ConversionModel):
    """``start`` is the logarithm of the odds that was known beforehand."""

    names: tuple[str, ...]
    encoding: Encoding
    start: float
    trees: tuple[Tree, ...]

    @classmethod
    def begin(cls, journeys: Journeys, encoding: Encoding) -> TreesModel:
        rate = journeys.conversions / len(journeys)
        return cls(journeys.names, encoding, float(np.log(rate / (1 - rate))), ())

    def with_tree(self, tree: Tree) -> TreesModel:
        return replace(self, trees=(*self.trees, tree))

    def first(self, number: int) -> TreesModel:
        return replace(self, trees=self.trees[:number])

    def margin(self, rows: Floats, trees: Sequence[Tree] | None = None) -> Floats:
        """The logarithm of the odds of rows of features."""
        told = np.full(len(rows), self.start)
        for tree in self.trees if trees is None else trees:
            told += RATE * tree.tell(rows)
        return told

    def told(self, rows: Floats) -> Floats:
        told: Floats = expit(self.margin(rows))
        return told

    def document(self) -> dict[str, Any]:
        return {
            "names": list(self.names),
            "encoding": self.encoding.document(),
            "start": self.start,
            "trees": [
                [list(tree.feature), list(tree.edge), list(tree.below), list(tree.value)]
                for tree in self.trees
            ],
        }

    @classmethod
    def load(cls, document: dict[str, Any]) -> Self:
        """Raises KeyError, TypeError and ValueError for what is no such document."""
        trees = tuple(
            Tree(tuple(map(int, f)), tuple(map(float, e)), tuple(map(int, b)), tuple(map(float, v)))
            for f, e, b, v in document["trees"]
        )
        encoding = Encoding.load(document["encoding"])
        return cls(tuple(document["names"]), encoding, float(document["start"]), trees)


@dataclass(slots=True)
class Growing:
    """A forest in the making: what is told so far of the rows that it learns from and of those that stop it."""

    model: TreesModel
    binned: Binned
    told: Floats
    others: Floats
    others_told: Floats

    @classmethod
    def of(cls, model: TreesModel, train: Journeys, validation: Journeys) -> Growing:
        """From the trees that there are, be it none."""
        rows, others = features(train, model.encoding), features(validation, model.encoding)
        return cls(model, Binned.of(rows), model.margin(rows), others, model.margin(others))

    def grow(self, converted: NDArray[np.bool_], smallest: int = SMALLEST_LEAF) -> None:
        """One tree more."""
        chance = expit(self.told)
        tree, added = grow(self.binned, converted - chance, chance * (1 - chance), smallest)
        self.model = self.model.with_tree(tree)
        self.told += RATE * added
        self.others_told += RATE * tree.tell(self.others)
