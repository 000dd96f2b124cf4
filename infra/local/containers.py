"""The container agent of the local cloud: ``python -m infra.local.containers``. It plays Fargate without Docker.

It looks at the emulator's ECS for tasks that should run, and runs each one's own command as a process, with the
environment that its definition and the call's overrides give it, the session of its task role, and what its image would
give: Python with the project's packages and code. It stops a process whose task is stopped (SIGTERM, then SIGKILL after
the definition's stop time-out, as an interruption of Spot does) or that lives longer than any container may, and stops
the task whose process has ended. It runs behind a guardian like every program: when that ends, so do its containers.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from infra.local import paths
from infra.local.ministack import CLIENT_ENVIRONMENT, client_of
from infra.local.processes import Launcher, Process, Program, clean_environment

CLUSTER = "tradewind-local-training"
CONTAINER_STACK = "tradewind-local-analytics-container"
LIMIT = timedelta(minutes=31)
"""A container ends itself at thirty minutes; one that cannot is ended."""
POLL_S = 0.5
DEFAULT_STOP_S = 30


@dataclass(slots=True)
class Running:
    """A container's process. ``ends_at`` is set once it was told to stop."""

    process: subprocess.Popen[bytes]
    began: float
    stop_s: float
    ends_at: float | None = None

    def stop(self, now: float) -> None:
        """Tell it to stop; once its time for that is over, end it."""
        if self.ends_at is None:
            self.ends_at = now + self.stop_s
            self.process.terminate()
        elif now >= self.ends_at:
            self.process.kill()


@dataclass(slots=True)
class Agent:
    """One pass after the other: start what should run, stop what should not, tell of what has ended."""

    endpoint: str
    logs: Path
    running: dict[str, Running] = field(default_factory=dict)
    _ecs: Any = field(init=False)
    _sts: Any = field(init=False)

    def __post_init__(self) -> None:
        self.logs.mkdir(parents=True, exist_ok=True)
        self._ecs, self._sts = (client_of(self.endpoint, service) for service in ("ecs", "sts"))

    def look(self) -> None:
        """One pass. Raises what the emulator's client raises where it does not answer."""
        now = time.monotonic()
        wanted = set(self._ecs.list_tasks(cluster=CLUSTER, desiredStatus="RUNNING")["taskArns"])
        for arn in sorted(wanted - self.running.keys()):
            self._start(arn, now)
        for arn, container in list(self.running.items()):
            code = container.process.poll()
            if code is not None:
                self._ended(arn, code, stopped=arn not in wanted)
            elif arn not in wanted or now - container.began > LIMIT.total_seconds():
                container.stop(now)

    def _start(self, arn: str, now: float) -> None:
        [task] = self._ecs.describe_tasks(cluster=CLUSTER, tasks=[arn])["tasks"]
        definition = self._ecs.describe_task_definition(taskDefinition=task["taskDefinitionArn"])[
            "taskDefinition"
        ]
        [container] = definition["containerDefinitions"]
        told = {each["name"]: each["value"] for each in container.get("environment", [])}
        for override in task["overrides"].get("containerOverrides", []):
            told |= {each["name"]: each["value"] for each in override.get("environment", [])}
        folder = paths.CLOUD / "containers" / arn.rsplit("/", 1)[-1]
        folder.mkdir(parents=True, exist_ok=True)
        environment = self._environment(told, self._session(definition["taskRoleArn"], folder.name), folder)
        with (self.logs / f"{folder.name}.log").open("ab") as log:
            process = subprocess.Popen(
                container["command"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env=environment,
            )
        self.running[arn] = Running(process, now, float(container.get("stopTimeout") or DEFAULT_STOP_S))
        print(f"started {folder.name} as {process.pid}", flush=True)

    def _session(self, role: str, name: str) -> dict[str, str]:
        """The role's own session, so that where policies are checked the container's are."""
        keys = self._sts.assume_role(RoleArn=role, RoleSessionName=name)["Credentials"]
        return {
            "AWS_ACCESS_KEY_ID": keys["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": keys["SecretAccessKey"],
            "AWS_SESSION_TOKEN": keys["SessionToken"],
        }

    @staticmethod
    def _environment(told: Mapping[str, str], session: Mapping[str, str], folder: Path) -> dict[str, str]:
        """What the definition says over what the image would say."""
        image = {
            "PATH": os.pathsep.join([str(paths.PYTHON.parent), os.defpath]),
            "PYTHONPATH": os.pathsep.join([str(paths.FUNCTIONS), str(paths.KERNEL)]),
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "TMPDIR": str(folder),
        }
        environment = clean_environment(**{**CLIENT_ENVIRONMENT, **image, **told})
        return environment | dict(session)

    def _ended(self, arn: str, code: int, *, stopped: bool) -> None:
        del self.running[arn]
        print(f"ended {arn.rsplit('/', 1)[-1]} with {code}", flush=True)
        if not stopped:
            self._ecs.stop_task(cluster=CLUSTER, task=arn, reason=f"Essential container exited with {code}")

    def stop_all(self) -> None:
        """End every container; what is left of the group the guardian ends."""
        for container in self.running.values():
            container.process.terminate()


def start_agent(folder: Path, log: Path, endpoint: str, launcher: Launcher) -> Process:
    """Start the agent; it is ready once it has looked at the emulator."""
    folder.mkdir(parents=True, exist_ok=True)
    environment = clean_environment(
        **CLIENT_ENVIRONMENT,
        PYTHONPATH=os.pathsep.join(str(path) for path in (paths.FUNCTIONS, paths.KERNEL, paths.CHECKOUT)),
    )
    command = [str(paths.PYTHON), "-m", "infra.local.containers", "--endpoint", endpoint]
    return launcher.start(Program("container agent", command, log, environment, folder))


def main() -> int:
    """Look until told to stop; an emulator that does not answer is asked again."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--endpoint", required=True)
    agent = Agent(parser.parse_args().endpoint, paths.LOGS / "containers")
    stopping = False

    def stop(*_: object) -> None:
        nonlocal stopping
        stopping = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    while not stopping:
        try:
            agent.look()
        except (BotoCoreError, ClientError) as error:
            print(f"the emulator does not answer: {error}", flush=True)
        time.sleep(POLL_S)
    agent.stop_all()
    return 0


if __name__ == "__main__":
    sys.exit(main())
