"""The VPC: private subnets for functions, database and cache, a NAT to the providers, endpoints to AWS."""

from __future__ import annotations

from aws_cdk import Aws, Fn
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_ssm as ssm
from constructs import Construct

from infra import bundles
from infra.grants import Grant, assumed_by, only_this_account, policy_document
from infra.settings import StageSettings
from infra.stacks.base import TradewindStack

ZONES = 2
INTERFACE_ENDPOINTS = ("sqs", "states", "sync-states", "kms", "secretsmanager")
"""AWS services that functions call; one is paid by the hour and zone, so what is called rarely goes through
the NAT.
"""

DATABASE_PORT = 5432
CACHE_PORTS = (6379, 6380)
"""ElastiCache Serverless serves writes on the first and reads from a replica on the second."""


class NetworkStack(TradewindStack):
    """Publishes subnets and security groups under ``/tradewind/{stage}/network/``."""

    def __init__(self, scope: Construct, settings: StageSettings) -> None:
        super().__init__(scope, settings, "network", "VPC, NAT and endpoints")
        if bundles.packages_bundle(bundles.DEPENDENCIES, settings.runtime) is None:
            self.refuse_to_deploy_unbuilt(
                bundles.DEPENDENCIES
            )  # here too: it is deployed first, and what follows costs money
        self._vpc = ec2.Vpc(
            self,
            "vpc",
            max_azs=ZONES,
            nat_gateways=settings.nat_gateways,
            restrict_default_security_group=False,
            subnet_configuration=[
                ec2.SubnetConfiguration(
                    name="public",
                    subnet_type=ec2.SubnetType.PUBLIC,
                    cidr_mask=24,
                    map_public_ip_on_launch=False,
                ),
                ec2.SubnetConfiguration(
                    name="private", subnet_type=ec2.SubnetType.PRIVATE_WITH_EGRESS, cidr_mask=20
                ),
            ],
        )
        self._flow_logs()
        functions, database, cache, endpoints = (
            self._group(name, use)
            for name, use in (
                ("function", "Functions reach providers, AWS, database and cache"),
                ("database", "PostgreSQL, from the functions"),
                ("cache", "Valkey, from the functions"),
                ("endpoint", "AWS endpoints, from the functions"),
            )
        )
        self._allow(functions, database, DATABASE_PORT)
        for port in CACHE_PORTS:
            self._allow(functions, cache, port)
        self._allow(functions, endpoints, 443)
        self._to_providers(functions)
        self._endpoints(endpoints)
        self._publish(
            "subnets", Fn.join(",", [subnet.subnet_id for subnet in self._vpc.private_subnets]), "StringList"
        )

    def _group(self, name: str, use: str) -> ec2.CfnSecurityGroup:
        group = ec2.CfnSecurityGroup(
            self,
            f"{name}-group",
            group_description=use,
            vpc_id=self._vpc.vpc_id,
            security_group_egress=[] if name == "function" else None,
        )
        self._publish(f"{name}-security-group", group.attr_group_id, "String")
        return group

    def _allow(self, source: ec2.CfnSecurityGroup, target: ec2.CfnSecurityGroup, port: int) -> None:
        into = target.node.id
        ec2.CfnSecurityGroupIngress(
            self,
            f"{into}-from-functions-{port}",
            group_id=target.attr_group_id,
            source_security_group_id=source.attr_group_id,
            ip_protocol="tcp",
            from_port=port,
            to_port=port,
            description=f"Functions to {into} on {port}",
        )
        ec2.CfnSecurityGroupEgress(
            self,
            f"functions-to-{into}-{port}",
            group_id=source.attr_group_id,
            destination_security_group_id=target.attr_group_id,
            ip_protocol="tcp",
            from_port=port,
            to_port=port,
            description=f"Functions to {into} on {port}",
        )

    def _to_providers(self, functions: ec2.CfnSecurityGroup) -> None:
        ec2.CfnSecurityGroupEgress(
            self,
            "functions-to-providers",
            group_id=functions.attr_group_id,
            cidr_ip="0.0.0.0/0",
            ip_protocol="tcp",
            from_port=443,
            to_port=443,
            description="Providers have no fixed addresses; S3 by its gateway",
        )

    def _endpoints(self, group: ec2.CfnSecurityGroup) -> None:
        subnets = [subnet.subnet_id for subnet in self._vpc.private_subnets]
        for service in () if self.settings.lean else INTERFACE_ENDPOINTS:
            ec2.CfnVPCEndpoint(
                self,
                f"{service}-endpoint",
                service_name=f"com.amazonaws.{Aws.REGION}.{service}",
                vpc_endpoint_type="Interface",
                vpc_id=self._vpc.vpc_id,
                subnet_ids=subnets,
                security_group_ids=[group.attr_group_id],
                private_dns_enabled=True,
            )
        ec2.CfnVPCEndpoint(
            self,
            "s3-endpoint",
            service_name=f"com.amazonaws.{Aws.REGION}.s3",
            vpc_endpoint_type="Gateway",
            vpc_id=self._vpc.vpc_id,
            route_table_ids=[subnet.route_table.route_table_id for subnet in self._vpc.private_subnets],
        )

    def _flow_logs(self) -> None:
        """Refused connections only: enough to find a missing rule."""
        name = f"/tradewind/{self.settings.stage}/flow-logs"
        group = logs.CfnLogGroup(
            self, "flow-logs", log_group_name=name, retention_in_days=self.settings.log_retention_days
        )
        actions = ("logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams")
        role = iam.CfnRole(
            self,
            "flow-log-role",
            assume_role_policy_document=assumed_by("vpc-flow-logs", only_this_account()),
            policies=[
                iam.CfnRole.PolicyProperty(
                    policy_name="own", policy_document=policy_document([Grant(actions, (group.attr_arn,))])
                )
            ],
        )
        ec2.CfnFlowLog(
            self,
            "flow-log",
            resource_type="VPC",
            resource_id=self._vpc.vpc_id,
            traffic_type="REJECT",
            log_group_name=name,
            deliver_logs_permission_arn=role.attr_arn,
        ).add_resource_dependency(group)

    def _publish(self, value_name: str, value: str, kind: str) -> None:
        ssm.CfnParameter(
            self,
            f"{value_name}-parameter",
            name=self.names.parameter("network", value_name),
            type=kind,
            value=value,
        )
