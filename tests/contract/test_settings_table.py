"""The README's table of settings and secrets names what the code reads, and nothing else."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import get_args

import pytest

from infra.constructs.database import ROLES
from infra.names import Names
from infra.settings import StageSettings
from ingress.admin import RegisterTenant
from tests.conftest import ROOT
from tradewind.contracts import ads, exports, fairing, slack
from tradewind.contracts.resend import CREDENTIALS

HEADING = "## Settings and secrets"
COLUMNS = ("Name", "Where", "Default", "Required", "Stages", "Meaning")
PLACES = (
    "function environment",
    "deployment environment",
    "command environment",
    "CDK context",
    "StageSettings",
    "Secrets Manager",
    "tenant credential",
    "tenant setting",
)
PREFIXED = re.compile(r'"(TRADEWIND_[A-Z0-9_]+)"')
READ = re.compile(
    r'environ(?:ment)?(?:\.get\(|\.setdefault\(|\[)\s*"([A-Z][A-Z0-9_]+)"(?!\]\s*=[^=])'
)  # a value that is only written is no setting
CONTEXT = re.compile(r'try_get_context\("([a-z_]+)"\)')
OPERATING_SYSTEM = {"PATH", "HOME", "LANG", "USER", "TERM", "TMPDIR", "NO_COLOR", "COLUMNS"}


@dataclass(frozen=True, slots=True)
class Row:
    name: str
    where: str
    default: str
    required: str
    stages: str
    meaning: str


def read_table(readme: Path) -> list[Row]:
    """The rows of the table under the heading; names without their backticks."""
    _, found, rest = readme.read_text(encoding="utf-8").partition(f"{HEADING}\n")
    assert found, f"{readme.name} has no heading {HEADING!r}"
    section = rest.split("\n## ", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("|"))] for line in lines]
    assert tuple(cells[0]) == COLUMNS
    return [Row(row[0].strip("`"), *row[1:]) for row in cells[2:]]


def sources(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from sorted((ROOT / folder).rglob("*.py"))


def variables_read() -> set[str]:
    found: set[str] = set()
    for path in sources("layers/shared/python", "functions", "infra"):
        text = path.read_text(encoding="utf-8")
        found |= {*PREFIXED.findall(text), *READ.findall(text)}
    return found - OPERATING_SYSTEM


def tenant_settings_read() -> set[str]:
    """``settings.get("key")``; where that is an object whose fields are read in the same function, ``key.field``."""
    found: set[str] = set()
    for path in sources("functions", "layers/shared/python"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                found |= settings_of(node)
    return found


def settings_of(function: ast.FunctionDef) -> set[str]:
    keys = {key for call in ast.walk(function) if (key := got_from(call, "settings"))}
    holders = {
        statement.targets[0].id: key
        for statement in ast.walk(function)
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name)
        for call in ast.walk(statement.value)
        if (key := got_from(call, "settings"))
    }
    nested = {
        (key, name)
        for holder, key in holders.items()
        for call in ast.walk(function)
        if (name := got_from(call, holder))
    }
    return (keys - {key for key, _ in nested}) | {f"{key}.{name}" for key, name in nested}


def got_from(node: ast.AST, holder: str) -> str | None:
    """``x`` where the node is ``holder.get("x", ...)`` or ``something.holder.get("x", ...)``."""
    match node:
        case ast.Call(
            func=ast.Attribute(attr="get", value=ast.Name(id=name) | ast.Attribute(attr=name)),
            args=[ast.Constant(value=str(key)), *_],
        ) if name == holder:
            return key
    return None


def stage_fields() -> set[str]:
    return {each.name for each in fields(StageSettings) if each.init}


def secrets() -> set[str]:
    names = Names("{stage}")
    return {names.secret(login) for login in ("master", *ROLES)}


def shopify_credentials() -> set[str]:
    names, _ = get_args(RegisterTenant.model_fields["credentials"].annotation)
    return {f"shopify/{name}" for name in get_args(names)}


def contexts_read() -> set[str]:
    return {name for path in sources("infra") for name in CONTEXT.findall(path.read_text(encoding="utf-8"))}


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return read_table(ROOT / "README.md")


def named(rows: list[Row], *places: str) -> set[str]:
    return {row.name for row in rows if any(place in row.where for place in places)}


def test_every_environment_variable_is_in_the_table_and_read(rows: list[Row]) -> None:
    told = named(rows, "function environment", "deployment environment", "command environment")
    read = variables_read()
    assert (sorted(read - told), sorted(told - read)) == ([], [])


def test_every_stage_setting_is_in_the_table_and_exists(rows: list[Row]) -> None:
    told = named(rows, "StageSettings")
    assert (sorted(stage_fields() - told), sorted(told - stage_fields())) == ([], [])


def test_every_tenant_setting_is_in_the_table_and_read(rows: list[Row]) -> None:
    told, read = named(rows, "tenant setting"), tenant_settings_read()
    assert (sorted(read - told), sorted(told - read)) == ([], [])


def test_every_secret_and_credential_is_in_the_table_and_exists(rows: list[Row]) -> None:
    assert named(rows, "Secrets Manager") == secrets()
    resend = {f"resend/{name}" for name in CREDENTIALS}
    chat = {f"slack/{name}" for name in slack.CREDENTIALS}
    places = {f"{exports.PROVIDER}/{name}" for name in exports.CREDENTIALS}
    places.add(f"{exports.WEBHOOKS_PROVIDER}/{exports.WEBHOOK_SECRET}")
    chat |= {f"fairing/{name}" for name in fairing.CREDENTIALS}
    platforms = {f"{name}/{each}" for name, secrets in ads.CREDENTIALS.items() for each in secrets}
    assert named(rows, "tenant credential") == shopify_credentials() | resend | chat | places | platforms


def test_every_context_value_is_in_the_table_and_read(rows: list[Row]) -> None:
    assert named(rows, "CDK context") == contexts_read()


def test_every_row_is_complete_and_stands_once(rows: list[Row]) -> None:
    for row in rows:
        assert all((row.default, row.required, row.stages, row.meaning)), row.name
        assert any(place in row.where for place in PLACES), row
        assert row.required in ("yes", "no"), row.name
    keys = [(row.name, row.where) for row in rows]
    assert len(keys) == len(set(keys))


def test_the_defaults_of_stage_settings_are_those_of_the_code(rows: list[Row]) -> None:
    told = {row.name: row.default for row in rows if row.where == "StageSettings"}
    numbers = {
        each.name: str(each.default)
        for each in fields(StageSettings)
        if each.init and isinstance(each.default, int | float | bool)
    }
    assert {name: told[name].strip("`") for name in numbers} == numbers


def test_reads_nested_settings_and_ignores_other_objects() -> None:
    source = (
        "def of(settings):\n"
        "    own = settings.get('mail') or {}\n"
        "    other.get('x')\n"
        "    return own.get('delay'), tenant.settings.get('rate', 1)\n"
    )
    function = ast.parse(source).body[0]
    assert isinstance(function, ast.FunctionDef)
    assert settings_of(function) == {"mail.delay", "rate"}
