"""Deploy the CDK app of this checkout into a running emulator, as one would into an account."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.local import paths
from infra.local.console import python_path
from infra.local.ministack import ACCOUNT, CLIENT_ENVIRONMENT, REGION, MiniStack
from infra.local.processes import Launcher, Program, clean_environment, last_lines

STAGE = "local"
CONCURRENCY = 10
SYNTH_TIMEOUT_S = 180.0
BOOTSTRAP_TIMEOUT_S = 120.0
DEPLOY_TIMEOUT_S = 600.0
MIGRATE_FUNCTION = f"tradewind-{STAGE}-ingress-migrate"
STACK_DONE = "✅"
HINT = "This is what the CDK said about the app in infra/; `make check` finds most mistakes sooner."


class DeploymentError(Exception):
    """The deployment went through, but what it deployed does not answer as it must."""


class UnknownDomainError(Exception):
    """A domain was asked for that this checkout does not have."""

    def __init__(self, unknown: Sequence[str], known: Sequence[str]) -> None:
        super().__init__(f"there is no domain {', '.join(unknown)}; the domains are {', '.join(known)}")
        self.unknown = unknown


@dataclass(frozen=True, slots=True)
class Addresses:
    """What the app is told about the local cloud; all of it known before anything has started."""

    app_database_url: str
    platform_database_url: str
    owner_database_url: str
    redis_url: str
    sandbox_url: str
    aws_endpoint_url: str

    def environment(self) -> dict[str, str]:
        """As the variables that `infra/settings.py` reads."""
        return {
            "TRADEWIND_LOCAL_APP_DATABASE_URL": self.app_database_url,
            "TRADEWIND_LOCAL_PLATFORM_DATABASE_URL": self.platform_database_url,
            "TRADEWIND_LOCAL_OWNER_DATABASE_URL": self.owner_database_url,
            "TRADEWIND_LOCAL_REDIS_URL": self.redis_url,
            "TRADEWIND_LOCAL_SANDBOX_URL": self.sandbox_url,
            "TRADEWIND_LOCAL_AWS_ENDPOINT_URL": self.aws_endpoint_url,
            "TRADEWIND_LOCAL_PYTHON": str(paths.PYTHON),
            "TRADEWIND_LOCAL_KERNEL": str(paths.KERNEL),
        }


def synthesize(addresses: Addresses, launcher: Launcher, more: Mapping[str, str]) -> None:
    """Run the app, with `more` variables; the assembly lies in `.tradewind/run/`. Needs no running server.

    Raises ProgramError.
    """
    options = ["synth", "--quiet", "--output", str(paths.ASSEMBLY), "--context", f"stage={STAGE}"]
    environment = {**addresses.environment(), **more}
    program = _cdk("synth", options, environment, folder=paths.CHECKOUT, hint=HINT)
    launcher.run(program, SYNTH_TIMEOUT_S)


def bootstrap(emulator: MiniStack, launcher: Launcher) -> None:
    """Create the CDK's own bucket and roles in the empty emulator. Raises ProgramError."""
    environment = {"AWS_ENDPOINT_URL": emulator.endpoint_url}
    # Away from cdk.json: with an explicit environment there is no app to run.
    options = ["bootstrap", f"aws://{ACCOUNT}/{REGION}"]
    launcher.run(_cdk("bootstrap", options, environment, folder=paths.CLOUD), BOOTSTRAP_TIMEOUT_S)


def deploy(
    emulator: MiniStack,
    launcher: Launcher,
    domains: Sequence[str] | None,
    report: Callable[[int, int], None],
) -> None:
    """Deploy the synthesized stacks, those of some domains only if `domains` is given.

    `report` is called with (stacks done, stacks in all). Raises ProgramError and UnknownDomainError.
    """
    stacks = chosen_stacks(domains)
    options = ["deploy", *stacks, "--app", str(paths.ASSEMBLY), "--require-approval", "never"]
    options += ["--concurrency", str(CONCURRENCY), "--method", "direct", "--progress", "events"]
    environment = {"AWS_ENDPOINT_URL": emulator.endpoint_url}
    program = _cdk("deploy", options, environment, folder=paths.CLOUD, hint=HINT)
    launcher.run(
        program,
        DEPLOY_TIMEOUT_S,
        meanwhile=lambda: report(program.log.read_text(errors="replace").count(STACK_DONE), len(stacks)),
    )


