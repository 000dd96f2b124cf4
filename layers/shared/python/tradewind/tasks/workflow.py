"""A workflow: a chain of tasks that a state machine runs step by step, declared beside the feature it serves."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from tradewind.tasks.registry import REGISTRY, Registry


@dataclass(frozen=True, slots=True)
class Step:
    """One task of the chain. ``when`` names a boolean field of an earlier step's result; false skips the step."""

    task: str
    when: tuple[str, str] | None = None
    """(task id of the earlier step, field of its result)"""


@dataclass(frozen=True, slots=True)
class StepRetry:
    """How a step is repeated inside the machine: waits of ``waits``, each try at most ``attempt_timeout``."""

    waits: tuple[timedelta, ...]
    attempt_timeout: timedelta

    @property
    def longest(self) -> timedelta:
        """From the first try's start to the last one's end."""
        return sum(self.waits, timedelta()) + self.attempt_timeout * (len(self.waits) + 1)


@dataclass(frozen=True, slots=True)
class Workflow:
    """A chain with its times. ``starter`` is the task that starts it and waits for its end.

    Required and checked at synth: step retry < ``timeout`` < starter's timeout < its lease < its queue's visibility.
    """

    name: str
    description: str
    starter: str
    steps: tuple[Step, ...]
    timeout: timedelta
    retry: StepRetry = field(
        default_factory=lambda: StepRetry(
            tuple(timedelta(seconds=seconds) for seconds in (2, 4, 8)), timedelta(seconds=5)
        )
    )

    registry: Registry | None = field(default=None, compare=False, repr=False)
    """Where the workflow declares itself, if not in the application's."""

    def __post_init__(self) -> None:
        if self.retry.longest >= self.timeout:
            raise ValueError(
                f"workflow {self.name}: a step may take {self.retry.longest}, not less than the whole {self.timeout}"
            )
        (REGISTRY if self.registry is None else self.registry).add_workflow(self)
