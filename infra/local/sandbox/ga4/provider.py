"""GA4's HTTP surface: mp/collect, which answers 204 to anything, and debug/mp/collect, which says what is wrong.

What Google drops without a word is kept under ``dropped``. A property counts a purchase once for each transaction id
and everything else as often as it comes.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from infra.local.sandbox.faults import Fault
from infra.local.sandbox.provider import Target
from infra.local.sandbox.received import Received, object_of
from infra.local.sandbox.wire import Reply, Request, json_reply, refusal

OLDEST_S = 72 * 3600
LARGEST, MOST_EVENTS, MOST_PARAMS, MOST_ITEMS, LONGEST_NAME, LONGEST_VALUE = 130_000, 25, 25, 200, 40, 100
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_HASH = re.compile(r"[0-9a-f]{64}")

Problem = tuple[str, str]


class Ga4Provider:
    """All streams, by measurement id. ``clock`` gives the time of day in seconds."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._streams: dict[str, Received] = {}
        self._secrets: dict[str, str] = {}

    def target(self, request: Request, rest: tuple[str, ...]) -> Target:
        return Target(request.query.get("measurement_id", ""), "/".join(rest))

    def answer(self, request: Request, rest: tuple[str, ...]) -> tuple[Reply, float]:
        debug = rest == ("debug", "mp", "collect")
        if request.method != "POST" or not (debug or rest == ("mp", "collect")):
            return Reply(404), 0.0
        body = object_of(request)
        problems = [*self._problems(body, len(request.body))]
        if debug:
            messages = [{"validationCode": code, "description": about} for code, about in problems]
            return json_reply(200, {"validationMessages": messages}), 0.0
        stream = self._streams.setdefault(request.query.get("measurement_id", ""), Received())
        why = self._silence(request, body, problems)
        if why is not None:
            stream.drop(why, body)
            return Reply(204, remark=why), 0.0
        for event in (body or {})["events"]:
            self._keep(stream, body or {}, event)
        return Reply(204), 0.0

    def _silence(self, request: Request, body: Any, problems: list[Problem]) -> str | None:
        """Why nothing of a request is counted."""
        known = self._secrets.get(request.query.get("measurement_id", ""))
        secret = request.query.get("api_secret", "")
        if not secret or (known is not None and known != secret):
            return "secret"
        if problems:
            return problems[0][0]
        told = body.get("timestamp_micros")
        if told is not None and self._clock() - int(told) / 1e6 > OLDEST_S:
            return "too old"
        return None

    def _keep(self, stream: Received, body: Mapping[str, Any], event: Mapping[str, Any]) -> None:
        about = {
            name: body.get(name)
            for name in ("client_id", "user_id", "consent", "user_data", "timestamp_micros")
        }
        transaction = event.get("params", {}).get("transaction_id")
        key = f"purchase/{transaction}" if event["name"] == "purchase" and transaction else None
        stream.keep(key, {**event, **about})

    def _problems(  # noqa: C901 - one line for each of Google's rules
        self, body: Any, size: int
    ) -> Iterator[Problem]:
        if body is None:
            yield "INVALID_JSON", "the body is no JSON object"
            return
        if size > LARGEST:
            yield "EXCEEDED_MAX_ENTITIES", f"the body is over {LARGEST} bytes"
        if not isinstance(body.get("client_id"), str) or not body["client_id"]:
            yield "VALUE_REQUIRED", "Measurement requires a client_id."
        if body.get("user_data") and not body.get("user_id"):
            yield "VALUE_REQUIRED", "user_data requires a user_id."
        for value in ("sha256_email_address", "sha256_phone_number"):
            if any(not _HASH.fullmatch(str(each)) for each in (body.get("user_data") or {}).get(value, [])):
                yield "VALUE_INVALID", f"{value} must be SHA-256 in hexadecimal"
        for value in (body.get("consent") or {}).values():
            if value not in {"GRANTED", "DENIED"}:
                yield "VALUE_INVALID", "consent is GRANTED or DENIED"
        events = body.get("events")
        if not isinstance(events, list) or not 1 <= len(events) <= MOST_EVENTS:
            yield "VALUE_REQUIRED", f"1 to {MOST_EVENTS} events are required"
            return
        for at, event in enumerate(events):
            yield from _event_problems(at, event)

    def fail(self, fault: Fault, request: Request, rest: tuple[str, ...]) -> Reply:  # noqa: ARG002 - the port's shape
        return Reply(429 if fault in {Fault.TOO_MANY, Fault.THROTTLED} else 503)

    def control(self, request: Request, rest: tuple[str, ...]) -> Reply:
        match (request.method, *rest):
            case ("GET", "streams", name):
                return json_reply(200, self._streams.get(name, Received()).document())
            case ("PUT", "streams", name):
                self._secrets[name] = str(request.document()["api_secret"])
                return json_reply(200, {"stream": name})
        return refusal(404, "known are GET and PUT streams/MEASUREMENT_ID")

    def summary(self) -> Mapping[str, Mapping[str, Any]]:
        return {name: each.summary for name, each in self._streams.items()}

    def save(self) -> Any:
        return {name: each.save() for name, each in self._streams.items()}

    def load(self, state: Any) -> None:
        self._streams = {name: Received.load(each) for name, each in state.items()}

    def reset(self) -> None:
        self._streams.clear()
        self._secrets.clear()


def _event_problems(at: int, event: Any) -> Iterator[Problem]:
    name = event.get("name") if isinstance(event, dict) else None
    if not isinstance(name, str) or len(name) > LONGEST_NAME or not _NAME.fullmatch(name):
        yield "NAME_INVALID", f"Event at index: [{at}] has invalid name [{name}]."
        return
    params = event.get("params") or {}
    if len(params) > MOST_PARAMS:
        yield "EXCEEDED_MAX_ENTITIES", f"Event at index: [{at}] has over {MOST_PARAMS} parameters."
    for key, value in params.items():
        if key == "items":
            yield from _item_problems(value)
        elif isinstance(value, dict | list) or value is None:
            yield "VALUE_INVALID", f"Parameter [{key}] is null, an array or an object."
        elif isinstance(value, str) and len(value) > LONGEST_VALUE:
            yield "VALUE_INVALID", f"Parameter [{key}] has over {LONGEST_VALUE} characters."
    if name in {"purchase", "refund"} and not params.get("transaction_id"):
        yield "VALUE_REQUIRED", f"Event [{name}] requires [transaction_id]."
    if "value" in params and not params.get("currency"):
        yield "VALUE_REQUIRED", "A value requires a currency."
    if "value" in params and not isinstance(params["value"], int | float):
        yield "VALUE_INVALID", "The value is no number."


def _item_problems(items: Any) -> Iterator[Problem]:
    if not isinstance(items, list) or len(items) > MOST_ITEMS:
        yield "VALUE_INVALID", f"items is a list of at most {MOST_ITEMS}"
        return
    for item in items:
        if not (item.get("item_id") or item.get("item_name")):
            yield "VALUE_REQUIRED", "An item requires item_id or item_name."
        if not isinstance(item.get("price", 0), int | float):
            yield (
                "INTERNAL_ERROR",
                f'item.price: unsupported value [string_value: "{item["price"]}"]',
            )
