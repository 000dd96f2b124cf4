"""``make build``: the third-party layers for Lambda, aarch64 wheels compiled for the runtime's minor
version.

Needs the network, once for each change of a ``layers/*/requirements.txt``; synth and the local
cloud do not need it at all. Run as ``python -m infra.build``.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from infra import bundles
from infra.bundles import LAYER_MARK, compile_folder, requirements_digest, requirements_of
from infra.settings import BUILDER_RUNTIME

PLATFORM = "manylinux2014_aarch64"
NEWER_PLATFORMS = ("manylinux_2_17_aarch64", "manylinux_2_28_aarch64")
"""Amazon Linux 2023 has glibc 2.34, so wheels for any of these run there."""

SIZE_LIMIT = 250 * 1024 * 1024
"""Lambda's limit for code and layers together, unzipped."""
UNUSED = ("bin", "**/tests", "*/test", "*.dist-info/licenses")


class BuildError(RuntimeError):
    """The layer cannot be built; the message says what to change."""


def build_layer(layer: str) -> Path:
    """Download, trim, compile and put the layer in place; returns its folder. Raises BuildError."""
    folder = bundles.layer_folder(layer)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{layer}-") as scratch:
        staging = Path(scratch) / "layer"
        packages = staging / "python"
        packages.mkdir(parents=True)
        _download(requirements_of(layer), packages)
        for pattern in UNUSED:
            for path in list(packages.glob(pattern)):
                shutil.rmtree(path, ignore_errors=True)
        for cached in packages.rglob("__pycache__"):
            shutil.rmtree(cached)
        compile_folder(staging, "/opt")
        size = folder_size(staging)
        if size > SIZE_LIMIT:
            raise BuildError(
                f"layer {layer} has {size / 1e6:.0f} MB; Lambda takes {SIZE_LIMIT / 1e6:.0f} MB in all"
            )
        mark = {"runtime": BUILDER_RUNTIME, "requirements": requirements_digest(layer)}
        (staging / LAYER_MARK).write_text(json.dumps(mark))
        shutil.rmtree(folder, ignore_errors=True)
        staging.rename(folder)
    return folder


def folder_size(folder: Path) -> int:
    """Bytes of all files below."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _download(requirements: Path, packages: Path) -> None:
    version = BUILDER_RUNTIME.removeprefix("python")
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps"]
    command += ["--only-binary=:all:", "--implementation=cp", f"--python-version={version}"]
    command += [f"--platform={platform}" for platform in (PLATFORM, *NEWER_PLATFORMS)]
    command += ["--no-compile", f"--target={packages}", f"--requirement={requirements}"]
    if subprocess.run(command, check=False).returncode != 0:
        raise BuildError(
            f"pip found no wheels for {requirements.parent.name} on {PLATFORM}, Python {version}"
        )


def main() -> int:
    """Build and say what was built; returns the exit code."""
    for layer in bundles.package_layers():
        try:
            folder = build_layer(layer)
        except BuildError as error:
            sys.stderr.write(f"make build: {error}\n")
            return 1
        size = f"{folder_size(folder) / 1e6:.0f} MB"
        sys.stdout.write(f"layer {layer} for {BUILDER_RUNTIME} on {PLATFORM}: {size} in {folder}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
