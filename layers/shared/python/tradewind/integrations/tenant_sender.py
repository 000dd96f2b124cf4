"""What whoever sends to a tenant's own places is made of: the tenant's secrets, and a way out that is checked."""

from __future__ import annotations

from typing import Self

from tradewind.clock import Clock
from tradewind.integrations.outward import Outward
from tradewind.settings import Settings
from tradewind.tasks.scope import Scope, vault_of
from tradewind.tenancy.credentials import CredentialVault, TenantCredentials
from tradewind.tenancy.database import Session
from tradewind.tenancy.tenant import Tenant


class TenantSender:
    """Goes to public places alone, but for the local stage. The open transaction is committed before each call."""

    def __init__(
        self, settings: Settings, tenant: Tenant, session: Session, vault: CredentialVault, clock: Clock
    ) -> None:
        self._outward = Outward(anywhere=settings.stage == "local")
        self._tenant = tenant
        self._session = session
        self._credentials = TenantCredentials(tenant.id, vault)
        self._clock = clock

    @classmethod
    def of(cls, scope: Scope) -> Self:
        settings = scope.settings
        return cls(settings, scope.tenant, scope.session, vault_of(settings), scope.process.clock)
