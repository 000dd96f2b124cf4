"""What an operator does to the platform: register a tenant, store secrets, make API keys, replay dead letters.

Lambda's entry takes ``{"action": name, ...}``; each action checks its own fields and says what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field, SecretStr, StringConstraints, ValidationError

from ingress.api_keys import create_api_key, list_api_keys, revoke_api_key, rotate_api_key
from ingress.checkup import check, find_order
from ingress.manifest import load_manifest
from ingress.operators import Name, Request, Slug, find_tenant, tenant_from
from ingress.pauses import list_pauses, pause, resume
from ingress.platform import Platform, current_platform
from ingress.removal import list_privacy_requests, remove_tenant
from ingress.replay import ReplayFilter, replay
from ingress.runs import find_runs, queue_state
from tradewind.clock import SystemClock
from tradewind.contracts.shopify import endpoint_for, topics_for
from tradewind.errors import InvalidPayloadError
from tradewind.integrations.shopify.provider import shopify_of
from tradewind.loglines import log_line
from tradewind.ports import Shopify
from tradewind.tasks.scope import vault_of
from tradewind.tenancy.credentials import Label, TenantCredentials
from tradewind.tenancy.database import Jsonb, PlatformDb, Session
from tradewind.tenancy.tenant import Tenant

ROTATION_OVERLAP = timedelta(hours=24)
"""How long a replaced secret may still sign: Shopify itself may take an hour."""

ShopDomain = Annotated[
    str, StringConstraints(to_lower=True, pattern=r"^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9-]+)+$")
]

_UPSERT_TENANT = """
INSERT INTO tenants AS t (slug, name, zone, currency, settings)
VALUES (%(slug)s, %(name)s, %(zone)s, %(currency)s, %(settings)s)
ON CONFLICT (slug) DO UPDATE SET settings = t.settings || excluded.settings, updated_at = now(),
    status = CASE t.status WHEN 'paused' THEN 'paused' ELSE 'active' END
RETURNING tenant_id, slug, name, status, zone, currency, settings
"""
_INSTALL = """
INSERT INTO shopify_app_installations AS i (tenant_id, app, shop_domain)
VALUES (%(tenant_id)s, %(app)s, %(shop)s)
ON CONFLICT (app, shop_domain) DO UPDATE SET status = 'installed', installed_at = now(), uninstalled_at = NULL
WHERE i.tenant_id = excluded.tenant_id
RETURNING tenant_id
"""
_LIST_TENANTS = """
SELECT t.tenant_id::text, t.slug, t.status, t.zone, t.currency, i.shop_domain
FROM tenants t LEFT JOIN shopify_app_installations i ON i.tenant_id = t.tenant_id
WHERE t.status <> 'platform' ORDER BY t.slug LIMIT 1000
"""


class RegisterTenant(Request):
    """A tenant with its shop. ``webhook_url`` is the base under which this deployment receives."""

    slug: Slug
    shop: ShopDomain
    name: str | None = None
    app: Name = "default"
    zone: str = "UTC"
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")] = "USD"
    webhook_url: str | None = None
    credentials: dict[Literal["app_secret", "access_token", "refresh_token", "client_id"], SecretStr]
    settings: dict[str, Any] = Field(default_factory=dict)


class StoreCredentials(Request):
    """A provider's secrets of a tenant, by name."""

    tenant: Slug
    provider: Name
    app: Name = "default"
    credentials: dict[Name, SecretStr] = Field(min_length=1)


class ReplayDeadLetters(Request):
    """Which dead letters to replay; ``dry_run`` only counts. At most ``limit`` a call."""

    actor: str = "operator"
    tenant: Slug | None = None
    task: str | None = None
    error_class: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    ids: list[UUID] | None = None
    dry_run: bool = False
    limit: int = Field(default=100, ge=1, le=1000)


def handle(event: Mapping[str, Any], context: object) -> dict[str, Any]:
    """Lambda's entry. Raises InvalidPayloadError that names the field and the remedy."""
    action = event.get("action")
    if action not in ACTIONS:
        raise InvalidPayloadError("action", f"is {action!r}", f"one of {', '.join(ACTIONS)}")
    fields = {name: value for name, value in event.items() if name != "action"}
    try:
        return ACTIONS[str(action)](current_platform(), fields)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise InvalidPayloadError(".".join(map(str, first["loc"])), first["msg"]) from None


