"""What people start by hand in the Step Functions console."""

from __future__ import annotations

from constructs import Construct

from infra.constructs.operator_machines import ReplayDeadLetters, RunTask
from infra.settings import StageSettings
from infra.stacks.base import TradewindStack


class OperationsStack(TradewindStack):
    """Run a task, replay dead letters."""

    def __init__(self, scope: Construct, settings: StageSettings) -> None:
        super().__init__(
            scope, settings, "operations", "State machines for people: run a task, replay dead letters"
        )
        RunTask(self)
        ReplayDeadLetters(self)
