"""The HTTP API through which providers reach the receiver."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from aws_cdk import Aws, RemovalPolicy
from aws_cdk import aws_apigatewayv2 as apigateway
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra.constructs.function import Function

if TYPE_CHECKING:
    from infra.stacks.base import TradewindStack

ROUTES = ("POST /webhooks/{provider}", "POST /webhooks/{provider}/{app}")
LOCAL_API_ID = "tradewind"
ACCESS_LOG_FIELDS = {
    "requestId": "$context.requestId",
    "time": "$context.requestTime",
    "route": "$context.routeKey",
    "path": "$context.path",
    "status": "$context.status",
    "bytes": "$context.responseLength",
    "latency_ms": "$context.responseLatency",
    "function_ms": "$context.integration.latency",
    "error": "$context.integration.error",
}
"""No address and no header: they may name a person."""


class WebhookApi(Construct):
    """``POST /webhooks/{provider}`` and ``/webhooks/{provider}/{app}``, throttled, with access logs."""

    def __init__(self, stack: TradewindStack, receiver: Function) -> None:
        super().__init__(stack, "webhook-api")
        self.api = apigateway.CfnApi(
            self,
            "api",
            name=stack.names.of("webhooks"),
            description="Webhooks of commerce, mail and payment providers",
            protocol_type="HTTP",
            tags={"ms-custom-id": LOCAL_API_ID} if stack.settings.is_local else None,
        )
        integration = apigateway.CfnIntegration(
            self,
            "receiver",
            api_id=self.api.ref,
            integration_type="AWS_PROXY",
            integration_uri=receiver.resource.attr_arn,
            payload_format_version="2.0",
            timeout_in_millis=10_000,
        )
        for at, route in enumerate(ROUTES):
            apigateway.CfnRoute(
                self,
                f"route-{at + 1}",
                api_id=self.api.ref,
                route_key=route,
                target=f"integrations/{integration.ref}",
            )
        self._stage(stack)
        lambda_.CfnPermission(
            self,
            "may-invoke-receiver",
            action="lambda:InvokeFunction",
            function_name=receiver.resource.ref,
            principal="apigateway.amazonaws.com",
            source_arn=f"arn:{Aws.PARTITION}:execute-api:{Aws.REGION}:{Aws.ACCOUNT_ID}:{self.api.ref}/*/*/webhooks/*",
        )

    @property
    def url(self) -> str:
        """The base URL; ``/webhooks/...`` comes after it."""
        return self.api.attr_api_endpoint

    def _access_logs(self, stack: TradewindStack) -> apigateway.CfnStage.AccessLogSettingsProperty | None:
        if stack.settings.quiet:
            return None
        log_group = logs.CfnLogGroup(
            self,
            "access-logs",
            log_group_name=f"/aws/vendedlogs/{stack.names.of('webhooks')}",
            retention_in_days=stack.settings.log_retention_days,
        )
        log_group.apply_removal_policy(RemovalPolicy.DESTROY)
        return apigateway.CfnStage.AccessLogSettingsProperty(
            destination_arn=log_group.attr_arn, format=json.dumps(ACCESS_LOG_FIELDS)
        )

    def _stage(self, stack: TradewindStack) -> None:
        apigateway.CfnStage(
            self,
            "stage",
            api_id=self.api.ref,
            stage_name="$default",
            auto_deploy=True,
            access_log_settings=self._access_logs(stack),
            default_route_settings=apigateway.CfnStage.RouteSettingsProperty(
                throttling_rate_limit=stack.settings.webhook_rate,
                throttling_burst_limit=stack.settings.webhook_burst,
                detailed_metrics_enabled=False,
            ),
        )
