"""The ``Shopify`` that a task is handed: its tenant's shop, tokens from the vault, limits from Valkey."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import uuid4

from tradewind.clock import Clock
from tradewind.crash import Point, reached
from tradewind.errors import MisconfiguredError, NotFoundError, RateLimitedError, RetryableError
from tradewind.integrations.shopify.client import ShopifyClient
from tradewind.integrations.shopify.oauth import refresh_access_token
from tradewind.integrations.transport import Transport, shared_transport
from tradewind.ratelimit import UNREACHABLE, Bucket, RateLimiter, Window, connected
from tradewind.settings import Settings
from tradewind.tasks.scope import Scope, vault_of
from tradewind.tenancy.credentials import Label, TenantCredentials
from tradewind.tenancy.database import Session
from tradewind.tenancy.tenant import Tenant

_FIRST_CAPACITY, _FIRST_REFILL = 1000, 100.0
"""A standard shop's bucket, until the shop's own answer says otherwise."""
SECOND = timedelta(milliseconds=1050)
"""A second at the provider's end, with a little for a call whose answer is not known: its sender died."""
_RENEW_BEFORE = timedelta(seconds=60)
_TOKEN_LIFE_IN_PROCESS = timedelta(seconds=60)
_LOCK_MS = 10_000
_POLL = timedelta(seconds=1)
"""Whoever finds the lock taken comes back after it, and counts no attempt: its holder may have died."""
_UNLOCK = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"


def shopify(scope: Scope) -> ShopifyClient:
    """The tenant's shop. Raises MisconfiguredError where the tenant has none."""
    return shopify_of(scope.settings, scope.tenant, scope.session, scope.process.clock)


def shopify_of(settings: Settings, tenant: Tenant, session: Session, clock: Clock) -> ShopifyClient:
    """A client over one session, whose open transaction is settled before each call."""
    return ShopifyClient(**access(settings, tenant, session, clock))


def access(settings: Settings, tenant: Tenant, session: Session, clock: Clock) -> dict[str, Any]:
    """What a client of the tenant's shop is made of. Raises MisconfiguredError where the tenant has no shop."""
    if tenant.shop_domain is None:
        raise MisconfiguredError(f"tenant {tenant.slug} has no installed Shopify shop")
    if settings.redis_url is None:
        raise MisconfiguredError("TRADEWIND_REDIS_URL is not set; provider limits need Valkey")
    transport = shared_transport(settings.provider_timeout).bound_to(session.settle)
    limiter = RateLimiter(connected(settings.redis_url))
    return {
        "shop": tenant.shop_domain,
        "base_url": settings.shopify_url.format(shop=tenant.shop_domain),
        "api_version": settings.shopify_api_version,
        "transport": transport,
        "limiter": ShopLimiter(limiter, tenant, settings.tenant_requests_per_second, session.settle),
        "tokens": ShopTokens(settings, tenant, session, transport, clock, connected(settings.redis_url)),
    }


class ShopLimiter:
    """Two levels: the shop's bucket of points (per app and shop), then the tenant's requests per second, last so that
    nothing comes between it and the call.
    """

    def __init__(
        self, limiter: RateLimiter, tenant: Tenant, requests_per_second: int, settle: Callable[[], None]
    ) -> None:
        self._limiter = limiter
        self._settle = settle
        rate = int(tenant.settings.get("requests_per_second", requests_per_second))
        self._overall = Window(f"rate:{{tenant:{tenant.id}}}:window", rate, SECOND)
        self._points = f"rate:{{shopify:{tenant.app}:{tenant.shop_domain}}}:points"
        self._call = ""

    def acquire(self, cost: int) -> None:
        """Take ``cost`` points and one request. Raises RateLimitedError for a wait of more than a second."""
        self._settle()
        self._limiter.take([Bucket(self._points, _FIRST_CAPACITY, _FIRST_REFILL, cost)])
        self._call = self._limiter.pass_window(self._overall, fail_open=True)

    def answered(self) -> None:
        """The call has ended: its second begins here, for no one knows when it arrived."""
        self._limiter.answered(self._overall, self._call)

    def report(self, available: float, maximum: float, restore_per_second: float) -> None:
        self._limiter.report(self._points, available, maximum, restore_per_second)


