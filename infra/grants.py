"""What a function may do: small values that become IAM statements."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from aws_cdk import Aws

from infra.names import LOCAL, Names, arn, bucket_arn, function_arn, machine_arn, queue_arn

PAYLOAD_PREFIX = "tenants/"
"""Every stored payload lies below its tenant's folder."""


EMULATED_ACTIONS = {
    "sqs:SendMessage": ("sqs:SendMessageBatch",),
    "sqs:DeleteMessage": ("sqs:DeleteMessageBatch",),
    "sqs:ChangeMessageVisibility": ("sqs:ChangeMessageVisibilityBatch",),
}


@dataclass(frozen=True, slots=True)
class Grant:
    """One IAM statement; ``resources`` are ARNs, ``conditions`` IAM's own shape."""

    actions: tuple[str, ...]
    resources: tuple[str, ...]
    conditions: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    effect: str = "Allow"

    def statement(self) -> dict[str, Any]:
        made: dict[str, Any] = {
            "Effect": self.effect,
            "Action": list(self.actions),
            "Resource": list(self.resources),
        }
        if self.conditions:
            made["Condition"] = {operator: dict(values) for operator, values in self.conditions.items()}
        return made


def as_the_emulator_asks(grant: Grant) -> Grant:
    """A grant for the local cloud, whose authorization differs from IAM's in three ways: it asks for a batch's own
    action, where IAM asks for the single one's, for a KMS alias itself, without the encryption context, and it does not
    know whose a task token is.
    """
    actions = tuple(
        action for single in grant.actions for action in (single, *EMULATED_ACTIONS.get(single, ()))
    )
    if grant.actions[0] == "states:SendTaskSuccess":
        return replace(grant, resources=("*",))
    if not grant.actions[0].startswith("kms:"):
        return replace(grant, actions=actions)
    return Grant(actions, (*grant.resources, arn("kms", f"alias/tradewind-{LOCAL}")))


