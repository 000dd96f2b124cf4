"""Where models are trained: the container, its state machine and the night's round."""

from __future__ import annotations

from constructs import Construct

from infra.constructs.training_container import TrainingContainer
from infra.constructs.training_round import TrainingRound
from infra.settings import StageSettings
from infra.stacks.base import TradewindStack


class TrainingStack(TradewindStack):
    """``tradewind-{stage}-analytics-container``: it comes and goes with the domain that trains."""

    def __init__(self, scope: Construct, settings: StageSettings) -> None:
        super().__init__(
            scope, settings, "analytics-container", "The container that trains models, and its state machines"
        )
        TrainingContainer(self)
        TrainingRound(self)
