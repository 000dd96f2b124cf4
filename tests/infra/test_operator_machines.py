"""The machines that people start by hand."""

from __future__ import annotations

import json
from typing import Any

import pytest

from infra.constructs.operator_machines import replay_definition, run_task_definition
from infra.names import Names
from ingress.admin import ReplayDeadLetters

from .conftest import Application, readable

NAMES = Names("dev")


def role_of(application: Application, machine: str) -> list[dict[str, Any]]:
    for stack, _, resource in application.everything:
        properties = resource.get("Properties", {})
        if properties.get("StateMachineName") == machine:
            role = application.templates[stack]["Resources"][properties["RoleArn"]["Fn::GetAtt"][0]]
            found: list[dict[str, Any]] = readable(
                role["Properties"]["Policies"][0]["PolicyDocument"]["Statement"]
            )
            return found
    raise AssertionError(f"no machine {machine}")


def test_run_task_invokes_the_function_that_its_input_names() -> None:
    step = run_task_definition(NAMES)["States"]["Run task"]
    assert step["Parameters"]["FunctionName.$"] == "States.Format('tradewind-dev-{}', $.run.task)"
    assert step["Parameters"]["Payload"] == {
        "tenant.$": "$.run.tenant",
        "payload.$": "$.run.payload",
        "force.$": "$.run.force",
        "source": "manual",
        "cause.$": "$$.Execution.Name",
        "correlation_id.$": "$$.Execution.Name",
        "accepted_at.$": "$$.Execution.StartTime",
    }
    assert step["TimeoutSeconds"] > 15 * 60, "a task may take Lambda's fifteen minutes"


def test_run_task_shows_a_failure_at_once() -> None:
    retried = run_task_definition(NAMES)["States"]["Run task"]["Retry"][0]["ErrorEquals"]
    assert {error.split(".")[0] for error in retried} == {"Lambda"}


def test_replay_sends_what_admin_takes_and_nothing_else() -> None:
    payload = replay_definition(NAMES)["States"]["Replay a page"]["Parameters"]["Payload"]
    assert payload.pop("action") == "replay-dead-letters"
    fields = {name.removesuffix(".$") for name in payload}
    assert fields == set(ReplayDeadLetters.model_fields)
    defaults = replay_definition(NAMES)["States"]["Fill in what the input leaves out"]["Parameters"][
        "otherwise"
    ]
    assert fields <= {name.removesuffix(".$") for name in defaults}


def test_replay_leaves_alone_what_is_written_after_its_start() -> None:
    defaults = replay_definition(NAMES)["States"]["Fill in what the input leaves out"]["Parameters"][
        "otherwise"
    ]
    assert defaults["until.$"] == "$$.Execution.StartTime"


def test_replay_goes_on_until_it_is_done_and_waits_between_pages() -> None:
    states = replay_definition(NAMES)["States"]
    assert states["Done?"]["Choices"] == [
        {"Variable": "$.page.done", "BooleanEquals": True, "Next": "Report"}
    ]
    assert states["Done?"]["Default"] == "Keep the rate"
    assert states["Keep the rate"] == {
        "Type": "Wait",
        "SecondsPath": "$.asked.wait_s",
        "Next": "Replay a page",
    }
    assert (
        states["Add up"]["Parameters"]["replayed.$"] == "States.MathAdd($.replayed, $.answer.page.replayed)"
    )


@pytest.mark.parametrize(
    ("machine", "functions"),
    [("run-task", "tradewind-dev-*"), ("replay-dead-letters", "tradewind-dev-ingress-admin")],
)
def test_each_machine_invokes_no_more_than_it_must(dev: Application, machine: str, functions: str) -> None:
    invoke = role_of(dev, f"tradewind-dev-{machine}")[0]
    assert invoke["Action"] == ["lambda:InvokeFunction"]
    assert invoke["Resource"] == [f"arn:<Partition>:lambda:<Region>:<AccountId>:function:{functions}"]


def test_definitions_are_json_whose_states_all_exist(dev: Application) -> None:
    machines = dev.of_type("AWS::StepFunctions::StateMachine")
    assert {machine["StateMachineType"] for machine in machines} == {"STANDARD", "EXPRESS"}
    for machine in machines:
        definition = json.loads(readable(machine["DefinitionString"]))
        states = definition["States"]
        targets = {definition["StartAt"]}
        for state in states.values():
            targets |= {state[way] for way in ("Next", "Default") if way in state}
            targets |= {choice["Next"] for choice in state.get("Choices", [])}
        assert targets == set(states), machine["StateMachineName"]
