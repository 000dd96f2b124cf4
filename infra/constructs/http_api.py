"""The HTTP API: providers reach the receiver through it, the platform's own applications and services its own API."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from aws_cdk import Aws, RemovalPolicy
from aws_cdk import aws_apigatewayv2 as apigateway
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra.constructs.function import Function

if TYPE_CHECKING:
    from infra.stacks.base import TradewindStack

WEBHOOK_ROUTES = ("POST /webhooks/{provider}", "POST /webhooks/{provider}/{app}")
KEY_ROUTES = ("POST /events/{type}", "POST /tasks/{id}/runs", "GET /runs/{id}")
"""A tenant's applications, by API key."""
PUBLIC_ROUTES = ("GET /openapi.json",)
EXPERIMENT_ROUTES = ("POST /ab/events", "GET /ab/assignments", "POST /ab/assignments")
"""A storefront's pages, by a key that everybody can read."""
COLLECT_ROUTES = ("POST /collect",)
"""The same, for visitors' touches."""
IAM_ROUTES = tuple(route.replace(" /", " /platform/") for route in KEY_ROUTES)
"""The platform's own services, by IAM."""
UNSUBSCRIBE_ROUTES = ("GET /unsubscribe/{token}", "POST /unsubscribe/{token}")
"""Recipients of e-mails, by a signed link."""
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


def _open_to_pages() -> apigateway.CfnApi.CorsProperty:
    """Any page may call: A/B tests are told of by the storefronts' own. Without cookies nobody is known by the browser
    alone, and whatever else is here asks for a key or a signature.
    """
    return apigateway.CfnApi.CorsProperty(
        allow_origins=["*"],
        allow_methods=["GET", "POST"],
        allow_headers=["authorization", "content-type"],
        max_age=86_400,
    )


class HttpApi(Construct):
    """Every route of the deployment, throttled, with access logs."""

    def __init__(
        self,
        stack: TradewindStack,
        receiver: Function,
        api: Function,
        experiments: Function,
        collect: Function,
        unsubscribe: Function,
    ) -> None:
        super().__init__(stack, "http-api")
        self.api = apigateway.CfnApi(
            self,
            "api",
            name=stack.names.of("api"),
            description="Providers' webhooks; the platform's own events, task runs and their states",
            protocol_type="HTTP",
            cors_configuration=_open_to_pages(),
            tags={"ms-custom-id": LOCAL_API_ID} if stack.settings.is_local else None,
        )
        self._connect("receiver", receiver, WEBHOOK_ROUTES, "*/webhooks/*")
        self._connect("api", api, (*KEY_ROUTES, *PUBLIC_ROUTES), "*")
        self._connect("unsubscribe", unsubscribe, UNSUBSCRIBE_ROUTES, "*/unsubscribe/*")
        self._connect("experiments", experiments, EXPERIMENT_ROUTES, "*/ab/*")
        self._connect("collect", collect, COLLECT_ROUTES, "*/collect")
        self._stage(stack)

    def _connect(self, name: str, function: Function, routes: Sequence[str], path: str) -> None:
        """Lead routes to a function, the API's own also from below ``/platform``, where AWS checks who signed."""
        integration = apigateway.CfnIntegration(
            self,
            f"{name}-integration",
            api_id=self.api.ref,
            integration_type="AWS_PROXY",
            integration_uri=function.resource.attr_arn,
            payload_format_version="2.0",
            timeout_in_millis=10_000,
        )
        for at, route in enumerate((*routes, *(IAM_ROUTES if name == "api" else ()))):
            apigateway.CfnRoute(
                self,
                f"{name}-route-{at + 1}",
                api_id=self.api.ref,
                route_key=route,
                target=f"integrations/{integration.ref}",
                authorization_type="AWS_IAM" if route in IAM_ROUTES else "NONE",
            )
        lambda_.CfnPermission(
            self,
            f"may-invoke-{name}",
            action="lambda:InvokeFunction",
            function_name=function.resource.ref,
            principal="apigateway.amazonaws.com",
            source_arn=f"arn:{Aws.PARTITION}:execute-api:{Aws.REGION}:{Aws.ACCOUNT_ID}:{self.api.ref}/*/{path}",
        )

    @property
    def url(self) -> str:
        """The base URL; ``/webhooks/...``, ``/events/...`` come after it."""
        return self.api.attr_api_endpoint

    def _access_logs(self, stack: TradewindStack) -> apigateway.CfnStage.AccessLogSettingsProperty | None:
        if stack.settings.quiet:
            return None
        log_group = logs.CfnLogGroup(
            self,
            "access-logs",
            log_group_name=f"/aws/vendedlogs/{stack.names.of('api')}",
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
