"""Starting an Express state machine and waiting for its end."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from tradewind.aws.client import AwsClient, AwsRefusedError
from tradewind.crash import Point, reached
from tradewind.errors import (
    ErrorKind,
    LeaseHeldError,
    RateLimitedError,
    RetryableError,
    TerminalError,
    TradewindError,
)
from tradewind.settings import Settings

_LEASE_LEFT = timedelta(seconds=5)
"""A step whose worker died is taken over when its lease ends; the machine's own retries may end before."""
_NO_WAIT_S = 1e9
"""A number beyond is no wait (nor is infinity, or what is no number at all)."""


class WorkflowFailedError(RetryableError):
    """The machine failed or ran out of time; its message goes back to the queue and finished steps are not repeated."""


class WorkflowRefusedError(TerminalError):
    """A step of the machine failed for good."""


class StepFunctions:
    """``StartSyncExecution`` with its status mapped to the error tree: it answers 200 for FAILED and TIMED_OUT too.

    The client must not retry by itself, and its read time-out must lie above the machine's own.
    """

    def __init__(self, client: AwsClient, settings: Settings) -> None:
        self._client = client
        self._settings = settings

    def run(self, workflow: str, name: str, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        """Run ``workflow`` to its end. ``name`` is for the console; it must not repeat within a run."""
        answer = self._client.json_call(
            "states",
            "AWSStepFunctions.StartSyncExecution",
            {
                "stateMachineArn": self._settings.arn(
                    "states", f"stateMachine:{self._settings.name(workflow)}"
                ),
                "name": name,
                "input": json.dumps(payload),
            },
            host=f"sync-states.{self._settings.region}.amazonaws.com",
        )
        reached(Point.WORKFLOW_ENDED)
        if answer.get("status") == "SUCCEEDED":
            output: Mapping[str, Any] = json.loads(answer.get("output") or "{}")
            return output
        raise failure_of(workflow, str(answer.get("status")), answer.get("error"), answer.get("cause"))


class LongExecutions:
    """Executions of Standard machines, which nobody waits for."""

    def __init__(self, client: AwsClient, settings: Settings) -> None:
        self._client = client
        self._settings = settings

    def start(self, machine: str, name: str, payload: Mapping[str, Any]) -> None:
        """Start an execution. One of this name runs, or ran in the last 90 days, where the call is made again."""
        body = {"stateMachineArn": self._arn(machine), "name": name, "input": json.dumps(payload)}
        try:
            self._client.json_call("states", "AWSStepFunctions.StartExecution", body)
        except AwsRefusedError as error:
            if error.code != "ExecutionAlreadyExists":
                raise

    def count_running(self, machine: str, most: int) -> int:
        """How many executions run, counted up to ``most`` (100 at most)."""
        body = {"stateMachineArn": self._arn(machine), "statusFilter": "RUNNING", "maxResults": most}
        answer = self._client.json_call("states", "AWSStepFunctions.ListExecutions", body)
        return len(answer.get("executions", []))

    def _arn(self, machine: str) -> str:
        return self._settings.arn("states", f"stateMachine:{self._settings.name(machine)}")


def failure_of(workflow: str, status: str, error: str | None, cause: str | None) -> TradewindError:
    """Map a machine's end to the error tree: a provider's wait travels in the cause of a rate limit."""
    text = _message(cause)
    if error == ErrorKind.RATE_LIMITED:
        return RateLimitedError(f"{workflow} step", read_wait(text))
    if error == LeaseHeldError.__name__:
        return LeaseHeldError(workflow, "one of its steps", _LEASE_LEFT)
    if error == ErrorKind.TERMINAL:
        return WorkflowRefusedError(f"{workflow}: {text}")
    return WorkflowFailedError(f"{workflow} {status}: {error}: {text}")


def _message(cause: str | None) -> str:
    """A Lambda's failure arrives as JSON with errorMessage; anything else is text."""
    try:
        parsed = json.loads(cause or "")
    except ValueError:
        return cause or ""
    return str(parsed.get("errorMessage", cause)) if isinstance(parsed, dict) else str(cause)


def read_wait(message: str) -> timedelta:
    """The wait in the message of a rate limit (``... wait 2.500 s``); one second where there is none."""
    _, found, rest = message.rpartition("wait ")
    number = rest.split(" ", 1)[0]
    try:
        seconds = float(number) if found else 1.0
    except ValueError:
        seconds = 1.0
    return timedelta(seconds=max(0.0, seconds) if abs(seconds) < _NO_WAIT_S else 1.0)
