"""The container that trains: cluster, task definition, roles, image repository, logs, and the machine that runs it.

Fargate Spot first, whose interruptions cost a minute since the container resumes from its checkpoint; what Spot keeps
interrupting, or has no room for, runs on demand.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from aws_cdk import Aws, CfnTag, Fn, RemovalPolicy
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from constructs import Construct

from analytics.ml_training.model import MACHINE
from infra import bundles, grants
from infra.constructs.machine import Machine
from infra.grants import Grant, as_the_emulator_asks, assumed_by, only_this_account, policy_document
from infra.names import arn
from tradewind.tasks.container import BEAT, INTERRUPTED, LIMIT

if TYPE_CHECKING:
    from infra.stacks.base import TradewindStack

CONTAINER = "training"
COMMAND = ("python", "-m", "analytics.ml_training.container")
CPU, MEMORY = 1024, 4096
"""A core and 4 GiB: 200,000 journeys need a tenth of that."""
HEARTBEAT, LOCAL_HEARTBEAT = BEAT * 6, timedelta(seconds=15)
"""Without a beat for so long the container is gone."""
WHOLE = timedelta(hours=4)
"""Of an execution with all its containers."""
LATE = timedelta(minutes=90)
HANDS = 6
"""How often a training may be handed from one container to the next: three hours of learning."""
STOP = timedelta(minutes=2)
"""Between Spot's warning and the end."""
GONE = [INTERRUPTED, "States.HeartbeatTimeout"]
NO_ROOM = ["ECS.AmazonECSException", "ECS.ServerException", "AmazonECS.Unknown"]
RUN = "arn:aws:states:::ecs:runTask.waitForTaskToken"


def training_definition(
    cluster: str, family: str, *, networked: bool, heartbeat: timedelta = HEARTBEAT
) -> dict[str, Any]:
    """Input ``{"tenant", "training"}``; the output is what the container tells of its end."""
    return {
        "Comment": "Train a tenant's attribution models in a container",
        "StartAt": "Begin",
        "TimeoutSeconds": int(WHOLE.total_seconds()),
        "States": {
            "Begin": {
                "Type": "Pass",
                "Parameters": {"tenant.$": "$.tenant", "training.$": "$.training", "hands": 0},
                "Next": "Train on Spot",
            },
            "Train on Spot": {
                **_train(cluster, family, "FARGATE_SPOT", networked=networked, heartbeat=heartbeat),
                "Catch": [
                    {
                        "ErrorEquals": [*GONE, *NO_ROOM],
                        "ResultPath": "$.without_spot",
                        "Next": "Train on demand",
                    }
                ],
                "Next": "Handed over?",
            },
            "Train on demand": {
                **_train(cluster, family, "FARGATE", networked=networked, heartbeat=heartbeat),
                "Next": "Handed over?",
            },
            "Handed over?": {
                "Type": "Choice",
                "Choices": [
                    {
                        "And": [
                            {"Variable": "$.outcome.state", "StringEquals": "handed_over"},
                            {"Variable": "$.hands", "NumericLessThan": HANDS},
                        ],
                        "Next": "Next hand",
                    },
                    {"Variable": "$.outcome.state", "StringEquals": "handed_over", "Next": "Does not end"},
                ],
                "Default": "Outcome",
            },
            "Next hand": {
                "Type": "Pass",
                "Parameters": {
                    "tenant.$": "$.tenant",
                    "training.$": "$.training",
                    "hands.$": "States.MathAdd($.hands, 1)",
                },
                "Next": "Train on Spot",
            },
            "Does not end": {
                "Type": "Fail",
                "Error": "TerminalError",
                "Cause": "the training was handed on too often; look at the container's log for what is slow",
            },
            "Outcome": {"Type": "Pass", "InputPath": "$.outcome", "End": True},
        },
    }


