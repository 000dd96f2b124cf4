"""Fairing's HTTP surface: an account's responses and questions, in small pages, behind its secret key.

An account may have a limit of calls a second; then a call too many is answered 429 with Retry-After. A key is
``fk_...``; it is refused once it was ended.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from infra.local.sandbox.faults import Fault
from infra.local.sandbox.provider import Target
from infra.local.sandbox.wire import Reply, Request, json_reply, refusal

_EARLIEST, _LATEST = "2000-01-01", "2999-01-01"
PAGE = 2
"""Answers on a page: few, so that every pull has several."""


@dataclass(slots=True)
class Account:
    responses: list[dict[str, Any]] = field(default_factory=list)
    questions: list[dict[str, Any]] = field(default_factory=list)
    spacing_s: float = 0.0
    """Calls must lie so far apart."""
    called_at: float = -1e9


class FairingProvider:
    """All accounts, by key. ``clock`` gives seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._accounts: dict[str, Account] = {}
        self._ended: set[str] = set()

    def target(self, request: Request, rest: tuple[str, ...]) -> Target:
        return Target(request.headers.get("authorization", ""), "/".join(rest))

    def answer(self, request: Request, rest: tuple[str, ...]) -> tuple[Reply, float]:
        return self._answer(request, rest), 0.0

    def _answer(self, request: Request, rest: tuple[str, ...]) -> Reply:
        if request.method != "GET" or rest not in {("responses",), ("questions",)}:
            return json_reply(404, {"error": "not found"})
        key = request.headers.get("authorization", "")
        if not key.startswith("fk_") or key in self._ended:
            return json_reply(401, {"error": "unauthorized"})
        account, now = self._accounts.setdefault(key, Account()), self._clock()
        if now - account.called_at < account.spacing_s:
            return json_reply(429, {"error": "too many requests"}, {"retry-after": "1"})
        account.called_at = now
        if rest == ("questions",):
            return json_reply(200, {"data": account.questions})
        try:
            return json_reply(200, self._page(account, request))
        except ValueError as error:
            return json_reply(400, {"error": str(error)})

    def _page(self, account: Account, request: Request) -> dict[str, Any]:
        """Answers from ``since`` on and before ``until``, oldest first, behind the one that ``after`` names."""
        query = request.query
        unknown = set(query) - {"since", "until", "limit", "after"}
        if unknown:
            raise ValueError(f"unknown parameter {min(unknown)}")
        since, until = _instant(query.get("since", _EARLIEST)), _instant(query.get("until", _LATEST))
        found = sorted(account.responses, key=lambda each: (each["inserted_at"], each["id"]))
        found = [each for each in found if since <= _instant(str(each["inserted_at"])) < until]
        ids = [each["id"] for each in found]
        begin = ids.index(query["after"]) + 1 if query.get("after") in ids else 0
        size = min(int(query.get("limit", 50)), PAGE)
        shown = found[begin : begin + size]
        host = request.headers.get("host", "app.fairing.co")
        more = begin + size < len(found)
        asked = {name: value for name, value in query.items() if name != "after"}
        path = f"http://{host}/fairing/responses?"
        return {
            "data": shown,
            "next": path + urlencode({**asked, "after": shown[-1]["id"]}) if more else None,
            "prev": None,
        }

    def fail(self, fault: Fault, request: Request, rest: tuple[str, ...]) -> Reply:  # noqa: ARG002 - the port's shape
        if fault in {Fault.TOO_MANY, Fault.THROTTLED}:
            return json_reply(429, {"error": "too many requests"}, {"retry-after": "2"})
        return json_reply(500, {"error": "internal server error"})

    def control(self, request: Request, rest: tuple[str, ...]) -> Reply:
        match (request.method, *rest):
            case ("GET", "accounts", key):
                account = self._accounts.get(key, Account())
                return json_reply(200, {"responses": account.responses, "questions": account.questions})
            case ("PUT", "accounts", key):
                document = request.document()
                account = self._accounts.setdefault(key, Account())
                account.responses = list(document.get("responses", account.responses))
                account.questions = list(document.get("questions", account.questions))
                account.spacing_s = float(document.get("spacing_s", account.spacing_s))
                if document.get("ended"):
                    self._ended.add(key)
                return json_reply(200, {"account": key, "responses": len(account.responses)})
        return refusal(404, "known are GET and PUT accounts/KEY")

    def summary(self) -> Mapping[str, Mapping[str, Any]]:
        return {key: {"responses": len(each.responses)} for key, each in self._accounts.items()}

    def save(self) -> Any:
        return {
            key: {"responses": each.responses, "questions": each.questions}
            for key, each in self._accounts.items()
        }

    def load(self, state: Any) -> None:
        self._accounts = {key: Account(each["responses"], each["questions"]) for key, each in state.items()}

    def reset(self) -> None:
        self._accounts.clear()
        self._ended.clear()


def _instant(text: str) -> datetime:
    """Raises ValueError for what is no instant."""
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
