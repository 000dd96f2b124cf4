"""A feature: its tasks, its workflows and its schedules. Everything in it comes from the registry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from constructs import Construct

from infra.bundles import Bundle
from infra.constructs.schedule import ScheduleRole, task_schedule
from infra.constructs.task_function import TaskFunction
from infra.constructs.workflow import WorkflowMachine
from infra.settings import StageSettings
from infra.stacks.base import TradewindStack
from infra.wiring import Wiring
from tradewind.tasks.registry import Registry
from tradewind.tasks.task import Task
from tradewind.tasks.workflow import Workflow


@dataclass(frozen=True, slots=True)
class Feature:
    """The part of the registry that lies in one ``<domain>/<feature>`` package."""

    domain: str
    name: str
    tasks: tuple[Task, ...]
    workflows: tuple[Workflow, ...]


def features_of(registry: Registry) -> list[Feature]:
    """The registry cut by package. A workflow lies where its starter does. Raises KeyError on an unknown
    starter.
    """
    tasks: dict[tuple[str, str], list[Task]] = {}
    for task in registry:
        tasks.setdefault((task.domain, task.feature), []).append(task)
    workflows: dict[tuple[str, str], list[Workflow]] = {}
    for workflow in registry.workflows:
        starter = registry.get(workflow.starter)
        for step in workflow.steps:
            registry.get(step.task)
        workflows.setdefault((starter.domain, starter.feature), []).append(workflow)
    return [
        Feature(domain, name, tuple(tasks[domain, name]), tuple(workflows.get((domain, name), ())))
        for domain, name in sorted(tasks)
    ]


class FeatureStack(TradewindStack):
    """``tradewind-{stage}-{domain}-{feature}``."""

    def __init__(
        self, scope: Construct, settings: StageSettings, feature: Feature, wiring: Wiring, code: Bundle
    ) -> None:
        super().__init__(
            scope, settings, f"{feature.domain}-{feature.name}", f"Tasks of {feature.domain}.{feature.name}"
        )
        asset = self.asset("code", code)
        for task in feature.tasks:
            TaskFunction(self, task, asset, wiring)
        for workflow in feature.workflows:
            WorkflowMachine(self, workflow, wiring.task(workflow.starter))
        self._schedules(feature.tasks)

    def _schedules(self, tasks: Sequence[Task]) -> None:
        clocks = [(cron.name or task.id, cron, task) for task in tasks for cron in task.crons]
        if not clocks:
            return
        machines = sorted({cron.machine for _, cron, _ in clocks if cron.machine})
        role = ScheduleRole(self, self.names.function("ingress-fan-out"), machines)
        for schedule_id, cron, task in clocks:
            task_schedule(self, role, schedule_id, cron, task.id)
