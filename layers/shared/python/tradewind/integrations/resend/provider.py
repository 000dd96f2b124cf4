"""The ``EmailSender`` that a task is handed: the tenant's own Resend account, else the platform's shared one.

Resend limits a team, whatever its keys: tenants that share an account share its bucket. Which account a key belongs to
is told by the credential ``account``, and where there is none by the key itself.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from uuid import UUID

from tradewind.errors import CredentialsRejectedError, MisconfiguredError, NotFoundError, QuotaExceededError
from tradewind.integrations.resend.answers import DAILY_QUOTA
from tradewind.integrations.resend.client import ResendClient
from tradewind.integrations.transport import shared_transport
from tradewind.loglines import count_line, log_line
from tradewind.ports import Email, EmailOutcome
from tradewind.ratelimit import RateLimiter, Window, connected
from tradewind.settings import Settings
from tradewind.tasks.scope import Scope, vault_of
from tradewind.tenancy.credentials import CredentialVault, Label, TenantCredentials
from tradewind.tenancy.database import Session, Transaction
from tradewind.tenancy.tenant import PLATFORM_TENANT, Tenant

MOST = 50
"""E-mails in one call, where the tenant's pace allows so many at once."""
SECOND = 1.05
"""A second at the provider's end: calls that are a second apart here may arrive a little closer there."""
_ACCOUNT_LIFE = timedelta(seconds=60)


@dataclass(frozen=True, slots=True, repr=False)
class Account:
    """A Resend account. ``name`` tells accounts apart for their limits and never is a secret."""

    name: str
    api_key: str
    address: str


@cache
def _kept() -> dict[UUID, tuple[float, Account]]:
    """Accounts that this process has read lately, by tenant."""
    return {}


def email_sender(scope: Scope) -> ResendEmailSender:
    """The tenant's sender. Its account is read when it is first needed."""
    return ResendEmailSender(scope.settings, scope.tenant, scope.session, vault_of(scope.settings))


class ResendEmailSender:
    """One tenant's e-mails, at the account's pace and at most so many a second for the tenant itself."""

    def __init__(self, settings: Settings, tenant: Tenant, session: Session, vault: CredentialVault) -> None:
        self._settings = settings
        self._tenant = tenant
        self._session = session
        self._vault = vault

    @property
    def most(self) -> int:
        return min(MOST, self._settings.tenant_emails_per_second)

    def sender_of(self, name: str) -> str:
        with _pauses_told():
            address = self._account().address
        cleaned = "".join(sign for sign in name if sign.isprintable() and sign not in '<>"\\').strip()
        return f'"{cleaned}" <{address}>' if cleaned else address

    def send(self, key: str, emails: Sequence[Email]) -> tuple[EmailOutcome, ...]:
        account = self._account()
        client = ResendClient(
            self._settings.resend_url,
            shared_transport(self._settings.provider_timeout).bound_to(self._session.settle),
            lambda: account.api_key,
            self._pacer(account),
        )
        with _pauses_told():
            return client.send(key, emails)

    def _pacer(self, account: Account) -> Callable[[], None]:
        """Waits for the tenant's place, then for the account's, last so that nothing comes between it and the call."""
        if self._settings.redis_url is None:
            raise MisconfiguredError("TRADEWIND_REDIS_URL is not set; provider limits need Valkey")
        limiter = RateLimiter(connected(self._settings.redis_url))
        length = timedelta(seconds=self.most / self._settings.tenant_emails_per_second * SECOND)
        own = Window(f"rate:{{tenant:{self._tenant.id}}}:emails", 1, length)
        calls = Window(f"rate:{{resend:{account.name}}}:calls", 1, self._settings.resend_call_spacing)

        def wait() -> None:
            self._session.settle()
            limiter.pass_window(own, fail_open=True)
            limiter.pass_window(calls)

        return wait

    def _account(self) -> Account:
        kept = _kept().get(self._tenant.id)
        if kept is not None and time.monotonic() - kept[0] < _ACCOUNT_LIFE.total_seconds():
            return kept[1]
        account = self._read(self._tenant.id) or self._read(PLATFORM_TENANT)
        if account is None:
            raise NotFoundError("Resend account of the tenant or the platform", self._tenant.slug)
        _kept()[self._tenant.id] = (time.monotonic(), account)
        return account

    def _read(self, owner: UUID) -> Account | None:
        credentials = TenantCredentials(owner, self._vault)
        with self._session.transaction(owner) as transaction:
            api_key = _find(credentials, transaction, "api_key")
            address = _find(credentials, transaction, "from")
            name = _find(credentials, transaction, "account")
        self._session.settle()
        if api_key is None:
            return None
        if address is None:
            raise MisconfiguredError("the Resend account has no address to send from: store its `from`")
        return Account(name or hashlib.sha256(api_key.encode()).hexdigest()[:16], api_key, address)


@contextmanager
def _pauses_told() -> Iterator[None]:
    """Count and log what only a person can mend: the alarm `email-sending` follows from it."""
    try:
        yield
    except (QuotaExceededError, CredentialsRejectedError, MisconfiguredError) as error:
        if not (isinstance(error, QuotaExceededError) and error.limit == DAILY_QUOTA):
            count_line("EmailSendingPaused", provider="resend")
            log_line("error", "e-mail account refuses to send", error=str(error))
        raise


def _find(credentials: TenantCredentials, transaction: Transaction, name: str) -> str | None:
    try:
        return credentials.get(transaction, Label("resend", name)).secret
    except NotFoundError:
        return None
