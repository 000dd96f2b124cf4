"""The night's round of trainings: every tenant is asked for its training, and so many train at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from analytics.ml_training.model import MACHINE, ROUND, ROUND_AT_ONCE
from analytics.ml_training.tasks import attribution_ml_training
from infra import grants
from infra.constructs.machine import Machine
from infra.constructs.operator_machines import SERVICE_FAULTS
from infra.constructs.workflow_definition import FILL_IN, INVOKE, PASSING_ERRORS
from infra.names import Names, function_arn, machine_arn

if TYPE_CHECKING:
    from infra.stacks.base import TradewindStack

WHOLE_S = 23 * 3600
"""A round ends before the next one begins."""
RUN_MACHINE = "arn:aws:states:::states:startExecution.sync:2"
STARTED_ALREADY = "StepFunctions.ExecutionAlreadyExistsException"
LABEL = "tenants"


def round_definition(names: Names) -> dict[str, Any]:
    """Input ``{"time"?: ISO instant}``, the slot; without one the latest before now. Each tenant is an execution of its
    own: one that fails leaves the others alone.
    """
    (schedule,) = (cron.name for cron in attribution_ml_training.crons if cron.machine == ROUND)
    return {
        "Comment": "Train every tenant's attribution models, a number of them at once",
        "StartAt": FILL_IN,
        "TimeoutSeconds": WHOLE_S,
        "States": {
            FILL_IN: {
                "Type": "Pass",
                "Parameters": {"given.$": "$", "otherwise": {"time.$": "$$.Execution.StartTime"}},
                "Next": "Begin",
            },
            "Begin": {
                "Type": "Pass",
                "Parameters": {
                    "round.$": "States.JsonMerge($.otherwise, $.given, false)",
                    "page": {"after": None},
                },
                "Next": "List tenants",
            },
            "List tenants": {
                "Type": "Task",
                "Resource": INVOKE,
                "Parameters": {
                    "FunctionName": function_arn(names.function("ingress-fan-out")),
                    "Payload": {"schedule": schedule, "time.$": "$.round.time", "after.$": "$.page.after"},
                },
                "ResultSelector": {"page.$": "$.Payload"},
                "ResultPath": "$.listed",
                "TimeoutSeconds": 65,
                "Retry": [
                    *SERVICE_FAULTS,
                    {
                        "ErrorEquals": ["RetryableError", "UnexpectedError", "Lambda.Unknown"],
                        "IntervalSeconds": 30,
                        "MaxAttempts": 5,
                        "BackoffRate": 2,
                    },
                ],
                "Next": "Train each",
            },
            "Train each": {
                "Type": "Map",
                "Label": LABEL,
                "ItemsPath": "$.listed.page.tenants",
                "ItemSelector": {
                    "tenant.$": "$$.Map.Item.Value",
                    "slot.$": "$.listed.page.slot",
                    "cause.$": "$.listed.page.cause",
                },
                "MaxConcurrency": ROUND_AT_ONCE,
                "ToleratedFailurePercentage": 100,
                "ItemProcessor": _of_a_tenant(names),
                "ResultPath": None,
                "Next": "Turn the page",
            },
            "Turn the page": {
                "Type": "Pass",
                "Parameters": {"round.$": "$.round", "page": {"after.$": "$.listed.page.after"}},
                "Next": "Another?",
            },
            "Another?": {
                "Type": "Choice",
                "Choices": [{"Variable": "$.page.after", "IsNull": True, "Next": "Trained"}],
                "Default": "List tenants",
            },
            "Trained": {"Type": "Succeed"},
        },
    }


def _of_a_tenant(names: Names) -> dict[str, Any]:
    """Ask the task, then run the container where it says so. Its execution bears the training's name: what has been
    started already, by hand or by a round that the clock began twice, is left to itself.
    """
    return {
        "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
        "StartAt": "Ask",
        "States": {
            "Ask": {
                "Type": "Task",
                "Resource": INVOKE,
                "Parameters": {
                    "FunctionName": function_arn(names.function(attribution_ml_training.id)),
                    "Payload": {
                        "tenant.$": "$.tenant",
                        "cause.$": "$.cause",
                        "correlation_id.$": "$.cause",
                        "source": "workflow",
                        "accepted_at.$": "$.slot",
                        "payload": {"until.$": "$.slot"},
                    },
                },
                "ResultSelector": {"answer.$": "$.Payload"},
                "ResultPath": "$.asked",
                "TimeoutSeconds": 910,
                "Retry": [
                    {
                        "ErrorEquals": [*PASSING_ERRORS, "RateLimitedError"],
                        "IntervalSeconds": 60,
                        "MaxAttempts": attribution_ml_training.retry.attempts - 1,
                        "BackoffRate": 1,
                    }
                ],
                "Next": "To be trained?",
            },
            "To be trained?": {
                "Type": "Choice",
                "Choices": [
                    {
                        "And": [
                            {"Variable": "$.asked.answer.state", "IsPresent": True},
                            {"Variable": "$.asked.answer.state", "StringEquals": "requested"},
                        ],
                        "Next": "Train",
                    }
                ],
                "Default": "Done",
            },
            "Train": {
                "Type": "Task",
                "Resource": RUN_MACHINE,
                "Parameters": {
                    "StateMachineArn": machine_arn(names.machine(MACHINE)),
                    "Name.$": "$.asked.answer.execution",
                    "Input": {
                        "tenant.$": "$.tenant",
                        "training.$": "$.asked.answer.training_id",
                        "AWS_STEP_FUNCTIONS_STARTED_BY_EXECUTION_ID.$": "$$.Execution.Id",
                    },
                },
                "Catch": [{"ErrorEquals": [STARTED_ALREADY], "ResultPath": None, "Next": "Done"}],
                "ResultPath": None,
                "Next": "Done",
            },
            "Done": {"Type": "Pass", "Parameters": {}, "End": True},
        },
    }


class TrainingRound(Machine):
    """May ask for trainings and run their machine."""

    def __init__(self, stack: TradewindStack) -> None:
        names = stack.names
        own = names.machine(ROUND)
        super().__init__(
            stack,
            ROUND,
            kind="STANDARD",
            definition=round_definition(names),
            grants=[
                grants.invoke(
                    [names.function("ingress-fan-out"), names.function(attribution_ml_training.id)]
                ),
                *grants.run_machine_inside(names.machine(MACHINE)),
                *grants.run_items(own),
            ],
        )
        self.watch(
            self,
            "timed-out",
            "timed-out",
            f"a round was given up after {WHOLE_S / 3600:g} hours; the tenants behind were not trained",
            metric="ExecutionsTimedOut",
        )
