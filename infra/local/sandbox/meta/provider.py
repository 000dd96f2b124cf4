"""The Graph API's HTTP surface: events of a dataset.

A token is ``EAA...``; it is refused once it was ended. One event over seven days refuses its whole request. Events with
one name and id count once within 48 hours. The usage headers tell what a dataset was told to tell.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from infra.local.sandbox.faults import Fault
from infra.local.sandbox.meta.insights import Insights, InsightsError
from infra.local.sandbox.provider import Target
from infra.local.sandbox.received import Received, object_of
from infra.local.sandbox.wire import Reply, Request, json_reply, refusal

OLDEST_S, AHEAD_S, MOST = 7 * 86_400, 600, 1000
_HASHED = ("em", "ph", "fn", "ln", "ct", "st", "zp", "country", "ge", "db")
_PLAIN = ("external_id", "client_ip_address", "client_user_agent", "fbc", "fbp")
_HASH = re.compile(r"[0-9a-f]{64}|[0-9a-f]{32}")
_SOURCES = {"website", "app", "email", "phone_call", "chat", "physical_store", "system_generated", "other",
            "business_messaging"}  # fmt: skip


@dataclass(slots=True)
class Dataset:
    received: Received = field(default_factory=Received)
    usage: dict[str, Any] = field(default_factory=dict)
    """What ``X-Business-Use-Case-Usage`` says; at 100 % the dataset refuses."""
    lost: int = 0
    """So many of the next events are answered well and not counted."""


Refusal = tuple[int, int, str]
"""Code, subcode and title."""


class MetaProvider:
    """All datasets, by id. ``clock`` gives the time of day in seconds."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._datasets: dict[str, Dataset] = {}
        self._ended: set[str] = set()
        self._next_trace = 1
        self._insights = Insights()

    def target(self, request: Request, rest: tuple[str, ...]) -> Target:  # noqa: ARG002 - the port's shape
        return Target(rest[0] if rest else "", "/".join(rest[1:]))

    def answer(self, request: Request, rest: tuple[str, ...]) -> tuple[Reply, float]:
        return self._answer(request, rest), 0.0

    def _answer(  # noqa: PLR0911 - one end for each refusal
        self, request: Request, rest: tuple[str, ...]
    ) -> Reply:
        if rest[-1:] == ("insights",) or (len(rest) == 1 and rest[0].startswith("run-")):
            return self._report(request, rest)
        if len(rest) == 1 and request.method == "GET":
            return self._look(request, rest[0])
        body = object_of(request)
        if len(rest) != 2 or rest[1] != "events" or request.method != "POST" or body is None:  # noqa: PLR2004 - id, edge
            return self._refused((100, 33, "Unsupported post request."))
        token = str(body.get("access_token", ""))
        if not token.startswith("EAA") or token in self._ended:
            return self._refused((190, 463, "Error validating access token"), status=401)
        dataset = self._datasets.setdefault(rest[0], Dataset())
        headers = _usage_headers(rest[0], dataset)
        if dataset.usage.get("call_count", 0) >= 100:  # noqa: PLR2004 - percent
            return self._refused((80004, 0, "There have been too many calls to this ad-account."), headers)
        data = body.get("data")
        if not isinstance(data, list) or not 1 <= len(data) <= MOST:
            return self._refused((100, 2804002, "Invalid data"), headers)
        for event in data:
            problem = self._problem(event)
            if problem is not None:
                return self._refused(problem, headers)
        return self._take(dataset, body, data, headers)

    def _report(self, request: Request, rest: tuple[str, ...]) -> Reply:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not token.startswith("EAA") or token in self._ended:
            return self._refused((190, 463, "Error validating access token"), status=401)
        try:
            return json_reply(200, self._insights.answer(request, rest))
        except InsightsError as error:
            return self._refused((error.code, error.subcode, str(error)))

    def _look(self, request: Request, name: str) -> Reply:
        """What a token may read of a dataset."""
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not token.startswith("EAA") or token in self._ended:
            return self._refused((190, 463, "Error validating access token"), status=401)
        received = self._datasets.get(name, Dataset()).received
        fired = [each["event_time"] for each in (*received.events.values(), *received.tests)]
        known = {"id": name, "name": f"Dataset {name}"}
        if fired:
            known["last_fired_time"] = datetime.fromtimestamp(max(fired), UTC).isoformat()
        wanted = {"id", *request.query.get("fields", "id").split(",")}
        return json_reply(200, {field: value for field, value in known.items() if field in wanted})

    def _take(
        self, dataset: Dataset, body: Mapping[str, Any], data: list[Any], headers: Mapping[str, str]
    ) -> Reply:
        if dataset.lost:
            dataset.lost -= 1
            return json_reply(
                200, {"events_received": 0, "messages": [], "fbtrace_id": self._trace()}, headers
            )
        for event in data:
            if body.get("test_event_code"):
                dataset.received.tests.append({**event, "test_event_code": body["test_event_code"]})
            else:
                key = f"{event['event_name']}/{event['event_id']}" if event.get("event_id") else None
                dataset.received.keep(key, event)
        answer = {"events_received": len(data), "messages": [], "fbtrace_id": self._trace()}
        return json_reply(200, answer, headers)

    def _problem(self, event: Any) -> Refusal | None:  # noqa: C901, PLR0911 - one end for each of Meta's rules
        if not isinstance(event, dict) or not event.get("event_name"):
            return 100, 2804008, "Missing Event Name"
        age = self._clock() - event["event_time"] if isinstance(event.get("event_time"), int) else None
        if age is None or age < -AHEAD_S:
            return 100, 2804004, "Invalid Event Timestamp"
        if age > OLDEST_S:
            return 100, 2804003, "Event Timestamp Too Old"
        if event.get("action_source") not in _SOURCES:
            return 100, 2804016, "Missing or Invalid Action Source"
        user = event.get("user_data")
        if not isinstance(user, dict) or not any(user.get(name) for name in (*_HASHED, *_PLAIN)):
            return 100, 2804050, "You Haven't Added Sufficient Customer Information Parameter Data"
        for name in _HASHED:
            if any(not _HASH.fullmatch(str(each)) for each in user.get(name, [])):
                return 100, 2804051, f"{name} is not hashed"
        if event["action_source"] == "website" and not user.get("client_user_agent"):
            return 100, 2804052, "Website events need client_user_agent"
        custom = event.get("custom_data") or {}
        if event["event_name"] == "Purchase" and not isinstance(custom.get("value"), int | float):
            return 100, 2804009, "Missing Value for Purchase Event"
        if event["event_name"] == "Purchase" and not re.fullmatch(
            r"[A-Za-z]{3}", str(custom.get("currency", ""))
        ):
            return 100, 2804010, "Missing Currency for Purchase Event"
        return None

    def fail(self, fault: Fault, request: Request, rest: tuple[str, ...]) -> Reply:  # noqa: ARG002 - the port's shape
        if fault is Fault.TOO_MANY:
            usage = {"call_count": 100, "estimated_time_to_regain_access": 1 / 60}
            headers = _usage_headers(rest[0] if rest else "", Dataset(usage=usage))
            return self._refused((4, 0, "Application request limit reached"), headers)
        if fault is Fault.THROTTLED:
            usage = {"call_count": 100, "estimated_time_to_regain_access": 1 / 60}
            headers = _usage_headers(rest[0] if rest else "", Dataset(usage=usage))
            return self._refused((17, 2446079, "User request limit reached"), headers)
        return self._refused((2, 0, "Service temporarily unavailable"), status=500, transient=True)

    def control(self, request: Request, rest: tuple[str, ...]) -> Reply:
        match (request.method, *rest):
            case ("GET", "datasets", name):
                return json_reply(200, self._datasets.get(name, Dataset()).received.document())
            case ("PUT", "datasets", name):
                document = request.document()
                dataset = self._datasets.setdefault(name, Dataset())
                dataset.usage = dict(document.get("usage", dataset.usage))
                dataset.lost = int(document.get("lost", dataset.lost))
                if document.get("ended_token"):
                    self._ended.add(str(document["ended_token"]))
                return json_reply(200, {"dataset": name})
            case ("PUT", "accounts", name):
                self._insights.tell(name, request.document())
                return json_reply(200, {"account": name})
        return refusal(404, "known are GET and PUT datasets/ID and PUT accounts/ID")

    def summary(self) -> Mapping[str, Mapping[str, Any]]:
        return {name: each.received.summary for name, each in self._datasets.items()}

    def save(self) -> Any:
        return {name: each.received.save() for name, each in self._datasets.items()}

    def load(self, state: Any) -> None:
        self._datasets = {name: Dataset(Received.load(each)) for name, each in state.items()}

    def reset(self) -> None:
        self._datasets.clear()
        self._ended.clear()
        self._insights = Insights()

    def _trace(self) -> str:
        self._next_trace += 1
        return f"A{self._next_trace:021d}"

    def _refused(
        self,
        refused: Refusal,
        headers: Mapping[str, str] | None = None,
        *,
        status: int = 400,
        transient: bool = False,
    ) -> Reply:
        code, subcode, title = refused
        error = {"message": title, "type": "OAuthException", "code": code, "is_transient": transient}
        error |= {"fbtrace_id": self._trace()} | ({"error_subcode": subcode} if subcode else {})
        reply = json_reply(status, {"error": error}, headers)
        return Reply(reply.status, reply.body, reply.headers, remark=f"{code}/{subcode}")


def _usage_headers(name: str, dataset: Dataset) -> dict[str, str]:
    usage = {"type": "ads_management", "call_count": 1, "total_cputime": 1, "total_time": 1,
             "estimated_time_to_regain_access": 0} | dataset.usage  # fmt: skip
    return {"x-business-use-case-usage": json.dumps({name: [usage]})}
