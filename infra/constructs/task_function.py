"""A task's infrastructure: function, queues, mappings, alarms, and the grants that its signature asks for."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from aws_cdk import aws_lambda as lambda_
from aws_cdk.aws_s3_assets import Asset
from constructs import Construct

from analytics.ml_training.model import MACHINE
from infra import grants
from infra.constructs.alarm import Alarm
from infra.constructs.function import Function, FunctionSpec
from infra.constructs.queue import Queue
from infra.grants import Grant
from infra.wiring import Wiring
from tradewind.tasks.providers import Need
from tradewind.tasks.task import Task

if TYPE_CHECKING:
    from infra.stacks.base import TradewindStack

SMALLEST_MAPPING = 2


class TaskFunction(Construct):
    """``code`` is the bundle of the task's domain."""

    def __init__(self, stack: TradewindStack, task: Task, code: Asset, wiring: Wiring) -> None:
        super().__init__(stack, task.id)
        self._stack, self._task = stack, task
        names = stack.names
        role = "platform" if Need.PLATFORM_DATABASE in task.needs else "app"
        self.function = Function(
            stack,
            f"{task.id}-function",
            FunctionSpec(
                name=task.id,
                description=task.description,
                handler=task.handler,
                timeout=task.timeout,
                memory=task.memory,
                code=code,
                environment=stack.function_environment(role) | _workflow_environment(task, wiring),
                grants=task_grants(stack, task, role, wiring),
                layers=task.layers,
                storage=task.storage,
                recursive=True,
            ),
        )
        self._lane("queue", names.queue(task.id), stack.settings.message_age_alarm)
        if task.backfill:
            self._lane("backfill", names.backfill_queue(task.id), stack.settings.backfill_age_alarm)

    def _lane(self, kind: str, name: str, oldest: timedelta) -> None:
        stack, task = self._stack, self._task
        queue = Queue(
            stack,
            f"{task.id}-{kind}",
            name=name,
            visibility=task.visibility,
            dead_letters=stack.names.dead_letters(task.domain),
        )
        mapping = lambda_.CfnEventSourceMapping(
            self,
            f"{kind}-mapping",
            function_name=self.function.resource.ref,
            event_source_arn=queue.resource.attr_arn,
            batch_size=stack.settings.batch_size,
            function_response_types=["ReportBatchItemFailures"],
            scaling_config=lambda_.CfnEventSourceMapping.ScalingConfigProperty(
                maximum_concurrency=mapping_concurrency(task, stack.settings.concurrency_limit)
            ),
        )
        mapping.add_resource_dependency(self.function.role)
        Alarm(
            self,
            f"{kind}-age",
            stack=stack,
            name=f"{name.removesuffix('.fifo')}-age",
            description=f"the oldest message of {name} waits too long: a held group, a limit, or bad code",
            namespace="AWS/SQS",
            metric="ApproximateAgeOfOldestMessage",
            dimensions={"QueueName": name},
            statistic="Maximum",
            threshold=oldest.total_seconds(),
        )


def mapping_concurrency(task: Task, limit: int | None) -> int:
    """How many batches of a queue run at once: the task's own number, lowered where the stage has a limit."""
    return max(SMALLEST_MAPPING, task.concurrency if limit is None else min(task.concurrency, limit))


def task_grants(stack: TradewindStack, task: Task, database_role: str, wiring: Wiring) -> list[Grant]:
    """What the task's function may do; nothing that its signature and its ``starts`` do not ask for."""
    names = stack.names
    made = [
        grants.consume(wiring.own_queues(task, names)),
        grants.send(wiring.sends_to(task, names)),
        grants.read_payloads(names),
    ]
    if task.starts or Need.PAYLOADS in task.needs:
        made.append(grants.write_payloads(names))
    if Need.PAYLOADS in task.needs:
        made += [grants.delete_payloads(names, ""), grants.list_payloads(names)]
    if task.starts_workflow is not None:
        made.append(grants.start_machine_and_wait(names.machine(task.starts_workflow)))
    if Need.LONG_MACHINE in task.needs:
        made.append(grants.start_long_machines(names.machine(MACHINE)))
    if Need.KEY in task.needs:
        made.append(grants.use_tenant_key(stack.key_arn))
    if not stack.settings.is_local:
        made.append(grants.read_secret(names, database_role))
    return made


def _workflow_environment(task: Task, wiring: Wiring) -> dict[str, str]:
    wait = wiring.workflow_wait(task)
    return {} if wait is None else {"TRADEWIND_WORKFLOW_START_TIMEOUT_S": str(int(wait.total_seconds()))}
