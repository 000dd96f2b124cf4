"""Least privilege: what a role may do follows from the task's signature, and each call has a way out of the
network.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from infra.names import Names
from infra.wiring import Wiring
from tradewind.tasks.providers import Need

from .conftest import Application, readable

KEY = "<DataKeyArn>"
NAMES = Names("dev")
BY_LAMBDA_ITSELF = {"logs", "ec2"}
"""Lambda writes the logs and makes the network interfaces outside of the VPC, under the function's role."""
ENDPOINT_OF_ACTION = {"states:StartSyncExecution": "sync-states"}


def resources(statements: list[dict[str, Any]], action: str) -> list[str]:
    """Last parts of the ARNs on which an action is allowed."""
    return sorted(
        resource.split(":", 5)[-1]
        for statement in statements
        if statement["Effect"] == "Allow" and action in statement["Action"]
        for resource in statement["Resource"]
    )


def allowed(statements: list[dict[str, Any]]) -> set[str]:
    return {action for each in statements if each["Effect"] == "Allow" for action in each["Action"]}


@pytest.fixture(params=["dev", "real"])
def application(request: pytest.FixtureRequest) -> Application:
    found: Application = request.getfixturevalue(request.param)
    return found


def test_a_function_sends_only_to_its_own_queue_its_partners_and_its_dead_letters(
    application: Application,
) -> None:
    for task in application.registry:
        partners = {*task.starts, *(other.id for other in application.registry if task.id in other.starts)}
        lanes = {NAMES.queue(name) for name in (task.id, *partners)}
        lanes |= {
            NAMES.backfill_queue(name)
            for name in (task.id, *partners)
            if application.registry.get(name).backfill
        }
        found = resources(application.statements(NAMES.function(task.id)), "sqs:SendMessage")
        assert found == sorted(lanes | {NAMES.dead_letters(task.domain)}), task.id


def test_a_function_receives_from_its_own_lanes_only(application: Application) -> None:
    for task in application.registry:
        own = [NAMES.queue(task.id)] + ([NAMES.backfill_queue(task.id)] if task.backfill else [])
        assert resources(application.statements(NAMES.function(task.id)), "sqs:ReceiveMessage") == sorted(own)


def test_a_task_without_partners_may_do_exactly_this(dev: Application) -> None:
    own = "arn:<Partition>:sqs:<Region>:<AccountId>:tradewind-dev-bazaar-digest.fifo"
    network = [
        "ec2:CreateNetworkInterface",
        "ec2:DescribeNetworkInterfaces",
        "ec2:DescribeSubnets",
        "ec2:DeleteNetworkInterface",
        "ec2:AssignPrivateIpAddresses",
        "ec2:UnassignPrivateIpAddresses",
    ]
    function = "arn:<Partition>:lambda:<Region>:<AccountId>:function:tradewind-dev-bazaar-digest"
    logs = "arn:<Partition>:logs:<Region>:<AccountId>:log-group:/aws/lambda/tradewind-dev-bazaar-digest:*"
    assert dev.statements("tradewind-dev-bazaar-digest") == [
        {"Effect": "Allow", "Action": ["logs:CreateLogStream", "logs:PutLogEvents"], "Resource": [logs]},
        {
            "Effect": "Allow",
            "Action": [
                "sqs:ReceiveMessage",
                "sqs:DeleteMessage",
                "sqs:ChangeMessageVisibility",
                "sqs:GetQueueAttributes",
            ],
            "Resource": [own],
        },
        {
            "Effect": "Allow",
            "Action": ["sqs:SendMessage"],
            "Resource": [own, "arn:<Partition>:sqs:<Region>:<AccountId>:tradewind-dev-bazaar-dead.fifo"],
        },
        {
            "Effect": "Allow",
            "Action": ["s3:GetObject"],
            "Resource": ["arn:<Partition>:s3:::tradewind-dev-payloads-<AccountId>-<Region>/tenants/*"],
        },
        {
            "Effect": "Allow",
            "Action": ["secretsmanager:GetSecretValue"],
            "Resource": [
                "arn:<Partition>:secretsmanager:<Region>:<AccountId>:secret:tradewind-dev/database/app-??????"
            ],
        },
        {"Effect": "Allow", "Action": network, "Resource": ["*"]},
        {
            "Effect": "Deny",
            "Action": network,
            "Resource": ["*"],
            "Condition": {"ArnEquals": {"lambda:SourceFunctionArn": [function]}},
        },
    ]


