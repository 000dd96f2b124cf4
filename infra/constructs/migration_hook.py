"""Brings the database up to date in a deployment: a custom resource that invokes functions in turn.

The handler below travels as inline code, therefore standard library and the runtime's own boto3 only.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from aws_cdk import CfnCustomResource, RemovalPolicy
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra.constructs.function import Function
from infra.grants import assumed_by, invoke, policy_document, write_logs

if TYPE_CHECKING:
    from infra.stacks.base import TradewindStack

TIMEOUT = timedelta(minutes=12)

HANDLER = """
import json
import os
import urllib.request

import boto3
from botocore.config import Config


def run(function):
    client = boto3.client("lambda", config=Config(read_timeout=330, retries={"total_max_attempts": 1}))
    answer = client.invoke(FunctionName=function, Payload=b"{}")
    text = answer["Payload"].read().decode()
    print(function, text)
    if answer.get("FunctionError"):
        raise RuntimeError(function + " failed: " + text[:1500])


def handle(event, context):
    status, reason = "SUCCESS", "done"
    try:
        if event["RequestType"] != "Delete":
            for function in json.loads(os.environ["FUNCTIONS"]):
                run(function)
    except Exception as error:
        status, reason = "FAILED", str(error) or repr(error)
    print(status, reason)
    body = {
        "Status": status,
        "Reason": reason,
        "PhysicalResourceId": "migrations",
        "StackId": event["StackId"],
        "RequestId": event["RequestId"],
        "LogicalResourceId": event["LogicalResourceId"],
    }
    text = json.dumps(body).encode()
    request = urllib.request.Request(event["ResponseURL"], text, {"Content-Type": ""}, method="PUT")
    urllib.request.urlopen(request, timeout=30).read()
"""


class MigrationHook(Construct):
    """``functions`` are invoked in turn. ``release`` is the digest of what they run: a new one runs them
    again, and a failure fails the deployment.
    """

    def __init__(self, stack: TradewindStack, functions: Sequence[Function], release: str) -> None:
        super().__init__(stack, "migration-hook")
        name = stack.names.function("ingress-migration-hook")
        log_group = logs.CfnLogGroup(
            self,
            "logs",
            log_group_name=stack.names.log_group(name),
            retention_in_days=stack.settings.log_retention_days,
        )
        log_group.apply_removal_policy(RemovalPolicy.DESTROY)
        role = iam.CfnRole(
            self,
            "role",
            assume_role_policy_document=assumed_by("lambda"),
            policies=[
                iam.CfnRole.PolicyProperty(
                    policy_name="own",
                    policy_document=policy_document(
                        [
                            write_logs(stack.names.log_group(name)),
                            invoke([function.name for function in functions]),
                        ]
                    ),
                )
            ],
        )
        hook = lambda_.CfnFunction(
            self,
            "function",
            function_name=name,
            description="Runs the migrations during a deployment",
            handler="index.handle",
            runtime=stack.settings.runtime,
            architectures=["arm64"],
            code=lambda_.CfnFunction.CodeProperty(zip_file=HANDLER),
            role=role.attr_arn,
            timeout=int(TIMEOUT.total_seconds()),
            memory_size=256,
            environment=lambda_.CfnFunction.EnvironmentProperty(
                variables={"FUNCTIONS": json.dumps([function.name for function in functions])}
            ),
            logging_config=lambda_.CfnFunction.LoggingConfigProperty(log_group=log_group.log_group_name),
        )
        hook.add_resource_dependency(log_group)
        run = CfnCustomResource(
            self, "run", service_token=hook.attr_arn, service_timeout=int(TIMEOUT.total_seconds()) + 60
        )
        run.add_property_override("Release", release)
        for function in functions:
            run.add_resource_dependency(function.resource)
