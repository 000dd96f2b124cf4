"""What the API answers: JSON, and one shape (RFC 9457) for everything that is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from tradewind.errors import TerminalError

PROBLEM = "application/problem+json"
RETRY_AFTER_S = 5


class RefusedError(TerminalError):
    """A request that is not done. ``field`` is where the fault lies: a header's name or the body's path."""

    def __init__(self, status: HTTPStatus, problem: str, field: str | None = None, remedy: str = "") -> None:
        super().__init__(f"{status} {field or ''}: {problem}")
        self.status = status
        self.problem = problem
        self.field = field
        self.remedy = remedy


def answer(status: HTTPStatus, content: Mapping[str, Any], **headers: str) -> dict[str, Any]:
    """An HTTP API answer (payload format 2.0)."""
    return _respond(status, json.dumps(content), "application/json", headers)


def answer_text(text: str) -> dict[str, Any]:
    """JSON that is text already."""
    return _respond(HTTPStatus.OK, text, "application/json", {"cache-control": "max-age=300"})


def refusal(error: RefusedError) -> dict[str, Any]:
    content = {
        "status": int(error.status),
        "title": error.status.phrase,
        "detail": error.problem,
        "field": error.field,
        "remedy": error.remedy or None,
    }
    headers = {}
    if error.status is HTTPStatus.UNAUTHORIZED:
        headers["www-authenticate"] = "Bearer"
    if error.status is HTTPStatus.SERVICE_UNAVAILABLE:
        headers["retry-after"] = str(RETRY_AFTER_S)
    told = {name: value for name, value in content.items() if value is not None}
    return _respond(error.status, json.dumps(told), PROBLEM, headers)


def _respond(status: HTTPStatus, body: str, kind: str, headers: Mapping[str, str]) -> dict[str, Any]:
    return {"statusCode": int(status), "headers": {"content-type": kind, **headers}, "body": body}
