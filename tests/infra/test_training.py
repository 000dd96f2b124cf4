"""The container that trains: how the machine runs it, and what it may do."""

from __future__ import annotations

import json
from typing import Any

import pytest

from analytics.ml_training.container import train
from analytics.ml_training.model import AT_ONCE, ROUND_AT_ONCE
from infra import bundles
from infra.constructs.training_container import COMMAND, HEARTBEAT, training_definition
from infra.constructs.training_round import round_definition
from infra.image import build_command
from infra.names import Names
from tradewind.tasks.container import BEAT, LIMIT, SPAN

from .conftest import Application, readable

STACK = "analytics-container"
DEFINITION = training_definition("the-cluster", "the-family", networked=True)
STATES: dict[str, Any] = DEFINITION["States"]
ROUND = round_definition(Names("dev"))
TRAIN_EACH: dict[str, Any] = ROUND["States"]["Train each"]


def statements(application: Application, description: str) -> list[dict[str, Any]]:
    [role] = [
        each
        for each in application.of_type("AWS::IAM::Role", STACK)
        if str(readable(each["Description"])).startswith(description)
    ]
    found: list[dict[str, Any]] = readable(role["Policies"][0]["PolicyDocument"]["Statement"])
    return found


def test_spot_comes_first_and_on_demand_takes_over_what_spot_has_no_room_for() -> None:
    spot, fallback = STATES["Train on Spot"], STATES["Train on demand"]
    assert spot["Parameters"]["CapacityProviderStrategy"] == [
        {"CapacityProvider": "FARGATE_SPOT", "Weight": 1}
    ]
    assert fallback["Parameters"]["CapacityProviderStrategy"] == [
        {"CapacityProvider": "FARGATE", "Weight": 1}
    ]
    [caught] = spot["Catch"]
    assert caught["Next"] == "Train on demand"
    assert {"Interrupted", "States.HeartbeatTimeout", "ECS.AmazonECSException"} <= set(caught["ErrorEquals"])
    assert not {"TerminalError", "UnexpectedError", "States.ALL"} & set(caught["ErrorEquals"])
    assert "Catch" not in fallback


@pytest.mark.parametrize("state", ["Train on Spot", "Train on demand"])
def test_container_has_half_an_hour_a_heartbeat_and_two_attempts(state: str) -> None:
    told = STATES[state]
    assert told["Resource"] == "arn:aws:states:::ecs:runTask.waitForTaskToken"
    assert (told["TimeoutSeconds"], told["HeartbeatSeconds"]) == (1800, 120)
    assert LIMIT.total_seconds() == told["TimeoutSeconds"] > SPAN.total_seconds() == 1500
    assert BEAT * 6 == HEARTBEAT
    gone, failed = told["Retry"]
    assert (gone["ErrorEquals"], gone["MaxAttempts"]) == (["Interrupted", "States.HeartbeatTimeout"], 2)
    assert "UnexpectedError" in failed["ErrorEquals"]
    assert failed["MaxAttempts"] == 1
    [override] = told["Parameters"]["Overrides"]["ContainerOverrides"]
    assert {each["Name"]: each["Value.$"] for each in override["Environment"]} == {
        "TRADEWIND_TASK_TOKEN": "$$.Task.Token",
        "TRADEWIND_TENANT": "$.tenant",
        "TRADEWIND_RUN": "$.training",
    }


def test_training_that_is_handed_on_for_ever_ends() -> None:
    goes_on, ends = STATES["Handed over?"]["Choices"]
    assert goes_on["And"][1] == {"Variable": "$.hands", "NumericLessThan": 6}
    assert (goes_on["Next"], ends["Next"]) == ("Next hand", "Does not end")
    assert STATES["Does not end"]["Type"] == "Fail"


@pytest.mark.parametrize(
    "definition", [DEFINITION, ROUND, TRAIN_EACH["ItemProcessor"]], ids=["training", "round", "tenant"]
)
def test_every_state_is_reached(definition: dict[str, Any]) -> None:
    targets = {definition["StartAt"]}
    for state in definition["States"].values():
        targets |= {state[way] for way in ("Next", "Default") if way in state}
        targets |= {choice["Next"] for choice in state.get("Choices", [])}
        targets |= {caught["Next"] for caught in state.get("Catch", [])}
    assert targets == set(definition["States"])


def test_round_trains_a_number_of_tenants_at_once_and_one_that_fails_leaves_the_others_alone() -> None:
    assert (TRAIN_EACH["Type"], TRAIN_EACH["MaxConcurrency"]) == ("Map", 20)
    assert ROUND_AT_ONCE < AT_ONCE
    assert TRAIN_EACH["ToleratedFailurePercentage"] == 100
    of_a_tenant = TRAIN_EACH["ItemProcessor"]
    assert of_a_tenant["ProcessorConfig"] == {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}
    train = of_a_tenant["States"]["Train"]
    assert train["Resource"] == "arn:aws:states:::states:startExecution.sync:2"
    assert train["Catch"][0]["ErrorEquals"] == ["StepFunctions.ExecutionAlreadyExistsException"]
    asked = of_a_tenant["States"]["Ask"]["Parameters"]["Payload"]
    assert (asked["source"], asked["payload"]) == ("workflow", {"until.$": "$.slot"})
    assert ROUND["TimeoutSeconds"] < 24 * 3600


