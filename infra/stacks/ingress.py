"""The way in: HTTP API, receiver, the platform's own API, schedule fan-out, relay, dead-letter intake, migrations,
administration.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from aws_cdk import CfnOutput
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra import bundles, grants
from infra.bundles import Bundle
from infra.constructs.alarm import Alarm
from infra.constructs.function import Function, FunctionSpec
from infra.constructs.http_api import HttpApi
from infra.constructs.migration_hook import MigrationHook
from infra.constructs.schedule import SCHEDULED_TIME, Schedule, ScheduleRole
from infra.grants import Grant
from infra.names import function_arn, queue_arn
from infra.settings import StageSettings
from infra.stacks.base import TradewindStack
from ingress.set_aside import CLAIM_PREFIX

INTAKE_CONCURRENCY, DEAD_LETTER_CONCURRENCY = 10, 2
INTAKE_FOLDER = CLAIM_PREFIX.removeprefix(grants.PAYLOAD_PREFIX)


@dataclass(frozen=True, slots=True)
class Part:
    """One function of the ingress package."""

    name: str
    description: str
    timeout: timedelta
    memory: int
    grants: Sequence[Grant]
    database_role: str = "platform"
    reserved_concurrency: int | None = None
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def handler(self) -> str:
        return f"ingress.{self.name.replace('-', '_')}.handle"


class IngressStack(TradewindStack):
    """``code`` holds the ingress package and the manifest of the registry."""

    def __init__(
        self, scope: Construct, settings: StageSettings, domains: Sequence[str], code: Bundle
    ) -> None:
        super().__init__(scope, settings, "ingress", "Webhooks, schedules, relay, dead letters, migrations")
        self._code = self.asset("code", code)
        names = self.names
        dead_letters = [names.dead_letters(domain) for domain in domains]
        to_tasks = grants.send_to_every_task(names)
        key = grants.use_tenant_key(self.key_arn)
        receiver = self._function(
            Part(
                "receiver",
                "Verifies a webhook, stores it, enqueues its tasks and answers",
                timedelta(seconds=5),
                512,
                [to_tasks, grants.send([names.intake]), key, grants.write_payloads(names)],
                reserved_concurrency=settings.receiver_concurrency,
            )
        )
        own_api = self._function(
            Part(
                "api",
                "Takes the platform's own events and task runs, tells the state of a run",
                timedelta(seconds=8),
                512,
                [to_tasks, grants.write_payloads(names)],
                reserved_concurrency=settings.api_concurrency,
            )
        )
        experiments = self._function(
            Part(
                "experiments",
                "Keeps what A/B tests' visitors do, and tells which variant a visitor sees",
                timedelta(seconds=8),
                512,
                [],
                database_role="app",
                reserved_concurrency=settings.experiments_concurrency,
            )
        )
        collect = self._function(
            Part(
                "collect",
                "Keeps what storefronts' visitors do before they buy",
                timedelta(seconds=8),
                512,
                [],
                database_role="app",
                reserved_concurrency=settings.collect_concurrency,
            )
        )
        self._function(
            Part(
                "fan-out", "Turns a schedule into one run per tenant", timedelta(seconds=60), 512, [to_tasks]
            )
        )
        relay = self._function(
            Part(
                "relay",
                "Sends what is due, admits what is held, finds what was lost",
                timedelta(seconds=50),
                512,
                [to_tasks],
                environment={
                    "TRADEWIND_UNSENT_AFTER_S": str(int(settings.unsent_after.total_seconds())),
                    "TRADEWIND_LOST_AFTER_S": str(int(settings.lost_after.total_seconds())),
                },
            )
        )
        self._intake([to_tasks, key])
        self._alarm_on_privacy()
        self._alarm_on_experiments()
        self._alarm_on_touches()
        self._alarm_on_email()
        self._dead_letter_intake(dead_letters)
        migrate = self._function(
            Part("migrate", "Runs the migrations", timedelta(minutes=5), 512, [], database_role="owner")
        )
        self._function(
            Part(
                "admin",
                "Registers tenants and credentials, replays dead letters",
                timedelta(seconds=60),
                512,
                [to_tasks, key],
            )
        )
        unsubscribe = self._function(
            Part(
                "unsubscribe",
                "Lets the recipient of an e-mail unsubscribe with one click",
                timedelta(seconds=8),
                256,
                [key],
                database_role="app",
            )
        )
        api = HttpApi(self, receiver, own_api, experiments, collect, unsubscribe)
        CfnOutput(
            self,
            "WebhookUrl",
            value=api.url,
            description="Base URL of /webhooks, /events, /tasks, /runs, /ab and /collect",
        )
        self._relay_schedule(relay)
        if not settings.is_local:
            kernel, roles = bundles.kernel_bundle(settings.runtime), bundles.roles_bundle(settings.runtime)
            MigrationHook(self, [self._create_roles(roles), migrate], kernel.digest + roles.digest)

    def _function(self, part: Part) -> Function:
        names, own = self.names, list(part.grants)
        if not self.settings.is_local:
            own.append(grants.read_secret(names, part.database_role))
        return Function(
            self,
            part.name,
            FunctionSpec(
                name=f"ingress-{part.name}",
                description=part.description,
                handler=part.handler,
                timeout=part.timeout,
                memory=part.memory,
                code=self._code,
                environment={**self.function_environment(part.database_role), **part.environment},
                grants=own,
                reserved_concurrency=part.reserved_concurrency,
            ),
        )

    def _create_roles(self, code: Bundle) -> Function:
        """Needed on AWS alone: the local cloud makes the roles when it starts its database."""
        logins = ("owner", "app", "platform")
        return Function(
            self,
            "database-roles",
            FunctionSpec(
                name="ingress-database-roles",
                description="Creates the database's roles, as the cluster's master",
                handler="database_roles.roles.handle",
                timeout=timedelta(minutes=1),
                memory=256,
                code=self.asset("roles", code),
                environment={
                    "MASTER_SECRET": self.names.secret("master"),
                    "ROLE_SECRETS": json.dumps([self.names.secret(login) for login in logins]),
                },
                grants=[grants.read_secret(self.names, login) for login in ("master", *logins)],
            ),
        )

    def _intake(self, shared: Sequence[Grant]) -> None:
        """Takes in what the receiver set aside, with the receiver's own rights."""
        names = self.names
        own = [
            grants.consume([names.intake]),
            grants.read_payloads(names),
            grants.write_payloads(names),
            grants.delete_payloads(names, INTAKE_FOLDER),
        ]
        part = Part(
            "intake",
            "Takes in the webhooks that the database could not take when they arrived",
            timedelta(seconds=60),
            512,
            [*shared, *own],
        )
        self._mapping(self._function(part), names.intake, INTAKE_CONCURRENCY)

    def _alarm_on_experiments(self) -> None:
        """Pages send again for a while; what they give up is lost to the tests."""
        Alarm(
            self,
            "ab-not-kept",
            stack=self,
            name=self.names.of("ab-not-kept"),
            description="the door of A/B tests could not keep events: the database does not answer; read its log group",
            namespace="Tradewind",
            metric="AbRequestNotKept",
            dimensions={},
            statistic="Sum",
            threshold=1,
        )

    def _alarm_on_touches(self) -> None:
        """Pages send again for a while; what they give up is no touch."""
        Alarm(
            self,
            "touches-not-kept",
            stack=self,
            name=self.names.of("touches-not-kept"),
            description="the door of touches could not keep them: the database does not answer; read its log group",
            namespace="Tradewind",
            metric="TouchesNotKept",
            dimensions={},
            statistic="Sum",
            threshold=1,
        )

    def _alarm_on_privacy(self) -> None:
        """The relay counts them every minute."""
        Alarm(
            self,
            "privacy-due",
            stack=self,
            name=self.names.of("privacy-due"),
            description="a customer's privacy request is open and must be done within a week; find its run",
            namespace="Tradewind",
            metric="PrivacyRequestsDue",
            dimensions={},
            statistic="Maximum",
            threshold=1,
        )

    def _alarm_on_email(self) -> None:
        """Whoever sends counts each call that an account refuses as a whole."""
        Alarm(
            self,
            "email-sending",
            stack=self,
            name=self.names.of("email-sending"),
            description="an e-mail account refuses to send: its key, domain or month's quota; the log says whose",
            namespace="Tradewind",
            metric="EmailSendingPaused",
            dimensions={"provider": "resend"},
            statistic="Sum",
            threshold=1,
        )

    def _mapping(self, function: Function, queue: str, concurrency: int) -> None:
        limit = self.settings.concurrency_limit or concurrency
        lambda_.CfnEventSourceMapping(
            self,
            f"{queue.removesuffix('.fifo')}-mapping",
            function_name=function.resource.ref,
            event_source_arn=queue_arn(queue),
            batch_size=10,
            function_response_types=["ReportBatchItemFailures"],
            scaling_config=lambda_.CfnEventSourceMapping.ScalingConfigProperty(
                maximum_concurrency=min(limit, concurrency)
            ),
        ).add_resource_dependency(function.role)

    def _dead_letter_intake(self, dead_letters: Sequence[str]) -> None:
        """The dead-letter intake reads every domain's queue."""
        part = Part(
            "dead-letter-intake",
            "Stores what lies in the dead-letter queues",
            timedelta(seconds=60),
            256,
            [grants.consume(dead_letters)],
        )
        intake = self._function(part)
        for queue in dead_letters:
            self._mapping(intake, queue, DEAD_LETTER_CONCURRENCY)

    def _relay_schedule(self, relay: Function) -> None:
        Schedule(
            self,
            "ingress-relay",
            description="Every minute",
            expression="rate(1 minute)",
            zone="UTC",
            target=function_arn(relay.name),
            role=ScheduleRole(self, relay.name),
            event={"time": SCHEDULED_TIME},
        )
