"""cdk-nag's AwsSolutions rules and CloudFormation's own schema, over production."""

from __future__ import annotations

import json

import pytest

from infra.nag import ACCEPTED, findings, unexplained, unused

from .conftest import Application


@pytest.fixture(scope="module")
def found(prod: Application) -> list[tuple[str, str]]:
    return findings(json.loads((prod.folder / "validation-report.json").read_text()))


def test_every_finding_is_meant_and_says_why(found: list[tuple[str, str]]) -> None:
    assert found, "the rules ran and found nothing at all, which they never do"
    assert unexplained(found) == []


def test_every_exception_is_still_needed(found: list[tuple[str, str]]) -> None:
    assert unused(found) == []


def test_every_exception_has_a_reason() -> None:
    assert [each.rule for each in ACCEPTED if len(each.reason) < 40] == []


def test_templates_fit_the_resources_schemas(prod: Application) -> None:
    report = json.loads((prod.folder / "validation-report.json").read_text())
    others = [
        violation
        for plugin in report["pluginReports"]
        if plugin["pluginName"] != "AwsSolutions"
        for violation in plugin["violations"]
        if not violation["ruleName"].startswith("tradewind:")
    ]
    assert others == []
