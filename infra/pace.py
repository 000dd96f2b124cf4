"""A stage's pace: every time-out of tasks and workflows shortened alike, so that their order stays as it was."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import timedelta

from tradewind.tasks.registry import Registry
from tradewind.tasks.task import MAX_TIMEOUT
from tradewind.tasks.workflow import StepRetry, Workflow

WHOLE = 100


@dataclass(frozen=True, slots=True)
class Pace:
    """``percent`` of every duration, and nothing longer than ``longest``."""

    percent: int = WHOLE
    longest: timedelta = MAX_TIMEOUT

    def of(self, duration: timedelta) -> timedelta:
        """In whole seconds, as AWS takes them: rounded up, one at least."""
        seconds = max(1, math.ceil(duration.total_seconds() * self.percent / WHOLE))
        return min(timedelta(seconds=seconds), self.longest)

    @property
    def is_real(self) -> bool:
        """Whether it leaves everything as it is."""
        return self == Pace()


def at_pace(registry: Registry, pace: Pace) -> Registry:
    """The same tasks and workflows with their times at a pace."""
    if pace.is_real:
        return registry
    paced = Registry()
    for task in registry:
        paced.add(replace(task, timeout=pace.of(task.timeout), margin=pace.of(task.margin)))
    for workflow in registry.workflows:
        # A workflow declares itself in the registry that it is given.
        replace(workflow, timeout=pace.of(workflow.timeout), retry=_retry(workflow, pace), registry=paced)
    return paced


def _retry(workflow: Workflow, pace: Pace) -> StepRetry:
    """Waits keep their rate: the first is shortened, and each later one follows from it."""
    waits = workflow.retry.waits
    scale = 1.0 if not waits else pace.of(waits[0]) / waits[0]
    return StepRetry(tuple(wait * scale for wait in waits), pace.of(workflow.retry.attempt_timeout))
