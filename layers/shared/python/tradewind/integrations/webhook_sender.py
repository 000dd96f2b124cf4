"""The ``WebhookSender`` that a task is handed: it signs with the tenant's secrets and goes to public places alone."""

from __future__ import annotations

from uuid import UUID

from tradewind.clock import Clock
from tradewind.contracts.exports import WEBHOOK_SECRET, WEBHOOKS_PROVIDER
from tradewind.integrations.outward import Outward
from tradewind.integrations.signed_webhooks import judge, read_secret, sign
from tradewind.settings import Settings
from tradewind.tasks.scope import Scope, vault_of
from tradewind.tenancy.credentials import CredentialVault, Label, TenantCredentials
from tradewind.tenancy.database import Session
from tradewind.tenancy.tenant import Tenant


def webhook_sender(scope: Scope) -> TenantWebhookSender:
    settings = scope.settings
    return TenantWebhookSender(settings, scope.tenant, scope.session, vault_of(settings), scope.process.clock)


class TenantWebhookSender:
    """See ``WebhookSender``. Secrets are read once a run; the open transaction is committed before each call."""

    def __init__(
        self, settings: Settings, tenant: Tenant, session: Session, vault: CredentialVault, clock: Clock
    ) -> None:
        self._outward = Outward(anywhere=settings.stage == "local")
        self._tenant = tenant
        self._session = session
        self._vault = vault
        self._clock = clock
        self._keys: dict[str, bytes] = {}

    def post(self, name: str, url: str, delivery_id: UUID, body: bytes) -> None:
        key, now = self._key(name), self._clock.now()
        self._session.settle()
        headers = {"Content-Type": "application/json", **sign(key, str(delivery_id), now, [body])}
        host = str(self._outward.check(url).hostname)
        judge(host, self._outward.send("POST", url, headers, body, len(body)), now)

    def _key(self, name: str) -> bytes:
        if name not in self._keys:
            credentials = TenantCredentials(self._tenant.id, self._vault)
            with self._session.transaction(self._tenant.id) as transaction:
                found = credentials.get(transaction, Label(WEBHOOKS_PROVIDER, WEBHOOK_SECRET, name))
            self._keys[name] = read_secret(found.secret)
        return self._keys[name]
