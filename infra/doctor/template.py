"""What should be deployed, synthesized now, against what is: by name, and by ``cdk diff``."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from infra.doctor.finding import Finding, failed, fine, warned
from infra.doctor.place import Place
from infra.local.console import python_path
from infra.local.paths import CACHE, CHECKOUT, NODE

NAMES = {
    "AWS::Lambda::Function": "FunctionName",
    "AWS::SQS::Queue": "QueueName",
    "AWS::StepFunctions::StateMachine": "StateMachineName",
    "AWS::Scheduler::Schedule": "Name",
}
DEPLOY = "deploy again: `cdk deploy --all`; locally `make down` and `make up`"
_STACK = re.compile(r"^Stack (\S+)", re.MULTILINE)
_SECONDS = 300


class SynthError(Exception):
    """The app cannot be synthesized; the message is its last line."""


def synthesize(place: Place, folder: Path) -> None:
    """Synthesize the stage into ``folder``. Raises SynthError."""
    environment = {
        **_environment(place),
        "CDK_OUTDIR": str(folder),
        "CDK_CONTEXT_JSON": json.dumps({"stage": place.settings.stage}),
    }
    done = subprocess.run(
        [sys.executable, "-m", "infra.app"],
        cwd=CHECKOUT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        told = (done.stderr or done.stdout).strip().splitlines()
        raise SynthError(told[-1] if told else "infra.app failed")


def look_at_resources(place: Place, folder: Path) -> Iterator[Finding]:
    """Every function, queue, machine and schedule of the templates exists under its name."""
    listings = {
        "AWS::Lambda::Function": _functions,
        "AWS::SQS::Queue": _queues,
        "AWS::StepFunctions::StateMachine": _machines,
        "AWS::Scheduler::Schedule": _schedules,
    }
    for kind, wanted in wanted_names(folder).items():
        what = kind.rsplit("::", 1)[-1].lower() + "s"
        try:
            missing = sorted(wanted - listings[kind](place))
        except (BotoCoreError, ClientError) as error:
            yield failed(what, f"cannot be listed: {error}", "allow the caller to list them")
            continue
        if missing:
            shown = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if missing[5:] else "")
            yield failed(what, f"{len(missing)} of {len(wanted)} are missing: {shown}", DEPLOY)
        else:
            yield fine(what, f"all {len(wanted)} exist")


def wanted_names(folder: Path) -> dict[str, set[str]]:
    """Names by kind of resource, as far as they are plain text."""
    found: dict[str, set[str]] = {kind: set() for kind in NAMES}
    for path in sorted(folder.glob("*.template.json")):
        resources: Mapping[str, Any] = json.loads(path.read_text()).get("Resources", {})
        for resource in resources.values():
            name = resource.get("Properties", {}).get(NAMES.get(resource["Type"], ""))
            if isinstance(name, str):
                found[resource["Type"]].add(name)
    return found


def look_at_difference(place: Place, folder: Path) -> Finding:
    """``cdk diff`` by template: a change set would be something made."""
    options = ["diff", "--all", "--app", str(folder), "--method", "template", "--fail"]
    options += ["--no-notices", "--no-version-reporting", "--no-color", "--ci"]
    done = subprocess.run(
        [str(NODE.bin / "node"), str(NODE.cdk), *options],
        cwd=folder,
        env=_environment(place),
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    if done.returncode == 0:
        return fine("cdk diff", "nothing differs")
    text = done.stdout + done.stderr
    changed = differing(text)
    if changed:
        return warned("cdk diff", f"differs: {', '.join(changed)}", DEPLOY)
    told = [line for line in text.splitlines() if line.strip()]
    return failed("cdk diff", told[-1] if told else "failed", "run `cdk diff` by hand")


def differing(text: str) -> list[str]:
    """The stacks of a ``cdk diff`` whose part says more than that there is no difference."""
    pieces = _STACK.split(text)
    named = zip(pieces[1::2], pieces[2::2], strict=True)
    return [name for name, part in named if "There were no differences" not in part]


def _functions(place: Place) -> set[str]:
    pages = place.client("lambda").get_paginator("list_functions").paginate()
    return {each["FunctionName"] for page in pages for each in page["Functions"]}


def _queues(place: Place) -> set[str]:
    pages = (
        place.client("sqs").get_paginator("list_queues").paginate(QueueNamePrefix=place.settings.names.of(""))
    )
    return {url.rsplit("/", 1)[-1] for page in pages for url in page.get("QueueUrls", [])}


def _machines(place: Place) -> set[str]:
    pages = place.client("stepfunctions").get_paginator("list_state_machines").paginate()
    return {each["name"] for page in pages for each in page["stateMachines"]}


def _schedules(place: Place) -> set[str]:
    group = place.settings.names.schedule_group
    pages = place.client("scheduler").get_paginator("list_schedules").paginate(GroupName=group)
    return {each["Name"] for page in pages for each in page["Schedules"]}


def _environment(place: Place) -> dict[str, str]:
    path = os.pathsep.join((str(NODE.bin), os.environ.get("PATH", os.defpath)))
    return {
        **os.environ,
        **place.environment,
        "PATH": path,
        "PYTHONPATH": python_path(),
        "CDK_HOME": str(CACHE / "cdk"),
        "CDK_DISABLE_CLI_TELEMETRY": "true",
        "CDK_DISABLE_VERSION_CHECK": "true",
        "JSII_RUNTIME_PACKAGE_CACHE_ROOT": str(CACHE / "jsii"),
    }
