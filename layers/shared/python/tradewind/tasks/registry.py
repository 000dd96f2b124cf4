"""The registry: every task and workflow of the application, found by importing the feature packages."""

from __future__ import annotations

import importlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tradewind.tasks.task import Task
    from tradewind.tasks.triggers import Cron
    from tradewind.tasks.workflow import Workflow


class Registry:
    """Tasks by id and workflows by name. A second one with the same id is refused."""

    def __init__(self) -> None:
        self._tasks: dict[str, Task] = {}
        self._workflows: dict[str, Workflow] = {}

    def add(self, task: Task) -> None:
        present = self._tasks.get(task.id)
        if present is not None and present.handler != task.handler:
            raise ValueError(f"task id {task.id} is used by {present.handler} and by {task.handler}")
        self._tasks[task.id] = task

    def add_workflow(self, workflow: Workflow) -> None:
        present = self._workflows.get(workflow.name)
        if present is not None and present != workflow:
            raise ValueError(f"workflow {workflow.name} is defined twice")
        self._workflows[workflow.name] = workflow

    def get(self, task_id: str) -> Task:
        """The task with this id. Raises KeyError that lists near names."""
        if task_id not in self._tasks:
            near = [known for known in sorted(self._tasks) if task_id.rsplit("-", maxsplit=1)[-1] in known][
                :5
            ]
            raise KeyError(f"no task {task_id!r}" + (f"; did you mean {', '.join(near)}?" if near else ""))
        return self._tasks[task_id]

    def __contains__(self, task_id: str) -> bool:
        return task_id in self._tasks

    def __iter__(self) -> Iterator[Task]:
        return iter(sorted(self._tasks.values(), key=lambda task: task.id))

    @property
    def workflows(self) -> list[Workflow]:
        return [self._workflows[name] for name in sorted(self._workflows)]

    def schedules(self) -> Iterator[tuple[str, Cron, Task]]:
        """Each clock with its schedule id and the task it starts."""
        for task in self:
            for cron in task.crons:
                yield cron.name or task.id, cron, task

    def routes(self, domains: Collection[str] | None = None) -> dict[str, dict[str, list[str]]]:
        """Provider -> topic -> ids of the tasks it starts, sorted: the receiver's route table, of some domains only if
        they are given.
        """
        table: dict[str, dict[str, list[str]]] = {}
        for task in self._of(domains):
            for hook in task.webhooks:
                table.setdefault(hook.provider, {}).setdefault(hook.topic, []).append(task.id)
        return table

    def events(self, domains: Collection[str] | None = None) -> dict[str, list[str]]:
        """Event type -> ids of the tasks it starts, sorted; of some domains only if they are given."""
        table: dict[str, list[str]] = {}
        for task in self._of(domains):
            for event in task.events:
                table.setdefault(event.type, []).append(task.id)
        return table

    def _of(self, domains: Collection[str] | None) -> Iterator[Task]:
        return (task for task in self if domains is None or task.domain in domains)


REGISTRY = Registry()


def discover(functions: Path) -> Registry:
    """Import each feature's ``tasks.py``, ``*_tasks.py`` and ``workflow.py`` below ``functions``; return the registry.

    ``functions`` must be on the import path. Raises whatever a broken module raises: a task that cannot be imported
    must fail synth and every test.
    """
    for name in ("tasks.py", "*_tasks.py", "workflow.py"):
        for path in sorted(functions.glob(f"*/*/{name}")):
            importlib.import_module(".".join(path.relative_to(functions).with_suffix("").parts))
    return REGISTRY
