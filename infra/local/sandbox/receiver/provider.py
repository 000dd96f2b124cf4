"""A receiver of signed webhooks: POST /receiver/PLACE takes what Standard Webhooks sign, and keeps all of it.

A place that has a secret refuses what is not signed with it, or not lately; it can be told how to answer. What comes
again under a delivery's id is counted as a repetition, as receivers do.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from infra.local.sandbox.faults import Fault
from infra.local.sandbox.provider import Target
from infra.local.sandbox.wire import Reply, Request, json_reply, refusal

_TOLD = ("webhook-id", "webhook-timestamp", "content-type", "content-disposition")


@dataclass(slots=True)
class Place:
    """``answers`` are statuses of the next deliveries, then 200. ``taken`` holds each delivery once, in order."""

    secret: str | None = None
    answers: list[int] = field(default_factory=list)
    retry_after: str | None = None
    tolerance_s: int = 300
    taken: dict[str, dict[str, Any]] = field(default_factory=dict)
    attempts: list[dict[str, Any]] = field(default_factory=list)
    repetitions: int = 0


class ReceiverProvider:
    """All places. ``clock`` gives the time of day in seconds."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._places: dict[str, Place] = {}

    def target(self, request: Request, rest: tuple[str, ...]) -> Target:
        return Target("/".join(rest), request.method, request.headers.get("webhook-id", ""))

    def answer(self, request: Request, rest: tuple[str, ...]) -> tuple[Reply, float]:
        if request.method != "POST" or not rest:
            return refusal(404, "POST /receiver/PLACE"), 0.0
        place = self._places.setdefault("/".join(rest), Place())
        told = {name: request.headers.get(name, "") for name in _TOLD}
        told |= {name: text for name, text in request.headers.items() if name.startswith("x-tradewind-")}
        wrong = self._problem(place, request)
        status = 401 if wrong else place.answers.pop(0) if place.answers else 200
        place.attempts.append({**told, "status": status, "problem": wrong})
        if status >= 300:  # noqa: PLR2004 - HTTP
            headers = {"retry-after": place.retry_after} if place.retry_after else {}
            return json_reply(status, {"error": wrong or "as told"}, headers), 0.0
        if told["webhook-id"] in place.taken:
            place.repetitions += 1
        else:
            body = base64.b64encode(request.body).decode("ascii")
            place.taken[told["webhook-id"]] = {**told, "body": body}
        return Reply(status), 0.0

    def _problem(self, place: Place, request: Request) -> str | None:
        """What is wrong with a signature; None where it is right, or the place asks for none."""
        if place.secret is None:
            return None
        headers = request.headers
        delivery, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
        if not timestamp.isdigit() or abs(self._clock() - int(timestamp)) > place.tolerance_s:
            return "timestamp"
        key = base64.b64decode(place.secret.removeprefix("whsec_"))
        signed = f"{delivery}.{timestamp}.".encode() + request.body
        wanted = "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode("ascii")
        given = headers.get("webhook-signature", "").split()
        return None if any(hmac.compare_digest(wanted, each) for each in given) else "signature"

    def fail(self, fault: Fault, request: Request, rest: tuple[str, ...]) -> Reply:  # noqa: ARG002 - the port's shape
        return Reply(429 if fault in {Fault.TOO_MANY, Fault.THROTTLED} else 500)

    def control(self, request: Request, rest: tuple[str, ...]) -> Reply:
        name = "/".join(rest[1:])
        if rest[:1] != ("places",) or not name or request.method not in {"GET", "PUT"}:
            return refusal(404, "known are GET and PUT places/NAME")
        place = self._places.setdefault(name, Place())
        if request.method == "PUT":
            told = request.document()
            if not isinstance(told, dict) or told.keys() - {
                "secret",
                "answers",
                "retry_after",
                "tolerance_s",
            }:
                raise ValueError("send an object with secret, answers, retry_after and tolerance_s")
            place.secret = told.get("secret", place.secret)
            place.answers = [int(each) for each in told.get("answers", place.answers)]
            place.retry_after = told.get("retry_after", place.retry_after)
            place.tolerance_s = int(told.get("tolerance_s", place.tolerance_s))
        return json_reply(
            200,
            {
                "taken": [*place.taken.values()],
                "attempts": place.attempts,
                "repetitions": place.repetitions,
            },
        )

    def summary(self) -> Mapping[str, Mapping[str, Any]]:
        return {
            name: {"deliveries": len(place.taken), "repetitions": place.repetitions}
            for name, place in self._places.items()
        }

    def save(self) -> Any:
        return {name: {"secret": place.secret, "taken": place.taken} for name, place in self._places.items()}

    def load(self, state: Any) -> None:
        self._places = {
            name: Place(secret=each["secret"], taken=json.loads(json.dumps(each["taken"])))
            for name, each in state.items()
        }

    def reset(self) -> None:
        self._places.clear()
