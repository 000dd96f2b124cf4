"""Insights of ad accounts: pages at once, or a report that is ready when it is looked at for the second time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date
from typing import Any
from urllib.parse import parse_qsl

from infra.local.sandbox.reported import Campaigns, rows_between
from infra.local.sandbox.wire import Request

PAGE = 2
"""Rows on a page: small, so that every report has several."""


class InsightsError(Exception):
    def __init__(self, code: int, subcode: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.subcode = subcode


class Insights:
    """Accounts by number, and the reports that were asked for. ``most_days`` is what an account gives at once."""

    def __init__(self) -> None:
        self._campaigns: Campaigns = {}
        self._currencies: dict[str, str] = {}
        self._most_days: dict[str, int] = {}
        self._runs: dict[str, tuple[str, str, str]] = {}
        self._looked: dict[str, int] = {}

    def tell(self, name: str, document: Mapping[str, Any]) -> None:
        self._campaigns[name] = list(document["rows"])
        self._currencies[name] = str(document.get("currency", "USD"))
        self._most_days[name] = int(document.get("most_days", 93))

    def answer(self, request: Request, rest: tuple[str, ...]) -> dict[str, Any]:
        if rest[0].startswith("run-"):
            return self._run(request, rest)
        asked = dict(request.query) or dict(parse_qsl(request.body.decode()))
        account = rest[0].removeprefix("act_")
        if account not in self._campaigns:
            raise InsightsError(100, 33, "Unsupported get request.")
        between = json.loads(asked["time_range"])
        days = (date.fromisoformat(between["until"]) - date.fromisoformat(between["since"])).days + 1
        if days > self._most_days[account]:
            raise InsightsError(100, 1487534, "Please reduce the amount of data you're asking for")
        if request.method == "POST":
            name = f"run-{len(self._runs) + 1}"
            self._runs[name] = account, between["since"], between["until"]
            return {"report_run_id": name}
        return self._page(account, between["since"], between["until"], asked)

    def _run(self, request: Request, rest: tuple[str, ...]) -> dict[str, Any]:
        if rest[0] not in self._runs:
            raise InsightsError(100, 33, "Unsupported get request.")
        if rest[-1] == "insights":
            return self._page(*self._runs[rest[0]], request.query)
        self._looked[rest[0]] = self._looked.get(rest[0], 0) + 1
        done = self._looked[rest[0]] > 1
        status = "Job Completed" if done else "Job Running"
        return {"id": rest[0], "async_status": status, "async_percent_completion": 100 if done else 50}

    def _page(self, account: str, first: str, last: str, asked: Mapping[str, str]) -> dict[str, Any]:
        rows = rows_between(self._campaigns, account, first, last)
        at = int(asked.get("after", 0))
        windows = json.loads(asked.get("action_attribution_windows", "[]"))
        shown = [self._row(account, row, windows) for row in rows[at : at + PAGE]]
        paging: dict[str, Any] = {"cursors": {"before": str(at), "after": str(at + PAGE)}}
        if at + PAGE < len(rows):
            paging["next"] = "https://graph.facebook.com/next"
        return {"data": shown, "paging": paging}

    def _row(self, account: str, row: Mapping[str, Any], windows: list[str]) -> dict[str, Any]:
        """A window that was asked for stands beside ``value``, under its own name, where it has anything."""
        viewed = {"1d_view": str(row["view_conversions"])} if row.get("view_conversions") else {}
        worth_viewed = {"1d_view": str(row["view_value"])} if row.get("view_value") else {}
        if "1d_view" not in windows:
            viewed, worth_viewed = {}, {}
        told = [
            {"action_type": name, "value": str(row.get("conversions", 0)), **viewed}
            for name in ("purchase", "omni_purchase")
        ]
        worth = [{"action_type": "omni_purchase", "value": str(row.get("value", 0)), **worth_viewed}]
        return {
            "date_start": row["date"],
            "date_stop": row["date"],
            "account_currency": self._currencies[account],
            "campaign_id": row["campaign_id"],
            "campaign_name": row["name"],
            "spend": row["spend"],
            "impressions": str(row.get("impressions", 0)),
            "clicks": str(row.get("clicks", 0)),
            "actions": told,
            "action_values": worth,
        }
