"""Many workers find a token refused at once: one renews it, and the others come back without having used an attempt."""

from __future__ import annotations

from datetime import timedelta

import pytest

from infra.local import ValkeyServer
from tests.integration.harness import House, local_settings
from tradewind.errors import RateLimitedError
from tradewind.integrations.shopify.provider import ShopTokens
from tradewind.integrations.transport import Transport
from tradewind.ratelimit import connect
from tradewind.tenancy.database import Session
from tradewind.tenancy.tenant import Tenant


def test_whoever_finds_another_renewing_the_token_waits_and_counts_no_attempt(
    house: House, valkey: ValkeyServer
) -> None:
    store = connect(valkey.url)
    store.set("lock:{shopify:acme.myshopify.com}:refresh", "one that died", px=10_000)
    tenant = Tenant.from_row(
        {
            "tenant_id": str(house.tenant_id),
            "slug": "acme",
            "name": "Acme",
            "status": "active",
            "zone": "UTC",
            "currency": "USD",
            "settings": {},
            "shop_domain": "acme.myshopify.com",
            "app": "default",
        }
    )
    session = Session(house.connections)
    settings = local_settings(house.urls, TRADEWIND_REDIS_URL=valkey.url)
    transport = Transport.open(timedelta(seconds=1))
    tokens = ShopTokens(settings, tenant, session, transport, house.process.clock, store)
    try:
        with pytest.raises(RateLimitedError) as refused:
            tokens.refresh("shpat_refused")
    finally:
        session.close()
        transport.close()
        store.delete("lock:{shopify:acme.myshopify.com}:refresh")
        store.close()
    assert refused.value.wait == timedelta(seconds=1)
