"""The two programs that people open in a browser: the console over the emulator and the provider sandbox."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path

from infra.local import paths
from infra.local.ministack import CLIENT_ENVIRONMENT, REGION, answers
from infra.local.ports import HOST
from infra.local.processes import Launcher, Process, Program, clean_environment

READY_TIMEOUT_S = 30.0
CONSOLE_SERVICES = (
    "lambda,sqs,stepfunctions,logs,s3,kms,secretsmanager,events,cloudformation,apigateway,monitoring,iam,ssm"
)


@dataclass(slots=True)
class WebProgram:
    """A running program with a page at `url`."""

    process: Process
    url: str
    health: str

    def is_ready(self) -> bool:
        """Whether it answers."""
        return answers(self.url + self.health)


def start_console(folder: Path, log: Path, port: int, endpoint_url: str, launcher: Launcher) -> WebProgram:
    """Start StackPort, a browser of queues, functions, executions and logs. Raises ProgramError."""
    environment = clean_environment(
        **CLIENT_ENVIRONMENT,
        AWS_ENDPOINT_URL=endpoint_url,
        STACKPORT_DATA_DIR=str(folder),
        STACKPORT_LEARN="false",
        STACKPORT_SERVICES=CONSOLE_SERVICES,
        LOG_LEVEL="WARNING",
    )
    # By its own command it listens on all interfaces.
    command = [str(paths.EMULATOR.python), "-m", "uvicorn", "backend.main:app", "--log-level", "warning"]
    command += ["--host", HOST, "--port", str(port)]
    program = Program("console", command, log, environment | {"AWS_REGION": REGION}, folder)
    return _start(program, port, "/", launcher)


def sandbox_exists() -> bool:
    """Whether this checkout has the provider sandbox."""
    return importlib.util.find_spec("infra.local.sandbox") is not None


def start_sandbox(folder: Path, log: Path, port: int, launcher: Launcher) -> WebProgram:
    """Start the provider sandbox, which plays the providers over HTTP. Raises ProgramError."""
    environment = clean_environment(PYTHONPATH=python_path(), NO_PROXY=HOST)
    command = [str(paths.PYTHON), "-m", "infra.local.sandbox", "--port", str(port)]
    program = Program("sandbox", command, log, environment, folder)
    return _start(program, port, "/_sandbox/health", launcher)


def python_path() -> str:
    """The PYTHONPATH of every program of the project."""
    return os.pathsep.join(str(folder) for folder in (paths.FUNCTIONS, paths.KERNEL, paths.CHECKOUT))


def _start(program: Program, port: int, health: str, launcher: Launcher) -> WebProgram:
    url = f"http://{HOST}:{port}"
    server = WebProgram(launcher.start(program), url, health)
    try:
        server.process.wait_until(server.is_ready, READY_TIMEOUT_S)
    except BaseException:
        server.process.stop()
        raise
    return server