def _train(
    cluster: str, family: str, capacity: str, *, networked: bool, heartbeat: timedelta
) -> dict[str, Any]:
    network = {
        "NetworkConfiguration": {
            "AwsvpcConfiguration": {
                "Subnets": ["${Subnets}"],
                "SecurityGroups": ["${SecurityGroup}"],
                "AssignPublicIp": "DISABLED",
            }
        }
    }
    told = {
        "TRADEWIND_TASK_TOKEN": "$$.Task.Token",
        "TRADEWIND_TENANT": "$.tenant",
        "TRADEWIND_RUN": "$.training",
    }
    return {
        "Type": "Task",
        "Resource": RUN,
        "Parameters": {
            "Cluster": cluster,
            "TaskDefinition": family,
            "CapacityProviderStrategy": [{"CapacityProvider": capacity, "Weight": 1}],
            "PropagateTags": "TASK_DEFINITION",
            **(network if networked else {}),
            "Overrides": {
                "ContainerOverrides": [
                    {
                        "Name": CONTAINER,
                        "Environment": [{"Name": name, "Value.$": path} for name, path in told.items()],
                    }
                ]
            },
        },
        "ResultPath": "$.outcome",
        "TimeoutSeconds": int(LIMIT.total_seconds()),
        "HeartbeatSeconds": int(heartbeat.total_seconds()),
        "Retry": [
            {"ErrorEquals": GONE, "IntervalSeconds": 10, "MaxAttempts": 2, "BackoffRate": 2},
            {
                "ErrorEquals": ["RetryableError", "UnexpectedError", "RateLimitedError", "States.Timeout"],
                "IntervalSeconds": 60,
                "MaxAttempts": 1,
                "BackoffRate": 1,
            },
        ],
    }


