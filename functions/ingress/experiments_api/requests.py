"""Reading what a storefront sends: checked by hand, since the door starts fast; refused by the path of the fault."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

from ingress.platform_api.answers import RefusedError

MAX_BODY = 256 * 1024
MAX_EVENTS = 100
MAX_CONTEXT = 30
TYPES = ("page_view", "add_to_cart", "begin_checkout", "purchase", "bounce", "error")
LATEST, EARLIEST = timedelta(minutes=5), timedelta(hours=48)
"""How far a storefront's clock may be ahead, and how old an event may be: older days may be counted to the end."""
_MAX_CENTS = 10**11
_MAX_NUMBER = 2**63
_IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_TOLD = re.compile(r"[^\x00-\x1f\ud800-\udfff]{1,128}")
_ATTRIBUTE = re.compile(r"[a-z][a-z0-9_.]{0,63}")


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who is asked for. ``context`` is what targeting rules look at."""

    visitor_id: str
    session_id: str | None = None
    customer_id: int | None = None
    context: Mapping[str, str] = field(default_factory=dict)

    def row(self) -> dict[str, Any]:
        """What is kept of a visitor with an assignment."""
        utm = {
            name.removeprefix("utm_"): value
            for name, value in self.context.items()
            if name.startswith("utm_")
        }
        return {
            "visitor_id": self.visitor_id,
            "session_id": self.session_id,
            "customer_id": self.customer_id,
            "device": self.context.get("device"),
            "country": self.context.get("country"),
            "utm": utm,
        }


@dataclass(frozen=True, slots=True)
class Event:
    """Something a visitor did. ``variant_id`` is what the storefront showed, where it chose by itself."""

    event_id: str
    test_id: str
    visitor: Visitor
    type: str
    occurred_at: datetime
    variant_id: str | None = None
    value_cents: int | None = None
    order_id: int | None = None

    def row(self, variant_id: str | None) -> dict[str, Any]:
        return {
            **self.visitor.row(),
            "event_id": self.event_id,
            "test_id": self.test_id,
            "variant_id": variant_id,
            "type": self.type,
            "value_cents": self.value_cents,
            "order_id": self.order_id,
            "occurred_at": self.occurred_at.isoformat(),
        }


@dataclass(frozen=True, slots=True)
class AssignmentRequest:
    """Which variants a visitor sees, of all live tests or of those named."""

    visitor: Visitor
    tests: frozenset[str] | None


def read_events(content: Mapping[str, Any], now: datetime) -> list[Event]:
    """The events of a batch. Raises RefusedError (400) that names the first field that cannot be."""
    told = Fields(content, "")
    told.allow("events", "key")
    events = told.batch("events", MAX_EVENTS)
    return [_read_event(event, f"events.{at}", now) for at, event in enumerate(events)]


def _read_event(event: Any, path: str, now: datetime) -> Event:
    told = Fields(event, path)
    told.allow(
        "event_id", "test_id", "variant_id", "visitor_id", "session_id", "customer_id", "type", "value_cents",
        "order_id", "occurred_at", "context",
    )  # fmt: skip
    kind = told.choice("type", TYPES)
    purchase = kind == "purchase"
    return Event(
        event_id=told.text("event_id"),
        test_id=told.identifier("test_id"),
        visitor=_visitor(told),
        type=kind,
        occurred_at=told.moment("occurred_at", now),
        variant_id=told.identifier("variant_id") if told.has("variant_id") else None,
        value_cents=told.number("value_cents", 0, _MAX_CENTS)
        if purchase or told.has("value_cents")
        else None,
        order_id=told.number("order_id", 1, _MAX_NUMBER) if purchase or told.has("order_id") else None,
    )


def read_assignment_request(content: Mapping[str, Any]) -> AssignmentRequest:
    """A POSTed question. Raises RefusedError (400)."""
    told = Fields(content, "")
    told.allow("visitor_id", "session_id", "customer_id", "context", "tests", "key")
    return AssignmentRequest(_visitor(told), told.identifiers("tests") if told.has("tests") else None)


def read_assignment_query(query: Mapping[str, str]) -> AssignmentRequest:
    """A question in an address: ``tests=a,b``; whatever else is not known is the visitor's context."""
    known = {"visitor_id", "session_id", "customer_id", "tests", "key"}
    content: dict[str, Any] = {name: query[name] for name in known & query.keys()}
    if "customer_id" in content and content["customer_id"].isdecimal():
        content["customer_id"] = int(content["customer_id"])
    if "tests" in content:
        content["tests"] = content["tests"].split(",")
    context = {name: value for name, value in query.items() if name not in known}
    return read_assignment_request({**content, **({"context": context} if context else {})})


