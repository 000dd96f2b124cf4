"""What models of conversion have in common, whatever they learn: how likely a journey converts, and what a channel
adds to that.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from analytics.ml_training.learning.features import Encoding, features
from analytics.ml_training.learning.journeys import Floats, Journeys
from analytics.ml_training.learning.markov import normalised


class ConversionModel(ABC):
    """A model over the features of journeys."""

    __slots__ = ()

    names: tuple[str, ...]
    encoding: Encoding

    @abstractmethod
    def told(self, rows: Floats) -> Floats:
        """The probability that each row of features converts."""

    def predict(self, journeys: Journeys) -> Floats:
        """How likely each journey converts."""
        return self.told(features(journeys, self.encoding))

    def weights(self, journeys: Journeys) -> dict[str, float]:
        """How many of the conversions it expects would not come without each channel, normalised."""
        expected = self.predict(journeys)[journeys.converted]
        lost = np.zeros(len(journeys.names))
        for channel in range(len(journeys.names)):
            left = self.told(features(journeys, self.encoding, without=channel))[journeys.converted]
            lost[channel] = max(0.0, float((expected - left).sum()))
        return normalised(journeys.names, lost)