@dataclass(frozen=True, slots=True, repr=False)
class _Kept:
    token: str
    read_at: float


_tokens: dict[tuple[str, str, str], _Kept] = {}
"""Access tokens that this process has read lately, by tenant, app and shop."""


class ShopTokens:
    """The shop's access token, renewed under a lock that all workers share."""

    def __init__(
        self,
        settings: Settings,
        tenant: Tenant,
        session: Session,
        transport: Transport,
        clock: Clock,
        valkey: Any,
    ) -> None:
        self._settings = settings
        self._tenant = tenant
        self._session = session
        self._transport = transport
        self._clock = clock
        self._valkey = valkey
        self._credentials = TenantCredentials(tenant.id, vault_of(settings))
        self._key = (str(tenant.id), tenant.app, str(tenant.shop_domain))

    def access_token(self) -> str:
        """A token that should be valid; renewed ahead of its end where the shop has a refresh token."""
        kept = _tokens.get(self._key)
        if kept is not None and time.monotonic() - kept.read_at < _TOKEN_LIFE_IN_PROCESS.total_seconds():
            return kept.token
        with self._session.transaction(self._tenant.id) as transaction:
            found = self._credentials.get(transaction, self._label("access_token"))
        self._session.settle()
        if found.expires_at is not None and found.expires_at - self._clock.now() < _RENEW_BEFORE:
            return self.refresh(found.secret)
        return self._keep(found.secret)

    def refresh(self, rejected: str) -> str:
        """Another token than ``rejected``. Raises CredentialsRejectedError where Shopify renews no more."""
        _tokens.pop(self._key, None)
        lock, owner = f"lock:{{shopify:{self._tenant.shop_domain}}}:refresh", str(uuid4())
        try:
            if not self._valkey.set(lock, owner, nx=True, px=_LOCK_MS):
                raise RateLimitedError(f"{self._tenant.shop_domain}: another worker renews the token", _POLL)
            try:
                return self._keep(self._renew(rejected))
            finally:
                self._valkey.eval(_UNLOCK, 1, lock, owner)
        except UNREACHABLE as error:
            raise RetryableError(f"valkey: {error}") from error

    def _renew(self, rejected: str) -> str:
        with self._session.transaction(self._tenant.id) as transaction:
            current = self._credentials.get(transaction, self._label("access_token")).secret
            refresh_token = self._credentials.get(transaction, self._label("refresh_token")).secret
            client_secret = self._credentials.get(transaction, self._label("app_secret")).secret
            client_id = self._client_id(transaction)
        self._session.settle()
        if current != rejected:
            return current
        renewed = refresh_access_token(
            self._transport,
            shop=str(self._tenant.shop_domain),
            base_url=self._settings.shopify_url.format(shop=self._tenant.shop_domain),
            client_id=client_id,
            client_secret=client_secret,
            refresh_token=refresh_token,
        )
        reached(Point.TOKEN_RENEWED)
        expires_at = self._clock.now() + renewed.expires_in
        with self._session.transaction(self._tenant.id) as transaction:
            self._credentials.put(
                transaction, self._label("access_token"), renewed.access_token, expires_at=expires_at
            )
            self._credentials.put(transaction, self._label("refresh_token"), renewed.refresh_token)
        self._session.settle()
        return renewed.access_token

    def _client_id(self, transaction: Any) -> str:
        try:
            return self._credentials.get(transaction, self._label("client_id")).secret
        except NotFoundError:
            return self._tenant.app

    def _label(self, name: str) -> Label:
        return Label("shopify", name, self._tenant.app)

    def _keep(self, token: str) -> str:
        _tokens[self._key] = _Kept(token, time.monotonic())
        return token