def test_only_a_starter_starts_a_machine_and_only_its_own(application: Application) -> None:
    for task in application.registry:
        found = resources(application.statements(NAMES.function(task.id)), "states:StartSyncExecution")
        wanted = (
            [] if task.starts_workflow is None else [f"stateMachine:{NAMES.machine(task.starts_workflow)}"]
        )
        assert found == wanted


def test_the_key_is_for_those_who_open_credentials_and_only_with_the_tenant_named(
    application: Application,
) -> None:
    users = 0
    for task in application.registry:
        statements = application.statements(NAMES.function(task.id))
        keys = [each for each in statements if any(action.startswith("kms:") for action in each["Action"])]
        assert bool(keys) is (Need.KEY in task.needs), task.id
        for statement in keys:
            users += 1
            assert statement["Action"] == ["kms:Decrypt", "kms:GenerateDataKey"]
            assert statement["Resource"] == [KEY]
            assert statement["Condition"] == {
                "ForAllValues:StringEquals": {"kms:EncryptionContextKeys": ["tenant"]},
                "Null": {"kms:EncryptionContext:tenant": "false"},
            }
    assert users > 0


def test_each_task_reads_the_login_of_its_own_database_role(application: Application) -> None:
    for task in application.registry:
        role = "platform" if Need.PLATFORM_DATABASE in task.needs else "app"
        found = resources(application.statements(NAMES.function(task.id)), "secretsmanager:GetSecretValue")
        assert found == [f"secret:tradewind-dev/database/{role}-??????"]


@pytest.mark.parametrize(
    ("function", "logins"),
    [
        ("receiver", ["platform"]),
        ("api", ["platform"]),
        ("fan-out", ["platform"]),
        ("relay", ["platform"]),
        ("intake", ["platform"]),
        ("dead-letter-intake", ["platform"]),
        ("admin", ["platform"]),
        ("unsubscribe", ["app"]),
        ("migrate", ["owner"]),
        ("database-roles", ["app", "master", "owner", "platform"]),
        ("migration-hook", []),
    ],
)
def test_who_reads_which_login_at_the_ingress(dev: Application, function: str, logins: list[str]) -> None:
    found = resources(dev.statements(f"tradewind-dev-ingress-{function}"), "secretsmanager:GetSecretValue")
    assert found == [f"secret:tradewind-dev/database/{login}-??????" for login in logins]


def test_a_child_may_continue_the_parent_that_started_it(dev: Application) -> None:
    wiring = Wiring(dev.registry)
    child, parent = dev.registry.get("bazaar-mail-order"), dev.registry.get("bazaar-save-order")
    assert child.id in parent.starts
    assert NAMES.queue(parent.id) in wiring.sends_to(child, NAMES)
    assert NAMES.queue("bazaar-commission") not in wiring.sends_to(child, NAMES)


