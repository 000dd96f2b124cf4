"""What a person does to a running stage from the command line: run a task, find runs, pause, resume, drain, replay,
register a tenant, store secrets.

The stage is the running local cloud, or the one that ``STAGE`` names in the AWS account of the present
credentials.
Secrets come from standard input as JSON, or are asked for without echo; they never stand on a command line.
"""

from __future__ import annotations

import argparse
import getpass
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from infra.local import find_state
from tradewind.contracts import ads, exports, fairing, resend, slack

SHOPIFY_SECRETS = ("app_secret", "access_token", "refresh_token")
SECRETS = {
    "shopify": SHOPIFY_SECRETS,
    "resend": resend.CREDENTIALS,
    "slack": slack.CREDENTIALS,
    exports.PROVIDER: exports.CREDENTIALS,
    exports.WEBHOOKS_PROVIDER: (exports.WEBHOOK_SECRET,),
    "fairing": fairing.CREDENTIALS,
    **ads.CREDENTIALS,
}
_USAGE, _REFUSED = 2, 1
MIN_RATE, MAX_RATE = 0.001, 1000
"""Messages a second that a replay may be asked for; a page holds at most 1,000."""
DRAIN_POLL_S = 2.0


class OperateError(Exception):
    """What the person should know, in one sentence with the remedy."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage that answers: its clients by service and, where it is known, the address of its webhooks."""

    name: str
    client: Callable[[str], Any]
    account: str
    webhook_url: str | None

    def invoke(self, function: str, event: Mapping[str, Any]) -> Any:
        """Invoke a function and return its result. Raises OperateError with the function's own message."""
        try:
            answer = self.client("lambda").invoke(
                FunctionName=f"tradewind-{self.name}-{function}", Payload=json.dumps(event)
            )
        except (BotoCoreError, ClientError) as error:
            raise OperateError(f"{function} cannot be invoked in stage {self.name}: {error}") from error
        result = json.loads(answer["Payload"].read() or b"null")
        if answer.get("FunctionError"):
            raise OperateError(f"{result.get('errorType')}: {result.get('errorMessage')}")
        return result

    def execute(self, machine: str, document: Mapping[str, Any], execution: str | None = None) -> Any:
        """Start a Standard state machine, wait for its end and return its output. Raises OperateError."""
        named = {} if execution is None else {"name": execution}
        region = self.client("stepfunctions").meta.region_name
        name = f"tradewind-{self.name}-{machine}"
        arn = f"arn:aws:states:{region}:{self.account}:stateMachine:{name}"
        try:
            started = self.client("stepfunctions").start_execution(
                stateMachineArn=arn, input=json.dumps(document), **named
            )
            sys.stderr.write(f"started {started['executionArn']}\n")
            while True:
                ended = self.client("stepfunctions").describe_execution(executionArn=started["executionArn"])
                if ended["status"] != "RUNNING":
                    break
                time.sleep(DRAIN_POLL_S)
        except (BotoCoreError, ClientError) as error:
            raise OperateError(f"{name} cannot be started: {error}") from error
        if ended["status"] != "SUCCEEDED":
            raise OperateError(f"{name} {ended['status']}: {ended.get('error')}: {ended.get('cause')}")
        return json.loads(ended["output"])


def find_stage() -> Stage:
    """The stage that ``STAGE`` names, else the running local cloud. Raises OperateError."""
    config = Config(read_timeout=900, retries={"max_attempts": 0})
    wanted = os.environ.get("STAGE") or "local"
    if wanted != "local":
        clients = cache(lambda service: boto3.client(service, config=config))
        try:
            account = clients("sts").get_caller_identity()["Account"]
        except (BotoCoreError, ClientError) as error:
            raise OperateError(f"no AWS credentials for stage {wanted}: {error}") from error
        return Stage(wanted, clients, account, os.environ.get("WEBHOOK_URL"))
    state = find_state()
    if state is None:
        raise OperateError(
            "no local cloud is running; start one with `make up`, or name a deployed one: STAGE=dev"
        )

    @cache
    def client(service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=state.aws_endpoint_url,
            region_name=state.region,
            aws_access_key_id="test",
            aws_secret_access_key="test",  # noqa: S106 - the local cloud knows no secrets
            config=config,
        )

    return Stage("local", client, state.account, state.webhook_url)


