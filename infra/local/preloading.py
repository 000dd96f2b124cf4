"""The program that functions are forked from, on machines that can do so."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from infra.local import paths
from infra.local.processes import Launcher, Process, Program, clean_environment

PROGRAM, WARM_START = (Path(__file__).with_name(name) for name in ("preloader.py", "warm_start.py"))
READY_TIMEOUT_S = 30.0


def _free_name() -> str:
    return f"tradewind-{os.getpid()}-{secrets.token_hex(4)}"


@dataclass(slots=True)
class Preloading:
    """One cloud's preloader, by the name of its socket. Only Linux has such names, and forks without a catch."""

    name: str = field(default_factory=_free_name)

    @staticmethod
    def is_possible() -> bool:
        return sys.platform == "linux"

    def environment(self) -> Mapping[str, str]:
        """What tells a function's bootstrap to ask; a function that asks too early starts by itself."""
        if not self.is_possible():
            return {}
        return {"TRADEWIND_PRELOADER": self.name, "TRADEWIND_WARM_START": str(WARM_START)}

    def is_ready(self) -> bool:
        return f"@{self.name}\n" in Path("/proc/net/unix").read_text()

    def start(self, folder: Path, log: Path, launcher: Launcher) -> Process:
        """Returns when it listens. Raises ProgramError."""
        command = [str(paths.PYTHON), "-P", str(PROGRAM), self.name]
        environment = clean_environment(PYTHONPATH=str(paths.KERNEL))
        process = launcher.start(Program("preloader", command, log, environment, folder))
        try:
            process.wait_until(self.is_ready, READY_TIMEOUT_S)
        except BaseException:
            process.stop()
            raise
        return process
