"""The ``AdReports`` that a task is handed: the tenant's own access to Meta, Google Ads and TikTok reports."""

from __future__ import annotations

from collections.abc import Mapping

from tradewind.clock import Clock
from tradewind.contracts.ads import REPORTING
from tradewind.integrations.google_ads.client import GoogleAdsClient
from tradewind.integrations.meta.answers import Usage
from tradewind.integrations.meta.insights import MetaInsightsClient
from tradewind.integrations.tiktok.reports import TikTokReportsClient
from tradewind.integrations.transport import Transport, shared_transport
from tradewind.settings import Settings
from tradewind.spending import AdAccount, CampaignDay, Pending, Span, SpendPlatform, ViewDay
from tradewind.tasks.scope import Scope, vault_of
from tradewind.tenancy.credentials import CredentialVault, TenantCredentials
from tradewind.tenancy.database import Session
from tradewind.tenancy.tenant import Tenant


def ad_reports(scope: Scope) -> TenantAdReports:
    return TenantAdReports(
        scope.settings, scope.tenant, scope.session, vault_of(scope.settings), scope.process.clock
    )


class TenantAdReports:
    """See ``AdReports``. One report a message at a time: the tasks are capped at one a tenant."""

    def __init__(
        self, settings: Settings, tenant: Tenant, session: Session, vault: CredentialVault, clock: Clock
    ) -> None:
        self._settings = settings
        self._tenant = tenant
        self._session = session
        self._vault = vault
        self._clock = clock

    def fetch(self, account: AdAccount, span: Span, report: str | None) -> tuple[CampaignDay, ...] | Pending:
        match account.platform:
            case SpendPlatform.META:
                return self._meta().fetch(account, span, report)
            case SpendPlatform.GOOGLE_ADS:
                return self._google().fetch(account, span)
            case SpendPlatform.TIKTOK:
                return self._tiktok().fetch(account, span)

    def fetch_views(self, account: AdAccount, span: Span) -> tuple[ViewDay, ...]:
        match account.platform:
            case SpendPlatform.META:
                return self._meta().fetch_views(account, span)
            case SpendPlatform.GOOGLE_ADS:
                return self._google().fetch_views(account, span)
            case SpendPlatform.TIKTOK:
                return self._tiktok().fetch_views(account, span)

    def _meta(self) -> MetaInsightsClient:
        secrets = self._secrets(SpendPlatform.META)
        return MetaInsightsClient(
            self._settings.meta_url,
            self._transport(),
            secrets["access_token"],
            secrets.get("app_secret"),
            _ignore,
        )

    def _google(self) -> GoogleAdsClient:
        return GoogleAdsClient(
            self._settings.google_ads_url,
            self._settings.google_oauth_url,
            self._transport(),
            self._secrets(SpendPlatform.GOOGLE_ADS),
            self._clock.now(),
        )

    def _tiktok(self) -> TikTokReportsClient:
        secrets = self._secrets(SpendPlatform.TIKTOK)
        return TikTokReportsClient(self._settings.tiktok_url, self._transport(), secrets["reporting_token"])

    def _transport(self) -> Transport:
        return shared_transport(self._settings.provider_timeout).bound_to(self._session.settle)

    def _secrets(self, platform: SpendPlatform) -> Mapping[str, str]:
        """Raises NotFoundError where a needed one is not stored."""
        needed, optional = REPORTING[platform]
        with self._session.transaction(self._tenant.id) as transaction:
            credentials = TenantCredentials(self._tenant.id, self._vault)
            found = credentials.get_all(transaction, platform, needed, optional)
        self._session.settle()
        return found


def _ignore(_: Usage) -> None:
    """A report is asked for once a day: Meta's own refusal is soon enough."""