def migrate(emulator: MiniStack) -> bool:
    """Run the deployed migrate function; returns False if the app has none. Raises DeploymentError."""
    client = emulator.client("lambda")
    try:
        answer = client.invoke(FunctionName=MIGRATE_FUNCTION, Payload=b"{}")
    except client.exceptions.ResourceNotFoundException:
        return False
    if "FunctionError" in answer:
        failure = json.loads(answer["Payload"].read())
        trace = "".join(failure.get("stackTrace", []))
        raise DeploymentError(
            f"the migrations failed: {failure.get('errorType')}: {failure.get('errorMessage')}\n{trace}"
        )
    return True


def webhook_url(emulator: MiniStack) -> str:
    """The base URL of the deployed HTTP API. Raises DeploymentError if there is not exactly one."""
    apis = emulator.client("apigatewayv2").get_apis()["Items"]
    if len(apis) != 1:
        raise DeploymentError(f"the app should have deployed one HTTP API, but there are {len(apis)}")
    return f"{emulator.endpoint_url}/_aws/execute-api/{apis[0]['ApiId']}/$default"


def stack_names() -> list[str]:
    """The stacks of the synthesized assembly."""
    manifest: dict[str, Any] = json.loads((paths.ASSEMBLY / "manifest.json").read_text())
    artifacts = manifest["artifacts"].items()
    return sorted(name for name, artifact in artifacts if artifact["type"] == "aws:cloudformation:stack")


def all_domains() -> list[str]:
    """The domain packages of this checkout."""
    folders = (path.parent.name for path in paths.FUNCTIONS.glob("*/__init__.py"))
    return sorted(set(folders) - {"ingress"})


def select_stacks(stacks: Sequence[str], domains: Sequence[str] | None, known: Sequence[str]) -> list[str]:
    """The stacks of the platform and of the asked domains. Raises UnknownDomainError.

    A domain's stacks are `tradewind-<stage>-<domain>-<feature>`; every other stack is the platform's.
    """
    if domains is None:
        return list(stacks)
    unknown = sorted(set(domains) - set(known))
    if unknown:
        raise UnknownDomainError(unknown, known)
    left_out = tuple(f"tradewind-{STAGE}-{domain}-" for domain in set(known) - set(domains))
    return [stack for stack in stacks if not stack.startswith(left_out)]


def chosen_stacks(domains: Sequence[str] | None) -> list[str]:
    """The synthesized stacks of the asked domains. Raises UnknownDomainError."""
    return select_stacks(stack_names(), domains, all_domains())


def log_tail(step: str) -> str:
    """The last lines that a step of the CDK wrote."""
    return last_lines(_log(step))


def _cdk(
    step: str, options: Sequence[str], more: Mapping[str, str], *, folder: Path, hint: str = ""
) -> Program:
    scratch = paths.CLOUD / "scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    environment = clean_environment(
        **CLIENT_ENVIRONMENT,
        **more,
        PYTHONPATH=python_path(),
        TRADEWIND_STAGE=STAGE,
        TMPDIR=str(scratch),
        NODE_COMPILE_CACHE=str(paths.CACHE / "node"),
        CDK_HOME=str(paths.CACHE / "cdk"),
        CDK_DISABLE_CLI_TELEMETRY="true",
        CDK_DISABLE_VERSION_CHECK="true",
        JSII_RUNTIME_PACKAGE_CACHE_ROOT=str(paths.CACHE / "jsii"),
    )
    programs = (paths.PYTHON.parent, paths.NODE.bin, environment.get("PATH", os.defpath))
    environment["PATH"] = os.pathsep.join(str(entry) for entry in programs)
    quiet = ["--no-notices", "--no-version-reporting", "--no-color", "--ci"]
    command = [str(paths.NODE.bin / "node"), str(paths.NODE.cdk), *options, *quiet]
    return Program(f"cdk {step}", command, _log(step), environment, folder, hint=hint)


def _log(step: str) -> Path:
    return paths.LOGS / f"cdk-{step}.log"
