"""A declared workflow as an Express state machine, with its times checked against its starter's."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

from infra.constructs.machine import Machine
from infra.constructs.workflow_definition import compile_workflow
from infra.grants import invoke
from infra.names import function_arn
from tradewind.tasks.task import LEASE_MARGIN, Task
from tradewind.tasks.workflow import Workflow

if TYPE_CHECKING:
    from infra.stacks.base import TradewindStack

EXPRESS_LIMIT = timedelta(minutes=5)


class WorkflowTimesError(ValueError):
    """The times of a workflow and its starter do not nest; the message shows the chain and the link that
    breaks.
    """


def check_workflow_times(workflow: Workflow, starter: Task) -> None:
    """A step's tries < machine < the starter's wait < starter's timeout < lease < visibility; else
    WorkflowTimesError.
    """
    chain = [
        ("a step's tries and waits", workflow.retry.longest),
        ("machine timeout", workflow.timeout),
        ("starter's wait for the machine", start_timeout(workflow, starter)),
        (f"timeout of {starter.id}", starter.timeout),
        ("its lease", starter.timeout + LEASE_MARGIN),
        ("its queue's visibility", starter.visibility),
    ]
    for (shorter_name, shorter), (longer_name, longer) in pairwise(chain):
        if shorter >= longer:
            told = " < ".join(f"{name} {length.total_seconds():g} s" for name, length in chain)
            raise WorkflowTimesError(
                f"workflow {workflow.name}: {shorter_name} must be shorter than {longer_name}; now: {told}"
            )
    if workflow.timeout > EXPRESS_LIMIT:
        raise WorkflowTimesError(f"workflow {workflow.name}: an Express machine runs at most {EXPRESS_LIMIT}")
    if starter.starts_workflow != workflow.name:
        raise ValueError(
            f"workflow {workflow.name} names {starter.id}, which starts {starter.starts_workflow}"
        )


def start_timeout(workflow: Workflow, starter: Task) -> timedelta:
    """How long the starter's client waits for the machine: halfway between the machine's timeout and its
    own, in whole seconds.
    """
    spare = (starter.timeout - workflow.timeout).total_seconds()
    return workflow.timeout + timedelta(seconds=(spare + 1) // 2)


class WorkflowMachine(Machine):
    """Raises WorkflowTimesError, and ValueError where a step cannot be expressed."""

    def __init__(self, stack: TradewindStack, workflow: Workflow, starter: Task) -> None:
        check_workflow_times(workflow, starter)
        functions = {step.task: stack.names.function(step.task) for step in workflow.steps}
        super().__init__(
            stack,
            workflow.name,
            kind="EXPRESS",
            definition=compile_workflow(workflow, lambda task: function_arn(functions[task])),
            grants=[invoke(functions.values())],
        )
