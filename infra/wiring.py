"""Who may send to whom: what the registry as a whole says about one task."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from infra.constructs.workflow import start_timeout
from infra.names import Names
from tradewind.tasks.registry import Registry
from tradewind.tasks.task import Task


@dataclass(frozen=True, slots=True)
class Wiring:
    """The registry seen as a graph of queues. Methods raise KeyError where a task names an unknown one."""

    registry: Registry

    def task(self, task_id: str) -> Task:
        return self.registry.get(task_id)

    def own_queues(self, task: Task, names: Names) -> list[str]:
        return [names.queue(task.id), *([names.backfill_queue(task.id)] if task.backfill else [])]

    def sends_to(self, task: Task, names: Names) -> list[str]:
        """Queues that the task's function may send to.

        Its own (a long run is handed to a new message, a held one is admitted), those of the tasks it
        starts, those of the tasks that start it (the last child to end continues its parent), and its
        domain's dead letters.
        """
        partners = [self.task(started) for started in task.starts]
        partners += [other for other in self.registry if task.id in other.starts]
        queues = [queue for each in (task, *partners) for queue in self.own_queues(each, names)]
        return list(dict.fromkeys([*queues, names.dead_letters(task.domain)]))

    def workflow_wait(self, task: Task) -> timedelta | None:
        """How long the task's client waits for the workflow that it starts; None where it starts none."""
        if task.starts_workflow is None:
            return None
        for workflow in self.registry.workflows:
            if workflow.name == task.starts_workflow:
                return start_timeout(workflow, task)
        raise KeyError(f"task {task.id} starts workflow {task.starts_workflow!r}, which nobody declares")

    @property
    def domains(self) -> list[str]:
        return sorted({task.domain for task in self.registry})
