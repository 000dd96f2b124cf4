"""A state machine with its role, log group and failure alarm."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from aws_cdk import RemovalPolicy
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_stepfunctions as stepfunctions
from constructs import Construct

from infra.constructs.alarm import Alarm
from infra.grants import Grant, assumed_by, deliver_machine_logs, only_this_account, policy_document

if TYPE_CHECKING:
    from infra.stacks.base import TradewindStack


class Machine(Construct):
    """Logs every transition without the data: an order's content does not belong in a log. A quiet stage logs failures
    only; then the console shows no successful run of an Express machine.
    """

    def __init__(
        self,
        stack: TradewindStack,
        name: str,
        *,
        kind: Literal["EXPRESS", "STANDARD"],
        definition: Mapping[str, Any],
        grants: Sequence[Grant],
        substitutions: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(stack, f"{name}-machine")
        self._stack = stack
        self.name = stack.names.machine(name)
        log_group = logs.CfnLogGroup(
            self,
            "logs",
            log_group_name=f"/aws/vendedlogs/states/{self.name}",
            retention_in_days=stack.settings.log_retention_days,
        )
        log_group.apply_removal_policy(RemovalPolicy.DESTROY)
        role = iam.CfnRole(
            self,
            "role",
            description=f"What the state machine {self.name} may do",
            assume_role_policy_document=assumed_by("states", only_this_account()),
            policies=[
                iam.CfnRole.PolicyProperty(
                    policy_name="own", policy_document=policy_document([*grants, deliver_machine_logs()])
                )
            ],
        )
        self.resource = stepfunctions.CfnStateMachine(
            self,
            "machine",
            state_machine_name=self.name,
            state_machine_type=kind,
            role_arn=role.attr_arn,
            definition_string=json.dumps(definition),
            definition_substitutions=substitutions,
            logging_configuration=stepfunctions.CfnStateMachine.LoggingConfigurationProperty(
                level="ERROR" if stack.settings.quiet else "ALL",
                include_execution_data=False,
                destinations=[
                    stepfunctions.CfnStateMachine.LogDestinationProperty(
                        cloud_watch_logs_log_group=stepfunctions.CfnStateMachine.CloudWatchLogsLogGroupProperty(
                            log_group_arn=log_group.attr_arn
                        )
                    )
                ],
            ),
        )
        self.watch(
            self,
            "failures",
            "failed",
            f"executions of {self.name} fail; open them in the Step Functions console",
            metric="ExecutionsFailed",
            threshold=10 if kind == "EXPRESS" else 1,
        )

    def watch(
        self,
        scope: Construct,
        construct_id: str,
        ending: str,
        description: str,
        *,
        metric: str,
        threshold: float = 1,
        statistic: str = "Sum",
    ) -> None:
        """An alarm on one of the machine's metrics; its name is the machine's with an ``ending``."""
        Alarm(
            scope,
            construct_id,
            stack=self._stack,
            name=f"{self.name}-{ending}",
            description=description,
            namespace="AWS/States",
            metric=metric,
            dimensions={"StateMachineArn": self.resource.ref},
            statistic=statistic,
            threshold=threshold,
        )