def test_round_may_ask_for_trainings_and_run_their_machine_and_nothing_else(real: Application) -> None:
    found = statements(real, "What the state machine tradewind-dev-ml-training-round may")
    own: dict[str, list[str]] = {}
    for each in found:
        for action in each["Action"]:
            own.setdefault(action, []).extend(each["Resource"])
    ends = {action: sorted(arn.split(":", 5)[-1] for arn in arns) for action, arns in own.items()}
    assert ends["lambda:InvokeFunction"] == [
        "function:tradewind-dev-analytics-attribution-ml-training", "function:tradewind-dev-ingress-fan-out",
    ]  # fmt: skip
    assert ends["states:StartExecution"] == [
        "stateMachine:tradewind-dev-ml-training", "stateMachine:tradewind-dev-ml-training-round",
    ]  # fmt: skip
    assert ends["states:StopExecution"] == [
        "execution:tradewind-dev-ml-training-round/*", "execution:tradewind-dev-ml-training-round:*",
        "execution:tradewind-dev-ml-training:*",
    ]  # fmt: skip
    assert ends["events:PutRule"] == ["rule/StepFunctionsGetEventsForStepFunctionsExecutionRule"]
    assert {action for action in own if not action.startswith("logs:")} == {
        "lambda:InvokeFunction", "states:StartExecution", "states:DescribeExecution", "states:StopExecution",
        "states:RedriveExecution", "events:PutTargets", "events:PutRule", "events:DescribeRule",
    }  # fmt: skip


def test_definition_has_the_networks_subnets_and_no_place_left_open(real: Application) -> None:
    machine = real.one("AWS::StepFunctions::StateMachine", StateMachineName="tradewind-dev-ml-training")
    definition = json.loads(readable(machine["DefinitionString"]))
    network = definition["States"]["Train on Spot"]["Parameters"]["NetworkConfiguration"][
        "AwsvpcConfiguration"
    ]
    assert network["Subnets"] == ["${Subnets}"]
    assert set(machine["DefinitionSubstitutions"]) == {"Subnets", "SecurityGroup"}
    assert network["AssignPublicIp"] == "DISABLED"


def test_container_runs_the_command_of_its_code_and_logs_for_a_while(real: Application) -> None:
    [definition] = real.of_type("AWS::ECS::TaskDefinition", STACK)
    [container] = definition["ContainerDefinitions"]
    assert tuple(container["Command"]) == COMMAND
    assert COMMAND[-1] == train.__module__
    assert container["ReadonlyRootFilesystem"] is True
    assert container["StopTimeout"] == 120
    tag = bundles.container_bundle().digest[:16]
    assert readable(container["Image"]).endswith(f"/tradewind-dev-training:{tag}")
    names = {each["Name"] for each in container["Environment"]}
    assert {"TRADEWIND_DATABASE_SECRET", "TRADEWIND_PAYLOAD_BUCKET", "TRADEWIND_STAGE", "AWS_REGION"} <= names
    assert not {name for name in names if name.endswith(("PASSWORD", "TOKEN", "DATABASE_URL"))}
    [logs] = [
        each
        for each in real.of_type("AWS::Logs::LogGroup", STACK)
        if each["LogGroupName"] == container["LogConfiguration"]["Options"]["awslogs-group"]
    ]
    assert logs["RetentionInDays"] == real.settings.log_retention_days


def test_container_may_do_what_it_does_and_nothing_else(real: Application) -> None:
    own = {
        action: each["Resource"]
        for each in statements(real, "What the training container")
        for action in each["Action"]
    }
    assert set(own) == {
        "states:SendTaskSuccess", "states:SendTaskFailure", "states:SendTaskHeartbeat",
        "s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:ListBucket", "secretsmanager:GetSecretValue",
    }  # fmt: skip
    assert own["states:SendTaskSuccess"][0].endswith("stateMachine:tradewind-dev-ml-training")
    for action in ("s3:GetObject", "s3:PutObject", "s3:DeleteObject"):
        assert own[action][0].endswith("/tenants/*/training/*"), action
    assert own["secretsmanager:GetSecretValue"][0].endswith("database/app-??????")


def test_machine_may_run_this_container_with_its_roles_alone(real: Application) -> None:
    own = {
        action: each
        for each in statements(real, "What the state machine tradewind-dev-ml-training may")
        for action in each["Action"]
    }
    assert all(":task-definition/tradewind-dev-training" in each for each in own["ecs:RunTask"]["Resource"])
    assert own["iam:PassRole"]["Condition"] == {
        "StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}
    }
    assert len(own["iam:PassRole"]["Resource"]) == 2


def test_alarms_tell_of_trainings_that_fail_are_late_or_given_up(real: Application) -> None:
    alarms = {each["AlarmName"]: each["MetricName"] for each in real.of_type("AWS::CloudWatch::Alarm", STACK)}
    assert alarms == {
        "tradewind-dev-ml-training-failed": "ExecutionsFailed",
        "tradewind-dev-ml-training-late": "ExecutionTime",
        "tradewind-dev-ml-training-timed-out": "ExecutionsTimedOut",
        "tradewind-dev-ml-training-round-failed": "ExecutionsFailed",
        "tradewind-dev-ml-training-round-timed-out": "ExecutionsTimedOut",
    }


def test_application_that_trains_nothing_has_no_container(dev: Application) -> None:
    assert not [name for name in dev.templates if name.endswith(STACK)]


def test_images_context_holds_the_code_the_pins_and_what_docker_is_told() -> None:
    bundle = bundles.container_bundle()
    assert (bundle.folder / "analytics/ml_training/container.py").is_file()
    assert (bundle.folder / "tradewind/tasks/container.py").is_file()
    dockerfile = (bundle.folder / "Dockerfile").read_text()
    assert json.dumps(list(COMMAND)) in dockerfile
    for layer in bundles.CONTAINER_LAYERS:
        assert (bundle.folder / f"{layer}.txt").read_text() == bundles.requirements_of(layer).read_text()
        assert f"{layer}.txt" in dockerfile
    command = build_command("repository:tag", push=True)
    assert command[-1] == str(bundle.folder)
    assert "linux/arm64" in command
