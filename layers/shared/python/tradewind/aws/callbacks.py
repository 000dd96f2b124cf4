"""Answering a state machine that waits on a task token, from outside of Lambda."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tradewind.aws.client import AwsClient, AwsRefusedError

_CAUSE_LIMIT = 32_768
_GONE = frozenset({"TaskTimedOut", "TaskDoesNotExist", "InvalidToken"})


class TokenGoneError(Exception):
    """Nobody waits for the answer any more: the state has timed out, or its execution was stopped."""


class TaskToken:
    """One waiting state. Methods raise TokenGoneError, and AwsUnavailableError where AWS does not answer."""

    def __init__(self, client: AwsClient, token: str) -> None:
        self._client = client
        self._token = token

    def succeed(self, output: Mapping[str, Any]) -> None:
        """End the state with this output."""
        self._call("SendTaskSuccess", output=json.dumps(output))

    def fail(self, error: str, cause: str) -> None:
        """Fail the state; ``error`` is what its retriers match."""
        self._call("SendTaskFailure", error=error, cause=cause[:_CAUSE_LIMIT])

    def beat(self) -> None:
        """Say that work goes on."""
        self._call("SendTaskHeartbeat")

    def _call(self, operation: str, **about: str) -> None:
        try:
            self._client.json_call(
                "states", f"AWSStepFunctions.{operation}", {"taskToken": self._token, **about}
            )
        except AwsRefusedError as error:
            if error.code in _GONE:
                raise TokenGoneError(f"{operation}: {error}") from error
            raise
