"""A CloudWatch alarm that tells the stage's alarm topic."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING

from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

from infra.names import arn

if TYPE_CHECKING:
    from infra.stacks.base import TradewindStack

FIVE_MINUTES = timedelta(minutes=5)


class Alarm(Construct):
    """Fires when ``statistic`` of the metric reaches ``threshold`` in ``periods`` periods in a row."""

    def __init__(  # noqa: PLR0913 - a metric and its bound, each named
        self,
        scope: Construct,
        construct_id: str,
        *,
        stack: TradewindStack,
        name: str,
        description: str,
        namespace: str,
        metric: str,
        dimensions: Mapping[str, str],
        statistic: str,
        threshold: float,
        above: bool = False,
        period: timedelta = FIVE_MINUTES,
        periods: int = 1,
    ) -> None:
        super().__init__(scope, construct_id)
        topic = arn("sns", stack.names.alarm_topic)
        self.resource = cloudwatch.CfnAlarm(
            self,
            "alarm",
            alarm_name=name,
            alarm_description=description,
            namespace=namespace,
            metric_name=metric,
            dimensions=[
                cloudwatch.CfnAlarm.DimensionProperty(name=key, value=value)
                for key, value in sorted(dimensions.items())
            ],
            statistic=statistic,
            threshold=threshold,
            comparison_operator="GreaterThanThreshold" if above else "GreaterThanOrEqualToThreshold",
            period=int(period.total_seconds()),
            evaluation_periods=periods,
            treat_missing_data="notBreaching",
            alarm_actions=[topic],
            ok_actions=[topic],
        )
