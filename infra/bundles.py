"""What lies inside each Lambda's zip: staged below ``.tradewind/build/bundles``, keyed by its content.

A domain's bundle holds that domain's package alone, so that a change in commerce redeploys commerce. On AWS
the kernel and the third-party packages are layers; locally the work tree's kernel and the project's own
interpreter serve, and a ``bootstrap`` starts AWS's runtime client.
"""

from __future__ import annotations

import compileall
import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from py_compile import PycInvalidationMode

from infra.settings import BUILDER_RUNTIME

ROOT = Path(__file__).resolve().parent.parent
FUNCTIONS = ROOT / "functions"
KERNEL = ROOT / "layers" / "shared" / "python"
BUILD = ROOT / ".tradewind" / "build"
LAYERS = ROOT / "layers"
DEPENDENCIES = "dependencies"
"""The layer that every function has. Any other folder with requirements is a layer for the tasks that name it."""
CONTAINER = ROOT / "infra" / "containers" / "training.Dockerfile"
CONTAINER_LAYERS = ("dependencies", "statistics")
"""The layers whose packages the training container has, pinned in one place for both."""
LAYER_MARK = "tradewind-layer.json"
_SKIPPED = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")

BOOTSTRAP = """#!/bin/sh
if [ -n "$TRADEWIND_PRELOADER" ]; then exec "$TRADEWIND_PYTHON" -I -S "$TRADEWIND_WARM_START" "$_HANDLER"; fi
if [ -n "$TRADEWIND_RUNTIME_CLIENT" ]; then exec "$TRADEWIND_PYTHON" -P "$TRADEWIND_RUNTIME_CLIENT" "$_HANDLER"; fi
exec "$TRADEWIND_PYTHON" -m awslambdaric "$_HANDLER"
"""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A folder ready to be zipped and the hash that stands for its content."""

    folder: Path
    digest: str


def domain_bundle(functions: Path, domain: str, *, bootstrap: bool, runtime: str) -> Bundle:
    """The package ``functions/<domain>`` at the root of a zip."""
    return _stage({domain: functions / domain}, {}, bootstrap=bootstrap, runtime=runtime, root="/var/task")


def ingress_bundle(functions: Path, generated: Mapping[str, str], *, bootstrap: bool, runtime: str) -> Bundle:
    """The ingress package with the tables that are generated from the registry (file name -> text)."""
    texts = {f"ingress/{name}": text for name, text in generated.items()}
    return _stage(
        {"ingress": functions / "ingress"}, texts, bootstrap=bootstrap, runtime=runtime, root="/var/task"
    )


def kernel_bundle(runtime: str) -> Bundle:
    """The kernel as a layer."""
    return _stage(
        {"python/tradewind": KERNEL / "tradewind"}, {}, bootstrap=False, runtime=runtime, root="/opt"
    )


def roles_bundle(runtime: str) -> Bundle:
    """The function that creates the database's roles on AWS."""
    packages = {"database_roles": ROOT / "infra" / "assets" / "database_roles"}
    return _stage(packages, {}, bootstrap=False, runtime=runtime, root="/var/task")


def container_bundle() -> Bundle:
    """The training container's build context: its code, the pins of what it needs, and its Dockerfile."""
    training = FUNCTIONS / "analytics" / "ml_training"
    texts = {
        "analytics/__init__.py": (FUNCTIONS / "analytics" / "__init__.py").read_text(),
        "Dockerfile": CONTAINER.read_text(),
        **{f"{layer}.txt": requirements_of(layer).read_text() for layer in CONTAINER_LAYERS},
    }
    packages = {"analytics/ml_training": training, "tradewind": KERNEL / "tradewind"}
    return _stage(packages, texts, bootstrap=False, runtime="container", root="/app")


def package_layers() -> list[str]:
    """The layers of third-party packages: each a folder of ``layers/`` with pinned requirements."""
    return sorted(path.parent.name for path in LAYERS.glob("*/requirements.txt"))


def requirements_of(layer: str) -> Path:
    """A layer's pins. Raises ValueError for one that is not there."""
    path = LAYERS / layer / "requirements.txt"
    if not path.is_file():
        raise ValueError(f"no layer {layer!r}; known: {', '.join(package_layers())}")
    return path


def requirements_digest(layer: str) -> str:
    return hashlib.sha256(requirements_of(layer).read_bytes()).hexdigest()


def layer_folder(layer: str) -> Path:
    """Where ``make build`` puts a layer."""
    return BUILD / "layers" / layer


def packages_bundle(layer: str, runtime: str) -> Bundle | None:
    """A third-party layer as ``make build`` left it; None where it is missing or for something else."""
    wanted = {"runtime": runtime, "requirements": requirements_digest(layer)}
    mark = layer_folder(layer) / LAYER_MARK
    if not mark.is_file() or json.loads(mark.read_text()) != wanted:
        return None
    return Bundle(layer_folder(layer), hashlib.sha256(mark.read_bytes()).hexdigest())


def unbuilt_bundle() -> Bundle:
    """Stands in for a layer that was not built: synth needs no network, and its stack refuses to deploy."""
    return _stage(
        {}, {"NOT-BUILT": "run `make build` before deploying\n"}, bootstrap=False, runtime="", root="/opt"
    )


def compile_folder(folder: Path, root: str) -> None:
    """Write bytecode that Python trusts without looking at the source: half of a cold start is compiling.

    ``root`` is where the folder will lie, for readable tracebacks. Raises RuntimeError on a file that fails.
    """
    fine = compileall.compile_dir(
        folder,
        quiet=1,
        stripdir=str(folder),
        prependdir=root,
        invalidation_mode=PycInvalidationMode.UNCHECKED_HASH,
    )
    if not fine:
        raise RuntimeError(f"some modules below {folder} do not compile")


def _stage(
    packages: Mapping[str, Path], texts: Mapping[str, str], *, bootstrap: bool, runtime: str, root: str
) -> Bundle:
    compiled = runtime == BUILDER_RUNTIME
    digest = _digest(packages, texts, f"{bootstrap} {runtime} {compiled} {root}")
    folder = BUILD / "bundles" / digest[:32]
    if folder.is_dir():
        return Bundle(folder, digest)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".staging-") as scratch:
        staging = Path(scratch) / "bundle"
        staging.mkdir()
        for name, source in packages.items():
            shutil.copytree(source, staging / name, ignore=_SKIPPED)
        for name, text in texts.items():
            (staging / name).parent.mkdir(parents=True, exist_ok=True)
            (staging / name).write_text(text)
        if compiled:
            compile_folder(staging, root)
        if bootstrap:
            (staging / "bootstrap").write_text(BOOTSTRAP)
            (staging / "bootstrap").chmod(0o755)
        _move_into_place(staging, folder)
    return Bundle(folder, digest)


def _move_into_place(staging: Path, folder: Path) -> None:
    """Another synth may have staged the same content meanwhile; then its folder stands."""
    try:
        staging.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise


def _digest(packages: Mapping[str, Path], texts: Mapping[str, str], variant: str) -> str:
    seen = hashlib.sha256(variant.encode())
    for name, source in sorted(packages.items()):
        for path in sorted(source.rglob("*")):
            relative = path.relative_to(source)
            hidden = any(part.startswith(".") or part == "__pycache__" for part in relative.parts)
            if path.is_file() and not hidden and path.suffix != ".pyc":
                seen.update(f"\0{name}/{relative}\0".encode() + path.read_bytes())
    for name, text in sorted(texts.items()):
        seen.update(f"\0{name}\0{text}".encode())
    return seen.hexdigest()
