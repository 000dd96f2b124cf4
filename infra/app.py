"""The CDK app: ``-c stage=local|dev|prod`` (default dev). Needs no credentials, network or built layer."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from aws_cdk import Annotations, App, CloudFormationValidatePlugin, Validations

from infra import bundles
from infra.checks import load_of, warnings_of
from infra.constructs.task_function import mapping_concurrency
from infra.pace import at_pace
from infra.settings import SettingError, StageSettings, stage_settings
from infra.stacks.base import TradewindStack
from infra.stacks.data import DataStack
from infra.stacks.feature import FeatureStack, features_of
from infra.stacks.ingress import IngressStack
from infra.stacks.monitoring import MonitoringStack
from infra.stacks.network import NetworkStack
from infra.stacks.operations import OperationsStack
from infra.stacks.training import TrainingStack
from infra.wiring import Wiring
from tradewind.tasks.manifest import generated_files
from tradewind.tasks.providers import Need
from tradewind.tasks.registry import Registry, discover


def build(app: App, settings: StageSettings, registry: Registry, functions: Path) -> list[TradewindStack]:
    """Every stack of a stage, in the order of deployment. ``functions`` holds the domain packages and the
    ingress.

    Raises ValueError (NameTooLongError, WorkflowTimesError ...) with what to change. More than
    CloudFormation's 500 resources in a stack are refused by the CDK itself.
    """
    registry = at_pace(registry, settings.pace)
    wiring = Wiring(registry)
    features = features_of(registry)
    domains = wiring.domains
    local, runtime = settings.is_local, settings.runtime
    data = DataStack(app, settings, domains)
    limit = settings.concurrency_limit
    pace = {task.id: mapping_concurrency(task, limit) for task in registry}
    generated = generated_files(registry, pace, settings.deployed_domains)
    ingress_code = bundles.ingress_bundle(functions, generated, bootstrap=local, runtime=runtime)
    ingress = IngressStack(app, settings, domains, ingress_code)
    code = {
        domain: bundles.domain_bundle(functions, domain, bootstrap=local, runtime=runtime)
        for domain in domains
    }
    feature_stacks = [
        FeatureStack(app, settings, feature, wiring, code[feature.domain]) for feature in features
    ]
    trains = any(Need.LONG_MACHINE in task.needs for task in registry)
    containers = [TrainingStack(app, settings)] if trains else []
    monitoring = MonitoringStack(app, settings, domains)
    operations = OperationsStack(app, settings)
    stacks: list[TradewindStack] = [data, ingress, *feature_stacks, *containers, monitoring, operations]
    for feature_stack in feature_stacks:
        feature_stack.add_stack_dependency(
            data if local else ingress, "dead-letter queues; on AWS also migrations"
        )
    for container in containers:
        container.add_stack_dependency(data, "the parameters of the network and the cache")
    ingress.add_stack_dependency(data, "database, key and dead-letter queues")
    if not local:
        network = NetworkStack(app, settings)
        data.add_stack_dependency(network, "subnets and security groups")
        stacks.insert(0, network)
        _warn(operations, settings, registry)
    return stacks


def _warn(stack: TradewindStack, settings: StageSettings, registry: Registry) -> None:
    for warning, text in warnings_of(load_of(registry, settings)).items():
        Annotations.of(stack).add_warning_v2(warning, text)


def new_app(outdir: str | None = None, context: Mapping[str, object] | None = None) -> App:
    """An empty app, without the validation of templates, which costs seconds: stages on AWS add it."""
    return App(
        outdir=outdir,
        context=context,
        analytics_reporting=False,
        tree_metadata=False,
        builtin_cloud_formation_validation=False,
    )


def main(environment: Mapping[str, str]) -> str | None:
    """Synthesize the real application. Returns what is wrong with its settings, or None."""
    app = new_app()
    stage = app.node.try_get_context("stage") or "dev"
    try:
        settings = stage_settings(str(stage), environment)
    except SettingError as error:
        return f"cdk: {error}"
    build(app, settings, discover(bundles.FUNCTIONS), bundles.FUNCTIONS)
    if not settings.is_local:
        Validations.of(app).add_plugins(CloudFormationValidatePlugin())
    app.synth()
    return None


if __name__ == "__main__":
    sys.exit(main(os.environ))
