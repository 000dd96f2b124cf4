"""The ``ConversionApis`` that a task is handed: the tenant's own accounts at GA4, Meta and TikTok.

Meta tells in its headers how much of an account's allowance is used: its bucket follows them. TikTok tells nothing but
that it was too much, GA4 nothing at all.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from uuid import UUID

from tradewind.advertising import Checked, ConversionEvent, Destination, Prepared, Receipt
from tradewind.contracts.ads import ACCOUNTS
from tradewind.errors import MisconfiguredError, NotFoundError
from tradewind.integrations.digest import sha256_of_document
from tradewind.integrations.ga4 import wire as ga4
from tradewind.integrations.ga4.client import Ga4Client
from tradewind.integrations.meta import wire as meta
from tradewind.integrations.meta.answers import Usage
from tradewind.integrations.meta.client import MetaEventsClient
from tradewind.integrations.tiktok import wire as tiktok
from tradewind.integrations.tiktok.client import TikTokEventsClient
from tradewind.integrations.transport import Transport, shared_transport
from tradewind.ratelimit import Bucket, RateLimiter, connected
from tradewind.settings import Settings
from tradewind.tasks.scope import Scope, vault_of
from tradewind.tenancy.credentials import CredentialVault, TenantCredentials
from tradewind.tenancy.database import Session
from tradewind.tenancy.tenant import Tenant

_ACCOUNT_LIFE = timedelta(seconds=60)
ALLOWANCE, PER_SECOND = 100, 100 / 3600
"""Meta's meters are percentages of what may be used in an hour; of the answer's own cost nothing is said before."""

Account = Mapping[str, str]


@dataclass(frozen=True, slots=True, repr=False)
class _Accounts:
    read_at: float
    by_destination: Mapping[Destination, Account]


@cache
def _kept() -> dict[UUID, _Accounts]:
    """Accounts that this process has read lately, by tenant."""
    return {}


def conversion_apis(scope: Scope) -> TenantConversionApis:
    """The tenant's platforms. Their credentials are read when they are first needed."""
    return TenantConversionApis(scope.settings, scope.tenant, scope.session, vault_of(scope.settings))


class TenantConversionApis:
    """One tenant's accounts; see ``ConversionApis``."""

    def __init__(self, settings: Settings, tenant: Tenant, session: Session, vault: CredentialVault) -> None:
        self._settings = settings
        self._tenant = tenant
        self._session = session
        self._vault = vault

    def connected(self) -> frozenset[Destination]:
        return frozenset(self._accounts())

    def prepare(self, destination: Destination, event: ConversionEvent) -> Prepared:
        match destination:
            case Destination.GA4:
                body, cents = ga4.to_wire(event), event.goods_cents
            case Destination.META:
                body, cents = meta.to_wire(event), event.value_cents
            case Destination.TIKTOK:
                body, cents = tiktok.to_wire(event), event.value_cents
        return Prepared(destination, body, sha256_of_document(body), cents)

    def send(self, prepared: Prepared) -> Receipt:
        account = self._account(prepared.destination)
        match prepared.destination:
            case Destination.GA4:
                return self._ga4(account).send(prepared.body)
            case Destination.META:
                return self._meta(account).send(prepared.body)
            case Destination.TIKTOK:
                return self._tiktok(account).send(prepared.body)

    def check(self, prepared: Prepared, test_code: str) -> Checked:
        account = self._account(prepared.destination)
        match prepared.destination:
            case Destination.GA4:
                return self._ga4(account).check(prepared.body)
            case Destination.META:
                meta_client = self._meta(account)
                receipt = meta_client.send(prepared.body, test_code)
                return Checked(reference=receipt.reference, seen=meta_client.look())
            case Destination.TIKTOK:
                receipt = self._tiktok(account).send(prepared.body, test_code)
                return Checked(reference=receipt.reference)

    def _ga4(self, account: Account) -> Ga4Client:
        return Ga4Client(
            self._settings.ga4_url, self._transport(), account["measurement_id"], account["api_secret"]
        )

    def _meta(self, account: Account) -> MetaEventsClient:
        dataset = account["dataset_id"]
        return MetaEventsClient(
            self._settings.meta_url,
            self._transport(),
            dataset,
            account["access_token"],
            account.get("app_secret"),
            self._meter(dataset),
        )

    def _tiktok(self, account: Account) -> TikTokEventsClient:
        return TikTokEventsClient(
            self._settings.tiktok_url, self._transport(), account["pixel_id"], account["access_token"]
        )

    def _meter(self, dataset: str) -> Callable[[Usage], None]:
        """Wait until Meta's allowance has room; what its answers tell of it is put down where it is nearly used up."""
        if self._settings.redis_url is None:
            raise MisconfiguredError("TRADEWIND_REDIS_URL is not set; provider limits need Valkey")
        limiter = RateLimiter(connected(self._settings.redis_url))
        key = f"rate:{{meta:{dataset}:{self._tenant.id}}}:usage"
        self._session.settle()
        limiter.take([Bucket(key, ALLOWANCE, PER_SECOND, 0)])

        def report(usage: Usage) -> None:
            left = min(ALLOWANCE - usage.percent, -usage.wait.total_seconds() * PER_SECOND or ALLOWANCE)
            limiter.report(key, left, ALLOWANCE, PER_SECOND)

        return report

    def _transport(self) -> Transport:
        return shared_transport(self._settings.provider_timeout).bound_to(self._session.settle)

    def _account(self, destination: Destination) -> Account:
        account = self._accounts().get(destination)
        if account is None:
            raise NotFoundError(f"account of the tenant at {destination}", self._tenant.slug)
        return account

    def _accounts(self) -> Mapping[Destination, Account]:
        kept = _kept().get(self._tenant.id)
        if kept is None or time.monotonic() - kept.read_at >= _ACCOUNT_LIFE.total_seconds():
            kept = _Accounts(time.monotonic(), self._read())
            _kept()[self._tenant.id] = kept
        return kept.by_destination

    def _read(self) -> dict[Destination, Account]:
        credentials = TenantCredentials(self._tenant.id, self._vault)
        found: dict[Destination, Account] = {}
        with self._session.transaction(self._tenant.id) as transaction:
            for destination in Destination:
                with suppress(NotFoundError):
                    needed, optional = ACCOUNTS[destination]
                    found[destination] = credentials.get_all(transaction, destination, needed, optional)
        self._session.settle()
        return found
