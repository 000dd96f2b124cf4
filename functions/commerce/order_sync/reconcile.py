"""Comparing our orders and webhook subscriptions with Shopify's."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from commerce.order_sync.payloads import Reconciliation
from commerce.order_sync.repository import Orders
from tradewind.contracts.shopify import endpoint_for, topics_for
from tradewind.ports import OrderUpdate, Shopify
from tradewind.tenancy.database import TenantDb
from tradewind.tenancy.tenant import Tenant

_PAGE = 250
Discrepancy = tuple[OrderUpdate, str]


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What was compared, found and restored. ``subscriptions_restored`` is None where the webhook URL is not known."""

    compared: int
    missing: int
    outdated: int
    subscriptions_restored: int | None


def find_discrepancies(
    shopify: Shopify, db: TenantDb, at: datetime, asked: Reconciliation
) -> tuple[list[Discrepancy], int]:
    """Orders updated within the look-back that we miss or know in an older state, and how many were compared."""
    found: list[Discrepancy] = []
    compared = 0
    cursor: str | None = None
    while compared < asked.limit:
        page = shopify.list_order_updates(
            updated_from=at - timedelta(hours=asked.look_back_hours),
            updated_to=None,
            cursor=cursor,
            limit=min(_PAGE, asked.limit - compared),
        )
        with db.begin() as tx:
            stored = Orders(tx).list_stored_updates([update.id for update in page.updates])
        found += compare(page.updates, stored)
        compared += len(page.updates)
        cursor = page.next_cursor
        if cursor is None:
            break
    return found, compared


def compare(updates: tuple[OrderUpdate, ...], stored: dict[int, datetime]) -> list[Discrepancy]:
    """Pure: ``missing`` where we have none, ``outdated`` where ours is older."""
    return [
        (update, "missing" if update.id not in stored else "outdated")
        for update in updates
        if update.id not in stored or stored[update.id] < update.updated_at
    ]


def restore_subscriptions(shopify: Shopify, db: TenantDb, tenant: Tenant) -> int | None:
    """Subscribe again to topics that the shop no longer delivers to us: after 8 failures Shopify drops them."""
    base = tenant.settings.get("webhook_url")
    if not base or tenant.shop_domain is None:
        return None
    uri = endpoint_for(base, tenant.app)
    present = [item for item in shopify.list_webhook_subscriptions() if item.uri == uri]
    missing = [
        topic for topic in topics_for(tenant.settings) if topic not in {item.topic for item in present}
    ]
    present += shopify.create_webhook_subscriptions(missing, uri)
    with db.begin() as tx:
        Orders(tx).save_registrations(tenant.shop_domain, present)
    return len(missing)
