"""The two machines that people start by hand: run any task for any tenant, and replay dead letters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from infra.constructs.machine import Machine
from infra.constructs.workflow_definition import FILL_IN, INVOKE
from infra.grants import invoke
from infra.names import Names, function_arn

if TYPE_CHECKING:
    from infra.stacks.base import TradewindStack

RUN_TASK, REPLAY = "run-task", "replay-dead-letters"
REPLAY_FIELDS = ("tenant", "task", "error_class", "since", "until", "ids", "dry_run", "limit", "actor")
SERVICE_FAULTS = [
    {
        "ErrorEquals": [
            "Lambda.ServiceException",
            "Lambda.AWSLambdaException",
            "Lambda.SdkClientException",
            "Lambda.TooManyRequestsException",
        ],
        "IntervalSeconds": 2,
        "MaxAttempts": 5,
        "BackoffRate": 2,
        "JitterStrategy": "FULL",
    }
]


def run_task_definition(names: Names) -> dict[str, Any]:
    """Input ``{"task", "tenant"?, "payload"?, "force"?}``; the output is the task's result.

    A failure of the task is shown at once, without another try: the person who started it decides.
    """
    return {
        "Comment": "Run one task for one tenant, by hand",
        "StartAt": FILL_IN,
        "States": {
            FILL_IN: {
                "Type": "Pass",
                "Parameters": {"given.$": "$", "otherwise": {"tenant": None, "payload": {}, "force": False}},
                "Next": "Merge",
            },
            "Merge": {
                "Type": "Pass",
                "Parameters": {"run.$": "States.JsonMerge($.otherwise, $.given, false)"},
                "Next": "Run task",
            },
            "Run task": {
                "Type": "Task",
                "Resource": INVOKE,
                "Parameters": {
                    "FunctionName.$": f"States.Format('{names.of('{}')}', $.run.task)",
                    "Payload": {
                        "tenant.$": "$.run.tenant",
                        "payload.$": "$.run.payload",
                        "force.$": "$.run.force",
                        "source": "manual",
                        "cause.$": "$$.Execution.Name",
                        "correlation_id.$": "$$.Execution.Name",
                        "accepted_at.$": "$$.Execution.StartTime",
                    },
                },
                "TimeoutSeconds": 910,
                "Retry": SERVICE_FAULTS,
                "ResultSelector": {"result.$": "$.Payload"},
                "OutputPath": "$.result",
                "End": True,
            },
        },
    }


def replay_definition(names: Names) -> dict[str, Any]:
    """Input: any of ``tenant``, ``task``, ``error_class``, ``since``, ``until``, ``ids``, ``dry_run``, ``actor``,
    ``limit`` (a page, default 100) and ``wait_s`` (between pages, default 10 s): the rate is the one through the other.

    Letters that are written after the start are left alone, so that what fails again is not replayed for ever.
    """
    return {
        "Comment": "Replay dead letters, page by page, at a rate",
        "StartAt": FILL_IN,
        "States": {
            FILL_IN: {
                "Type": "Pass",
                "Parameters": {
                    "given.$": "$",
                    "otherwise": {
                        **dict.fromkeys(("tenant", "task", "error_class", "since", "ids")),
                        "until.$": "$$.Execution.StartTime",
                        "actor.$": "States.Format('execution {}', $$.Execution.Name)",
                        "dry_run": False,
                        "limit": 100,
                        "wait_s": 10,
                    },
                },
                "Next": "Begin",
            },
            "Begin": {
                "Type": "Pass",
                "Parameters": {"asked.$": "States.JsonMerge($.otherwise, $.given, false)", "replayed": 0},
                "Next": "Replay a page",
            },
            "Replay a page": {
                "Type": "Task",
                "Resource": INVOKE,
                "Parameters": {
                    "FunctionName": function_arn(names.function("ingress-admin")),
                    "Payload": {
                        "action": REPLAY,
                        **{f"{field}.$": f"$.asked.{field}" for field in REPLAY_FIELDS},
                    },
                },
                "ResultSelector": {"page.$": "$.Payload"},
                "ResultPath": "$.answer",
                "TimeoutSeconds": 65,
                "Retry": SERVICE_FAULTS,
                "Next": "Add up",
            },
            "Add up": {
                "Type": "Pass",
                "Parameters": {
                    "asked.$": "$.asked",
                    "page.$": "$.answer.page",
                    "replayed.$": "States.MathAdd($.replayed, $.answer.page.replayed)",
                },
                "Next": "Done?",
            },
            "Done?": {
                "Type": "Choice",
                "Choices": [{"Variable": "$.page.done", "BooleanEquals": True, "Next": "Report"}],
                "Default": "Keep the rate",
            },
            "Keep the rate": {"Type": "Wait", "SecondsPath": "$.asked.wait_s", "Next": "Replay a page"},
            "Report": {
                "Type": "Pass",
                "Parameters": {"replayed.$": "$.replayed", "last_page.$": "$.page"},
                "End": True,
            },
        },
    }


class RunTask(Machine):
    """May invoke every task of the stage: the function's name is computed from the input."""

    def __init__(self, stack: TradewindStack) -> None:
        super().__init__(
            stack,
            RUN_TASK,
            kind="STANDARD",
            definition=run_task_definition(stack.names),
            grants=[invoke([stack.names.of("*")])],
        )


class ReplayDeadLetters(Machine):
    """May invoke the admin function."""

    def __init__(self, stack: TradewindStack) -> None:
        super().__init__(
            stack,
            REPLAY,
            kind="STANDARD",
            definition=replay_definition(stack.names),
            grants=[invoke([stack.names.function("ingress-admin")])],
        )
