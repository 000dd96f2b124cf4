"""What lies in a function's zip."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from infra import bundles
from infra.build import SIZE_LIMIT, folder_size
from infra.settings import BUILDER_RUNTIME
from tradewind.tasks.manifest import describe_registry
from tradewind.tasks.registry import discover

from .conftest import FIXTURE, Application

PURE_PYTHON = {"sftp"}
"""Layers without a library of machine code."""
UNCHECKED_HASH = (0b01).to_bytes(4, "little")


@pytest.fixture(autouse=True)
def build_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(bundles, "BUILD", tmp_path / "build")
    return tmp_path / "build"


@pytest.fixture
def functions(tmp_path: Path) -> Path:
    folder = tmp_path / "functions"
    for name in ("shop", "mail", "ingress"):
        (folder / name / "__pycache__").mkdir(parents=True)
        (folder / name / "__init__.py").write_text(f'"""{name}"""\n')
        (folder / name / "__pycache__" / "stale.cpython-310.pyc").write_bytes(b"stale")
        (folder / name / "queries.sql").write_text("-- one --\nSELECT 1;\n")
    return folder


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_domains_bundle_holds_its_own_package_alone(functions: Path) -> None:
    bundle = bundles.domain_bundle(functions, "shop", bootstrap=False, runtime=BUILDER_RUNTIME)
    tag = sys.implementation.cache_tag
    assert files(bundle.folder) == {
        "shop/__init__.py",
        "shop/queries.sql",
        f"shop/__pycache__/__init__.{tag}.pyc",
    }


def test_a_change_in_one_domain_leaves_the_others_as_they_are(functions: Path) -> None:
    def digests() -> list[str]:
        return [
            bundles.domain_bundle(functions, name, bootstrap=False, runtime=BUILDER_RUNTIME).digest
            for name in ("shop", "mail")
        ]

    shop, mail = digests()
    (functions / "shop" / "queries.sql").write_text("-- one --\nSELECT 2;\n")
    shop_after, mail_after = digests()
    assert (shop_after != shop, mail_after == mail) == (True, True)


def test_the_same_content_is_staged_once_and_cached_bytecode_is_no_content(functions: Path) -> None:
    first = bundles.domain_bundle(functions, "shop", bootstrap=False, runtime=BUILDER_RUNTIME)
    (functions / "shop" / "__pycache__" / "newer.pyc").write_bytes(b"newer")
    assert bundles.domain_bundle(functions, "shop", bootstrap=False, runtime=BUILDER_RUNTIME) == first


def test_bytecode_is_this_versions_and_never_checked_against_its_source(functions: Path) -> None:
    bundle = bundles.domain_bundle(functions, "shop", bootstrap=False, runtime=BUILDER_RUNTIME)
    (compiled,) = bundle.folder.rglob("*.pyc")
    header = compiled.read_bytes()[:8]
    assert header == importlib.util.MAGIC_NUMBER + UNCHECKED_HASH
    assert b"/var/task/shop/__init__.py" in compiled.read_bytes()


def test_writes_no_bytecode_for_a_version_that_it_cannot_compile_for(functions: Path) -> None:
    bundle = bundles.domain_bundle(functions, "shop", bootstrap=False, runtime="python3.99")
    assert not list(bundle.folder.rglob("*.pyc"))


def test_refuses_a_module_that_does_not_compile(functions: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (functions / "shop" / "broken.py").write_text("def (:\n")
    with pytest.raises(RuntimeError, match="do not compile"):
        bundles.domain_bundle(functions, "shop", bootstrap=False, runtime=BUILDER_RUNTIME)
    assert "broken.py" in capsys.readouterr().out
    assert not [path for path in (bundles.BUILD / "bundles").iterdir() if not path.name.startswith(".")]


def test_the_local_bootstrap_starts_the_runtime_client_with_the_handler(
    functions: Path, tmp_path: Path
) -> None:
    bundle = bundles.domain_bundle(functions, "shop", bootstrap=True, runtime="provided.al2023")
    bootstrap = bundle.folder / "bootstrap"
    assert os.access(bootstrap, os.X_OK)
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "$@"\n')
    python.chmod(0o755)
    environment = {"TRADEWIND_PYTHON": str(python), "_HANDLER": "shop.tasks.sell", "PATH": os.environ["PATH"]}
    answer = subprocess.run([bootstrap], env=environment, capture_output=True, text=True, check=True)
    assert answer.stdout == "-m awslambdaric shop.tasks.sell\n"


def test_the_ingress_carries_the_registry_as_data(dev: Application) -> None:
    manifest = json.dumps(describe_registry(dev.registry))
    bundle = bundles.ingress_bundle(
        FIXTURE, {"manifest.json": manifest}, bootstrap=False, runtime=BUILDER_RUNTIME
    )
    read = json.loads((bundle.folder / "ingress" / "manifest.json").read_text())
    assert read["routes"] == {
        "shopify": {
            "orders/create": ["bazaar-order-created"],
            "orders/edited": ["bazaar-save-order"],
            "orders/updated": ["bazaar-save-order"],
        }
    }
    assert set(read["schedules"]) == {"bazaar-digest", "bazaar-digest-monday", "bazaar-sweep"}
    assert read["tasks"]["bazaar-commission"]["cap"] == 1


def test_a_change_of_the_registry_changes_the_ingress(functions: Path) -> None:
    def digest(manifest: str) -> str:
        generated = {"manifest.json": manifest}
        return bundles.ingress_bundle(functions, generated, bootstrap=False, runtime=BUILDER_RUNTIME).digest

    assert digest("{}") != digest('{"tasks": {}}')


def test_the_kernel_layer_lies_where_lambda_looks_for_packages() -> None:
    bundle = bundles.kernel_bundle(BUILDER_RUNTIME)
    assert (bundle.folder / "python" / "tradewind" / "tasks" / "task.py").is_file()
    assert list((bundle.folder / "python" / "tradewind" / "migrations").glob("0001-*.sql"))


@pytest.mark.parametrize(
    ("runtime", "requirements", "usable"),
    [
        (BUILDER_RUNTIME, "current", True),
        ("python3.99", "current", False),
        (BUILDER_RUNTIME, "of another day", False),
    ],
)
def test_uses_a_built_layer_only_for_what_it_was_built_for(
    runtime: str, requirements: str, usable: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    digest = bundles.requirements_digest("statistics") if requirements == "current" else requirements
    mark = {"runtime": BUILDER_RUNTIME, "requirements": digest}
    folder = bundles.layer_folder("statistics")
    folder.mkdir(parents=True)
    (folder / bundles.LAYER_MARK).write_text(json.dumps(mark))
    assert (bundles.packages_bundle("statistics", runtime) is not None) is usable
    assert bundles.packages_bundle("charts", runtime) is None


def test_code_and_layers_stay_below_lambdas_limit_with_room_for_the_packages() -> None:
    """The kernel and the largest domain; the packages' layer is weighed when it is built."""
    domains = [
        path.parent.name for path in bundles.FUNCTIONS.glob("*/__init__.py") if path.parent.name != "ingress"
    ]
    largest = max(
        folder_size(
            bundles.domain_bundle(bundles.FUNCTIONS, name, bootstrap=False, runtime=BUILDER_RUNTIME).folder
        )
        for name in domains
    )
    assert largest + folder_size(bundles.kernel_bundle(BUILDER_RUNTIME).folder) < SIZE_LIMIT / 10


