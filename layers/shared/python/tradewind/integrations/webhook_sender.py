"""The ``WebhookSender`` that a task is handed: it signs with the tenant's secrets and goes to public places alone."""

from __future__ import annotations

from uuid import UUID

from tradewind.clock import Clock
from tradewind.contracts.exports import WEBHOOK_SECRET, WEBHOOKS_PROVIDER
from tradewind.integrations.signed_webhooks import judge, read_secret, sign
from tradewind.integrations.tenant_sender import TenantSender
from tradewind.settings import Settings
from tradewind.tasks.scope import Scope
from tradewind.tenancy.credentials import CredentialVault, Label
from tradewind.tenancy.database import Session
from tradewind.tenancy.tenant import Tenant


def webhook_sender(scope: Scope) -> TenantWebhookSender:
    return TenantWebhookSender.of(scope)


class TenantWebhookSender(TenantSender):
    """See ``WebhookSender``. Secrets are read once a run."""

    def __init__(
        self, settings: Settings, tenant: Tenant, session: Session, vault: CredentialVault, clock: Clock
    ) -> None:
        super().__init__(settings, tenant, session, vault, clock)
        self._keys: dict[str, bytes] = {}

    def post(self, name: str, url: str, delivery_id: UUID, body: bytes) -> None:
        key, now = self._key(name), self._clock.now()
        self._session.settle()
        headers = {"Content-Type": "application/json", **sign(key, str(delivery_id), now, [body])}
        host = str(self._outward.check(url).hostname)
        judge(host, self._outward.send("POST", url, headers, body, len(body)), now)

    def _key(self, name: str) -> bytes:
        if name not in self._keys:
            with self._session.transaction(self._tenant.id) as transaction:
                found = self._credentials.get(transaction, Label(WEBHOOKS_PROVIDER, WEBHOOK_SECRET, name))
            self._keys[name] = read_secret(found.secret)
        return self._keys[name]
