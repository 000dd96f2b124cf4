"""A stage's pace: every time-out of tasks and workflows shortened alike, so that their order stays as it was."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import timedelta

from tradewind.tasks.registry import Registry
from tradewind.tasks.workflow import StepRetry, Workflow

WHOLE = 100


def shortened(duration: timedelta, percent: int) -> timedelta:
    """A part of a duration in whole seconds, as AWS takes them: rounded up, one at least."""
    return timedelta(seconds=max(1, math.ceil(duration.total_seconds() * percent / WHOLE)))


def at_pace(registry: Registry, percent: int) -> Registry:
    """The same tasks and workflows with their times at ``percent``."""
    if percent == WHOLE:
        return registry
    paced = Registry()
    for task in registry:
        paced.add(
            replace(task, timeout=shortened(task.timeout, percent), margin=shortened(task.margin, percent))
        )
    for workflow in registry.workflows:
        replace(
            workflow,
            timeout=shortened(workflow.timeout, percent),
            retry=_retry(workflow, percent),
            registry=paced,
        )
    return paced


def _retry(workflow: Workflow, percent: int) -> StepRetry:
    """Waits keep their rate: the first is shortened, and each later one follows from it."""
    waits = workflow.retry.waits
    scale = 1.0 if not waits else shortened(waits[0], percent) / waits[0]
    return StepRetry(
        tuple(wait * scale for wait in waits), shortened(workflow.retry.attempt_timeout, percent)
    )
