"""EventBridge schedules: each starts the fan-out, which knows the tenants, or the state machine that its task names;
one starts the relay.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from aws_cdk import aws_iam as iam
from aws_cdk import aws_scheduler as scheduler
from constructs import Construct

from infra.grants import (
    Grant,
    assumed_by,
    invoke,
    only_this_account,
    policy_document,
    send,
    start_machines,
)
from infra.names import function_arn, machine_arn, queue_arn
from tradewind.tasks.triggers import TENANT, Cron

if TYPE_CHECKING:
    from infra.stacks.base import TradewindStack

EVERY_QUARTER_HOUR = "cron(0/15 * * * ? *)"
SCHEDULED_TIME = "<aws.scheduler.scheduled-time>"
"""Filled in by the scheduler: the slot is the time that was meant, never the time of arrival."""


class ScheduleRole(Construct):
    """One role for all schedules of a stack: invoke one function, start its tasks' machines, and leave what fails in
    the dead-letter queue.
    """

    def __init__(self, stack: TradewindStack, function: str, machines: Sequence[str] = ()) -> None:
        super().__init__(stack, "schedule-role")
        grants: list[Grant] = [invoke([function]), send([stack.names.schedule_dead_letters])]
        grants += [start_machines(stack.names.machine(machine)) for machine in machines]
        self.resource = iam.CfnRole(
            self,
            "role",
            description=f"What the schedules of {stack.stack_name} may do",
            assume_role_policy_document=assumed_by("scheduler", only_this_account()),
            policies=[iam.CfnRole.PolicyProperty(policy_name="own", policy_document=policy_document(grants))],
        )


class Schedule(Construct):
    """``expression`` is EventBridge's own; ``zone`` an IANA name; ``target`` an ARN. Retried for an hour, then a dead
    letter.
    """

    def __init__(  # noqa: PLR0913 - a schedule has this many parts, each named
        self,
        stack: TradewindStack,
        schedule_id: str,
        *,
        description: str,
        expression: str,
        zone: str,
        target: str,
        role: ScheduleRole,
        event: Mapping[str, Any],
    ) -> None:
        super().__init__(stack, f"{schedule_id}-schedule")
        scheduler.CfnSchedule(
            self,
            "schedule",
            name=stack.names.schedule(schedule_id),
            group_name=stack.names.schedule_group,
            description=description[:512],
            schedule_expression=expression,
            schedule_expression_timezone=zone,
            state="ENABLED" if stack.settings.schedules_fire else "DISABLED",
            flexible_time_window=scheduler.CfnSchedule.FlexibleTimeWindowProperty(mode="OFF"),
            target=scheduler.CfnSchedule.TargetProperty(
                arn=target,
                role_arn=role.resource.attr_arn,
                input=json.dumps(event),
                retry_policy=scheduler.CfnSchedule.RetryPolicyProperty(
                    maximum_event_age_in_seconds=3600, maximum_retry_attempts=20
                ),
                dead_letter_config=scheduler.CfnSchedule.DeadLetterConfigProperty(
                    arn=queue_arn(stack.names.schedule_dead_letters)
                ),
            ),
        )


def task_schedule(
    stack: TradewindStack, role: ScheduleRole, schedule_id: str, cron: Cron, task_id: str
) -> Schedule:
    """A task's clock. In the tenants' own zones the fan-out looks every quarter of an hour for tenants that
    are due.
    """
    in_tenant_zone = cron.zone == TENANT
    names = stack.names
    return Schedule(
        stack,
        schedule_id,
        description=f"Starts {task_id}: {cron.describe()}",
        expression=EVERY_QUARTER_HOUR if in_tenant_zone else cron.for_eventbridge(),
        zone="UTC" if in_tenant_zone else cron.zone,
        target=machine_arn(names.machine(cron.machine))
        if cron.machine
        else function_arn(names.function("ingress-fan-out")),
        role=role,
        event={"schedule": schedule_id, "task": task_id, "time": SCHEDULED_TIME},
    )
