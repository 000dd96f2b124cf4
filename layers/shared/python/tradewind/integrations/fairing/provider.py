"""The ``Survey`` that a task is handed: the tenant's own Fairing account, a call a second."""

from __future__ import annotations

from datetime import datetime, timedelta

from tradewind.clock import Clock
from tradewind.contracts.fairing import CREDENTIALS
from tradewind.errors import MisconfiguredError
from tradewind.integrations.fairing.client import NAMES, PROVIDER, FairingClient
from tradewind.integrations.transport import shared_transport
from tradewind.ratelimit import RateLimiter, Window, connected
from tradewind.settings import Settings
from tradewind.surveys import AnswerPage
from tradewind.tasks.scope import Scope, vault_of
from tradewind.tenancy.credentials import CredentialVault, TenantCredentials
from tradewind.tenancy.database import Session
from tradewind.tenancy.tenant import Tenant

BETWEEN_CALLS = timedelta(milliseconds=1050)
"""Fairing publishes no limit."""
_HAS_KEY = "SELECT 1 AS stored FROM credentials WHERE provider = %(provider)s AND name = %(name)s"


def survey(scope: Scope) -> FairingSurvey:
    """The tenant's survey. Its key is read when it is first needed."""
    vault = vault_of(scope.settings)
    return FairingSurvey(scope.settings, scope.tenant, scope.session, vault, scope.process.clock)


class FairingSurvey:
    """See ``Survey``."""

    def __init__(
        self, settings: Settings, tenant: Tenant, session: Session, vault: CredentialVault, clock: Clock
    ) -> None:
        self._settings = settings
        self._tenant = tenant
        self._session = session
        self._vault = vault
        self._clock = clock

    def is_connected(self) -> bool:
        with self._session.transaction(self._tenant.id) as transaction:
            found = transaction.fetch_one(_HAS_KEY, {"provider": PROVIDER, "name": CREDENTIALS[0]})
        return found is not None

    def list_answers(self, since: datetime, cursor: str | None) -> AnswerPage:
        client = FairingClient(
            self._settings.fairing_url,
            shared_transport(self._settings.provider_timeout).bound_to(self._session.settle),
            self._key(),
            self._names(),
        )
        self._wait()
        return client.list_answers(since, cursor, self._clock.now())

    def _key(self) -> str:
        """Raises NotFoundError where none is stored."""
        with self._session.transaction(self._tenant.id) as transaction:
            credentials = TenantCredentials(self._tenant.id, self._vault)
            found = credentials.get_all(transaction, PROVIDER, CREDENTIALS)
        self._session.settle()
        return found[CREDENTIALS[0]]

    def _names(self) -> dict[str, str]:
        own = self._tenant.settings.get("fairing") or {}
        called = own.get("parameters") or {}
        return {name: str(called[name]) for name in NAMES if called.get(name)}

    def _wait(self) -> None:
        if self._settings.redis_url is None:
            raise MisconfiguredError("TRADEWIND_REDIS_URL is not set; provider limits need Valkey")
        limiter = RateLimiter(connected(self._settings.redis_url))
        self._session.settle()
        limiter.pass_window(Window(f"rate:{{fairing:{self._tenant.id}}}", 1, BETWEEN_CALLS))