def policy_document(grants: Iterable[Grant]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": [grant.statement() for grant in grants]}


def write_logs(log_group: str) -> Grant:
    return Grant(("logs:CreateLogStream", "logs:PutLogEvents"), (arn("logs", f"log-group:{log_group}:*"),))


def attach_to_network(function_name: str) -> tuple[Grant, Grant]:
    """Lambda itself makes the network interfaces under the function's role; the function's code may not."""
    actions = (
        "ec2:CreateNetworkInterface",
        "ec2:DescribeNetworkInterfaces",
        "ec2:DescribeSubnets",
        "ec2:DeleteNetworkInterface",
        "ec2:AssignPrivateIpAddresses",
        "ec2:UnassignPrivateIpAddresses",
    )
    from_code = {"ArnEquals": {"lambda:SourceFunctionArn": [function_arn(function_name)]}}
    return Grant(actions, ("*",)), Grant(actions, ("*",), from_code, effect="Deny")


def consume(queues: Iterable[str]) -> Grant:
    actions = (
        "sqs:ReceiveMessage",
        "sqs:DeleteMessage",
        "sqs:ChangeMessageVisibility",
        "sqs:GetQueueAttributes",
    )
    return Grant(actions, tuple(queue_arn(queue) for queue in queues))


def send(queues: Iterable[str]) -> Grant:
    return Grant(("sqs:SendMessage",), tuple(queue_arn(queue) for queue in queues))


def send_to_every_task(names: Names) -> Grant:
    """For receiver and relay, whose targets are all tasks: the stage's FIFO queues."""
    return send([names.of("*.fifo")])


def start_machine_and_wait(machine: str) -> Grant:
    return Grant(("states:StartSyncExecution",), (machine_arn(machine),))


def start_long_machines(machine: str) -> Grant:
    """Starting executions of a Standard machine, and counting those that run."""
    return Grant(("states:StartExecution", "states:ListExecutions"), (machine_arn(machine),))


def start_machines(machine: str) -> Grant:
    return Grant(("states:StartExecution",), (machine_arn(machine),))


def run_machine_inside(machine: str) -> list[Grant]:
    """Running executions of another Standard machine to their end: Step Functions learns of it by a rule of its own."""
    rule = arn("events", "rule/StepFunctionsGetEventsForStepFunctionsExecutionRule")
    watched = (arn("states", f"execution:{machine}:*"),)
    return [
        start_machines(machine),
        Grant(("states:DescribeExecution", "states:StopExecution"), watched),
        Grant(("events:PutTargets", "events:PutRule", "events:DescribeRule"), (rule,)),
    ]


def run_items(machine: str) -> list[Grant]:
    """What a machine needs whose map runs each item as an execution of its own."""
    children = (arn("states", f"execution:{machine}/*"), arn("states", f"execution:{machine}:*"))
    return [
        start_machines(machine),
        Grant(("states:DescribeExecution", "states:StopExecution", "states:RedriveExecution"), children),
    ]


def answer_machine(machine: str) -> Grant:
    """What a container says to the execution that waits for it."""
    actions = ("states:SendTaskSuccess", "states:SendTaskFailure", "states:SendTaskHeartbeat")
    return Grant(actions, (machine_arn(machine),))


def run_container(family: str) -> Grant:
    """Starting containers of every revision of a task definition; its newest serves."""
    return Grant(
        ("ecs:RunTask",), (arn("ecs", f"task-definition/{family}:*"), arn("ecs", f"task-definition/{family}"))
    )


def pass_roles(*roles: str) -> Grant:
    """Handing roles to containers, and to nothing else."""
    only = {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}
    return Grant(("iam:PassRole",), roles, only)


def pull_image(repository: str) -> tuple[Grant, Grant]:
    """Pulling one repository's images; the token for it knows no resource."""
    layers = ("ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "ecr:BatchCheckLayerAvailability")
    return Grant(layers, (arn("ecr", f"repository/{repository}"),)), Grant(
        ("ecr:GetAuthorizationToken",), ("*",)
    )


def use_tenant_key(key_arn: str) -> Grant:
    """Data keys, but only with an encryption context that names the tenant and nothing else."""
    return Grant(
        ("kms:Decrypt", "kms:GenerateDataKey"),
        (key_arn,),
        {
            "ForAllValues:StringEquals": {"kms:EncryptionContextKeys": ["tenant"]},
            "Null": {"kms:EncryptionContext:tenant": "false"},
        },
    )


def read_payloads(names: Names) -> Grant:
    return Grant(("s3:GetObject",), (f"{bucket_arn(names.payload_bucket)}/{PAYLOAD_PREFIX}*",))


def write_payloads(names: Names) -> Grant:
    return Grant(("s3:PutObject",), (f"{bucket_arn(names.payload_bucket)}/{PAYLOAD_PREFIX}*",))


def delete_payloads(names: Names, folder: str) -> Grant:
    """Deleting objects below one folder of the payloads."""
    return Grant(("s3:DeleteObject",), (f"{bucket_arn(names.payload_bucket)}/{PAYLOAD_PREFIX}{folder}*",))


def keep_payloads(names: Names, folder: str) -> list[Grant]:
    """Reading, writing and deleting objects below one folder of the payloads, and no others."""
    objects = (f"{bucket_arn(names.payload_bucket)}/{PAYLOAD_PREFIX}{folder}*",)
    return [
        Grant(("s3:GetObject",), objects),
        Grant(("s3:PutObject",), objects),
        Grant(("s3:DeleteObject",), objects),
    ]


def list_payloads(names: Names) -> Grant:
    """Listing keys, below the one prefix of payloads only."""
    only = {"StringLike": {"s3:prefix": [f"{PAYLOAD_PREFIX}*"]}}
    return Grant(("s3:ListBucket",), (bucket_arn(names.payload_bucket),), only)


def read_secret(names: Names, role: str) -> Grant:
    """Secrets Manager appends six characters of its own to a secret's name."""
    secret = arn("secretsmanager", f"secret:{names.secret(role)}-??????")
    return Grant(("secretsmanager:GetSecretValue",), (secret,))


def invoke(functions: Iterable[str]) -> Grant:
    return Grant(("lambda:InvokeFunction",), tuple(function_arn(function) for function in functions))


def deliver_machine_logs() -> Grant:
    """Step Functions writes its logs through log delivery, whose actions know no resource."""
    actions = (
        "logs:CreateLogDelivery",
        "logs:GetLogDelivery",
        "logs:UpdateLogDelivery",
        "logs:DeleteLogDelivery",
        "logs:ListLogDeliveries",
        "logs:PutResourcePolicy",
        "logs:DescribeResourcePolicies",
        "logs:DescribeLogGroups",
    )
    return Grant(actions, ("*",))


def assumed_by(service: str, conditions: Mapping[str, Mapping[str, Any]] | None = None) -> dict[str, Any]:
    """The trust policy of a role for one AWS service."""
    statement: dict[str, Any] = {
        "Effect": "Allow",
        "Principal": {"Service": f"{service}.amazonaws.com"},
        "Action": "sts:AssumeRole",
    }
    if conditions:
        statement["Condition"] = conditions
    return {"Version": "2012-10-17", "Statement": [statement]}


def tls_only(action: str, *resources: str) -> dict[str, Any]:
    """A resource policy's statement that refuses plain HTTP, which is all that the local cloud speaks."""
    return {
        "Sid": "TlsOnly",
        "Effect": "Deny",
        "Principal": {"AWS": "*"},
        "Action": action,
        "Resource": list(resources),
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }


def only_this_account() -> dict[str, dict[str, str]]:
    return {"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}}