BUILT = {layer: bundles.layer_folder(layer) for layer in bundles.package_layers()}
"""As ``make build`` left them in this checkout, apart from the tests' own build folder."""
built = pytest.mark.skipif(
    not all((folder / bundles.LAYER_MARK).is_file() for folder in BUILT.values()),
    reason="`make build` has not run in this checkout",
)


def test_one_environment_can_have_all_layers_packages() -> None:
    pins: dict[str, set[str]] = {}
    for layer in bundles.package_layers():
        for line in bundles.requirements_of(layer).read_text().splitlines():
            if line and not line.startswith("#"):
                name, _, version = line.split(" ")[0].partition("==")
                pins.setdefault(name, set()).add(version)
    assert {name: versions for name, versions in pins.items() if len(versions) > 1 or "" in versions} == {}


@built
def test_what_a_task_asks_for_fits_into_a_lambda() -> None:
    kernel = folder_size(bundles.kernel_bundle(BUILDER_RUNTIME).folder)
    for task in discover(bundles.FUNCTIONS):
        code = bundles.domain_bundle(bundles.FUNCTIONS, task.domain, bootstrap=False, runtime=BUILDER_RUNTIME)
        layers = sum(folder_size(BUILT[layer]) for layer in (bundles.DEPENDENCIES, *task.layers))
        assert layers + kernel + folder_size(code.folder) < SIZE_LIMIT, task.id


@built
@pytest.mark.parametrize("layer", BUILT)
def test_the_built_layer_is_for_arm_and_this_minor_version(layer: str) -> None:
    packages = BUILT[layer] / "python"
    libraries = list(packages.rglob("*.so"))
    assert bool(libraries) is (layer not in PURE_PYTHON)
    assert {path.read_bytes()[18] for path in libraries} <= {0xB7}, "ELF machine 0xB7 is aarch64"
    compiled = list(packages.rglob("*.pyc"))
    assert {path.read_bytes()[:8] for path in compiled} == {importlib.util.MAGIC_NUMBER + UNCHECKED_HASH}


@built
def test_the_layer_of_every_function_leaves_room_for_others() -> None:
    assert folder_size(BUILT[bundles.DEPENDENCIES]) < SIZE_LIMIT / 2
    assert (BUILT[bundles.DEPENDENCIES] / "python" / "pydantic").is_dir()
