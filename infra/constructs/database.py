"""Aurora PostgreSQL Serverless v2 and the logins of its roles."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from aws_cdk import RemovalPolicy
from aws_cdk import aws_rds as rds
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct

if TYPE_CHECKING:
    from infra.stacks.base import TradewindStack

ENGINE, ENGINE_VERSION, FAMILY = "aurora-postgresql", "18.4", "aurora-postgresql18"
DATABASE = "tradewind"
PORT = 5432
ROLES = {"owner": "tradewind_owner", "app": "tradewind_app", "platform": "tradewind_platform"}
"""Secret -> role. The migrate function creates the roles with these passwords as the cluster's master."""


class Database(Construct):
    """Encrypted, TLS only, in the private subnets, with point-in-time recovery."""

    def __init__(self, stack: TradewindStack, keep: RemovalPolicy) -> None:
        super().__init__(stack, "database")
        self._stack = stack
        master = self._secret("master", json.dumps({"username": "tradewind_master"}))
        cluster = self._cluster(master)
        cluster.apply_removal_policy(
            RemovalPolicy.SNAPSHOT if keep is RemovalPolicy.RETAIN else RemovalPolicy.DESTROY
        )
        writer = self._instance("writer", cluster)
        for at in range(stack.settings.database_readers):
            self._instance(f"reader-{at + 1}", cluster).add_resource_dependency(writer)
        for name, role in ROLES.items():
            self._secret(name, self._login(role, cluster))
        secretsmanager.CfnSecretTargetAttachment(
            self,
            "master-attachment",
            secret_id=master.ref,
            target_id=cluster.ref,
            target_type="AWS::RDS::DBCluster",
        )

    def _login(self, role: str, cluster: rds.CfnDBCluster) -> str:
        return json.dumps(
            {"username": role, "host": cluster.attr_endpoint_address, "port": str(PORT), "dbname": DATABASE}
        )

    def _secret(self, name: str, template: str) -> secretsmanager.CfnSecret:
        return secretsmanager.CfnSecret(
            self,
            f"{name}-secret",
            name=self._stack.names.secret(name),
            description=f"Database login of the role {name}",
            generate_secret_string=secretsmanager.CfnSecret.GenerateSecretStringProperty(
                secret_string_template=template,
                generate_string_key="password",
                password_length=40,
                exclude_punctuation=True,
            ),
        )

    def _cluster(self, master: secretsmanager.CfnSecret) -> rds.CfnDBCluster:
        stack, settings = self._stack, self._stack.settings
        subnets = rds.CfnDBSubnetGroup(
            self,
            "subnets",
            db_subnet_group_description=f"Private subnets of {stack.names.of('network')}",
            subnet_ids=stack.told("network", "subnets", "List<AWS::EC2::Subnet::Id>").value_as_list,
        )
        parameters = rds.CfnDBClusterParameterGroup(
            self,
            "parameters",
            description=f"Settings of {stack.names.of('database')}",
            family=FAMILY,
            parameters={"rds.force_ssl": "1", "log_min_duration_statement": "1000", "log_lock_waits": "1"},
        )
        group = stack.told("network", "database-security-group", "AWS::EC2::SecurityGroup::Id")
        login = f"{{{{resolve:secretsmanager:{master.ref}:SecretString:"
        return rds.CfnDBCluster(
            self,
            "cluster",
            db_cluster_identifier=stack.names.of("database"),
            engine=ENGINE,
            engine_version=ENGINE_VERSION,
            database_name=DATABASE,
            port=PORT,
            master_username=f"{login}username}}}}",
            master_user_password=f"{login}password}}}}",
            db_subnet_group_name=subnets.ref,
            db_cluster_parameter_group_name=parameters.ref,
            vpc_security_group_ids=[group.value_as_string],
            storage_encrypted=True,
            backup_retention_period=14 if settings.keep_data else 3,
            copy_tags_to_snapshot=True,
            deletion_protection=settings.keep_data,
            enable_iam_database_authentication=True,
            enable_cloudwatch_logs_exports=["postgresql"],
            serverless_v2_scaling_configuration=rds.CfnDBCluster.ServerlessV2ScalingConfigurationProperty(
                min_capacity=settings.database_min_acu, max_capacity=settings.database_max_acu
            ),
        )

    def _instance(self, name: str, cluster: rds.CfnDBCluster) -> rds.CfnDBInstance:
        return rds.CfnDBInstance(
            self,
            name,
            db_cluster_identifier=cluster.ref,
            db_instance_class="db.serverless",
            engine=ENGINE,
            publicly_accessible=False,
            auto_minor_version_upgrade=True,
            enable_performance_insights=True,
        )