def read_secrets(names: Sequence[str]) -> dict[str, str]:
    """A JSON object of secrets from standard input; on a terminal each of ``names`` is asked for without
    echo.
    """
    if sys.stdin.isatty():
        asked = {name: getpass.getpass(f"{name}: ") for name in names}
        return {name: secret for name, secret in asked.items() if secret}
    text = sys.stdin.read()
    try:
        secrets = json.loads(text)
    except ValueError as error:
        raise OperateError(
            f"standard input is not JSON ({error}); send an object of {', '.join(names)}"
        ) from None
    if not isinstance(secrets, dict) or not all(isinstance(secret, str) for secret in secrets.values()):
        raise OperateError(f"standard input must be a JSON object of texts: {', '.join(names)}")
    return secrets


def run_task(arguments: argparse.Namespace) -> Any:
    """Run one task for one tenant, directly. An event file holds the payload, or an object with
    ``payload``.
    """
    path = Path(arguments.event)
    try:
        event = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise OperateError(f"EVENT={path}: {error.strerror}; the samples lie in events/") from error
    except ValueError as error:
        raise OperateError(f"EVENT={path} is not JSON: {error}") from error
    if not isinstance(event, dict):
        raise OperateError(f"EVENT={path} must hold a JSON object")
    request = event if "payload" in event else {"payload": event}
    tenant = arguments.tenant or request.get("tenant")
    return find_stage().invoke(arguments.task, {**request, "tenant": tenant, "force": arguments.force})


def register_tenant(arguments: argparse.Namespace) -> Any:
    stage = find_stage()
    request = {
        "action": "register-tenant",
        "slug": arguments.slug,
        "shop": arguments.shop,
        "app": arguments.app,
        "webhook_url": stage.webhook_url,
        "credentials": read_secrets(SHOPIFY_SECRETS),
    }
    return stage.invoke("ingress-admin", request)


def store_credentials(arguments: argparse.Namespace) -> Any:
    request = {
        "action": "store-credentials",
        "tenant": arguments.tenant,
        "provider": arguments.provider,
        "app": arguments.app or "default",
        "credentials": read_secrets(SECRETS.get(arguments.provider, ("api_key",))),
    }
    return find_stage().invoke("ingress-admin", request)


def api_key(arguments: argparse.Namespace) -> Any:
    """Make an API key of a tenant, renew one, end one, or list them. A token is shown this once."""
    request: dict[str, Any] = {"tenant": arguments.tenant}
    if arguments.rotate:
        request |= {"action": "rotate-api-key", "key_id": arguments.rotate}
        request |= {"overlap_hours": int(arguments.overlap_hours)} if arguments.overlap_hours else {}
    elif arguments.revoke:
        request |= {"action": "revoke-api-key", "key_id": arguments.revoke}
    elif arguments.name:
        scopes = [scope.strip() for scope in arguments.scopes.split(",") if scope.strip()]
        request |= {"action": "create-api-key", "name": arguments.name, "scopes": scopes}
        request |= {"expires_in_days": int(arguments.expires_in_days)} if arguments.expires_in_days else {}
    else:
        request["action"] = "list-api-keys"
    return find_stage().invoke("ingress-admin", request)


def replay_dead_letters(arguments: argparse.Namespace) -> Any:
    """Replay dead letters; at a rate through the state machine, which goes on when this command is stopped."""
    request = _given(arguments, "tenant", "task", "error_class", "since", "until")
    request |= {"dry_run": arguments.dry_run, "actor": getpass.getuser()}
    stage = find_stage()
    if arguments.rate is None or arguments.dry_run:
        asked = {**request, "action": "replay-dead-letters", "limit": arguments.limit}
        return stage.invoke("ingress-admin", asked)
    return stage.execute("replay-dead-letters", {**request, **pages_at(arguments.rate)})


def pages_at(rate: float) -> dict[str, int]:
    """Pages and the wait between them that make ``rate`` messages a second. Raises OperateError."""
    if not MIN_RATE <= rate <= MAX_RATE:
        raise OperateError(f"RATE={rate:g} must lie between {MIN_RATE} and {MAX_RATE} messages a second")
    wait = 1 if rate >= 1 else round(1 / rate)
    return {"limit": max(1, round(rate * wait)), "wait_s": wait}


def find_runs(arguments: argparse.Namespace) -> Any:
    """Find runs with their errors: by tenant, task, state, entity (an order's id), correlation id, error, time."""
    filters = ("tenant", "task", "state", "entity", "correlation_id", "error_class", "since", "until")
    request = {"action": "find-runs", "limit": arguments.limit, **_given(arguments, *filters)}
    return find_stage().invoke("ingress-admin", request)


