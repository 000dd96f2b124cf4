"""The Google Ads API over REST under one refresh token: one report a call, no retry of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from tradewind.errors import (
    CredentialsRejectedError,
    InvalidPayloadError,
    MisconfiguredError,
    ProviderUnavailableError,
    QuotaExceededError,
    RateLimitedError,
    TradewindError,
)
from tradewind.integrations.transport import Answer, Transport
from tradewind.spending import AdAccount, CampaignDay, Span, ViewDay, cents_of, cents_of_micros, whole

PROVIDER = "google_ads"
_QUERY = (
    "SELECT campaign.id, campaign.name, customer.currency_code, segments.date, metrics.cost_micros,"
    " metrics.impressions, metrics.clicks, metrics.conversions, metrics.conversions_value FROM campaign"
    " WHERE segments.date BETWEEN '{first}' AND '{last}'"
)
_VIEWS = (
    "SELECT campaign.id, campaign.name, customer.currency_code, segments.date, metrics.view_through_conversions"
    " FROM campaign WHERE segments.date BETWEEN '{first}' AND '{last}'"
)
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
_DAILY = {"RESOURCE_EXHAUSTED", "EXCESSIVE_LONG_TERM_QUERY_RESOURCE_CONSUMPTION"}
_BRIEF = {"RESOURCE_TEMPORARILY_EXHAUSTED", "EXCESSIVE_SHORT_TERM_QUERY_RESOURCE_CONSUMPTION"}
_CONFIG = {
    "CUSTOMER_NOT_ENABLED",
    "CUSTOMER_NOT_FOUND",
    "USER_PERMISSION_DENIED",
    "CLOUD_PROJECT_NOT_APPROVED_FOR_PRODUCTION",
    "UNSUPPORTED_VERSION",
}
_BRIEF_WAIT = timedelta(seconds=30)
_QUOTA_ZONE = ZoneInfo("America/Los_Angeles")


class GoogleAdsClient:
    """``account`` numbers are without dashes. ``now`` is when a used-up day's quota is counted from."""

    def __init__(
        self, base_url: str, oauth_url: str, transport: Transport, secrets: Mapping[str, str], now: datetime
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._oauth_url = oauth_url
        self._transport = transport
        self._secrets = secrets
        self._now = now

    def fetch(self, account: AdAccount, span: Span) -> tuple[CampaignDay, ...]:
        """All campaigns of the days, in one stream."""
        return tuple(_day(row, account.currency) for row in self._rows(account, span, _QUERY))

    def fetch_views(self, account: AdAccount, span: Span) -> tuple[ViewDay, ...]:
        """View-through conversions, of which Google tells no value."""
        return tuple(_view(row, account.currency) for row in self._rows(account, span, _VIEWS))

    def _rows(self, account: AdAccount, span: Span, asked: str) -> Iterator[Mapping[str, Any]]:
        headers = {"Authorization": f"Bearer {self._token()}"}
        if self._secrets.get("login_customer_id"):
            headers["login-customer-id"] = self._secrets["login_customer_id"].replace("-", "")
        url = f"{self._base_url}/customers/{account.id.replace('-', '')}/googleAds:searchStream"
        query = asked.format(first=span.first.isoformat(), last=span.last.isoformat())
        answer = self._transport.post_json(PROVIDER, url, {"query": query}, headers)
        for batch in self._read(answer):
            yield from batch.get("results") or []

    def _token(self) -> str:
        fields = {
            "grant_type": "refresh_token",
            "client_id": self._secrets["client_id"],
            "client_secret": self._secrets["client_secret"],
            "refresh_token": self._secrets["refresh_token"],
        }
        answer = self._transport.post_content(PROVIDER, self._oauth_url, urlencode(fields).encode(), _FORM)
        document = _json(answer)
        if answer.status == HTTPStatus.OK and isinstance(document, dict) and document.get("access_token"):
            return str(document["access_token"])
        if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR or answer.status == HTTPStatus.TOO_MANY_REQUESTS:
            raise ProviderUnavailableError(PROVIDER, f"token endpoint answered {answer.status}")
        name = document.get("error") if isinstance(document, dict) else None
        raise CredentialsRejectedError(f"{PROVIDER}: {name or answer.status}")

    def _read(self, answer: Answer) -> list[Mapping[str, Any]]:
        document = _json(answer)
        if answer.status == HTTPStatus.OK and isinstance(document, list):
            return document
        raise error_of(answer.status, document, self._now)


def error_of(status: int, document: Any, now: datetime) -> TradewindError:  # noqa: PLR0911 - one end for each kind
    """The kernel's error for one of Google's. A stream's error comes as a list of one."""
    error = document[0] if isinstance(document, list) and document else document
    error = error.get("error") if isinstance(error, dict) else None
    names = _names(error) if isinstance(error, dict) else set()
    about = f"{status}: {', '.join(sorted(names)) or 'no reason given'}"
    if names & _BRIEF:
        return RateLimitedError("google ads", _BRIEF_WAIT)
    if names & _DAILY:
        return QuotaExceededError("google ads daily operations", until_tomorrow(now))
    if names & _CONFIG or status in {HTTPStatus.NOT_FOUND, HTTPStatus.FORBIDDEN}:
        return MisconfiguredError(f"{PROVIDER}: {about}: check the account, its access and the API's version")
    if status == HTTPStatus.UNAUTHORIZED:
        return CredentialsRejectedError(f"{PROVIDER}: {about}")
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return RateLimitedError("google ads", _BRIEF_WAIT)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.OK:
        return ProviderUnavailableError(PROVIDER, about)
    return InvalidPayloadError("report", f"{PROVIDER} refuses it: {about}")


def _names(error: Mapping[str, Any]) -> set[str]:
    """The canonical status, and the codes of every detail."""
    found = {str(error.get("status") or "")}
    details = [each for each in error.get("details") or [] if isinstance(each, dict)]
    for failure in (each for detail in details for each in detail.get("errors") or []):
        found |= {str(code) for code in (failure.get("errorCode") or {}).values()}
    codes = found - {str(error.get("status") or "")}
    return codes or found - {""}


def until_tomorrow(now: datetime) -> timedelta:
    """Until the next midnight in California, when a day's operations begin anew."""
    local = now.astimezone(_QUOTA_ZONE)
    midnight = datetime.combine(local.date() + timedelta(days=1), datetime.min.time(), _QUOTA_ZONE)
    return midnight - now


def _json(answer: Answer) -> Any:
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError):
        return None


def _view(row: Mapping[str, Any], currency: str) -> ViewDay:
    metrics, campaign = row.get("metrics") or {}, row["campaign"]
    return ViewDay(
        date.fromisoformat(row["segments"]["date"]),
        str(campaign["id"]),
        str(campaign.get("name") or ""),
        str((row.get("customer") or {}).get("currencyCode") or currency),
        Decimal(str(metrics.get("viewThroughConversions") or 0)),
        None,
    )


def _day(row: Mapping[str, Any], currency: str) -> CampaignDay:
    metrics, campaign = row.get("metrics") or {}, row["campaign"]
    billed = str((row.get("customer") or {}).get("currencyCode") or currency)
    return CampaignDay(
        date.fromisoformat(row["segments"]["date"]),
        str(campaign["id"]),
        str(campaign.get("name") or ""),
        billed,
        cents_of_micros(metrics.get("costMicros"), billed),
        whole(metrics.get("impressions")),
        whole(metrics.get("clicks")),
        Decimal(str(metrics.get("conversions") or 0)),
        cents_of(metrics.get("conversionsValue"), billed),
    )
