"""TikTok's synchronous reports under one advertiser's token, page by page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from tradewind.errors import ProviderUnavailableError
from tradewind.integrations.tiktok.answers import PROVIDER, read_answer
from tradewind.integrations.transport import Transport
from tradewind.spending import AdAccount, CampaignDay, Span, TooMuchDataError, ViewDay, cents_of, whole

LONGEST, PAGE, MOST_PAGES = 30, 1000, 100
COUNT, VALUE = "complete_payment", "total_complete_payment_rate"
"""Purchases on the shop's website and, whatever its name says, their total value. ``conversion`` would count what a
campaign is optimised for, be it a page view.
"""
VIEW_COUNT, VIEW_VALUE = "vta_complete_payment", "vta_complete_payment_value"
_METRICS = ("campaign_name", "spend", "impressions", "clicks", COUNT, VALUE)
_VIEW_METRICS = ("campaign_name", VIEW_COUNT, VIEW_VALUE)


class TikTokReportsClient:
    def __init__(self, base_url: str, transport: Transport, token: str) -> None:
        self._url = f"{base_url.rstrip('/')}/report/integrated/get/"
        self._transport = transport
        self._headers = {"Access-Token": token}

    def fetch(self, account: AdAccount, span: Span) -> tuple[CampaignDay, ...]:
        """All campaigns of at most thirty days, which are the advertiser's own."""
        return tuple(_day(each, account.currency) for each in self._rows(account, span, _METRICS))

    def fetch_views(self, account: AdAccount, span: Span) -> tuple[ViewDay, ...]:
        """What TikTok credits to views, by the advertiser's own view window."""
        return tuple(_view(each, account.currency) for each in self._rows(account, span, _VIEW_METRICS))

    def _rows(self, account: AdAccount, span: Span, metrics: Sequence[str]) -> list[Mapping[str, Any]]:
        if span.days > LONGEST:
            raise TooMuchDataError("range", f"has {span.days} days", f"TikTok gives {LONGEST} at once")
        found: list[Mapping[str, Any]] = []
        for page in range(1, MOST_PAGES + 1):
            data = self._page(account, span, metrics, page)
            found += data.get("list") or []
            if page >= int((data.get("page_info") or {}).get("total_page", 1)):
                return found
        raise ProviderUnavailableError(PROVIDER, f"over {MOST_PAGES} pages")

    def _page(self, account: AdAccount, span: Span, metrics: Sequence[str], page: int) -> Mapping[str, Any]:
        query = {
            "advertiser_id": account.id,
            "report_type": "BASIC",
            "data_level": "AUCTION_CAMPAIGN",
            "dimensions": json.dumps(["campaign_id", "stat_time_day"]),
            "metrics": json.dumps(metrics),
            "start_date": span.first.isoformat(),
            "end_date": span.last.isoformat(),
            "page": str(page),
            "page_size": str(PAGE),
        }
        answer = self._transport.get(PROVIDER, f"{self._url}?{urlencode(query)}", self._headers)
        data = read_answer(answer).get("data")
        return data if isinstance(data, dict) else {}


def _day(row: Mapping[str, Any], currency: str) -> CampaignDay:
    dimensions, metrics = row["dimensions"], row["metrics"]
    return CampaignDay(
        date.fromisoformat(str(dimensions["stat_time_day"])[:10]),
        str(dimensions["campaign_id"]),
        str(metrics.get("campaign_name") or ""),
        currency,
        cents_of(metrics.get("spend"), currency),
        whole(metrics.get("impressions")),
        whole(metrics.get("clicks")),
        Decimal(str(metrics.get(COUNT) or 0)),
        cents_of(metrics.get(VALUE), currency),
    )


def _view(row: Mapping[str, Any], currency: str) -> ViewDay:
    dimensions, metrics = row["dimensions"], row["metrics"]
    return ViewDay(
        date.fromisoformat(str(dimensions["stat_time_day"])[:10]),
        str(dimensions["campaign_id"]),
        str(metrics.get("campaign_name") or ""),
        currency,
        Decimal(str(metrics.get(VIEW_COUNT) or 0)),
        cents_of(metrics.get(VIEW_VALUE), currency),
    )
