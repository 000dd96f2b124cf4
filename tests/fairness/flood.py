"""Tenants that flood, one that sends a little, and an eye on every queue meanwhile."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import StringIO
from types import MappingProxyType
from typing import Any
from uuid import UUID, uuid4

import psycopg

from ingress.accept import Acceptor
from ingress.deliveries import PROVIDERS, Request
from ingress.manifest import load_manifest
from ingress.shops import ShopDirectory
from tests.e2e.cloud import Cloud, Tenant, sign
from tests.e2e.orders import make_order, new_id, recently
from tradewind.aws.client import AwsClient
from tradewind.aws.keys import KeyService
from tradewind.aws.objects import PayloadStore
from tradewind.settings import Settings, read_settings
from tradewind.tasks.dispatch import Dispatcher
from tradewind.tenancy.credentials import CredentialVault
from tradewind.tenancy.database import Connections

TASK, TOPIC = "commerce-sync-order", "orders/updated"
WATCH_S = 0.1
BETWEEN_S = 1.0
QUICK = 10_000


@dataclass(frozen=True, slots=True)
class Size:
    """``flood`` webhooks of each flooding tenant, ``quiet`` ones of the other, one a second; ``floods`` tenants at a
    time.
    """

    flood: int
    quiet: int
    floods: tuple[int, ...]
    times_solo: float = 2.0
    """How many times its p95 alone the quiet tenant's may be. A few samples on a busy machine are no measurement: the
    small size only tells a share from a queue behind everybody.
    """


@dataclass(frozen=True, slots=True)
class Call:
    at: datetime
    operation: str


@dataclass
class Watch:
    """What was seen of the queues, many times a second."""

    most_of_a_tenant: Counter[UUID] = field(default_factory=Counter)
    most_at_work: Counter[UUID] = field(default_factory=Counter)
    most_in_all: int = 0
    looks: int = 0


class Scene:
    """The cloud, its tenants, and the receiver's own acceptor in this process: a flood through HTTP would be a test of
    how fast this machine posts.
    """

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.manifest = load_manifest()
        self.settings = self._settings()
        aws = self.aws = AwsClient(self.settings.region, self.settings.endpoint_url)
        connections = self.connections = Connections(cloud.state.platform_database_url)
        vault = CredentialVault(KeyService(aws, self.settings.kms_key))
        self.acceptor = Acceptor(
            self.settings,
            connections,
            ShopDirectory(connections, vault),
            Dispatcher(_Unsent(), "local"),  # type: ignore[arg-type]
            PayloadStore(aws, self.settings.payload_bucket, self.settings.region),
            self.manifest,
        )

    def close(self) -> None:
        self.connections.close()
        for connection in self.aws._local.__dict__.get("kept", {}).values():
            connection.close()

    def _settings(self) -> Settings:
        state = self.cloud.state
        return read_settings(
            MappingProxyType(
                {
                    "TRADEWIND_STAGE": "local",
                    "TRADEWIND_ACCOUNT": state.account,
                    "TRADEWIND_DATABASE_URL": state.platform_database_url,
                    "TRADEWIND_PAYLOAD_BUCKET": "unused",
                    "AWS_ENDPOINT_URL": state.aws_endpoint_url,
                    "AWS_REGION": state.region,
                }
            )
        )

    def warm_up(self, workers: int) -> None:
        """Start as many workers as there may be: on two cores sixteen of them take their time."""
        self.relay()
        tenants = self.tenants(4)
        self.flood(tenants, workers)
        self.forget(tenants)

    def tenants(self, count: int, requests_per_second: int = QUICK) -> list[Tenant]:
        """Tenants without subscriptions, whose own rate is not what holds them back."""
        made = []
        for _ in range(count):
            slug = f"fair-{uuid4().hex[:8]}"
            tenant = Tenant(self.cloud, slug, f"{slug}.myshopify.com", f"shpss_{uuid4().hex}")
            about = {"slug": slug, "shop": tenant.shop, "credentials": tenant.secrets}
            settings = {"requests_per_second": requests_per_second}
            answer = self.cloud.invoke(
                "ingress-admin", {"action": "register-tenant", "settings": settings, **about}
            )
            tenant.id = UUID(answer["tenant_id"])
            made.append(tenant)
        return made

    def flood(self, tenants: Sequence[Tenant], each: int) -> None:
        """Accept ``each`` webhooks of every tenant, then have the relay send what may be sent."""
        for tenant in tenants:
            orders = [make_order(new_id(), recently(hours=3)) for _ in range(each)]
            for start in range(0, each, 500):
                page = {"orders": orders[start : start + 500]}
                self.cloud.sandbox.put(f"/shopify/{tenant.shop}/orders", json=page).raise_for_status()
            with redirect_stdout(StringIO()):
                for order in orders:
                    self._accept(tenant, order)
        self.relay()

    def _accept(self, tenant: Tenant, order: Mapping[str, Any]) -> None:
        body = json.dumps(order).encode()
        headers = {
            "x-shopify-topic": TOPIC,
            "x-shopify-shop-domain": tenant.shop,
            "x-shopify-api-version": "2026-07",
            "x-shopify-webhook-id": uuid4().hex,
            "x-shopify-hmac-sha256": sign(body, tenant.secret),
        }
        end = self.acceptor.accept(
            PROVIDERS["shopify"], Request("shopify", "default", headers, body, datetime.now(UTC))
        )
        assert end.outcome == "accepted", end

    def relay(self) -> None:
        time.sleep(1.1)
        self.cloud.invoke("ingress-relay", {})

    def trickle(self, tenant: Tenant, count: int) -> list[float]:
        """One webhook a second over HTTP; seconds from each one's acceptance to its end."""
        causes = []
        for _ in range(count):
            order = make_order(new_id(), recently(hours=3))
            tenant.put(order)
            cause = uuid4().hex
            assert tenant.deliver(TOPIC, order, event=cause).status_code == 200
            causes.append(cause)
            time.sleep(BETWEEN_S)
        runs = [tenant.finished(TASK, cause) for cause in causes]
        return [(run["finished_at"] - run["accepted_at"]).total_seconds() for run in runs]

    @contextmanager
    def watched(self) -> Iterator[Watch]:
        """Look at the outbox and the runs all the while."""
        seen, stop = Watch(), threading.Event()

        def look() -> None:
            with psycopg.connect(self.cloud.state.database_url, autocommit=True) as connection:
                while not stop.wait(WATCH_S):
                    note(seen, connection)

        thread = threading.Thread(target=look)
        thread.start()
        try:
            yield seen
        finally:
            stop.set()
            thread.join()

    def forget(self, tenants: Sequence[Tenant]) -> None:
        """Take a flood's held messages back, and wait until what is under way has ended."""
        ids = [tenant.id for tenant in tenants]
        with psycopg.connect(self.cloud.state.platform_database_url) as connection:
            connection.execute("DELETE FROM outbox WHERE tenant_id = ANY (%s) AND state = 'held'", (ids,))

        def calm() -> bool:
            rows = self.cloud.query(
                "SELECT 1 AS x FROM outbox WHERE tenant_id = ANY (%s) AND state IN ('ready', 'sent') LIMIT 1",
                ids,
            )
            return not rows

        self.cloud.wait_for("the end of the flood", calm)

    def calls(self, tenant: Tenant) -> list[Call]:
        """Shopify's calls for a tenant, oldest first."""
        listed: list[Call] = []
        after = 0
        while True:
            asked: dict[str, str | int] = {"shop": tenant.shop, "after": after, "limit": 5000}
            answer = self.cloud.sandbox.get("/calls", params=asked).json()
            if not answer["calls"]:
                return listed
            listed += [
                Call(datetime.fromisoformat(call["at"]), call["operation"]) for call in answer["calls"]
            ]
            after = answer["last"]

    def refusals(self, tenant: Tenant) -> list[str]:
        return [call["remark"] for call in self.cloud.calls(tenant.shop) if call["remark"]]


