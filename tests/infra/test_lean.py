from __future__ import annotations

from dataclasses import replace

import pytest

from infra.settings import stage_settings
from tradewind.tasks.registry import Registry

from .conftest import FIXTURE, synthesized


def test_a_lean_stage_pays_for_no_interface_endpoint_and_keeps_the_way_out(
    fixture_registry: Registry, tmp_path_factory: pytest.TempPathFactory
) -> None:
    settings = replace(stage_settings("dev", {}), lean=True)
    folder = tmp_path_factory.mktemp("cdk-lean")
    lean = synthesized(fixture_registry, FIXTURE, settings, folder, validate=False)
    kinds = [each["VpcEndpointType"] for each in lean.of_type("AWS::EC2::VPCEndpoint")]
    assert kinds == ["Gateway"]
    assert len(lean.of_type("AWS::EC2::NatGateway")) == settings.nat_gateways
    out = [each for each in lean.of_type("AWS::EC2::SecurityGroupEgress") if "CidrIp" in each]
    assert [(each["CidrIp"], each["FromPort"]) for each in out] == [("0.0.0.0/0", 443)]


def test_a_quiet_stage_logs_no_access_and_of_workflows_only_failures(
    fixture_registry: Registry, tmp_path_factory: pytest.TempPathFactory
) -> None:
    settings = replace(stage_settings("dev", {}), quiet=True)
    quiet = synthesized(
        fixture_registry, FIXTURE, settings, tmp_path_factory.mktemp("cdk-quiet"), validate=False
    )
    levels = {
        each["LoggingConfiguration"]["Level"] for each in quiet.of_type("AWS::StepFunctions::StateMachine")
    }
    assert levels == {"ERROR"}
    assert [each for each in quiet.of_type("AWS::ApiGatewayV2::Stage") if "AccessLogSettings" in each] == []