class TrainingContainer(Construct):
    """Everything that belongs to it. The image is no asset: synth and deploy need no Docker, and ``make image`` builds
    and pushes the one that the task definition names.
    """

    def __init__(self, stack: TradewindStack) -> None:
        super().__init__(stack, "training")
        self._stack = stack
        self.tag = bundles.container_bundle().digest[:16]
        name = stack.names.training
        self._log_group = f"/aws/ecs/{name}"
        cluster = ecs.CfnCluster(
            self,
            "cluster",
            cluster_name=name,
            capacity_providers=["FARGATE", "FARGATE_SPOT"],
            cluster_settings=[
                ecs.CfnCluster.ClusterSettingsProperty(name="containerInsights", value="enabled")
            ],
        )
        self._repository()
        self._logs()
        execution = self._role(
            "execution-role", "What Fargate does before the container runs", self._start_grants()
        )
        own = self._role("role", "What the training container may do", self._own_grants())
        definition = self._definition(execution, own)
        network = stack.network
        subnets = None if network is None else Fn.join('","', network.subnet_ids or [])
        group = None if network is None else Fn.select(0, network.security_group_ids or [])
        self.machine = Machine(
            stack,
            MACHINE,
            kind="STANDARD",
            definition=training_definition(
                arn("ecs", f"cluster/{name}"),
                name,
                networked=network is not None,
                heartbeat=LOCAL_HEARTBEAT if stack.settings.is_local else HEARTBEAT,
            ),
            substitutions=None if subnets is None else {"Subnets": subnets, "SecurityGroup": str(group)},
            grants=[grants.run_container(name), grants.pass_roles(execution.attr_arn, own.attr_arn)],
        )
        self.machine.resource.add_resource_dependency(definition)
        self.machine.resource.add_resource_dependency(cluster)
        self._alarms()

    def _repository(self) -> None:
        repository = ecr.CfnRepository(
            self,
            "images",
            repository_name=self._stack.names.training,
            image_scanning_configuration=ecr.CfnRepository.ImageScanningConfigurationProperty(
                scan_on_push=True
            ),
            image_tag_mutability="IMMUTABLE",
            empty_on_delete=True,
            lifecycle_policy=ecr.CfnRepository.LifecyclePolicyProperty(
                lifecycle_policy_text='{"rules": [{"rulePriority": 1, "action": {"type": "expire"}, "selection": '
                '{"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 10}}]}'
            ),
        )
        repository.apply_removal_policy(RemovalPolicy.DESTROY)

    def _logs(self) -> None:
        group = logs.CfnLogGroup(
            self,
            "logs",
            log_group_name=self._log_group,
            retention_in_days=self._stack.settings.log_retention_days,
        )
        group.apply_removal_policy(RemovalPolicy.DESTROY)

    def _start_grants(self) -> list[Grant]:
        return [*grants.pull_image(self._stack.names.training), grants.write_logs(self._log_group)]

    def _own_grants(self) -> list[Grant]:
        names = self._stack.names
        made = [
            grants.answer_machine(names.machine(MACHINE)),
            *grants.keep_payloads(names, "*/training/"),
            grants.list_payloads(names),
        ]
        if not self._stack.settings.is_local:
            made.append(grants.read_secret(names, "app"))
        return made

    def _role(self, construct_id: str, description: str, own: list[Grant]) -> iam.CfnRole:
        local = self._stack.settings.is_local
        if local:
            own = [as_the_emulator_asks(grant) for grant in own]
        return iam.CfnRole(
            self,
            construct_id,
            description=description,
            assume_role_policy_document=assumed_by("ecs-tasks", None if local else only_this_account()),
            policies=[
                iam.CfnRole.PolicyProperty(policy_name="own", policy_document=policy_document(own)),
            ],
        )

    def _definition(self, execution: iam.CfnRole, own: iam.CfnRole) -> ecs.CfnTaskDefinition:
        name = self._stack.names.training
        image = f"{Aws.ACCOUNT_ID}.dkr.ecr.{Aws.REGION}.{Aws.URL_SUFFIX}/{name}:{self.tag}"
        environment = self._stack.function_environment("app")
        inside = {
            key: value for key, value in environment.items() if key not in {"PYTHONPATH", "TRADEWIND_PYTHON"}
        }
        return ecs.CfnTaskDefinition(
            self,
            "definition",
            family=name,
            cpu=str(CPU),
            memory=str(MEMORY),
            network_mode="awsvpc",
            requires_compatibilities=["FARGATE"],
            runtime_platform=ecs.CfnTaskDefinition.RuntimePlatformProperty(
                cpu_architecture="ARM64", operating_system_family="LINUX"
            ),
            execution_role_arn=execution.attr_arn,
            task_role_arn=own.attr_arn,
            tags=[CfnTag(key="application", value="tradewind")],
            container_definitions=[
                ecs.CfnTaskDefinition.ContainerDefinitionProperty(
                    name=CONTAINER,
                    image=image,
                    essential=True,
                    command=list(COMMAND),
                    readonly_root_filesystem=True,
                    stop_timeout=int(STOP.total_seconds()),
                    environment=[
                        ecs.CfnTaskDefinition.KeyValuePairProperty(name=key, value=value)
                        for key, value in sorted((inside | {"AWS_REGION": Aws.REGION}).items())
                    ],
                    log_configuration=ecs.CfnTaskDefinition.LogConfigurationProperty(
                        log_driver="awslogs",
                        options={
                            "awslogs-group": self._log_group,
                            "awslogs-region": Aws.REGION,
                            "awslogs-stream-prefix": CONTAINER,
                        },
                    ),
                )
            ],
        )

    def _alarms(self) -> None:
        self.machine.watch(
            self,
            "late",
            "late",
            f"a training took over {LATE.total_seconds() / 60:g} minutes, interruptions included",
            metric="ExecutionTime",
            threshold=LATE.total_seconds() * 1000,
            statistic="Maximum",
        )
        self.machine.watch(
            self,
            "timed-out",
            "timed-out",
            f"a training was given up after {WHOLE.total_seconds() / 3600:g} hours",
            metric="ExecutionsTimedOut",
        )