def register_tenant(platform: Platform, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Register or update a tenant, store its secrets, subscribe its webhooks, and fetch one order as proof."""
    asked = RegisterTenant.model_validate(fields)
    for required in ("app_secret", "access_token"):
        if required not in asked.credentials:
            raise InvalidPayloadError(f"credentials.{required}", "is missing", "send it on standard input")
    with platform.session() as session:
        tenant = _write_tenant(session, asked)
        _store(platform, session, tenant.id, "shopify", asked.app, asked.credentials)
        shop = shopify_of(platform.settings, tenant, session, SystemClock())
        present, subscribed = _subscribe(shop, asked, tenant.settings)
        page = shop.list_orders(updated_from=None, updated_to=None, cursor=None, limit=1)
    log_line("info", "tenant registered", tenant_id=tenant.id, slug=tenant.slug, subscribed=len(subscribed))
    return {
        "tenant_id": str(tenant.id),
        "slug": tenant.slug,
        "shop": asked.shop,
        "webhooks_subscribed": subscribed,
        "webhooks_present": present,
        "proof_order": page.orders[0].name if page.orders else None,
    }


def _subscribe(
    shop: Shopify, asked: RegisterTenant, settings: Mapping[str, Any]
) -> tuple[list[str], list[str]]:
    """Topics that the shop delivers to our address already, and those that it is asked for by this call."""
    uri = endpoint_for(asked.webhook_url or "", asked.app)
    listed = shop.list_webhook_subscriptions()
    present = {item.topic for item in listed if asked.webhook_url is None or item.uri == uri}
    wanted = topics_for(settings) if asked.webhook_url else ()
    subscribed = [topic for topic in wanted if topic not in present]
    shop.create_webhook_subscriptions(subscribed, uri)
    return sorted(present), subscribed


def _write_tenant(session: Session, asked: RegisterTenant) -> Tenant:
    settings = {**asked.settings, **({"webhook_url": asked.webhook_url} if asked.webhook_url else {})}
    with PlatformDb(session).begin() as tx:
        row = tx.fetch_one(
            _UPSERT_TENANT,
            {
                "slug": asked.slug,
                "name": asked.name or asked.slug,
                "zone": asked.zone,
                "currency": asked.currency,
                "settings": Jsonb(settings),
            },
        )
        assert row is not None  # noqa: S101 - an upsert returns its row
        installed = tx.fetch_one(
            _INSTALL, {"tenant_id": row["tenant_id"], "app": asked.app, "shop": asked.shop}
        )
        if installed is None:
            raise InvalidPayloadError(
                "shop", f"{asked.shop} belongs to another tenant", "uninstall it there first"
            )
    session.settle()
    return tenant_from({**row, "shop_domain": asked.shop, "app": asked.app})


def store_credentials(platform: Platform, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Store a provider's secrets. A replaced signing secret stays valid for a day."""
    asked = StoreCredentials.model_validate(fields)
    with platform.session() as session:
        tenant = find_tenant(session, asked.tenant)
        versions = _store(platform, session, tenant.id, asked.provider, asked.app, asked.credentials)
    log_line(
        "info", "credentials stored", tenant_id=tenant.id, provider=asked.provider, names=sorted(versions)
    )
    return {"tenant": tenant.slug, "provider": asked.provider, "versions": versions}


def _store(
    platform: Platform,
    session: Session,
    tenant_id: UUID,
    provider: str,
    app: str,
    secrets: Mapping[Any, SecretStr],
) -> dict[str, int]:
    credentials = TenantCredentials(tenant_id, vault_of(platform.settings))
    versions: dict[str, int] = {}
    with session.transaction(tenant_id) as transaction:
        for name, secret in secrets.items():
            signing = str(name).endswith("_secret")
            versions[str(name)] = credentials.put(
                transaction,
                Label(provider, str(name), app),
                secret.get_secret_value(),
                previous_life=ROTATION_OVERLAP if signing else None,
            )
    session.settle()
    return versions


def list_tenants(platform: Platform, fields: Mapping[str, Any]) -> dict[str, Any]:
    """All tenants with their shops."""
    Request.model_validate(fields)
    with platform.session() as session:
        return {"tenants": session.call(_LIST_TENANTS, {})}


def replay_dead_letters(platform: Platform, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Replay dead letters by filter: each opens a linked run with fresh attempts and the same effect keys."""
    asked = ReplayDeadLetters.model_validate(fields)
    with platform.session() as session:
        tenant_id = None if asked.tenant is None else find_tenant(session, asked.tenant).id
        chosen = ReplayFilter(
            tenant_id=tenant_id,
            task=asked.task,
            error_class=asked.error_class,
            since=asked.since,
            until=asked.until,
            ids=tuple(asked.ids) if asked.ids else None,
        )
        return replay(
            platform, session, load_manifest(), chosen, asked.actor, dry_run=asked.dry_run, limit=asked.limit
        )


ACTIONS: Mapping[str, Callable[[Platform, Mapping[str, Any]], dict[str, Any]]] = {
    "register-tenant": register_tenant,
    "store-credentials": store_credentials,
    "list-tenants": list_tenants,
    "replay-dead-letters": replay_dead_letters,
    "remove-tenant": remove_tenant,
    "privacy-requests": list_privacy_requests,
    "find-runs": find_runs,
    "queue-state": queue_state,
    "pause": pause,
    "resume": resume,
    "list-pauses": list_pauses,
    "create-api-key": create_api_key,
    "rotate-api-key": rotate_api_key,
    "revoke-api-key": revoke_api_key,
    "list-api-keys": list_api_keys,
    "check": check,
    "find-order": find_order,
}