class _Unsent:
    """Queues that take nothing: what is accepted stays ``ready`` until the relay sends it."""

    def send(self, entries: Sequence[Any]) -> list[str]:
        return []


def note(seen: Watch, connection: psycopg.Connection[Any]) -> None:
    """One look at what lies in the queue and what is worked on."""
    rows = connection.execute(
        "SELECT tenant_id, count(*) FROM outbox WHERE task = %s AND state IN ('ready', 'sent') GROUP BY 1",
        (TASK,),
    ).fetchall()
    running = connection.execute(
        "SELECT tenant_id, count(*) FROM task_run WHERE task = %s AND state = 'running' GROUP BY 1", (TASK,)
    ).fetchall()
    seen.looks += 1
    seen.most_in_all = max(seen.most_in_all, sum(count for _, count in rows))
    for most, found in ((seen.most_of_a_tenant, rows), (seen.most_at_work, running)):
        for tenant_id, count in found:
            most[tenant_id] = max(most[tenant_id], count)


def busiest_second(instants: Sequence[datetime]) -> int:
    """The most instants in any second, wherever it begins."""
    most, first = 0, 0
    for last, instant in enumerate(instants):
        while (instant - instants[first]).total_seconds() >= 1:
            first += 1
        most = max(most, last - first + 1)
    return most
