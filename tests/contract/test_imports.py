"""Who may import what. Layers stand as contracts in ``pyproject.toml``; here is what every file is asked."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tradewind.tasks.registry import discover

KERNEL, FUNCTIONS = ROOT / "layers/shared/python", ROOT / "functions"
DOMAINS = sorted(
    path.name for path in FUNCTIONS.iterdir() if (path / "__init__.py").exists() and path.name != "ingress"
)
PURE = (
    "tradewind.advertising",
    "tradewind.catalogue",
    "tradewind.contracts.attribution",
    "tradewind.contracts.experiments",
    "tradewind.contracts.visits",
    "tradewind.errors",
    "tradewind.exporting",
    "tradewind.money",
    "tradewind.ports",
    "tradewind.spending",
    "tradewind.surveys",
)
FOR_DOMAINS = (
    *PURE,
    *(
        f"tradewind.{name}"
        for name in ("tasks", "tenancy", "contracts", "clock", "loglines", "columnar", "rendering", "sql")
    ),
)
RUNTIME_ONLY = ("tradewind.tasks.runtime", "tradewind.tasks.scope", "tradewind.tasks.worker")
FORBIDDEN_NAMES = {"common", "utils", "util", "helpers", "helper", "core", "misc", "additional"}


@dataclass(frozen=True, slots=True)
class Module:
    """A module of the product with what it imports, ``if TYPE_CHECKING`` and functions included."""

    name: str
    path: Path
    imports: frozenset[str]

    def imports_of(self, *packages: str) -> list[str]:
        return sorted(name for name in self.imports if within(name, *packages))


def within(name: str, *packages: str) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


@cache
def modules() -> tuple[Module, ...]:
    return tuple(
        Module(".".join(path.relative_to(base).with_suffix("").parts), path, frozenset(imported(path)))
        for base in (KERNEL, FUNCTIONS, ROOT / "infra")
        for path in sorted(base.rglob("*.py"))
        for base in [ROOT if base.name == "infra" else base]
    )


def imported(path: Path) -> Iterator[str]:
    """Full names: ``from a import b`` is ``a.b``, which is ``a``'s business where ``b`` is no module."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{name.name}" for name in node.names)


def importers(package: str) -> set[str]:
    return {module.name for module in modules() if module.imports_of(package)}


def stray(package: str, *allowed: str) -> list[str]:
    """Who imports ``package`` without being within ``allowed``."""
    return sorted(name for name in importers(package) if not within(name, *allowed))


def test_every_module_of_the_product_is_looked_at() -> None:
    names = {module.name for module in modules()}
    assert {"tradewind.tasks.runtime", "ingress.receiver", "commerce.order_sync.tasks", "infra.app"} <= names


@pytest.mark.parametrize(
    ("package", "allowed"),
    [
        ("psycopg", ("tradewind.tenancy", "infra")),
        ("httpx", ("tradewind.integrations.transport", "infra.local", "infra.smoke")),
        ("redis", ("tradewind.ratelimit", "infra.local")),
        ("boto3", ("infra",)),
        ("botocore", ("infra",)),
        ("aws_cdk", ("infra",)),
        ("constructs", ("infra",)),
        ("aws_lambda_powertools", ("tradewind.tasks.runtime", "tradewind.observability")),
        ("cryptography", ("tradewind.tenancy.credentials",)),
        ("yoyo", ("ingress.migrate",)),
        ("jinja2", ("tradewind.rendering",)),
        (
            "http.client",
            (
                "tradewind.aws.client",
                "tradewind.aws.container",
                "tradewind.integrations.outward",
                "infra.local",
            ),
        ),
        ("duckdb", ("tradewind.columnar",)),
        ("asyncssh", ("tradewind.integrations.sftp",)),
        ("requests", ()),
        ("urllib3", ()),
    ],
)
def test_package_has_one_door(package: str, allowed: tuple[str, ...]) -> None:
    assert stray(package, *allowed) == []


@pytest.mark.parametrize("domain", DOMAINS)
def test_domain_imports_no_other_and_of_the_kernel_only_what_is_for_it(domain: str) -> None:
    own = [module for module in modules() if within(module.name, domain)]
    assert own
    others = {name for name in DOMAINS if name != domain} | {"ingress", "infra"}
    assert {module.name: module.imports_of(*others) for module in own if module.imports_of(*others)} == {}
    beyond = {
        module.name: [
            name
            for name in module.imports_of("tradewind")
            if not within(name, *FOR_DOMAINS) or within(name, *RUNTIME_ONLY)
        ]
        for module in own
    }
    assert {name: found for name, found in beyond.items() if found} == {}


def test_domains_meet_third_parties_at_the_edge_only() -> None:
    """pydantic in payloads, numpy and scipy where a rule is a computation, matplotlib in charts; else a port."""
    found = {
        module.name: sorted({name.split(".")[0] for name in module.imports} - sys.stdlib_module_names)
        for module in modules()
        if within(module.name, *DOMAINS)
    }
    third = {name: set(packages) - {"tradewind", *DOMAINS} for name, packages in found.items()}
    assert {
        name: packages
        for name, packages in third.items()
        if packages - {"pydantic", "numpy", "scipy", "matplotlib"}
    } == {}


