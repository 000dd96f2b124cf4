"""``make build``: the third-party layer for Lambda, aarch64 wheels compiled for the runtime's minor
version.

Needs the network, once for each change of ``layers/dependencies/requirements.txt``; synth and the local
cloud do not need it at all. Run as ``python -m infra.build``.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from infra.bundles import BUILD, DEPENDENCIES, LAYER_MARK, REQUIREMENTS, compile_folder, requirements_digest
from infra.settings import BUILDER_RUNTIME

PLATFORM = "manylinux2014_aarch64"
NEWER_PLATFORMS = ("manylinux_2_17_aarch64", "manylinux_2_28_aarch64")
"""Amazon Linux 2023 has glibc 2.34, so wheels for any of these run there."""

SIZE_LIMIT = 250 * 1024 * 1024
"""Lambda's limit for code and layers together, unzipped."""
UNUSED = ("bin", "*/tests", "*/test", "*.dist-info/licenses")


class BuildError(RuntimeError):
    """The layer cannot be built; the message says what to change."""


def build_dependencies() -> Path:
    """Download, trim, compile and put the layer in place; returns its folder. Raises BuildError."""
    DEPENDENCIES.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=BUILD, prefix=".dependencies-") as scratch:
        staging = Path(scratch) / "layer"
        packages = staging / "python"
        packages.mkdir(parents=True)
        _download(packages)
        for pattern in UNUSED:
            for path in packages.glob(pattern):
                shutil.rmtree(path)
        for cached in packages.rglob("__pycache__"):
            shutil.rmtree(cached)
        compile_folder(staging, "/opt")
        size = folder_size(staging)
        if size > SIZE_LIMIT:
            raise BuildError(
                f"the layer has {size / 1e6:.0f} MB; Lambda takes {SIZE_LIMIT / 1e6:.0f} MB in all"
            )
        mark = {"runtime": BUILDER_RUNTIME, "requirements": requirements_digest()}
        (staging / LAYER_MARK).write_text(json.dumps(mark))
        shutil.rmtree(DEPENDENCIES, ignore_errors=True)
        staging.rename(DEPENDENCIES)
    return DEPENDENCIES


def folder_size(folder: Path) -> int:
    """Bytes of all files below."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _download(packages: Path) -> None:
    version = BUILDER_RUNTIME.removeprefix("python")
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps"]
    command += ["--only-binary=:all:", "--implementation=cp", f"--python-version={version}"]
    command += [f"--platform={platform}" for platform in (PLATFORM, *NEWER_PLATFORMS)]
    command += ["--no-compile", f"--target={packages}", f"--requirement={REQUIREMENTS}"]
    if subprocess.run(command, check=False).returncode != 0:
        raise BuildError(f"pip found no wheels for {REQUIREMENTS.name} on {PLATFORM}, Python {version}")


def main() -> int:
    """Build and say what was built; returns the exit code."""
    try:
        folder = build_dependencies()
    except BuildError as error:
        sys.stderr.write(f"make build: {error}\n")
        return 1
    size = f"{folder_size(folder) / 1e6:.0f} MB"
    sys.stdout.write(f"dependencies layer for {BUILDER_RUNTIME} on {PLATFORM}: {size} in {folder}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
