"""A declared workflow becomes exactly this state machine, and its times must nest."""

from __future__ import annotations

import dataclasses
import json
from datetime import timedelta
from typing import Any

import pytest

import tradewind.tasks.workflow as workflow_module
from infra.constructs.workflow import WorkflowTimesError, check_workflow_times, start_timeout
from infra.constructs.workflow_definition import compile_workflow
from tradewind.tasks.registry import Registry
from tradewind.tasks.workflow import Step, StepRetry, Workflow

from .conftest import Application, readable


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


@pytest.fixture
def workflow(fixture_registry: Registry) -> Workflow:
    return fixture_registry.workflows[0]


@pytest.fixture(autouse=True)
def leave_the_registry_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A workflow made by a test registers itself; not in the process's registry."""
    monkeypatch.setattr(workflow_module, "REGISTRY", Registry())


PAYLOAD = {
    "tenant.$": "$.run.tenant",
    "cause.$": "$.run.cause",
    "correlation_id.$": "$.run.correlation_id",
    "source": "workflow",
    "accepted_at.$": "$.run.accepted_at",
    "inbox_id.$": "$.run.inbox_id",
    "payload.$": "$.run.payload",
}
RETRY = [
    {
        "ErrorEquals": [
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
        ],
        "IntervalSeconds": 2,
        "MaxAttempts": 3,
        "BackoffRate": 2.0,
    }
]


def invoke(task: str, at: int, following: str) -> dict[str, Any]:
    return {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Parameters": {"FunctionName": f"arn-of-{task}", "Payload": PAYLOAD},
        "ResultSelector": {"result.$": "$.Payload"},
        "ResultPath": f"$.results.step_{at}",
        "TimeoutSeconds": 5,
        "Retry": RETRY,
        "Next": following,
    }


def test_compiles_steps_conditions_retries_and_results(workflow: Workflow) -> None:
    assert compile_workflow(workflow, lambda task: f"arn-of-{task}") == {
        "Comment": "Save an order, book its commission, write its mail",
        "StartAt": "Fill in what the input leaves out",
        "TimeoutSeconds": 40,
        "States": {
            "Fill in what the input leaves out": {
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
                "Next": "Begin",
            },
            "Begin": {
                "Type": "Pass",
                "Parameters": {
                    "run.$": "States.JsonMerge($.otherwise, $.given, false)",
                    "results": {
                        "step_1": {"result": None},
                        "step_2": {"result": None},
                        "step_3": {"result": None},
                    },
                },
                "Next": "bazaar-save-order",
            },
            "bazaar-save-order": invoke("bazaar-save-order", 1, "bazaar-commission?"),
            "bazaar-commission?": {
                "Type": "Choice",
                "Choices": [
                    {
                        "And": [
                            {"Variable": "$.results.step_1.result.commissioned", "IsPresent": True},
                            {"Variable": "$.results.step_1.result.commissioned", "BooleanEquals": True},
                        ],
                        "Next": "bazaar-commission",
                    }
                ],
                "Default": "bazaar-mail-order",
            },
            "bazaar-commission": invoke("bazaar-commission", 2, "bazaar-mail-order"),
            "bazaar-mail-order": invoke("bazaar-mail-order", 3, "Results"),
            "Results": {
                "Type": "Pass",
                "Parameters": {
                    "bazaar-save-order.$": "$.results.step_1.result",
                    "bazaar-commission.$": "$.results.step_2.result",
                    "bazaar-mail-order.$": "$.results.step_3.result",
                },
                "End": True,
            },
        },
    }


def test_never_repeats_a_terminal_error_or_a_rate_limit(workflow: Workflow) -> None:
    states = compile_workflow(workflow, str)["States"].values()
    repeated = {
        error for state in states for retry in state.get("Retry", []) for error in retry["ErrorEquals"]
    }
    assert repeated.isdisjoint({"TerminalError", "RateLimitedError", "States.ALL", "States.TaskFailed"})


def test_deploys_an_express_machine_that_logs_without_data(dev: Application) -> None:
    machine = dev.one("AWS::StepFunctions::StateMachine", StateMachineName="tradewind-dev-bazaar-order")
    assert machine["StateMachineType"] == "EXPRESS"
    logging = machine["LoggingConfiguration"]
    assert (logging["Level"], logging["IncludeExecutionData"]) == ("ALL", False)
    definition = json.loads(readable(machine["DefinitionString"]))
    assert definition["States"]["bazaar-commission"]["Parameters"]["FunctionName"] == (
        "arn:<Partition>:lambda:<Region>:<AccountId>:function:tradewind-dev-bazaar-commission"
    )
    assert definition["States"]["Begin"]["Parameters"]["results"]["step_1"] == {"result": None}


def test_refuses_a_condition_on_a_later_step() -> None:
    workflow = Workflow("w", "d", "starter", (Step("a", when=("b", "yes")), Step("b")), timeout=seconds(40))
    with pytest.raises(ValueError, match="a depends on b, which is no earlier step"):
        compile_workflow(workflow, str)


@pytest.mark.parametrize("waits", [(1, 2, 3), (1.5, 3)])
def test_refuses_waits_that_no_retrier_can_express(waits: tuple[float, ...]) -> None:
    retry = StepRetry(tuple(map(seconds, waits)), attempt_timeout=seconds(2))
    workflow = Workflow("w", "d", "starter", (Step("a"),), timeout=seconds(40), retry=retry)
    with pytest.raises(ValueError, match="are no whole first wait times a steady rate"):
        compile_workflow(workflow, str)


def test_a_workflow_without_waits_tries_each_step_once() -> None:
    workflow = Workflow("w", "d", "s", (Step("a"),), timeout=seconds(40), retry=StepRetry((), seconds(5)))
    assert "Retry" not in compile_workflow(workflow, str)["States"]["a"]


def test_waits_for_the_machine_between_its_timeout_and_its_own(
    workflow: Workflow, fixture_registry: Registry
) -> None:
    starter = fixture_registry.get(workflow.starter)
    assert (workflow.timeout, start_timeout(workflow, starter), starter.timeout) == (
        seconds(40),
        seconds(43),
        seconds(45),
    )


@pytest.mark.parametrize(
    ("machine_timeout", "starter_timeout", "broken"),
    [
        (40, 40, "machine timeout must be shorter than starter's wait"),
        (40, 41, "starter's wait for the machine must be shorter than timeout of bazaar-order-created"),
        (60, 45, "machine timeout must be shorter than starter's wait"),
        (400, 500, "an Express machine runs at most"),
    ],
)
def test_refuses_times_that_do_not_nest(
    workflow: Workflow, fixture_registry: Registry, machine_timeout: int, starter_timeout: int, broken: str
) -> None:
    starter = dataclasses.replace(fixture_registry.get(workflow.starter), timeout=seconds(starter_timeout))
    slower = dataclasses.replace(workflow, timeout=seconds(machine_timeout))
    with pytest.raises(WorkflowTimesError, match=broken):
        check_workflow_times(slower, starter)


def test_accepts_times_that_nest(workflow: Workflow, fixture_registry: Registry) -> None:
    check_workflow_times(workflow, fixture_registry.get(workflow.starter))


def test_refuses_a_starter_that_starts_another(workflow: Workflow, fixture_registry: Registry) -> None:
    starter = dataclasses.replace(fixture_registry.get(workflow.starter), starts_workflow="another")
    with pytest.raises(ValueError, match="names bazaar-order-created, which starts another"):
        check_workflow_times(workflow, starter)
