"""The Business API's HTTP surface: event/track. Everything is answered with status 200; the code says what it means.

A token ends with the id of its pixel. Events with one name and id count once.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

from infra.local.sandbox.faults import Fault
from infra.local.sandbox.provider import Target
from infra.local.sandbox.received import Received, object_of
from infra.local.sandbox.reported import Campaigns, rows_between
from infra.local.sandbox.wire import Reply, Request, json_reply, refusal

OLDEST_S, MOST = 7 * 86_400, 1000
REPORT_PAGE = 2
"""Rows on a page of a report: small, so that every report has several."""
_HASH = re.compile(r"[0-9a-f]{64}")
_EVENTS = {"Purchase", "CompletePayment", "AddToCart", "ViewContent", "InitiateCheckout"}
METRICS = {"campaign_name", "spend", "impressions", "clicks", "conversion", "complete_payment",
           "total_complete_payment_rate", "vta_complete_payment", "vta_complete_payment_value"}  # fmt: skip
_USER = ("email", "phone", "external_id", "ttclid", "ttp", "ip", "user_agent")


class TikTokProvider:
    """All pixels, by id. ``clock`` gives the time of day in seconds."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._pixels: dict[str, Received] = {}
        self._refused_ids: set[str] = set()
        self._ended: set[str] = set()
        self._next_request = 1
        self._campaigns: Campaigns = {}

    def target(self, request: Request, rest: tuple[str, ...]) -> Target:
        body = object_of(request) or {}
        return Target(str(body.get("event_source_id", "")), "/".join(rest))

    def answer(self, request: Request, rest: tuple[str, ...]) -> tuple[Reply, float]:
        return self._answer(request, rest), 0.0

    def _answer(self, request: Request, rest: tuple[str, ...]) -> Reply:  # noqa: C901, PLR0911 - one end for each refusal
        if rest == ("report", "integrated", "get") and request.method == "GET":
            return self._report(request)
        if rest != ("event", "track") or request.method != "POST":
            return self._says(40002, "Unsupported path or method")
        token = request.headers.get("access-token", "")
        if not token:
            return self._says(40104, "Access token is empty")
        if token in self._ended:
            return self._says(40105, "Access token is incorrect or has been revoked.")
        body = object_of(request)
        if body is None or body.get("event_source") != "web":
            return self._says(40002, "event_source: Invalid value")
        pixel = str(body.get("event_source_id", ""))
        if not pixel or not token.endswith(pixel):
            return self._says(40001, f"No permission to operate pixel {pixel}")
        data = body.get("data")
        if not isinstance(data, list) or not 1 <= len(data) <= MOST:
            return self._says(40002, f"data: 1 to {MOST} events")
        problems = {at: why for at, event in enumerate(data) if (why := self._problem(event))}
        received = self._pixels.setdefault(pixel, Received())
        if problems and len(problems) == len(data) and not self._is_told_to_refuse(data):
            return self._says(40002, next(iter(problems.values())))
        for at, event in enumerate(data):
            if at not in problems:
                self._keep(received, body, event)
        if problems:
            failed = [{"order_in_request": at, "error_message": why} for at, why in problems.items()]
            return self._says(20001, "Partial success", {"failed_events": failed})
        return self._says(0, "OK")

    def _report(self, request: Request) -> Reply:
        """One page of an advertiser's campaign days; a token that does not begin with ``rt_`` may not read."""
        query = request.query
        if not request.headers.get("access-token", "").startswith("rt_"):
            return self._says(40105, "Access token is incorrect or has been revoked.")
        first, last = query.get("start_date", ""), query.get("end_date", "")
        if not first or (date.fromisoformat(last) - date.fromisoformat(first)).days > 30:  # noqa: PLR2004 - TikTok's own
            return self._says(40002, "start_date, end_date: at most 30 days")
        rows = rows_between(self._campaigns, query.get("advertiser_id", ""), first, last)
        page, size = int(query.get("page", 1)), min(int(query.get("page_size", 10)), REPORT_PAGE)
        wanted = json.loads(query.get("metrics", "[]"))
        unknown = set(wanted) - METRICS
        if unknown:
            return self._says(40002, f"metrics: {min(unknown)} is not a valid metric")
        shown = [_reported(row, wanted) for row in rows[(page - 1) * size : page * size]]
        total = max(1, -(-len(rows) // size))
        info = {"page": page, "page_size": size, "total_number": len(rows), "total_page": total}
        return self._says(0, "OK", {"list": shown, "page_info": info})

    def _keep(self, received: Received, body: Mapping[str, Any], event: Mapping[str, Any]) -> None:
        if body.get("test_event_code"):
            received.tests.append({**event, "test_event_code": body["test_event_code"]})
        else:
            received.keep(f"{event['event']}/{event['event_id']}" if event.get("event_id") else None, event)

    def _is_told_to_refuse(self, data: list[Any]) -> bool:
        return any(isinstance(each, dict) and each.get("event_id") in self._refused_ids for each in data)

    def _problem(self, event: Any) -> str | None:  # noqa: C901, PLR0911 - one end for each of TikTok's rules
        if not isinstance(event, dict) or event.get("event") not in _EVENTS:
            return "event: Invalid value"
        if event.get("event_id") in self._refused_ids:
            return "event_id: refused on request"
        if not isinstance(event.get("event_time"), int):
            return "event_time: Invalid value"
        if self._clock() - event["event_time"] > OLDEST_S:
            return "event_time: too old"
        user = event.get("user") or {}
        if not any(user.get(name) for name in _USER):
            return "user: at least one field is required"
        for name in ("email", "phone", "external_id"):
            values = user.get(name, [])
            if any(
                not _HASH.fullmatch(str(each)) for each in (values if isinstance(values, list) else [values])
            ):
                return f"user.{name}: not hashed"
        properties = event.get("properties") or {}
        if event["event"] in {"Purchase", "CompletePayment"} and not (
            isinstance(properties.get("value"), int | float) and properties.get("currency")
        ):
            return "properties: value and currency are required"
        for content in properties.get("contents", []):
            if not isinstance(content.get("content_id"), str):
                return "properties.contents.content_id: not a valid string"
            if not isinstance(content.get("price", 0), int | float):
                return "properties.contents.price: not a number"
        return None

    def fail(self, fault: Fault, request: Request, rest: tuple[str, ...]) -> Reply:  # noqa: ARG002 - the port's shape
        if fault in {Fault.TOO_MANY, Fault.THROTTLED}:
            return self._says(40100, "Request too frequent")
        return self._says(50000, "System error")

    def control(self, request: Request, rest: tuple[str, ...]) -> Reply:
        match (request.method, *rest):
            case ("GET", "pixels", name):
                return json_reply(200, self._pixels.get(name, Received()).document())
            case ("PUT", "advertisers", name):
                self._campaigns[name] = list(request.document()["rows"])
                return json_reply(200, {"advertiser": name})
            case ("PUT", "refusals"):
                document = request.document()
                self._refused_ids |= {str(each) for each in document.get("event_ids", [])}
                self._ended |= {str(each) for each in document.get("tokens", [])}
                return json_reply(200, {"event_ids": len(self._refused_ids), "tokens": len(self._ended)})
        return refusal(404, "known are GET pixels/ID, PUT refusals and PUT advertisers/ID")

    def summary(self) -> Mapping[str, Mapping[str, Any]]:
        return {name: each.summary for name, each in self._pixels.items()}

    def save(self) -> Any:
        return {name: each.save() for name, each in self._pixels.items()}

    def load(self, state: Any) -> None:
        self._pixels = {name: Received.load(each) for name, each in state.items()}

    def reset(self) -> None:
        self._pixels.clear()
        self._campaigns.clear()
        self._refused_ids.clear()
        self._ended.clear()

    def _says(self, code: int, message: str, data: Mapping[str, Any] | None = None) -> Reply:
        self._next_request += 1
        document = {
            "code": code,
            "message": message,
            "request_id": f"2026{self._next_request:016d}",
            "data": data or {},
        }
        reply = json_reply(200, document)
        return Reply(reply.status, reply.body, reply.headers, remark="" if code == 0 else str(code))


def _reported(row: Mapping[str, Any], wanted: list[str]) -> dict[str, Any]:
    known = {
        "campaign_name": row["name"],
        "spend": row["spend"],
        "impressions": str(row.get("impressions", 0)),
        "clicks": str(row.get("clicks", 0)),
        "conversion": str(row.get("goals", row.get("conversions", 0))),
        "complete_payment": str(row.get("conversions", 0)),
        "total_complete_payment_rate": str(row.get("value", 0)),
        "vta_complete_payment": str(row.get("view_conversions", 0)),
        "vta_complete_payment_value": str(row.get("view_value", 0)),
    }
    return {
        "dimensions": {"campaign_id": row["campaign_id"], "stat_time_day": f"{row['date']} 00:00:00"},
        "metrics": {name: known[name] for name in wanted},
    }
