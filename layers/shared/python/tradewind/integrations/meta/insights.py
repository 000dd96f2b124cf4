"""Meta's Ads Insights under one token: at once for a week, as a report that Meta makes for longer ranges."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from tradewind.errors import ProviderUnavailableError
from tradewind.integrations.meta.answers import PROVIDER, Usage, read_answer, usage_of
from tradewind.integrations.meta.client import proof_of
from tradewind.integrations.transport import Answer, Transport
from tradewind.spending import AdAccount, CampaignDay, Pending, Span, ViewDay, cents_of, whole

LONGEST_AT_ONCE = 7
PAGE, MOST_PAGES = 500, 200
_FIELDS = "account_currency,campaign_id,campaign_name,spend,impressions,clicks,actions,action_values"
_PURCHASE = ("omni_purchase", "purchase", "offsite_conversion.fb_pixel_purchase")
"""Meta tells one purchase under several names: the first that is there counts."""
VIEW = "1d_view"
_VIEW_FIELDS = "account_currency,campaign_id,campaign_name,actions,action_values"
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}


class MetaInsightsClient:
    """``report`` is told what Meta's headers say of its meters, after every answer."""

    def __init__(
        self,
        base_url: str,
        transport: Transport,
        token: str,
        app_secret: str | None,
        report: Callable[[Usage], None],
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._transport = transport
        self._headers = {"Authorization": f"Bearer {token}"}
        self._proof = {"appsecret_proof": proof_of(app_secret, token)} if app_secret else {}
        self._report = report

    def fetch(self, account: AdAccount, span: Span, report: str | None) -> tuple[CampaignDay, ...] | Pending:
        path = f"act_{account.id.removeprefix('act_')}/insights"
        asked = {
            "level": "campaign",
            "time_increment": "1",
            "fields": _FIELDS,
            "time_range": json.dumps({"since": span.first.isoformat(), "until": span.last.isoformat()}),
        }
        if report is not None:
            return self._look(account, report)
        if span.days > LONGEST_AT_ONCE:
            content = urlencode({**asked, **self._proof}).encode()
            url, headers = f"{self._base_url}/{path}", {**self._headers, **_FORM}
            document = self._read(self._transport.post_content(PROVIDER, url, content, headers))
            return Pending(str(document["report_run_id"]))
        return self._pages(account, path, asked)

    def fetch_views(self, account: AdAccount, span: Span) -> tuple[ViewDay, ...]:
        """Purchases within a day of having seen an ad."""
        asked = {
            "level": "campaign",
            "time_increment": "1",
            "fields": _VIEW_FIELDS,
            "time_range": json.dumps({"since": span.first.isoformat(), "until": span.last.isoformat()}),
            "action_attribution_windows": json.dumps([VIEW]),
        }
        path = f"act_{account.id.removeprefix('act_')}/insights"
        return tuple(_view(each, account.currency) for each in self._rows(path, asked))

    def _look(self, account: AdAccount, report: str) -> tuple[CampaignDay, ...] | Pending:
        document = self._get(report, {})
        status = document.get("async_status")
        if status == "Job Completed":
            return self._pages(account, f"{report}/insights", {})
        if status in {"Job Failed", "Job Skipped"}:
            raise ProviderUnavailableError(PROVIDER, f"report {report} ended as {status}")
        return Pending(report)

    def _pages(self, account: AdAccount, path: str, asked: Mapping[str, str]) -> tuple[CampaignDay, ...]:
        return tuple(_day(each, account.currency) for each in self._rows(path, asked))

    def _rows(self, path: str, asked: Mapping[str, str]) -> list[Mapping[str, Any]]:
        """All pages' rows."""
        found: list[Mapping[str, Any]] = []
        after: dict[str, str] = {}
        for _ in range(MOST_PAGES):
            document = self._get(path, {**asked, "limit": str(PAGE), **after})
            found += document.get("data") or []
            paging = document.get("paging") or {}
            if not paging.get("next"):
                return found
            after = {"after": str(paging["cursors"]["after"])}
        raise ProviderUnavailableError(PROVIDER, f"over {MOST_PAGES} pages of {path}")

    def _get(self, path: str, asked: Mapping[str, str]) -> Mapping[str, Any]:
        query = urlencode({**asked, **self._proof})
        return self._read(self._transport.get(PROVIDER, f"{self._base_url}/{path}?{query}", self._headers))

    def _read(self, answer: Answer) -> Mapping[str, Any]:
        self._report(usage_of(answer.headers))
        return read_answer(answer)


def _day(row: Mapping[str, Any], currency: str) -> CampaignDay:
    billed = str(row.get("account_currency") or currency)
    return CampaignDay(
        date.fromisoformat(row["date_start"]),
        str(row["campaign_id"]),
        str(row.get("campaign_name") or ""),
        billed,
        cents_of(row.get("spend"), billed),
        whole(row.get("impressions")),
        whole(row.get("clicks")),
        Decimal(_purchases(row.get("actions"))),
        cents_of(_purchases(row.get("action_values")), billed),
    )


def _view(row: Mapping[str, Any], currency: str) -> ViewDay:
    billed = str(row.get("account_currency") or currency)
    return ViewDay(
        date.fromisoformat(row["date_start"]),
        str(row["campaign_id"]),
        str(row.get("campaign_name") or ""),
        billed,
        Decimal(_purchases(row.get("actions"), VIEW)),
        cents_of(_purchases(row.get("action_values"), VIEW), billed),
    )


def _purchases(actions: Any, window: str = "value") -> str:
    """``value`` is by the account's own windows; a window that was asked for stands beside it under its name."""
    values = {each.get("action_type"): str(each.get(window) or 0) for each in actions or []}
    return next((values[name] for name in _PURCHASE if name in values), "0")
