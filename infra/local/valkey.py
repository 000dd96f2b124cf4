"""Valkey for the local cloud and for tests: one node in cluster mode, as ElastiCache Serverless always is.

Nothing is kept on disk. A cluster node serves commands 2 s after its start at the earliest, by its own rule.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import redis

from infra.local import paths
from infra.local.ports import HOST, free_port
from infra.local.processes import Launcher, Process, Program, clean_environment

READY_TIMEOUT_S = 20.0
LAST_SLOT = 16383


@dataclass(slots=True)
class ValkeyServer:
    """A running server; `url` is for a cluster client."""

    process: Process
    port: int

    @property
    def url(self) -> str:
        """`redis://127.0.0.1:<port>/0`, without TLS."""
        return f"redis://{HOST}:{self.port}/0"

    def is_serving(self) -> bool:
        """Whether every slot is served; assigns the slots to this node at the first opportunity."""
        with contextlib.closing(redis.Redis(host=HOST, port=self.port, socket_timeout=2)) as node:
            try:
                info = node.execute_command("CLUSTER INFO")
                if int(info["cluster_slots_assigned"]) == 0:
                    node.execute_command("CLUSTER ADDSLOTSRANGE", 0, LAST_SLOT)
            except redis.ConnectionError:
                return False
            return bool(info["cluster_state"] == "ok")


def start_valkey(folder: Path, log: Path, port: int, launcher: Launcher) -> ValkeyServer:
    """Start a node that owns every slot; returns when it serves commands. Raises ProgramError."""
    command = [str(paths.EMULATOR.valkey_server), "--bind", HOST, "--port", str(port)]
    command += ["--cluster-enabled", "yes", "--cluster-port", str(free_port())]
    command += ["--cluster-announce-ip", HOST, "--save", "", "--appendonly", "no"]
    program = Program("Valkey", command, log, clean_environment(), folder)
    server = ValkeyServer(launcher.start(program), port)
    try:
        server.process.wait_until(server.is_serving, READY_TIMEOUT_S)
    except BaseException:
        server.process.stop()
        raise
    return server


@contextlib.contextmanager
def valkey_server(port: int | None = None) -> Iterator[ValkeyServer]:
    """A server for the duration of the block, ready in about two seconds."""
    paths.RUN.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f"valkey-{os.getpid()}-", dir=paths.RUN))
    log = folder / "valkey.log"
    try:
        server = start_valkey(folder, log, port or free_port(), Launcher())
        try:
            yield server
        finally:
            server.process.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
