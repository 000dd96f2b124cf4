"""A Lambda function with its role, log group and error alarm: the part that tasks and ingress share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from aws_cdk import RemovalPolicy
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk.aws_s3_assets import Asset
from constructs import Construct

from infra.constructs.alarm import Alarm
from infra.grants import (
    Grant,
    as_the_emulator_asks,
    assumed_by,
    attach_to_network,
    policy_document,
    write_logs,
)

if TYPE_CHECKING:
    from infra.stacks.base import TradewindStack

DESCRIPTION_LIMIT = 256
LEAST_STORAGE = 512


@dataclass(frozen=True, slots=True)
class FunctionSpec:
    """Everything that one function differs in. ``memory`` is in MiB."""

    name: str
    description: str
    handler: str
    timeout: timedelta
    memory: int
    code: Asset
    environment: Mapping[str, str]
    grants: Sequence[Grant] = field(default_factory=tuple)
    reserved_concurrency: int | None = None
    layers: Sequence[str] = ()
    """Layers of packages that it has beside every function's."""
    storage: int = LEAST_STORAGE
    """Of temporary files, in MiB."""
    recursive: bool = False
    """Whether it may start itself again through its own queue, under a hop limit of its own."""


class Function(Construct):
    """arm64, least privilege, inside the network where there is one."""

    def __init__(self, stack: TradewindStack, construct_id: str, spec: FunctionSpec) -> None:
        super().__init__(stack, construct_id)
        self.name = stack.names.function(spec.name)
        log_group = logs.CfnLogGroup(
            self,
            "logs",
            log_group_name=stack.names.log_group(self.name),
            retention_in_days=stack.settings.log_retention_days,
        )
        log_group.apply_removal_policy(RemovalPolicy.DESTROY)
        self.role = self._role(stack, spec)
        self.resource = lambda_.CfnFunction(
            self,
            "function",
            function_name=self.name,
            description=spec.description[:DESCRIPTION_LIMIT],
            handler=spec.handler,
            runtime=stack.settings.runtime,
            architectures=["arm64"],
            code=lambda_.CfnFunction.CodeProperty(
                s3_bucket=spec.code.s3_bucket_name, s3_key=spec.code.s3_object_key
            ),
            role=self.role.attr_arn,
            timeout=int(spec.timeout.total_seconds()),
            memory_size=spec.memory,
            layers=stack.layers(spec.layers) or None,
            ephemeral_storage=(
                lambda_.CfnFunction.EphemeralStorageProperty(size=spec.storage)
                if spec.storage > LEAST_STORAGE
                else None
            ),
            environment=lambda_.CfnFunction.EnvironmentProperty(
                variables={**spec.environment, "POWERTOOLS_SERVICE_NAME": spec.name}
            ),
            vpc_config=stack.network,
            logging_config=lambda_.CfnFunction.LoggingConfigProperty(
                log_group=log_group.log_group_name,
                log_format="JSON",
                application_log_level="INFO",
                system_log_level=stack.settings.system_log_level,
            ),
            reserved_concurrent_executions=spec.reserved_concurrency,
            recursive_loop="Allow" if spec.recursive else None,
        )
        self.resource.add_resource_dependency(log_group)
        self._alarm_on_errors(stack)

    def _role(self, stack: TradewindStack, spec: FunctionSpec) -> iam.CfnRole:
        grants = [write_logs(stack.names.log_group(self.name)), *spec.grants]
        if stack.network is not None:
            grants.extend(attach_to_network(self.name))
        if stack.settings.is_local:
            grants = [as_the_emulator_asks(grant) for grant in grants]
        return iam.CfnRole(
            self,
            "role",
            description=f"What {self.name} may do"[:DESCRIPTION_LIMIT],
            assume_role_policy_document=assumed_by("lambda"),
            policies=[iam.CfnRole.PolicyProperty(policy_name="own", policy_document=policy_document(grants))],
        )

    def _alarm_on_errors(self, stack: TradewindStack) -> None:
        """A failing message is answered as a partial batch; an error here is a crash, a time-out or bad
        code.
        """
        Alarm(
            self,
            "errors",
            stack=stack,
            name=f"{self.name}-errors",
            description=f"{self.name} crashed, timed out or could not be imported; read its log group",
            namespace="AWS/Lambda",
            metric="Errors",
            dimensions={"FunctionName": self.name},
            statistic="Sum",
            threshold=1,
        )
