"""What a tenant's calls ask of Valkey: each key carries the tenant or its shop, and no two tenants share one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from infra.local import ValkeyServer
from infra.local.postgres import DatabaseUrls
from tests.conftest import ROOT
from tests.integration.harness import add_tenant, local_settings
from tradewind.clock import SystemClock
from tradewind.counters import EXPERIMENTS, ValkeyCounters
from tradewind.errors import NotFoundError
from tradewind.integrations.shopify.provider import ShopLimiter, ShopTokens
from tradewind.integrations.transport import Transport
from tradewind.ratelimit import RateLimiter, connect
from tradewind.tenancy.database import Connections, Session
from tradewind.tenancy.tenant import Tenant

HOUR = datetime(2026, 11, 20, 10, tzinfo=UTC)
SPEAKING_OF_PLACES = [
    f"layers/shared/python/tradewind/integrations/{name}/provider.py"
    for name in ("fairing", "resend", "slack")
]


@dataclass
class Watched:
    """A Valkey that notes each key that it is asked for."""

    store: Any
    keys: set[str] = field(default_factory=set)

    def eval(self, script: str, numkeys: int, *given: Any) -> Any:
        self.keys.update(given[:numkeys])
        return self.store.eval(script, numkeys, *given)

    def set(self, key: str, value: str, **about: Any) -> Any:
        self.keys.add(key)
        return self.store.set(key, value, **about)


@pytest.fixture
def store(valkey: ValkeyServer) -> Iterator[Any]:
    opened = connect(valkey.url)
    yield opened
    opened.close()


def keys_of(store: Any, urls: DatabaseUrls, slug: str) -> tuple[Tenant, set[str]]:
    """All keys of a call that is limited, reported on, and refused for its token."""
    about = {"tenant_id": str(add_tenant(urls, slug)), "slug": slug, "name": slug, "status": "active"}
    shop = {"zone": "UTC", "currency": "USD", "settings": {}, "shop_domain": f"{slug}.myshopify.com"}
    tenant = Tenant.from_row({**about, **shop})
    watched, connections = Watched(store), Connections(urls.app)
    session, transport = Session(connections), Transport.open(timedelta(seconds=1))
    limiter = ShopLimiter(RateLimiter(watched), tenant, 10, session.settle)
    limiter.acquire(5)
    limiter.report(900.0, 1000.0, 50.0)
    with pytest.raises(NotFoundError):
        ShopTokens(local_settings(urls), tenant, session, transport, SystemClock(), watched).refresh(
            "refused"
        )
    session.close()
    transport.close()
    connections.close()
    return tenant, watched.keys


def test_each_key_carries_the_tenant_or_its_shop_and_is_no_others(store: Any, database: DatabaseUrls) -> None:
    (acme, ours), (bolt, theirs) = (keys_of(store, database, slug) for slug in ("acme", "bolt"))
    assert (len(ours), len(theirs)) == (3, 3)
    assert ours & theirs == set()
    for tenant, keys in ((acme, ours), (bolt, theirs)):
        assert [key for key in keys if str(tenant.id) not in key and str(tenant.shop_domain) not in key] == []


def test_shops_with_one_name_in_two_apps_have_a_bucket_each(store: Any) -> None:
    """A shop's points are counted for each app."""
    row = {"tenant_id": "00000000-0000-0000-0000-000000000009", "slug": "x", "name": "X", "status": "active"}
    shop = {"zone": "UTC", "currency": "USD", "settings": {}, "shop_domain": "both.myshopify.com"}
    buckets = []
    for app in ("first", "second"):
        watched = Watched(store)
        tenant = Tenant.from_row({**row, **shop, "app": app})
        ShopLimiter(RateLimiter(watched), tenant, 10, lambda: None).report(1.0, 1000.0, 50.0)
        buckets.append(watched.keys)
    assert buckets[0] & buckets[1] == set()


def test_nothing_else_speaks_to_valkey() -> None:
    """Whoever opens a connection of its own is to be watched here; the check-up only asks whether it answers."""
    speaking = {
        path.relative_to(ROOT).as_posix()
        for folder in ("functions", "layers/shared/python")
        for path in (ROOT / folder).rglob("*.py")
        if "ratelimit import" in path.read_text() and "connect" in path.read_text()
    }
    kernel = "layers/shared/python/tradewind"
    providers = {
        f"{kernel}/integrations/{name}/provider.py" for name in ("fairing", "resend", "shopify", "slack")
    }
    providers.add(f"{kernel}/integrations/conversions.py")
    assert speaking == {*providers, f"{kernel}/counters.py", "functions/ingress/checkup.py"}


def test_counters_of_two_tenants_have_no_key_in_common(store: Any) -> None:
    asked = []
    for number in (1, 2):
        tenant_id, watched = UUID(int=number), Watched(store)
        counters = ValkeyCounters(watched, tenant_id, EXPERIMENTS)
        counters.add(HOUR, {"views": number})
        taken = counters.take(HOUR + timedelta(hours=1))
        assert taken is not None
        assert taken.amounts == {"views": number}
        counters.drop(taken)
        assert all(f"{{{tenant_id}}}" in key for key in watched.keys)
        asked.append(watched.keys)
    assert asked[0] & asked[1] == set()


def test_places_of_mail_messages_and_surveys_carry_the_tenant_and_those_of_an_account_its_name() -> None:
    """Tenants that share a Resend account share its pace, which is the one key without a tenant."""
    text = "\n".join((ROOT / path).read_text() for path in SPEAKING_OF_PLACES)
    assert set(re.findall(r'Window\(\s*f"([^"]+)"', text)) == {
        "rate:{{fairing:{self._tenant.id}}}",
        "rate:{{tenant:{self._tenant.id}}}:emails",
        "rate:{{resend:{account.name}}}:calls",
        "rate:{{slack:{self._tenant.id}:{channel}}}:posts",
    }
