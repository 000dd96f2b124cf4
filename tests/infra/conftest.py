"""Templates of the stages, synthesized once a session: a small application of our own, and the real one."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from aws_cdk import CloudFormationValidatePlugin, Validations
from cdk_nag import AwsSolutionsChecks

import infra  # noqa: F401 - chooses the Node that the next import starts
import tradewind.tasks.task as task_module
import tradewind.tasks.workflow as workflow_module
from infra.app import build, new_app
from infra.bundles import FUNCTIONS
from infra.settings import LocalCloud, StageSettings, stage_settings
from tradewind.tasks.registry import Registry, discover

FIXTURE = Path(__file__).parent / "fixture"
LOCAL_CLOUD = {f"TRADEWIND_LOCAL_{name.upper()}": f"the-{name}" for name in LocalCloud.__slots__}
Resource = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Application:
    """A synthesized stage of an application: its registry, settings and templates by stack name."""

    registry: Registry
    settings: StageSettings
    folder: Path
    templates: Mapping[str, Mapping[str, Any]]

    @property
    def everything(self) -> Iterator[tuple[str, str, Resource]]:
        """(stack, logical id, resource) of every stack."""
        for stack, template in self.templates.items():
            for logical_id, resource in template["Resources"].items():
                yield stack, logical_id, resource

    def of_type(self, kind: str, stack: str | None = None) -> list[Resource]:
        """Properties of all resources of a type, of all stacks or of one part."""
        wanted = None if stack is None else self.settings.names.stack(stack)
        return [
            resource.get("Properties", {})
            for name, _, resource in self.everything
            if resource["Type"] == kind and wanted in (None, name)
        ]

    def one(self, kind: str, **properties: Any) -> Resource:
        """The only resource of a type with these properties."""
        found = [
            each
            for each in self.of_type(kind)
            if all(each.get(name) == value for name, value in properties.items())
        ]
        assert len(found) == 1, f"{len(found)} of {kind} with {properties}"
        return found[0]

    def statements(self, function: str) -> list[dict[str, Any]]:
        """The IAM statements of a function's role, ARNs as readable text."""
        for name, _, resource in self.everything:
            properties = resource.get("Properties", {})
            if resource["Type"] == "AWS::Lambda::Function" and properties["FunctionName"] == function:
                role = self.templates[name]["Resources"][properties["Role"]["Fn::GetAtt"][0]]
                document = role["Properties"]["Policies"][0]["PolicyDocument"]
                found: list[dict[str, Any]] = readable(document["Statement"])
                return found
        raise AssertionError(f"no function {function}")


def readable(value: Any) -> Any:
    """A template's value with references and joins written out as text."""
    match value:
        case {"Ref": str(name)}:
            return f"<{name.removeprefix('AWS::')}>"
        case {"Fn::GetAtt": [name, attribute]}:
            return f"<{name}.{attribute}>"
        case {"Fn::Join": [separator, parts]}:
            return separator.join(readable(part) for part in parts)
        case dict():
            return {key: readable(each) for key, each in value.items()}
        case list():
            return [readable(each) for each in value]
        case _:
            return value


def load_fixture() -> Registry:
    """The small application's registry, apart from the process's own, which other suites read."""
    registry = Registry()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(task_module, "REGISTRY", registry)
        patch.setattr(workflow_module, "REGISTRY", registry)
        patch.setattr(sys, "path", [str(FIXTURE), *sys.path])
        for path in sorted(FIXTURE.glob("bazaar/*/*.py")):
            importlib.import_module(".".join(path.relative_to(FIXTURE).with_suffix("").parts))
    return registry


@pytest.fixture(scope="session")
def fixture_registry() -> Registry:
    return load_fixture()


@pytest.fixture(scope="session")
def synthesize(
    fixture_registry: Registry, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Application]:
    """Synthesize the small application for a stage; production with every validation, the others without."""

    @cache
    def made(stage: str) -> Application:
        folder = tmp_path_factory.mktemp(f"cdk-{stage}")
        return synthesized(
            fixture_registry, FIXTURE, stage_settings(stage, LOCAL_CLOUD), folder, validate=stage == "prod"
        )

    return made


def synthesized(
    registry: Registry, functions: Path, settings: StageSettings, folder: Path, *, validate: bool
) -> Application:
    app = new_app(
        str(folder),
        {
            "@aws-cdk/core:failSynthOnValidationErrors": False,
            "@aws-cdk/core:validateAgainstDefaultRules": True,
        },
    )
    build(app, settings, registry, functions)
    if validate:
        Validations.of(app).add_plugins(CloudFormationValidatePlugin(), AwsSolutionsChecks(app))
    app.synth()
    suffix = ".template.json"
    templates = {
        path.name.removesuffix(suffix): json.loads(path.read_text())
        for path in sorted(folder.glob(f"*{suffix}"))
    }
    return Application(registry, settings, folder, templates)


@pytest.fixture(scope="session")
def local(synthesize: Callable[[str], Application]) -> Application:
    return synthesize("local")


@pytest.fixture(scope="session")
def dev(synthesize: Callable[[str], Application]) -> Application:
    return synthesize("dev")


@pytest.fixture(scope="session")
def prod(synthesize: Callable[[str], Application]) -> Application:
    return synthesize("prod")


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory) -> Application:
    """The real application in the development stage."""
    settings = stage_settings("dev", {})
    return synthesized(
        discover(FUNCTIONS), FUNCTIONS, settings, tmp_path_factory.mktemp("cdk-real"), validate=False
    )
