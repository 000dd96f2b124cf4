"""ElastiCache Serverless for Valkey: limits and locks. TLS, cluster mode; nothing in it must last."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_cdk import aws_elasticache as elasticache
from constructs import Construct

if TYPE_CHECKING:
    from infra.stacks.base import TradewindStack


class Cache(Construct):
    """Reachable from the functions' security group alone."""

    def __init__(self, stack: TradewindStack) -> None:
        super().__init__(stack, "cache")
        settings = stack.settings
        self._resource = elasticache.CfnServerlessCache(
            self,
            "valkey",
            engine="valkey",
            serverless_cache_name=stack.names.of("cache"),
            description="Rate limits and locks",
            subnet_ids=stack.told("network", "subnets", "List<AWS::EC2::Subnet::Id>").value_as_list,
            security_group_ids=[
                stack.told("network", "cache-security-group", "AWS::EC2::SecurityGroup::Id").value_as_string
            ],
            cache_usage_limits=elasticache.CfnServerlessCache.CacheUsageLimitsProperty(
                data_storage=elasticache.CfnServerlessCache.DataStorageProperty(
                    maximum=settings.cache_max_gb, unit="GB"
                ),
                ecpu_per_second=elasticache.CfnServerlessCache.ECPUPerSecondProperty(
                    maximum=settings.cache_max_ecpu_per_second
                ),
            ),
        )

    @property
    def url(self) -> str:
        return f"rediss://{self._resource.attr_endpoint_address}:{self._resource.attr_endpoint_port}"
