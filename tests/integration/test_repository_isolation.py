"""Every method of every repository, as one tenant with another's ids: found by importing the features' repositories.

A method runs named queries alone, and every query has a method: so what is proven of the catalogue of queries holds for
all that a feature may ask of Postgres.
"""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints
from uuid import UUID, uuid4

import psycopg
import pytest

from tests.conftest import ROOT
from tests.integration.belongings import belonging
from tests.integration.world import THEIRS, World
from tradewind.sql import load_queries
from tradewind.tenancy.database import Connections, QueryError, Session, Transaction

FEATURES = sorted(path.parent for path in (ROOT / "functions").glob("*/*/queries.sql"))
STATEMENTS = {"fetch_all", "fetch_one", "execute", "upsert"}


def repositories(feature: Path) -> Iterator[type]:
    """The classes of a feature's repository that work through a transaction."""
    for path in sorted(feature.glob("*repository.py")):
        module = importlib.import_module(f"{feature.parent.name}.{feature.name}.{path.stem}")
        for _, found in inspect.getmembers(module, inspect.isclass):
            if found.__module__ == module.__name__ and "_tx" in found.__init__.__code__.co_names:
                yield found


@dataclass(frozen=True, slots=True)
class Method:
    repository: type
    name: str

    def call(self, transaction: Transaction, number: int) -> Any:
        """Call it with what belongs to the tenant with ``number``."""
        method = getattr(self.repository(transaction), self.name)
        hints = get_type_hints(method)
        return method(
            **{each: belonging(hints[each], each, number) for each in inspect.signature(method).parameters}
        )


METHODS = [
    pytest.param(Method(repository, name), id=f"{feature.name}-{repository.__name__}-{name}")
    for feature in FEATURES
    for repository in repositories(feature)
    for name, _ in inspect.getmembers(repository, inspect.isfunction)
    if not name.startswith("_")
]


@pytest.fixture(scope="module")
def connections(world: World) -> Iterator[Connections]:
    """One pool for all tenants and all methods."""
    opened = Connections(world.urls.app)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def nobody(world: World) -> UUID:
    """A tenant with nothing."""
    tenant_id = uuid4()
    with psycopg.connect(world.urls.platform) as connection:
        connection.execute(
            "INSERT INTO tenants (tenant_id, slug, name) VALUES (%s, 'nobody-here', 'N')", (tenant_id,)
        )
    return tenant_id


def answer(connections: Connections, tenant_id: UUID, method: Method, number: int) -> str:
    """What a method gives a tenant, as text; nothing is kept."""
    session = Session(connections)
    try:
        with session.transaction(tenant_id) as transaction:
            return repr(method.call(transaction, number))
    except QueryError as error:
        return repr(error)
    finally:
        session.close()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.usefixtures("bolt_is_untouched")
def test_method_with_anothers_ids_gives_what_it_gives_to_one_without_rows(
    connections: Connections, world: World, nobody: UUID, method: Method
) -> None:
    given = answer(connections, world.acme, method, THEIRS)
    if len(inspect.signature(getattr(method.repository, method.name)).parameters) > 1:
        assert given == answer(connections, nobody, method, THEIRS)
    assert str(world.bolt) not in given
    assert len(connections._idle) == 1


def test_the_same_methods_find_the_owners_rows(connections: Connections, world: World) -> None:
    """Else the test before this one would prove nothing. In a world of one order nothing comes later."""
    methods = [method for each in METHODS if isinstance(method := each.values[0], Method)]
    reading = [each for each in methods if each.name.startswith(("find", "list", "has", "export"))]
    silent = {
        f"{each.repository.__name__}.{each.name}"
        for each in reading
        if answer(connections, world.bolt, each, THEIRS) == answer(connections, world.acme, each, THEIRS)
    }
    assert len(reading) >= 10
    assert {name for name in silent if "later" not in name} == set()


def queries_run(feature: Path) -> Iterator[str | None]:
    """The names of the queries that a repository's statements run, as patterns; None for a statement of its own."""
    tree = ast.parse("\n".join(path.read_text() for path in sorted(feature.glob("*repository.py"))))
    loops = {
        ast.unparse(node.target): [
            str(each.value) for each in node.iter.elts if isinstance(each, ast.Constant)
        ]
        for node in ast.walk(tree)
        if isinstance(node, ast.For) and isinstance(node.iter, ast.Tuple)
    }
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        if ast.unparse(node.func.value) != "self._tx":
            continue
        match node.args[0]:
            case ast.Subscript(value=ast.Name(id="QUERIES"), slice=ast.Constant(value=str(name))):
                yield name
            case ast.Subscript(value=ast.Name(id="QUERIES"), slice=ast.Name(id=variable)) if (
                variable in loops
            ):
                yield from loops[variable]
            case ast.Subscript(value=ast.Name(id="QUERIES"), slice=ast.JoinedStr(values=parts)):
                yield "".join(str(part.value) if isinstance(part, ast.Constant) else "*" for part in parts)
            case _:
                yield None


@pytest.mark.parametrize("feature", [pytest.param(each, id=each.name) for each in FEATURES])
def test_methods_run_named_queries_alone_and_every_query_has_a_method(feature: Path) -> None:
    run = list(queries_run(feature))
    assert None not in run
    named = set(load_queries(str(feature / "queries.sql")))
    patterns = {name for name in run if name and "*" in name}
    covered = {
        name
        for name in named
        if any(Path(name).match(pattern) for pattern in {*patterns, *filter(None, run)})
    }
    assert named - covered == set()
    assert {name for name in run if name and "*" not in name} <= named


def test_no_other_module_of_a_feature_speaks_to_postgres() -> None:
    """Statements are run by repositories, so that what is proven of them is proven of the feature."""
    speaking = {
        str(path.relative_to(ROOT))
        for feature in FEATURES
        for path in feature.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in {*STATEMENTS, "execute_many", "copy_rows"}
        if not path.name.endswith("repository.py")
    }
    assert speaking == set()
