"""What every stack has: derived names, tags, the functions' environment and network, and code bundles."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from aws_cdk import Annotations, Aws, CfnParameter, CfnRule, CfnRuleAssertion, Fn, Stack, Tags
from aws_cdk import aws_lambda as lambda_
from aws_cdk.aws_s3_assets import Asset
from constructs import Construct

from infra import bundles
from infra.bundles import Bundle
from infra.names import Names
from infra.settings import StageSettings
from tradewind.settings import (
    DEFAULT_FAIRING_URL,
    DEFAULT_GA4_URL,
    DEFAULT_GOOGLE_ADS_URL,
    DEFAULT_GOOGLE_OAUTH_URL,
    DEFAULT_META_URL,
    DEFAULT_SHOPIFY_VERSION,
    DEFAULT_TIKTOK_URL,
    PROVIDER_TIMEOUT,
)

CRASHING_CLIENT = bundles.ROOT / "infra" / "local" / "crashing.py"


class TradewindStack(Stack):
    """A stack named by its part, such as ``data`` or ``commerce-order-sync``."""

    def __init__(self, scope: Construct, settings: StageSettings, part: str, description: str) -> None:
        name = settings.names.stack(part)
        super().__init__(scope, name, stack_name=name, description=description)
        self.settings = settings
        self._assets: dict[str, Asset] = {}
        Tags.of(self).add("application", "tradewind")
        Tags.of(self).add("stage", settings.stage)

    @property
    def names(self) -> Names:
        return self.settings.names

    def asset(self, name: str, bundle: Bundle) -> Asset:
        """The stack's own asset of a bundle; CDK uploads one object for all stacks with the same content."""
        if name not in self._assets:
            self._assets[name] = Asset(
                self, f"{name}-bundle", path=str(bundle.folder), asset_hash=bundle.digest
            )
        return self._assets[name]

    def told(self, stack: str, value: str, kind: str = "String") -> CfnParameter:
        """A value that another stack published in SSM, read at deployment."""
        logical_id = "".join(part.capitalize() for part in f"{stack}-{value}".split("-"))
        present = self.node.try_find_child(logical_id)
        if isinstance(present, CfnParameter):
            return present
        return CfnParameter(
            self,
            logical_id,
            type=f"AWS::SSM::Parameter::Value<{kind}>",
            default=self.names.parameter(stack, value),
        )

    @cached_property
    def key_arn(self) -> str:
        return self.told("data", "key-arn").value_as_string

    @cached_property
    def network(self) -> lambda_.CfnFunction.VpcConfigProperty | None:
        """Private subnets and the functions' security group; None locally, where there is no VPC."""
        if self.settings.is_local:
            return None
        subnets = self.told("network", "subnets", "List<AWS::EC2::Subnet::Id>")
        group = self.told("network", "function-security-group", "AWS::EC2::SecurityGroup::Id")
        return lambda_.CfnFunction.VpcConfigProperty(
            subnet_ids=subnets.value_as_list, security_group_ids=[group.value_as_string]
        )

    def layers(self, extra: Sequence[str] = ()) -> list[str]:
        """This stack's own layer versions: every function's, and those that a task asks for by name.

        Locally the work tree and its environment serve instead. Raises ValueError for a layer that is not there.
        """
        wanted = [self._packages(layer) for layer in (bundles.DEPENDENCIES, *extra)]
        if self.settings.is_local:
            return []
        kernel = bundles.kernel_bundle(self.settings.runtime)
        return [self._layer(name, bundle) for name, bundle in (*wanted, ("kernel", kernel))]

    def _packages(self, layer: str) -> tuple[str, Bundle]:
        built = bundles.packages_bundle(layer, self.settings.runtime)
        if built is None and not self.settings.is_local:
            self.refuse_to_deploy_unbuilt(layer)
        return layer, built or bundles.unbuilt_bundle()

    def _layer(self, name: str, bundle: Bundle) -> str:
        present = self.node.try_find_child(f"{name}-layer")
        if isinstance(present, lambda_.CfnLayerVersion):
            return present.ref
        asset = self.asset(name, bundle)
        layer = lambda_.CfnLayerVersion(
            self,
            f"{name}-layer",
            layer_name=f"{self.stack_name}-{name}",
            content=lambda_.CfnLayerVersion.ContentProperty(
                s3_bucket=asset.s3_bucket_name, s3_key=asset.s3_object_key
            ),
            compatible_runtimes=[self.settings.runtime],
            compatible_architectures=["arm64"],
        )
        return layer.ref

    def refuse_to_deploy_unbuilt(self, layer: str) -> None:
        """CloudFormation checks rules before it touches a resource."""
        rule = f"{layer.capitalize()}AreBuilt"
        if self.node.try_find_child(rule) is not None:
            return
        advice = f"the {layer} layer is not built for this runtime and these requirements: run `make build`"
        Annotations.of(self).add_warning_v2("tradewind:not-built", advice)
        CfnRule(
            self,
            rule,
            assertions=[
                CfnRuleAssertion(assert_=Fn.condition_equals("missing", "built"), assert_description=advice)
            ],
        )

    def function_environment(self, database_role: str) -> dict[str, str]:
        """What every function knows about where it runs. ``database_role`` is owner, app or platform."""
        shared = {
            "TRADEWIND_STAGE": self.settings.stage,
            "TRADEWIND_ACCOUNT": Aws.ACCOUNT_ID,
            "TRADEWIND_KMS_KEY": self.names.key_alias,
            "TRADEWIND_PAYLOAD_BUCKET": self.names.payload_bucket,
            "TRADEWIND_SHOPIFY_API_VERSION": DEFAULT_SHOPIFY_VERSION,
            "PYDANTIC_DISABLE_PLUGINS": "__all__",  # else a cold start reads every package's entry points
            **self._pace(),
        }
        if not self.settings.is_local:
            return shared | {
                "TRADEWIND_DATABASE_SECRET": self.names.secret(database_role),
                "TRADEWIND_REDIS_URL": self.told("data", "redis-url").value_as_string,
                "TRADEWIND_SHOPIFY_URL": "https://{shop}",
                "TRADEWIND_RESEND_URL": "https://api.resend.com",
                "TRADEWIND_SLACK_URL": "https://slack.com/api",
                "TRADEWIND_FAIRING_URL": DEFAULT_FAIRING_URL,
                "TRADEWIND_GA4_URL": DEFAULT_GA4_URL,
                "TRADEWIND_META_URL": DEFAULT_META_URL,
                "TRADEWIND_TIKTOK_URL": DEFAULT_TIKTOK_URL,
                "TRADEWIND_GOOGLE_ADS_URL": DEFAULT_GOOGLE_ADS_URL,
                "TRADEWIND_GOOGLE_OAUTH_URL": DEFAULT_GOOGLE_OAUTH_URL,
            }
        cloud = self.settings.cloud
        database = {
            "owner": cloud.owner_database_url,
            "app": cloud.app_database_url,
            "platform": cloud.platform_database_url,
        }
        return shared | {
            "TRADEWIND_DATABASE_URL": database[database_role],
            "TRADEWIND_REDIS_URL": cloud.redis_url,
            "TRADEWIND_SHOPIFY_URL": f"{cloud.sandbox_url.rstrip('/')}/shopify/{{shop}}",
            "TRADEWIND_RESEND_URL": f"{cloud.sandbox_url.rstrip('/')}/resend",
            "TRADEWIND_SLACK_URL": f"{cloud.sandbox_url.rstrip('/')}/slack",
            "TRADEWIND_FAIRING_URL": f"{cloud.sandbox_url.rstrip('/')}/fairing",
            "TRADEWIND_GA4_URL": f"{cloud.sandbox_url.rstrip('/')}/ga4",
            "TRADEWIND_META_URL": f"{cloud.sandbox_url.rstrip('/')}/meta",
            "TRADEWIND_TIKTOK_URL": f"{cloud.sandbox_url.rstrip('/')}/tiktok",
            "TRADEWIND_GOOGLE_ADS_URL": f"{cloud.sandbox_url.rstrip('/')}/google_ads/v26",
            "TRADEWIND_GOOGLE_OAUTH_URL": f"{cloud.sandbox_url.rstrip('/')}/google_ads/token",
            "AWS_ENDPOINT_URL": cloud.aws_endpoint_url,
            "TRADEWIND_PYTHON": cloud.python,
            "PYTHONPATH": cloud.kernel,
            **self._orders_to_crash(),
        }

    def _pace(self) -> dict[str, str]:
        pace = self.settings.pace
        if pace.is_real:
            return {}
        return {
            "TRADEWIND_TIME_PERCENT": str(pace.percent),
            "TRADEWIND_LONGEST_TIME_S": str(int(pace.longest.total_seconds())),
            "TRADEWIND_PROVIDER_TIMEOUT_S": str(int(pace.of(PROVIDER_TIMEOUT).total_seconds())),
        }

    def _orders_to_crash(self) -> dict[str, str]:
        """Locally, where a suite asks for it: a runtime client that dies when it is told to."""
        if self.settings.crash_orders is None:
            return {}
        return {
            "TRADEWIND_CRASH_ORDERS": self.settings.crash_orders,
            "TRADEWIND_RUNTIME_CLIENT": str(CRASHING_CLIENT),
        }
