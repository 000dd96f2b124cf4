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
from tradewind.spending import AdAccount, CampaignDay, Pending, Span, SpendPlatform
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
        settings, secrets = self._settings, self._secrets(account.platform)
        match account.platform:
            case SpendPlatform.META:
                meta = MetaInsightsClient(
                    settings.meta_url,
                    self._transport(),
                    secrets["access_token"],
                    secrets.get("app_secret"),
                    _ignore,
                )
                return meta.fetch(account, span, report)
            case SpendPlatform.GOOGLE_ADS:
                google = GoogleAdsClient(
                    settings.google_ads_url,
                    settings.google_oauth_url,
                    self._transport(),
                    secrets,
                    self._clock.now(),
                )
                return google.fetch(account, span)
            case SpendPlatform.TIKTOK:
                tiktok = TikTokReportsClient(
                    settings.tiktok_url, self._transport(), secrets["reporting_token"]
                )
                return tiktok.fetch(account, span)

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
