"""Google's HTTP surface: the token endpoint, and the search stream of one customer's campaigns."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl

from infra.local.sandbox.faults import Fault
from infra.local.sandbox.provider import Target
from infra.local.sandbox.received import object_of
from infra.local.sandbox.reported import Campaigns, rows_between
from infra.local.sandbox.wire import Reply, Request, json_reply, refusal

_BETWEEN = re.compile(r"segments\.date BETWEEN '(\d{4}-\d\d-\d\d)' AND '(\d{4}-\d\d-\d\d)'")
_BATCH = 2
"""Rows in a batch: small, so that every stream has several."""


class GoogleAdsProvider:
    """Customers by number. A refresh token is ``1//...``, its access token ``ya29.`` and the same."""

    def __init__(self) -> None:
        self._campaigns: Campaigns = {}
        self._currencies: dict[str, str] = {}
        self._errors: dict[str, str] = {}

    def target(self, request: Request, rest: tuple[str, ...]) -> Target:  # noqa: ARG002 - the port's shape
        return Target(rest[2] if len(rest) > 2 else "", "/".join(rest[-1:]))  # noqa: PLR2004 - version, customers, id

    def answer(self, request: Request, rest: tuple[str, ...]) -> tuple[Reply, float]:
        return self._answer(request, rest), 0.0

    def _answer(self, request: Request, rest: tuple[str, ...]) -> Reply:
        if rest == ("token",):
            return self._token(request)
        if len(rest) != 4 or rest[1] != "customers" or rest[3] != "googleAds:searchStream":  # noqa: PLR2004 - its parts
            return _refused(404, "NOT_FOUND", "UNSUPPORTED_VERSION")
        if not request.headers.get("authorization", "").startswith("Bearer ya29."):
            return _refused(401, "UNAUTHENTICATED", "AUTHENTICATION_ERROR")
        customer = rest[2]
        if customer in self._errors:
            name = self._errors[customer]
            status = 429 if "EXHAUSTED" in name or "EXCESSIVE" in name else 403
            return _refused(status, "RESOURCE_EXHAUSTED" if status == 429 else "PERMISSION_DENIED", name)  # noqa: PLR2004 - too many
        body = object_of(request) or {}
        between = _BETWEEN.search(str(body.get("query", "")))
        if between is None:
            return _refused(400, "INVALID_ARGUMENT", "QUERY_ERROR")
        rows = [
            self._row(customer, row)
            for row in rows_between(self._campaigns, customer, between[1], between[2])
        ]
        batches = [
            {"results": rows[at : at + _BATCH], "requestId": f"r{at}"} for at in range(0, len(rows), _BATCH)
        ]
        return json_reply(200, batches)

    def _token(self, request: Request) -> Reply:
        fields = dict(parse_qsl(request.body.decode()))
        if fields.get("grant_type") != "refresh_token" or not fields.get("refresh_token", "").startswith(
            "1//"
        ):
            return json_reply(400, {"error": "invalid_grant"})
        return json_reply(200, {"access_token": f"ya29.{fields['refresh_token']}", "expires_in": 3599})

    def _row(self, customer: str, row: Mapping[str, Any]) -> dict[str, Any]:
        micros = Decimal(row["micros"]) if "micros" in row else Decimal(row["spend"]) * 1_000_000
        return {
            "campaign": {"id": row["campaign_id"], "name": row["name"]},
            "customer": {"currencyCode": self._currencies.get(customer, "USD")},
            "segments": {"date": row["date"]},
            "metrics": {
                "costMicros": str(int(micros)),
                "impressions": str(row.get("impressions", 0)),
                "clicks": str(row.get("clicks", 0)),
                "conversions": float(row.get("conversions", 0)),
                "conversionsValue": float(row.get("value", 0)),
                "viewThroughConversions": str(row.get("view_conversions", 0)),
            },
        }

    def fail(self, fault: Fault, request: Request, rest: tuple[str, ...]) -> Reply:  # noqa: ARG002 - the port's shape
        if fault in {Fault.TOO_MANY, Fault.THROTTLED}:
            return _refused(429, "RESOURCE_EXHAUSTED", "RESOURCE_TEMPORARILY_EXHAUSTED")
        return _refused(500, "INTERNAL", "INTERNAL_ERROR")

    def control(self, request: Request, rest: tuple[str, ...]) -> Reply:
        match (request.method, *rest):
            case ("PUT", "customers", name):
                document = request.document()
                self._campaigns[name] = list(document.get("rows", self._campaigns.get(name, [])))
                self._currencies[name] = str(document.get("currency", "USD"))
                if document.get("error"):
                    self._errors[name] = str(document["error"])
                else:
                    self._errors.pop(name, None)
                return json_reply(200, {"customer": name, "rows": len(self._campaigns[name])})
        return refusal(404, "known is PUT customers/NUMBER")

    def summary(self) -> Mapping[str, Mapping[str, Any]]:
        return {name: {"campaign days": len(rows)} for name, rows in self._campaigns.items()}

    def save(self) -> Any:
        return {"campaigns": self._campaigns, "currencies": self._currencies}

    def load(self, state: Any) -> None:
        self._campaigns, self._currencies = state["campaigns"], state["currencies"]

    def reset(self) -> None:
        self._campaigns.clear()
        self._currencies.clear()
        self._errors.clear()


def _refused(status: int, name: str, code: str) -> Reply:
    details = [{"@type": "GoogleAdsFailure", "errors": [{"errorCode": {"error": code}, "message": code}]}]
    error = {"error": {"code": status, "message": code, "status": name, "details": details}}
    reply = json_reply(status, [error])
    return Reply(reply.status, reply.body, reply.headers, remark=code)
