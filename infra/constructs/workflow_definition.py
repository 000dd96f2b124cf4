"""A declared workflow compiled to the Amazon States Language. Pure: text in, text out, no CDK.

The machine's input is ``{"tenant", "payload", "cause"?, "correlation_id"?, "accepted_at"?, "inbox_id"?}``;
what a person leaves out in the console is taken from the execution. Each step's function gets these with
``"source": "workflow"``, and the output is an object with each step's result under its task id, null where
a step was skipped.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

from tradewind.tasks.workflow import Step, StepRetry, Workflow

PASSING_ERRORS = (
    "RetryableError",
    "UnexpectedError",
    "LeaseHeldError",
    "Lambda.ServiceException",
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
    "Lambda.ClientExecutionTimeoutException",
    "Lambda.TooManyRequestsException",
    "Lambda.Unknown",
    "States.Timeout",
)
"""Errors that another try may cure. A terminal error and a rate limit are not among them and fail the
machine at once: the first cannot be cured, the second is cured by the queue's own wait.
"""

INVOKE = "arn:aws:states:::lambda:invoke"
FILL_IN, START, FINISH = "Fill in what the input leaves out", "Begin", "Results"


def compile_workflow(workflow: Workflow, function_arn_of: Callable[[str], str]) -> dict[str, Any]:
    """The machine's definition. Raises ValueError where a ``when`` or the waits cannot be expressed."""
    retry = _retry(workflow)
    states: dict[str, Any] = {FILL_IN: _fill_in(), START: _begin(workflow)}
    for at, step in enumerate(workflow.steps):
        after = workflow.steps[at + 1] if at + 1 < len(workflow.steps) else None
        following = FINISH if after is None else _entry(after)
        if step.when is not None:
            states[_entry(step)] = _choice(workflow, at, step, following)
        states[step.task] = _invoke(at, function_arn_of(step.task), workflow.retry, retry, following)
    states[FINISH] = {
        "Type": "Pass",
        "Parameters": {
            f"{step.task}.$": f"$.results.{_slot(at)}.result" for at, step in enumerate(workflow.steps)
        },
        "End": True,
    }
    return {
        "Comment": workflow.description,
        "StartAt": FILL_IN,
        "TimeoutSeconds": int(workflow.timeout.total_seconds()),
        "States": states,
    }


def _slot(at: int) -> str:
    return f"step_{at + 1}"


def _entry(step: Step) -> str:
    return step.task if step.when is None else f"{step.task}?"


def _fill_in() -> dict[str, Any]:
    return {
        "Type": "Pass",
        "Parameters": {
            "given.$": "$",
            "otherwise": {
                "cause.$": "$$.Execution.Name",
                "correlation_id.$": "$$.Execution.Name",
                "accepted_at.$": "$$.Execution.StartTime",
                "inbox_id": None,
                "payload": {},
            },
        },
        "Next": START,
    }


def _begin(workflow: Workflow) -> dict[str, Any]:
    return {
        "Type": "Pass",
        "Parameters": {
            "run.$": "States.JsonMerge($.otherwise, $.given, false)",
            "results": {_slot(at): {"result": None} for at in range(len(workflow.steps))},
        },
        "Next": _entry(workflow.steps[0]),
    }


def _choice(workflow: Workflow, at: int, step: Step, otherwise: str) -> dict[str, Any]:
    assert step.when is not None  # noqa: S101 - only steps with a condition come here
    earlier_task, field = step.when
    earlier = [index for index, each in enumerate(workflow.steps[:at]) if each.task == earlier_task]
    if not earlier:
        raise ValueError(
            f"workflow {workflow.name}: {step.task} depends on {earlier_task}, which is no earlier step"
        )
    variable = f"$.results.{_slot(earlier[0])}.result.{field}"
    return {
        "Type": "Choice",
        "Choices": [
            {
                "And": [
                    {"Variable": variable, "IsPresent": True},
                    {"Variable": variable, "BooleanEquals": True},
                ],
                "Next": step.task,
            }
        ],
        "Default": otherwise,
    }


def _invoke(
    at: int, function: str, times: StepRetry, retry: list[dict[str, Any]], following: str
) -> dict[str, Any]:
    return {
        "Type": "Task",
        "Resource": INVOKE,
        "Parameters": {
            "FunctionName": function,
            "Payload": {
                "tenant.$": "$.run.tenant",
                "cause.$": "$.run.cause",
                "correlation_id.$": "$.run.correlation_id",
                "source": "workflow",
                "accepted_at.$": "$.run.accepted_at",
                "inbox_id.$": "$.run.inbox_id",
                "payload.$": "$.run.payload",
            },
        },
        "ResultSelector": {"result.$": "$.Payload"},
        "ResultPath": f"$.results.{_slot(at)}",
        "TimeoutSeconds": int(times.attempt_timeout.total_seconds()),
        **({"Retry": retry} if retry else {}),
        "Next": following,
    }


def _retry(workflow: Workflow) -> list[dict[str, Any]]:
    waits = [wait.total_seconds() for wait in workflow.retry.waits]
    if not waits:
        return []
    rate = waits[1] / waits[0] if len(waits) > 1 else 1.0
    if any(later != earlier * rate for earlier, later in pairwise(waits)) or waits[0] % 1:
        raise ValueError(
            f"workflow {workflow.name}: waits {waits} s are no whole first wait times a steady rate"
        )
    return [
        {
            "ErrorEquals": list(PASSING_ERRORS),
            "IntervalSeconds": int(waits[0]),
            "MaxAttempts": len(waits),
            "BackoffRate": rate,
        }
    ]
