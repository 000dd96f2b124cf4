"""What only a function inside the network can see: whether Postgres, Valkey, the key and the providers answer.

Nothing is changed, and no secret leaves: credentials are answered by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

from ingress.operators import Request, Slug, find_tenant
from ingress.platform import Platform
from tradewind.aws.client import AwsClient
from tradewind.aws.keys import KeyService
from tradewind.clock import SystemClock
from tradewind.errors import MisconfiguredError, NotFoundError, TradewindError
from tradewind.integrations.shopify.provider import shopify_of
from tradewind.integrations.transport import Transport
from tradewind.ratelimit import UNREACHABLE, connect
from tradewind.settings import Settings
from tradewind.tasks.scope import vault_of
from tradewind.tenancy.credentials import Label, Sealed
from tradewind.tenancy.database import Session

SHOPS_ASKED = 20
_PROBE = UUID(int=0)
_SERVER = "SELECT current_user AS role, current_setting('server_version') AS version"
_TENANTS = """
SELECT t.tenant_id, t.slug, i.shop_domain FROM tenants t
LEFT JOIN shopify_app_installations i ON i.tenant_id = t.tenant_id AND i.status <> 'uninstalled'
WHERE t.status IN ('active', 'paused') ORDER BY t.slug LIMIT 1000
"""
_CREDENTIALS = """
SELECT provider, app, name, encrypted_key, nonce, ciphertext FROM credentials
WHERE tenant_id = current_tenant() ORDER BY provider, app, name
"""


class Check(Request):
    """Takes nothing."""


class FindOrder(Request):
    tenant: Slug


def check(platform: Platform, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Try every dependency; ``checks`` say which answer, ``credentials`` which of each tenant's secrets open."""
    Check.model_validate(fields)
    settings = platform.settings
    checks = [
        _try("postgres", lambda: _ask_postgres(platform)),
        _try("valkey", lambda: _ask_valkey(settings)),
        _try("key", lambda: _ask_key(settings)),
    ]
    credentials: dict[str, Any] = {}
    if checks[0]["ok"]:
        with platform.session() as session:
            tenants = session.call(_TENANTS, {})
            checks += _ask_shops(settings, [row["shop_domain"] for row in tenants if row["shop_domain"]])
            for row in tenants:
                credentials[row["slug"]] = _open_all(platform, session, row["tenant_id"])
    return {"checks": checks, "credentials": credentials}


def find_order(platform: Platform, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The id of an order of a tenant's shop. Raises NotFoundError where the shop has none."""
    asked = FindOrder.model_validate(fields)
    with platform.session() as session:
        tenant = find_tenant(session, asked.tenant)
        shop = shopify_of(platform.settings, tenant, session, SystemClock())
        page = shop.list_orders(updated_from=None, updated_to=None, cursor=None, limit=1)
    if not page.orders:
        raise NotFoundError("order in the shop of", asked.tenant)
    return {"tenant": tenant.slug, "order_id": page.orders[0].id}


def _try(name: str, ask: Callable[[], str]) -> dict[str, Any]:
    try:
        return {"name": name, "ok": True, "detail": ask()}
    except (TradewindError, *UNREACHABLE) as error:
        return {"name": name, "ok": False, "detail": f"{type(error).__name__}: {error}"[:300]}


def _ask_postgres(platform: Platform) -> str:
    with platform.session() as session:
        [row] = session.call(_SERVER, {})
    return f"PostgreSQL {row['version']}, as {row['role']}"


def _ask_valkey(settings: Settings) -> str:
    if settings.redis_url is None:
        raise MisconfiguredError("TRADEWIND_REDIS_URL is not set")
    client = connect(settings.redis_url)
    client.ping()
    return "answers"


def _ask_key(settings: Settings) -> str:
    """A data key that is thrown away, made and opened under a tenant's context."""
    keys = KeyService(AwsClient(settings.region, settings.endpoint_url), settings.kms_key)
    context = {"tenant": str(_PROBE)}
    made = keys.generate(context)
    if keys.decrypt(made.encrypted, context) != made.plain:
        raise MisconfiguredError(f"{settings.kms_key} opens another key than it made")
    return "makes and opens data keys"


def _ask_shops(settings: Settings, shops: list[str]) -> Iterator[dict[str, Any]]:
    """Any answer will do, also a refusal: no token is sent."""
    transport = Transport.open(timedelta(seconds=4))
    for shop in shops[:SHOPS_ASKED]:
        yield _try(f"shopify {shop}", partial(_ask_shop, transport, settings, shop))
    transport.close()


def _ask_shop(transport: Transport, settings: Settings, shop: str) -> str:
    base = settings.shopify_url.format(shop=shop)
    url = f"{base}/admin/api/{settings.shopify_api_version}/graphql.json"
    return f"answers {transport.post_json('shopify', url, {}).status} to nobody"


def _open_all(platform: Platform, session: Session, tenant_id: UUID) -> dict[str, list[str]]:
    vault = vault_of(platform.settings)
    with session.transaction(tenant_id) as transaction:
        rows = transaction.fetch_all(_CREDENTIALS)
    session.settle()
    opened: dict[str, list[str]] = {"opened": [], "failed": []}
    for row in rows:
        label = Label(row["provider"], row["name"], row["app"])
        sealed = Sealed(bytes(row["encrypted_key"]), bytes(row["nonce"]), bytes(row["ciphertext"]))
        try:
            vault.open(tenant_id, label, sealed)
            end = "opened"
        except TradewindError:
            end = "failed"
        opened[end].append(f"{row['provider']}/{row['app']}/{row['name']}")
    return opened
