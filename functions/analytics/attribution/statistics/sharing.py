"""Every model's credits and cents for conversions of one number of touches: a row a conversion, oldest touch first.

Whole-number weights are divided in whole numbers, as in the rule. A revenue must lie below 9,000,000,000 cents: weights
in billionths times more would not fit 64 bits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tradewind.contracts.attribution import BILLION, CHANNEL_CODES, AttributionSettings, Model

Whole = NDArray[np.int64]
_DIRECT = CHANNEL_CODES["direct"]


@dataclass(frozen=True, slots=True)
class Touches:
    """Conversions of one number of touches: their times in microseconds and channels' codes, a row a conversion."""

    revenue: Whole
    instants: Whole
    channels: NDArray[np.int16]

    @property
    def shape(self) -> tuple[int, int]:
        return self.instants.shape[0], self.instants.shape[1]


def share(model: Model, touches: Touches, settings: AttributionSettings) -> tuple[Whole, Whole]:  # noqa: PLR0911 - a table of the models
    """Credits (billionths) and cents by conversion and touch; each row of cents sums to its revenue."""
    rows, number = touches.shape
    match model:
        case Model.FIRST_TOUCH:
            return _only(touches.revenue, np.zeros(rows, np.int64), number)
        case Model.LAST_TOUCH:
            return _only(touches.revenue, np.full(rows, number - 1), number)
        case Model.LAST_NON_DIRECT:
            return _only(touches.revenue, _last_non_direct(touches.channels), number)
        case Model.LINEAR:
            return _by_weight(touches.revenue, np.ones((1, number), np.int64))
        case Model.POSITION_BASED:
            return _by_weight(touches.revenue, _positions(number, *settings.ends))
        case Model.DATA_DRIVEN:
            return _by_weight(touches.revenue, _learnt(touches.channels, settings))
        case Model.TIME_DECAY:
            return _by_weight(touches.revenue, _decayed(touches.instants, settings))


def _only(revenue: Whole, chosen: Whole, number: int) -> tuple[Whole, Whole]:
    credit = np.zeros((len(revenue), number), np.int64)
    cents = np.zeros((len(revenue), number), np.int64)
    rows = np.arange(len(revenue))
    credit[rows, chosen] = BILLION
    cents[rows, chosen] = revenue
    return credit, cents


def _last_non_direct(channels: NDArray[np.int16]) -> Whole:
    """Its place; the last touch's where all are direct."""
    named = channels != _DIRECT
    from_the_end = np.argmax(named[:, ::-1], axis=1)
    place: Whole = channels.shape[1] - 1 - np.where(named.any(axis=1), from_the_end, 0)
    return place


def _positions(number: int, first: int, last: int) -> Whole:
    if number == 1:
        return np.ones((1, 1), np.int64)
    if number == 2:  # noqa: PLR2004 - no middle
        return np.array([[first, last]], np.int64)
    middle = number - 2
    return np.array([[first * middle, *([100 - first - last] * middle), last * middle]], np.int64)


def _learnt(channels: NDArray[np.int16], settings: AttributionSettings) -> Whole:
    by_code = np.zeros(len(CHANNEL_CODES) + 1, np.int64)
    for channel, code in CHANNEL_CODES.items():
        by_code[code] = round(settings.weights.get(channel, 0.0) * BILLION)
    weights: Whole = by_code[channels]
    weights[~weights.any(axis=1)] = 1
    return weights


def _by_weight(revenue: Whole, weights: Whole) -> tuple[Whole, Whole]:
    """Whole-number weights, one row for all or one for each conversion."""
    whole = weights.sum(axis=1, keepdims=True)
    product = revenue[:, None] * weights
    cents = product // whole
    _hand_out(revenue, cents, product - cents * whole)
    credit = (2 * weights * BILLION + whole) // (2 * whole)
    return np.broadcast_to(credit, cents.shape), cents


def _decayed(instants: Whole, settings: AttributionSettings) -> Whole:
    """2 to the power of minus age over half-life, in billionths of the latest touch's."""
    half_life = settings.half_life.total_seconds() * 1e6
    return (np.exp2((instants - instants[:, -1:]) / half_life) * BILLION + 0.5).astype(np.int64)


def _hand_out(revenue: Whole, cents: Whole, remainders: Whole) -> None:
    """The cents that are left over, one each to the largest remainders; of equal ones to the earlier touch."""
    left = revenue - cents.sum(axis=1)
    if not left.any():
        return
    ranked = np.argsort(-remainders, axis=1, kind="stable")
    bonus = (np.arange(cents.shape[1]) < left[:, None]).astype(np.int64)
    given = np.zeros_like(cents)
    np.put_along_axis(given, ranked, bonus, axis=1)
    cents += given