def test_only_who_asks_for_the_payload_store_lists_and_deletes_and_only_below_its_prefix(
    real: Application,
) -> None:
    asking = {task.id for task in real.registry if Need.PAYLOADS in task.needs}
    assert asking == {
        "analytics-attribution-export",
        "commerce-customer-batch-sync",
        "commerce-product-batch-sync",
        "gdpr-request-process",
    }
    for task in real.registry:
        statements = real.statements(NAMES.function(task.id))
        listing = [each for each in statements if "s3:ListBucket" in each["Action"]]
        assert bool(listing) is (task.id in asking), task.id
        assert ("s3:DeleteObject" in allowed(statements)) is (task.id in asking), task.id
        for statement in listing:
            assert statement["Condition"] == {"StringLike": {"s3:prefix": ["tenants/*"]}}
    intake = real.statements("tradewind-dev-ingress-intake")
    deleting = [each["Resource"] for each in intake if "s3:DeleteObject" in each["Action"]]
    assert [resource.rpartition("/tenants/")[2] for resource in deleting[0]] == [f"{UUID(int=0)}/intake/*"]
    assert "s3:DeleteObject" not in allowed(real.statements("tradewind-dev-ingress-receiver"))


def test_no_role_may_do_everything_of_a_service(application: Application) -> None:
    for _, _, resource in application.everything:
        if resource["Type"] == "AWS::IAM::Role":
            for policy in resource["Properties"].get("Policies", []):
                for statement in policy["PolicyDocument"]["Statement"]:
                    assert not [action for action in statement["Action"] if "*" in action]
            assert "ManagedPolicyArns" not in resource["Properties"]


def test_every_service_that_a_function_calls_has_an_endpoint(application: Application) -> None:
    endpoints = {
        readable(each["ServiceName"]).rsplit(".", 1)[-1]
        for each in application.of_type("AWS::EC2::VPCEndpoint")
    }
    inside = [each for each in application.of_type("AWS::Lambda::Function") if "VpcConfig" in each]
    assert len(inside) > len(list(application.registry))
    for function in inside:
        for action in allowed(application.statements(function["FunctionName"])):
            service = ENDPOINT_OF_ACTION.get(action, action.split(":")[0])
            assert service in endpoints | BY_LAMBDA_ITSELF, (
                f"{function['FunctionName']} has no way to {action}"
            )


def test_no_endpoint_is_paid_for_without_a_caller(real: Application) -> None:
    called = {
        ENDPOINT_OF_ACTION.get(action, action.split(":")[0])
        for function in real.of_type("AWS::Lambda::Function")
        if "VpcConfig" in function
        for action in allowed(real.statements(function["FunctionName"]))
    }
    endpoints = {
        readable(each["ServiceName"]).rsplit(".", 1)[-1] for each in real.of_type("AWS::EC2::VPCEndpoint")
    }
    assert endpoints <= called


def test_providers_are_reached_through_the_nat(application: Application) -> None:
    assert application.of_type("AWS::EC2::NatGateway")
    out = [each for each in application.of_type("AWS::EC2::SecurityGroupEgress") if "CidrIp" in each]
    assert [(each["CidrIp"], each["FromPort"], each["ToPort"]) for each in out] == [("0.0.0.0/0", 443, 443)]


def test_database_and_cache_listen_to_functions_only(application: Application) -> None:
    rules = {
        (readable(each["GroupId"]).split("group")[0].strip("<"), each["FromPort"])
        for each in application.of_type("AWS::EC2::SecurityGroupIngress")
        if "SourceSecurityGroupId" in each
    }
    assert {port for _, port in rules} == {5432, 6379, 6380, 443}
    assert not [each for each in application.of_type("AWS::EC2::SecurityGroupIngress") if "CidrIp" in each]


def test_the_emulator_alone_is_given_the_actions_that_only_it_asks_for(
    local: Application, dev: Application
) -> None:
    emulated = {"sqs:SendMessageBatch", "sqs:DeleteMessageBatch", "sqs:ChangeMessageVisibilityBatch"}
    assert emulated <= allowed(local.statements("tradewind-local-bazaar-commission"))
    assert not emulated & allowed(dev.statements("tradewind-dev-bazaar-commission"))
    local_queues = resources(local.statements("tradewind-local-bazaar-commission"), "sqs:SendMessageBatch")
    assert local_queues == ["tradewind-local-bazaar-commission.fifo", "tradewind-local-bazaar-dead.fifo"]