def _visitor(told: Fields) -> Visitor:
    return Visitor(
        visitor_id=told.text("visitor_id"),
        session_id=told.text("session_id") if told.has("session_id") else None,
        customer_id=told.number("customer_id", 1, _MAX_NUMBER) if told.has("customer_id") else None,
        context=told.context(),
    )


class Fields:
    """One object of the body, field by field."""

    def __init__(self, content: Any, path: str) -> None:
        self._path = path
        if not isinstance(content, dict):
            raise self.bad("", "is no object", "send an object")
        self._content: dict[str, Any] = content

    def bad(self, name: str, problem: str, remedy: str) -> RefusedError:
        path = ".".join(part for part in (self._path, name) if part) or "body"
        return RefusedError(HTTPStatus.BAD_REQUEST, problem, path, remedy)

    def allow(self, *names: str) -> None:
        unknown = sorted(self._content.keys() - set(names))
        if unknown:
            raise self.bad(ascii(unknown[0])[1:-1][:100], "is not known", f"known: {', '.join(names)}")

    def batch(self, name: str, most: int) -> list[Any]:
        """A list of one to ``most`` things, which are called as the field is."""
        found = self._content.get(name)
        if not isinstance(found, list) or not found:
            problem = f"is no list of {name}" if found is not None else "is missing"
            raise self.bad(name, problem, "send one at least")
        if len(found) > most:
            raise self.bad(name, f"has {len(found)} {name}", f"send {most} at most, and the rest next")
        return found

    def has(self, name: str) -> bool:
        """Null is as good as absent."""
        return self._content.get(name) is not None

    def text(self, name: str) -> str:
        return self.matching(name, _TOLD, "1 to 128 characters, none of them a control character")

    def identifier(self, name: str) -> str:
        return self.matching(name, _IDENTIFIER, "letters, digits, '_' and '-', 64 at most")

    def choice(self, name: str, choices: Sequence[str]) -> str:
        value = self._needed(name)
        if value not in choices:
            raise self.bad(name, "is none of the known ones", f"one of {', '.join(choices)}")
        return str(value)

    def number(self, name: str, low: int, below: int) -> int:
        value = self._needed(name)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value < below:
            raise self.bad(name, f"is no whole number from {low}", "send a number, not a text")
        return value

    def moment(self, name: str, now: datetime) -> datetime:
        value = self._needed(name)
        try:
            moment = datetime.fromisoformat(value) if isinstance(value, str) else None
        except ValueError:
            moment = None
        if moment is None or moment.tzinfo is None:
            raise self.bad(name, "is no time with its offset", "send ISO 8601, such as 2026-11-20T12:00:00Z")
        if not now - EARLIEST <= moment <= now + LATEST:
            raise self.bad(
                name, "lies more than 48 hours back or 5 minutes ahead", "send events as they happen"
            )
        return moment.astimezone(UTC)

    def identifiers(self, name: str) -> frozenset[str]:
        values = self._needed(name)
        if not isinstance(values, list) or len(values) > MAX_EVENTS:
            raise self.bad(name, "is no list of test ids", f"send {MAX_EVENTS} at most")
        return frozenset(
            Fields({str(at): value}, f"{self._path}.{name}" if self._path else name).identifier(str(at))
            for at, value in enumerate(values)
        )

    def context(self) -> dict[str, str]:
        """Attributes by name: texts, numbers and truth values, as texts."""
        values = self._content.get("context") or {}
        if not isinstance(values, dict) or len(values) > MAX_CONTEXT:
            raise self.bad("context", f"is no object with {MAX_CONTEXT} attributes at most", "send fewer")
        found = {}
        for name, value in values.items():
            path = f"context.{ascii(name)[1:-1][:64]}"
            if not _ATTRIBUTE.fullmatch(name):
                raise self.bad(path, "is no attribute's name", "small letters, digits, '_' and '.'")
            if not isinstance(value, (str, int, float)):
                raise self.bad(path, "is no text, number or truth value", "send a plain value")
            text = value if isinstance(value, str) else json.dumps(value)
            if not _TOLD.fullmatch(text):
                raise self.bad(
                    path, "is empty, too long or holds control characters", "128 characters at most"
                )
            found[name] = text
        return found

    def _needed(self, name: str) -> Any:
        if not self.has(name):
            raise self.bad(name, "is missing", "send it")
        return self._content[name]

    def matching(self, name: str, pattern: re.Pattern[str], expected: str) -> str:
        value = self._needed(name)
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise self.bad(name, "cannot be", expected)
        return value
