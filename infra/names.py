"""Names and ARNs of everything that is deployed, derived from the stage alone.

No stack imports from another: who needs a queue, function or machine of another computes its ARN here.
"""

from __future__ import annotations

from dataclasses import dataclass

from aws_cdk import Aws

LOCAL = "local"
"""The stage of the local cloud."""

FUNCTION_NAME_LIMIT = 64
QUEUE_NAME_LIMIT = 80
MACHINE_NAME_LIMIT = 80
SCHEDULE_NAME_LIMIT = 64
STACK_NAME_LIMIT = 128


class NameTooLongError(ValueError):
    """AWS would refuse the name; the id it is made of must become shorter."""

    def __init__(self, kind: str, name: str, limit: int) -> None:
        super().__init__(
            f"{kind} name {name!r} has {len(name)} characters; AWS allows {limit}: shorten the id"
        )


def _within(kind: str, name: str, limit: int) -> str:
    if len(name) > limit:
        raise NameTooLongError(kind, name, limit)
    return name


@dataclass(frozen=True, slots=True)
class Names:
    """Names for one stage. Methods raise NameTooLongError."""

    stage: str

    def of(self, part: str) -> str:
        """The plain name of a part: ``tradewind-dev-order-sync``."""
        return f"tradewind-{self.stage}-{part}"

    def stack(self, part: str) -> str:
        return _within("stack", self.of(part.replace("_", "-")), STACK_NAME_LIMIT)

    def function(self, part: str) -> str:
        """AWS's limit holds where AWS is: the emulator takes the letter that ``local`` has more than ``prod``."""
        return _within("function", self.of(part), FUNCTION_NAME_LIMIT + (self.stage == LOCAL))

    def queue(self, task_id: str) -> str:
        return _within("queue", f"{self.of(task_id)}.fifo", QUEUE_NAME_LIMIT)

    def backfill_queue(self, task_id: str) -> str:
        return _within("queue", f"{self.of(task_id)}-backfill.fifo", QUEUE_NAME_LIMIT)

    def dead_letters(self, domain: str) -> str:
        return _within("queue", f"{self.of(domain)}-dead.fifo", QUEUE_NAME_LIMIT)

    def machine(self, workflow: str) -> str:
        return _within("state machine", self.of(workflow), MACHINE_NAME_LIMIT)

    def schedule(self, schedule_id: str) -> str:
        """A schedule's name; its group carries the stage, since the longest ids leave no room for it."""
        return _within("schedule", schedule_id, SCHEDULE_NAME_LIMIT)

    @property
    def schedule_group(self) -> str:
        return f"tradewind-{self.stage}"

    @property
    def schedule_dead_letters(self) -> str:
        return self.of("schedules-dead")

    @property
    def intake(self) -> str:
        """The queue of deliveries that the database could not take when they arrived."""
        return self.of("intake")

    @property
    def intake_dead_letters(self) -> str:
        return self.of("intake-dead")

    @property
    def key_alias(self) -> str:
        return f"alias/tradewind-{self.stage}"

    @property
    def payload_bucket(self) -> str:
        return f"{self.of('payloads')}-{Aws.ACCOUNT_ID}-{Aws.REGION}"

    @property
    def training(self) -> str:
        """The containers' cluster, task definition and image repository."""
        return self.of("training")

    @property
    def alarm_topic(self) -> str:
        return self.of("alarms")

    def secret(self, role: str) -> str:
        """The secret with a database login: the cluster's master, or the role owner, app or platform."""
        return f"tradewind-{self.stage}/database/{role}"

    def parameter(self, stack: str, value: str) -> str:
        """The SSM parameter through which one stack tells the others a value that only a deployment knows."""
        return f"/tradewind/{self.stage}/{stack}/{value}"

    def log_group(self, function: str) -> str:
        return f"/aws/lambda/{function}"


def arn(service: str, resource: str) -> str:
    """An ARN in the deployment's own account and region."""
    return f"arn:{Aws.PARTITION}:{service}:{Aws.REGION}:{Aws.ACCOUNT_ID}:{resource}"


def queue_arn(name: str) -> str:
    return arn("sqs", name)


def function_arn(name: str) -> str:
    return arn("lambda", f"function:{name}")


def machine_arn(name: str) -> str:
    return arn("states", f"stateMachine:{name}")


def bucket_arn(name: str) -> str:
    return f"arn:{Aws.PARTITION}:s3:::{name}"