def pause(arguments: argparse.Namespace) -> Any:
    """Pause a tenant, a task (of one tenant or all) or a schedule."""
    request = _given(arguments, "tenant", "task", "schedule", "reason")
    return find_stage().invoke("ingress-admin", {"action": "pause", "actor": getpass.getuser(), **request})


def resume(arguments: argparse.Namespace) -> Any:
    """Resume what was paused, and release what was held meanwhile."""
    request = _given(arguments, "tenant", "task", "schedule")
    return find_stage().invoke("ingress-admin", {"action": "resume", "actor": getpass.getuser(), **request})


def list_pauses(_: argparse.Namespace) -> Any:
    """List what is paused, by whom and why."""
    return find_stage().invoke("ingress-admin", {"action": "list-pauses"})


def drain(arguments: argparse.Namespace) -> Any:
    """Show what waits and is at work until nothing is left; of what is paused, until nothing is at work."""
    stage, request = find_stage(), {"action": "queue-state", **_given(arguments, "tenant", "task")}
    deadline = time.monotonic() + arguments.seconds
    while not (state := stage.invoke("ingress-admin", request))["drained"]:
        sys.stderr.write(f"in flight {state['in_flight']}, held {state['held']}\n")
        if time.monotonic() > deadline:
            raise OperateError(
                f"not empty after {arguments.seconds} s: {json.dumps(state['queues'][:5])}; pause it first to cut over"
            )
        time.sleep(DRAIN_POLL_S)
    return state


def remove_tenant(arguments: argparse.Namespace) -> Any:
    """Remove a tenant with everything that it has; CONFIRM repeats the slug."""
    request = _given(arguments, "tenant", "confirm", "reason")
    return find_stage().invoke(
        "ingress-admin", {"action": "remove-tenant", "actor": getpass.getuser(), **request}
    )


def list_privacy_requests(arguments: argparse.Namespace) -> Any:
    """List customers' and shops' privacy requests, and where their exports lie."""
    request = _given(arguments, "tenant", "state")
    return find_stage().invoke("ingress-admin", {"action": "privacy-requests", **request})


def _given(arguments: argparse.Namespace, *names: str) -> dict[str, Any]:
    return {name: value for name in names if (value := getattr(arguments, name))}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="operate", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    def command(
        name: str, act: Callable[[argparse.Namespace], Any], /, *required: str, **optional: str
    ) -> Any:
        made = commands.add_parser(name, help=(act.__doc__ or name).splitlines()[0])
        made.set_defaults(act=act, required=required)
        for option in required:
            made.add_argument(f"--{option}", required=True)
        for option, default in optional.items():
            made.add_argument(f"--{option.replace('_', '-')}", default=default)
        return made

    run = command("run", run_task, "task", "event", tenant="")
    run.add_argument("--force", action="store_true", help="run again what has succeeded before")
    command("tenant", register_tenant, "slug", "shop", app="default")
    command("credentials", store_credentials, "tenant", "provider", app="")
    command(
        "api-key", api_key, "tenant",
        name="", scopes="", rotate="", revoke="", overlap_hours="", expires_in_days="",
    )  # fmt: skip
    replay = command("replay", replay_dead_letters, tenant="", task="", error_class="", since="", until="")
    replay.add_argument("--dry-run", action="store_true", help="only count")
    replay.add_argument("--limit", type=int, default=100)
    replay.add_argument("--rate", type=float, help="messages a second; all of them, page by page")
    runs = command(
        "runs",
        find_runs,
        **dict.fromkeys(
            ("tenant", "task", "state", "entity", "correlation_id", "error_class", "since", "until"), ""
        ),
    )
    runs.add_argument("--limit", type=int, default=20)
    command("pause", pause, "reason", tenant="", task="", schedule="")
    command("resume", resume, tenant="", task="", schedule="")
    command("pauses", list_pauses)
    command("remove-tenant", remove_tenant, "tenant", "confirm", "reason")
    command("privacy", list_privacy_requests, tenant="", state="")
    command("drain", drain, tenant="", task="").add_argument("--seconds", type=int, default=600)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Act, print the result as JSON; on a refusal one line on standard error and a non-zero status."""
    arguments = _parser().parse_args(argv)
    empty = [name for name in arguments.required if getattr(arguments, name) == ""]
    if empty:
        sys.stderr.write(f"{', '.join(name.upper() for name in empty)} must be set; see `make help`\n")
        return _USAGE
    try:
        result = arguments.act(arguments)
    except OperateError as error:
        sys.stderr.write(f"{error}\n")
        return _REFUSED
    sys.stdout.write(json.dumps(result, indent=1, default=str) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
