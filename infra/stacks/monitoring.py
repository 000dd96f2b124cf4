"""The dashboard, the topic that every alarm tells, and the alarms over all tasks at once."""

from __future__ import annotations

from collections.abc import Sequence

from aws_cdk import Aws
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_sns as sns
from constructs import Construct

from infra.dashboard import NAMESPACE, dashboard_body
from infra.grants import tls_only
from infra.settings import StageSettings
from infra.stacks.base import TradewindStack

LATEST_WORK = f'SELECT MAX(WebhookToDone) FROM "{NAMESPACE}"'  # noqa: S608 - CloudWatch's query language
DEAD_LETTERS = f'SELECT SUM(DeadLetter) FROM "{NAMESPACE}"'  # noqa: S608 - the same
UNLIKE_AD_EVENTS = f'SELECT SUM(AdEventDifference) FROM "{NAMESPACE}"'  # noqa: S608 - the same
WEBHOOKS_OFF = f'SELECT SUM(WebhookDisabled) FROM "{NAMESPACE}"'  # noqa: S608 - the same
PARTLY_LOADED = f'SELECT SUM(FullLoadIncomplete) FROM "{NAMESPACE}"'  # noqa: S608 - the same


class MonitoringStack(TradewindStack):
    """``domains`` are those of the registry, whose dead-letter queues the dashboard shows."""

    def __init__(self, scope: Construct, settings: StageSettings, domains: Sequence[str]) -> None:
        super().__init__(scope, settings, "monitoring", "Dashboard, alarm topic, alarms over all tasks")
        self._topic = self._alarm_topic()
        if not settings.is_local:  # the local emulator knows no alarms over queries
            self._alarms_over_all_tasks()
        cloudwatch.CfnDashboard(
            self,
            "dashboard",
            dashboard_name=self.names.of("overview"),
            dashboard_body=dashboard_body(self.names, domains),
        )

    def _alarms_over_all_tasks(self) -> None:
        seconds = self.settings.order_latency_alarm.total_seconds()
        self._query_alarm(
            "late-orders",
            f"a webhook's work was done over {seconds:g} s after it came; 'run succeeded' in the logs says whose",
            LATEST_WORK,
            threshold=seconds * 1000,
        )
        self._query_alarm(
            "dead-letters",
            "runs ended for good; read the dead letters and replay them",
            DEAD_LETTERS,
            threshold=0,
        )
        self._query_alarm(
            "ad-events-differ",
            "an ad platform was not told what it ought to know; 'ad events differ' in the logs names the orders",
            UNLIKE_AD_EVENTS,
            threshold=0,
        )
        self._query_alarm(
            "full-loads-incomplete",
            "a full load of products or customers read only a part; nothing was archived",
            PARTLY_LOADED,
            threshold=0,
        )

        self._query_alarm(
            "webhooks-disabled",
            "a tenant's address takes no webhooks of attribution any more; its disabled_reason says why",
            WEBHOOKS_OFF,
            threshold=0,
        )

    def _alarm_topic(self) -> sns.CfnTopic:
        topic = sns.CfnTopic(self, "alarms", topic_name=self.names.alarm_topic, kms_master_key_id=None)
        sns.CfnTopicPolicy(
            self,
            "alarms-policy",
            topics=[topic.ref],
            policy_document={
                "Version": "2012-10-17",
                "Statement": [
                    {
                        "Sid": "AlarmsMayPublish",
                        "Effect": "Allow",
                        "Principal": {"Service": "cloudwatch.amazonaws.com"},
                        "Action": "sns:Publish",
                        "Resource": topic.ref,
                        "Condition": {"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}},
                    },
                    tls_only("sns:Publish", topic.ref),
                ],
            },
        )
        return topic

    def _query_alarm(self, name: str, description: str, query: str, threshold: float) -> None:
        """An alarm over a query: one for all tasks, however many there are."""
        cloudwatch.CfnAlarm(
            self,
            f"{name}-alarm",
            alarm_name=self.names.of(name),
            alarm_description=description,
            metrics=[
                cloudwatch.CfnAlarm.MetricDataQueryProperty(
                    id="worst", expression=query, period=60, return_data=True, label=name
                )
            ],
            threshold=threshold,
            comparison_operator="GreaterThanThreshold",
            evaluation_periods=1,
            treat_missing_data="notBreaching",
            alarm_actions=[self._topic.ref],
            ok_actions=[self._topic.ref],
        )
