"""A tenant with orders and accounts at the ad platforms, which the sandbox plays; real workers, Postgres and Valkey."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from psycopg.types.json import Jsonb

from tests.integration.harness import House, local_settings
from tests.integration.sealing import ContextKeys
from tradewind.clock import FixedClock
from tradewind.integrations.conversions import TenantConversionApis, _kept
from tradewind.tasks.message import Message
from tradewind.tasks.registry import REGISTRY
from tradewind.tasks.worker import Done, End, Worker, to_plain
from tradewind.tenancy.credentials import CredentialVault, Label, TenantCredentials
from tradewind.tenancy.database import Session

GA4, META, TIKTOK = (
    "analytics-send-ga4-purchase",
    "analytics-send-meta-purchase",
    "analytics-send-tiktok-event",
)
REFUND = "analytics-send-refund-event"
SENDERS = {"ga4": GA4, "meta": META, "tiktok": TIKTOK}
PLACES = {"ga4": "ga4/streams", "meta": "meta/datasets", "tiktok": "tiktok/pixels"}
ORDER = 5001


@dataclass
class AdRoom:
    """``name`` is the tenant's account at every platform. The clock begins now and is turned by tests."""

    house: House
    url: str
    valkey: str
    clock: FixedClock = field(default_factory=lambda: FixedClock(datetime.now(UTC)))

    def __post_init__(self) -> None:
        _kept().clear()
        self.name = f"acme-{self.house.tenant_id.hex[:8]}"
        self.vault = CredentialVault(ContextKeys())
        self.settings = local_settings(
            self.house.urls,
            TRADEWIND_GA4_URL=f"{self.url}/ga4",
            TRADEWIND_META_URL=f"{self.url}/meta",
            TRADEWIND_TIKTOK_URL=f"{self.url}/tiktok",
            TRADEWIND_REDIS_URL=self.valkey,
        )
        self.process = dataclasses.replace(self.house.process, settings=self.settings, clock=self.clock)

    def connect(self, *destinations: str) -> None:
        secrets = {
            "ga4": {"measurement_id": f"G-{self.name}", "api_secret": "s3cret"},
            "meta": {"dataset_id": self.name, "access_token": "EAA-token", "app_secret": "app"},
            "tiktok": {"pixel_id": self.name, "access_token": f"tt_{self.name}"},
        }
        session = Session(self.house.connections)
        with session.transaction(self.house.tenant_id) as tx:
            for destination in destinations:
                for name, secret in secrets[destination].items():
                    TenantCredentials(self.house.tenant_id, self.vault).put(
                        tx, Label(destination, name), secret
                    )
        session.settle()
        session.close()
        _kept().clear()

    def set(self, settings: Mapping[str, Any]) -> None:
        import psycopg  # noqa: PLC0415 - as the platform role

        with psycopg.connect(self.house.urls.platform) as connection:
            connection.execute(
                "UPDATE tenants SET settings = settings || %s WHERE tenant_id = %s",
                (Jsonb(dict(settings)), self.house.tenant_id),
            )

    def place(self, order_id: int = ORDER, **columns: Any) -> None:
        """An order of 59.00: two mugs for 40.01 less 1.00, shipping 10.00, tax 9.99."""
        row: dict[str, Any] = {
            "order_number": f"#{order_id}",
            "shopify_customer_id": 77,
            "email": "ann@example.com",
            "currency": "USD",
            "gross_cents": 4001,
            "discount_cents": 100,
            "net_cents": 3901,
            "shipping_cents": 1000,
            "tax_cents": 999,
            "total_cents": 5900,
            "financial_status": "paid",
            "status": "open",
            "discount_codes": ["SPRING"],
            "attributes": Jsonb({"_user_agent": "Mozilla/5.0", "_ga": "GA1.1.111.222", "_fbp": "fb.1.1.2"}),
            "landing_page": "/mugs?fbclid=abc&ttclid=xyz",
            "visited_at": self.clock.now() - timedelta(hours=2),
            "placed_at": self.clock.now() - timedelta(hours=1),
            "shopify_updated_at": self.clock.now(),
        } | columns
        names, marks = ", ".join(row), ", ".join(["%s"] * len(row))
        self.house.write(
            f"INSERT INTO orders (shopify_order_id, {names}) VALUES (%s, {marks})", order_id, *row.values()
        )
        self.house.write(
            "INSERT INTO order_line_items (shopify_order_id, shopify_line_id, shopify_variant_id, title, quantity,"
            " unit_price_cents, discount_cents) VALUES (%s, 1, 401, 'Enamel Mug', 2, 2000, 99),"
            " (%s, 2, 402, 'Spoon', 1, 1, 1)",
            order_id,
            order_id,
        )

    def add_customer(self, **columns: Any) -> None:
        row = {
            "email": "ann@example.com",
            "first_name": "Ann",
            "last_name": "O'Brien-Smith",
            "phone": "+16505611111",
            "source_updated_at": self.clock.now(),
        } | columns
        names, marks = ", ".join(row), ", ".join(["%s"] * len(row))
        self.house.write(
            f"INSERT INTO customers (shopify_customer_id, {names}) VALUES (77, {marks})", *row.values()
        )

    def refund(self, refund_id: int = 6001, order_id: int = ORDER) -> None:
        """One mug comes back: 19.51 of 20.50 for goods."""
        self.house.write(
            "INSERT INTO refunds (shopify_order_id, shopify_refund_id, amount_cents, net_cents, refunded_at)"
            " VALUES (%s, %s, 2050, 1951, %s)",
            order_id,
            refund_id,
            self.clock.now(),
        )
        self.house.write(
            "INSERT INTO refund_line_items (shopify_refund_id, shopify_line_id, quantity, subtotal_cents)"
            " VALUES (%s, 1, 1, 1951)",
            refund_id,
        )

    def worker(self, task_id: str) -> Worker:
        worker = Worker(REGISTRY.get(task_id), self.process)
        if "apis" in worker._factories:
            worker._factories["apis"] = lambda scope: TenantConversionApis(
                self.settings, scope.tenant, scope.session, self.vault
            )
        if "messenger" in worker._factories:
            worker._factories["messenger"] = lambda _: self.house.messenger
        return worker

    def message(self, task_id: str, payload: Mapping[str, Any], cause: str, **about: Any) -> Message:
        return self.house.message(REGISTRY.get(task_id), payload, cause=cause, **about)

    def run(
        self, task_id: str, payload: Mapping[str, Any], cause: str = "order-converted", **about: Any
    ) -> End:
        """One message of a run; the same cause is the same run again."""
        deadline = self.clock.now() + timedelta(seconds=45)
        return self.worker(task_id).work(self.message(task_id, payload, cause, **about), deadline)

    def result(
        self, task_id: str, payload: Mapping[str, Any], cause: str = "order-converted", **about: Any
    ) -> Any:
        end = self.run(task_id, payload, cause, **about)
        assert isinstance(end, Done), end
        return to_plain(end.result)

    def tell_all(self, order_id: int = ORDER, cause: str = "order-converted", **about: Any) -> dict[str, str]:
        """Start all three senders; each one's outcome."""
        return {
            name: self.result(task, {"order_id": order_id}, cause, **about)["outcome"]
            for name, task in SENDERS.items()
        }

    def seen(self, destination: str) -> dict[str, Any]:
        """What a platform has of the tenant's account."""
        account = f"G-{self.name}" if destination == "ga4" else self.name
        found: dict[str, Any] = httpx.get(f"{self.url}/_sandbox/{PLACES[destination]}/{account}").json()
        return found

    def fail_once(self, provider: str, kind: str, count: int = 1) -> None:
        account = f"G-{self.name}" if provider == "ga4" else self.name
        plan = {"provider": provider, "rate": 1.0, "kinds": [kind], "shop": account, "remaining": count}
        httpx.post(f"{self.url}/_sandbox/faults", json=plan).raise_for_status()

    def ledger(self, columns: str = "destination, event_name, state, reason") -> list[tuple[Any, ...]]:
        rows = self.house.query(
            f"SELECT {columns} FROM conversion_events_sent WHERE tenant_id = %s ORDER BY event_name, destination",
            self.house.tenant_id,
        )
        return [tuple(row.values()) for row in rows]
