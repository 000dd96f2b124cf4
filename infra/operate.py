"""What a person does to a running stage from the command line: run a task, register a tenant, store secrets,
replay.

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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from infra.local import find_state

SHOPIFY_SECRETS = ("app_secret", "access_token", "refresh_token")
_USAGE, _REFUSED = 2, 1


class OperateError(Exception):
    """What the person should know, in one sentence with the remedy."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage that answers: its Lambda client and, where it is known, the address of its webhooks."""

    name: str
    functions: Any
    webhook_url: str | None

    def invoke(self, function: str, event: Mapping[str, Any]) -> Any:
        """Invoke a function and return its result. Raises OperateError with the function's own message."""
        try:
            answer = self.functions.invoke(
                FunctionName=f"tradewind-{self.name}-{function}", Payload=json.dumps(event)
            )
        except (BotoCoreError, ClientError) as error:
            raise OperateError(f"{function} cannot be invoked in stage {self.name}: {error}") from error
        result = json.loads(answer["Payload"].read() or b"null")
        if answer.get("FunctionError"):
            raise OperateError(f"{result.get('errorType')}: {result.get('errorMessage')}")
        return result


def find_stage() -> Stage:
    """The stage that ``STAGE`` names, else the running local cloud. Raises OperateError."""
    config = Config(read_timeout=900, retries={"max_attempts": 0})
    wanted = os.environ.get("STAGE", "local")
    if wanted != "local":
        return Stage(wanted, boto3.client("lambda", config=config), os.environ.get("WEBHOOK_URL"))
    state = find_state()
    if state is None:
        raise OperateError(
            "no local cloud is running; start one with `make up`, or name a deployed one: STAGE=dev"
        )
    client = boto3.client(
        "lambda",
        endpoint_url=state.aws_endpoint_url,
        region_name=state.region,
        aws_access_key_id="test",
        aws_secret_access_key="test",  # noqa: S106 - the local cloud knows no secrets
        config=config,
    )
    return Stage("local", client, state.webhook_url)


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
        "credentials": read_secrets(SHOPIFY_SECRETS if arguments.provider == "shopify" else ("api_key",)),
    }
    return find_stage().invoke("ingress-admin", request)


def replay_dead_letters(arguments: argparse.Namespace) -> Any:
    filters = {name: getattr(arguments, name) for name in ("tenant", "task", "error_class", "since", "until")}
    request = {name: value for name, value in filters.items() if value}
    request |= {"action": "replay-dead-letters", "dry_run": arguments.dry_run, "limit": arguments.limit}
    return find_stage().invoke("ingress-admin", {**request, "actor": getpass.getuser()})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="operate", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name: str, act: Callable[[argparse.Namespace], Any], *required: str, **optional: str) -> Any:
        made = commands.add_parser(name, help=(act.__doc__ or name).splitlines()[0])
        made.set_defaults(act=act)
        for option in required:
            made.add_argument(f"--{option}", required=True)
        for option, default in optional.items():
            made.add_argument(f"--{option.replace('_', '-')}", default=default)
        return made

    run = command("run", run_task, "task", "event", tenant="")
    run.add_argument("--force", action="store_true", help="run again what has succeeded before")
    command("tenant", register_tenant, "slug", "shop", app="default")
    command("credentials", store_credentials, "tenant", "provider")
    replay = command("replay", replay_dead_letters, tenant="", task="", error_class="", since="", until="")
    replay.add_argument("--dry-run", action="store_true", help="only count")
    replay.add_argument("--limit", type=int, default=100)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Act, print the result as JSON; on a refusal one line on standard error and a non-zero status."""
    arguments = _parser().parse_args(argv)
    empty = [
        name for name in ("slug", "shop", "task", "event", "provider") if getattr(arguments, name, None) == ""
    ]
    if empty and arguments.command != "replay":
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