@pytest.mark.parametrize("domain", DOMAINS)
def test_rules_are_pure(domain: str) -> None:
    """What no module of SQL, tasks or payloads is: the standard library and money, ports and errors, no clock."""
    pure = [module for module in modules() if is_rule(module, domain)]
    assert any(module.name.endswith(".model") for module in pure)
    own = {module.name for module in pure}
    beyond = {
        module.name: sorted(
            name
            for name in module.imports
            if not within(name, *PURE, *own) and name.split(".")[0] not in sys.stdlib_module_names
        )
        for module in pure
    }
    assert {name: found for name, found in beyond.items() if found} == {}
    impure = ("os", "socket", "time", "random", "subprocess", "threading", "pathlib", "urllib.request")
    assert {each.name: each.imports_of(*impure) for each in pure if each.imports_of(*impure)} == {}
    calls = {module.name: reads_the_clock(module.path) for module in pure}
    assert {name: found for name, found in calls.items() if found} == {}


def is_rule(module: Module, domain: str) -> bool:
    last = module.name.rsplit(".", 1)[-1]
    return within(module.name, domain) and last in {"model", "attribution", "commission", "review_email"}


def reads_the_clock(path: Path) -> list[int]:
    """Lines that call ``now`` or ``today``: a rule is told the time."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in {"now", "utcnow", "today"}
    ]


def test_kernel_knows_no_application() -> None:
    kernel = [module for module in modules() if within(module.name, "tradewind")]
    above = (*DOMAINS, "ingress", "infra")
    assert {each.name: each.imports_of(*above) for each in kernel if each.imports_of(*above)} == {}


def test_nothing_imports_the_ingress_functions_but_infra() -> None:
    assert stray("ingress", "ingress", "infra") == []


def test_no_module_has_a_name_that_says_nothing() -> None:
    named = [module.name for module in modules() if FORBIDDEN_NAMES & set(module.name.split("."))]
    shadowing = [
        module.name
        for module in modules()
        if not within(module.name, "infra") and module.name.split(".")[0] in sys.stdlib_module_names
    ]
    assert named + shadowing == []


def loaded_by(module: str) -> set[str]:
    """The top-level packages in a fresh process once ``module`` is imported."""
    code = f"import sys, json, {module}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": f"{FUNCTIONS}:{KERNEL}"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(json.loads(done.stdout))


HEAVY = {"pydantic", "boto3", "botocore", "httpx", "redis", "aws_lambda_powertools", "yoyo", "aws_cdk"}


def test_receiver_starts_without_what_is_slow_to_import() -> None:
    loaded = loaded_by("ingress.receiver")
    assert {name.split(".")[0] for name in loaded} & HEAVY == set()
    assert "tradewind.tasks.registry" not in loaded


@pytest.mark.parametrize(
    "module",
    [
        "ingress.experiments",
        "ingress.collect",
        "ingress.fan_out",
        "ingress.relay",
        "ingress.dead_letter_intake",
        "ingress.intake",
    ],
)
def test_ingress_functions_do_not_import_tasks(module: str) -> None:
    loaded = loaded_by(module)
    assert {name.split(".")[0] for name in loaded} & (HEAVY | set(DOMAINS)) == set()


def test_platforms_api_reads_schemas_and_imports_no_domain() -> None:
    loaded = {name.split(".")[0] for name in loaded_by("ingress.api")}
    assert loaded & (HEAVY | set(DOMAINS)) == {"pydantic"}


@pytest.mark.parametrize(
    "path", sorted(FUNCTIONS.glob("*/*/*tasks.py")), ids=lambda path: f"{path.parent.name}-{path.stem}"
)
def test_task_module_loads_no_client_and_no_other_domain(path: Path) -> None:
    """Clients are imported by the provider of a task that asks for them, in its own process."""
    module = ".".join(path.relative_to(FUNCTIONS).with_suffix("").parts)
    loaded = {name.split(".")[0] for name in loaded_by(module)}
    assert (
        loaded & {"boto3", "botocore", "httpx", "redis", "aws_lambda_powertools", "yoyo", "ingress"} == set()
    )
    assert loaded & set(DOMAINS) == {module.split(".")[0]}


BROUGHT_BY = {"numpy": {"statistics", "charts"}, "scipy": {"statistics"}, "matplotlib": {"charts"}}


@pytest.mark.parametrize(
    "path", sorted(FUNCTIONS.glob("*/*/*tasks.py")), ids=lambda path: f"{path.parent.name}-{path.stem}"
)
def test_numbers_and_charts_are_loaded_only_where_a_layer_brings_them(path: Path) -> None:
    """A Lambda imports its task's module alone: what that loads at the top must be there."""
    module = ".".join(path.relative_to(FUNCTIONS).with_suffix("").parts)
    loaded = {name.split(".")[0] for name in loaded_by(module)} & set(BROUGHT_BY)
    own = [task for task in discover(FUNCTIONS) if task.module == module]
    lacking = {task.id: {each for each in loaded if not BROUGHT_BY[each] & set(task.layers)} for task in own}
    assert {name: missing for name, missing in lacking.items() if missing} == {}
