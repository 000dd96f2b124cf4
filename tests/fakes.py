"""Fakes that record facts: a shop that answers what it was given, queues that keep what was sent."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

from tradewind.advertising import Checked, ConversionEvent, Destination, Prepared, Receipt
from tradewind.aws.queues import Entry
from tradewind.errors import NotFoundError, TradewindError
from tradewind.exporting import Destination as Place
from tradewind.exporting import FileToBring
from tradewind.ports import (
    CounterSnapshot,
    Email,
    EmailOutcome,
    Note,
    OrderPage,
    OrderUpdate,
    Posted,
    ShopifyCustomer,
    ShopifyFulfillment,
    ShopifyLine,
    ShopifyOrder,
    ShopifyRefund,
    ShopifyRefundLine,
    ShopifyVisit,
    UpdatePage,
    WebhookSubscription,
)
from tradewind.spending import AdAccount, CampaignDay, Span, ViewDay
from tradewind.surveys import AnswerPage, SurveyAnswer

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


@dataclass
class FakeShopify:
    """A shop with orders by id. ``failures`` are raised first, one a call."""

    orders: dict[int, ShopifyOrder] = field(default_factory=dict)
    subscriptions: list[WebhookSubscription] = field(default_factory=list)
    failures: list[TradewindError] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)

    def put(self, *orders: ShopifyOrder) -> None:
        self.orders |= {order.id: order for order in orders}

    def _called(self, name: str) -> None:
        self.calls.append(name)
        if self.failures:
            raise self.failures.pop(0)

    def find_order(self, order_id: int) -> ShopifyOrder | None:
        self._called(f"find_order {order_id}")
        return self.orders.get(order_id)

    def list_orders(
        self, *, updated_from: datetime | None, updated_to: datetime | None, cursor: str | None, limit: int
    ) -> OrderPage:
        self._called("list_orders")
        within = sorted(
            (
                order
                for order in self.orders.values()
                if (updated_from is None or order.updated_at >= updated_from)
                and (updated_to is None or order.updated_at <= updated_to)
            ),
            key=lambda order: (order.updated_at, order.id),
        )
        start = int(cursor or 0)
        end = start + limit
        return OrderPage(tuple(within[start:end]), str(end) if end < len(within) else None)

    def list_order_updates(
        self, *, updated_from: datetime | None, updated_to: datetime | None, cursor: str | None, limit: int
    ) -> UpdatePage:
        page = self.list_orders(updated_from=updated_from, updated_to=updated_to, cursor=cursor, limit=limit)
        return UpdatePage(
            tuple(OrderUpdate(order.id, order.updated_at) for order in page.orders), page.next_cursor
        )

    def list_orders_by_id(self, order_ids: Sequence[int]) -> tuple[ShopifyOrder, ...]:
        self._called("list_orders_by_id")
        return tuple(self.orders[order_id] for order_id in order_ids if order_id in self.orders)

    def list_webhook_subscriptions(self) -> tuple[WebhookSubscription, ...]:
        self._called("list_webhook_subscriptions")
        return tuple(self.subscriptions)

    def create_webhook_subscriptions(
        self, topics: Sequence[str], uri: str
    ) -> tuple[WebhookSubscription, ...]:
        self._called("create_webhook_subscriptions")
        first = len(self.subscriptions) + 1
        made = [
            WebhookSubscription(f"gid://shopify/WebhookSubscription/{number}", topic, uri)
            for number, topic in enumerate(topics, first)
        ]
        self.subscriptions.extend(made)
        return tuple(made)


@dataclass
class FakeEmailSender:
    """An account that takes everything. ``failures`` are raised first, one a call; refused addresses are told why."""

    calls: list[tuple[str, tuple[Email, ...]]] = field(default_factory=list)
    failures: list[TradewindError] = field(default_factory=list)
    refused: Mapping[str, str] = field(default_factory=dict)
    most: int = 10

    def sender_of(self, name: str) -> str:
        return f"{name} <reviews@example.com>"

    def send(self, key: str, emails: Sequence[Email]) -> tuple[EmailOutcome, ...]:
        self.calls.append((key, tuple(emails)))
        if self.failures:
            raise self.failures.pop(0)
        return tuple(
            EmailOutcome(None, self.refused[email.to])
            if email.to in self.refused
            else EmailOutcome(f"{key}-{at}")
            for at, email in enumerate(emails)
        )


@dataclass
class FakeDiscountCodes:
    """A shop's codes with their percents. ``failures`` are raised first, one a call."""

    codes: dict[str, int] = field(default_factory=dict)
    failures: list[TradewindError] = field(default_factory=list)

    def create_code(self, code: str, percent: int, starts_at: datetime, ends_at: datetime) -> str | None:
        if self.failures:
            raise self.failures.pop(0)
        if code in self.codes:
            return None
        self.codes[code] = percent
        return f"gid://shopify/DiscountCodeNode/{len(self.codes)}"


class FakeLinks:
    """Links that carry what they are for."""

    def signer(self) -> Callable[[int, int], str]:
        return lambda order_id, sequence: f"https://tradewind.example.com/unsubscribe/{order_id}-{sequence}"


@dataclass
class FakeQueues:
    """Queues that keep what was sent, and the waits that were set."""

    sent: list[Entry] = field(default_factory=list)
    put_aside: list[tuple[str, str]] = field(default_factory=list)
    waits: list[tuple[str, timedelta]] = field(default_factory=list)
    failures: list[TradewindError] = field(default_factory=list)

    def send(self, entries: Sequence[Entry]) -> list[str]:
        if self.failures:
            raise self.failures.pop(0)
        self.sent.extend(entries)
        return [entry.key for entry in entries]

    def put(self, queue: str, body: str) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.put_aside.append((queue, body))

    def set_visibility(self, queue: str, waits: Sequence[tuple[str, timedelta]]) -> None:
        self.waits.extend(waits)


@dataclass
class FakePayloads:
    """A payload store of one process; pages hold ``page`` keys."""

    kept: dict[str, bytes] = field(default_factory=dict)
    page: int = 2

    def put(self, key: str, body: bytes) -> None:
        self.kept[key] = body

    def get(self, key: str) -> bytes:
        if key not in self.kept:
            raise NotFoundError("stored payload", key)
        return self.kept[key]

    def put_file(self, key: str, path: Path, sha256: str) -> None:
        body = path.read_bytes()
        assert hashlib.sha256(body).hexdigest() == sha256
        self.kept[key] = body

    def get_file(self, key: str, path: Path) -> None:
        path.write_bytes(self.get(key))

    def delete(self, key: str) -> None:
        self.kept.pop(key, None)

    def list(self, prefix: str, after: str = "") -> Sequence[str]:
        return sorted(key for key in self.kept if key.startswith(prefix) and key > after)[: self.page]


@dataclass
class FakeCouriers:
    """Places that keep what was brought, by the destination's name and the file's."""

    brought: dict[tuple[str, str], bytes] = field(default_factory=dict)

    def bring(self, destination: Place, file: FileToBring) -> None:
        self.brought[destination.name, file.name] = file.path.read_bytes()


@dataclass
class FakeWebhookSender:
    """Addresses that keep what was posted."""

    posted: list[tuple[str, str, UUID, bytes]] = field(default_factory=list)

    def post(self, name: str, url: str, delivery_id: UUID, body: bytes) -> None:
        self.posted.append((name, url, delivery_id, body))


@dataclass
class FakeMessenger:
    """A channel that keeps what was posted, each key once."""

    posted: dict[str, Note] = field(default_factory=dict)

    def post(self, key: str, note: Note) -> Posted:
        if key in self.posted:
            return Posted.AGAIN
        self.posted[key] = note
        return Posted.SENT


@dataclass
class FakeConversionApis:
    """Accounts at every platform that take everything; ``sent`` is what they were told."""

    sent: list[Prepared] = field(default_factory=list)

    def connected(self) -> frozenset[Destination]:
        return frozenset(Destination)

    def prepare(self, destination: Destination, event: ConversionEvent) -> Prepared:
        return Prepared(destination, {"id": event.id}, event.id, event.value_cents)

    def check(self, prepared: Prepared, test_code: str) -> Checked:
        return Checked(reference=f"{prepared.sha256}/{test_code}")

    def send(self, prepared: Prepared) -> Receipt:
        self.sent.append(prepared)
        return Receipt(200, 1)


class FakeAdReports:
    """Every account had one campaign on each last day that is asked for."""

    def fetch(self, account: AdAccount, span: Span, report: str | None) -> tuple[CampaignDay, ...]:
        return (CampaignDay(span.last, "1", "Campaign", account.currency, 100, 1, 1, Decimal(0), 0),)

    def fetch_views(self, account: AdAccount, span: Span) -> tuple[ViewDay, ...]:
        return (ViewDay(span.last, "1", "Campaign", account.currency, Decimal(1), 100),)


class FakeSurvey:
    """A survey with one answer."""

    def is_connected(self) -> bool:
        return True

    def list_answers(self, since: datetime, cursor: str | None) -> AnswerPage:
        answer = SurveyAnswer("r1", since, "q1", "How?", "Podcast", None, None, 1, "1001", None)
        return AnswerPage((answer,), cursor)


@dataclass
class FakeCounters:
    """Counters whose snapshots a test gives; what is dropped is gone."""

    snapshots: list[CounterSnapshot] = field(default_factory=list)
    added: list[tuple[datetime, Mapping[str, int]]] = field(default_factory=list)

    def add(self, hour: datetime, amounts: Mapping[str, int]) -> None:
        self.added.append((hour, amounts))

    def take(self, before: datetime) -> CounterSnapshot | None:
        return next((each for each in self.snapshots if each.hour < before), None)

    def drop(self, snapshot: CounterSnapshot) -> None:
        self.snapshots.remove(snapshot)


@dataclass
class FakeMachines:
    """A workflow runner that calls ``steps`` in the place of a state machine."""

    run_step: Any
    started: list[Mapping[str, Any]] = field(default_factory=list)

    def run(self, workflow: str, name: str, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        self.started.append({"workflow": workflow, "name": name, **payload})
        result: Mapping[str, Any] = self.run_step(payload)
        return result


@dataclass
class FakeLongMachines:
    """Standard machines that remember what was started, each name once; ``running`` are at work already."""

    running: int = 0
    started: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def start(self, machine: str, name: str, payload: Mapping[str, Any]) -> None:
        self.started.setdefault(name, {"machine": machine, **payload})

    def count_running(self, machine: str, most: int) -> int:
        return min(most, self.running)


def an_order(order_id: int = 1001, **changes: Any) -> ShopifyOrder:
    """An order of 100.00 gross less 10.00 discount, plus 5.00 shipping and 7.00 tax: 102.00 charged."""
    order = ShopifyOrder(
        id=order_id,
        name=f"#{order_id}",
        currency="USD",
        gross_cents=10_000,
        discount_cents=1_000,
        shipping_cents=500,
        tax_cents=700,
        total_cents=10_200,
        financial_status="paid",
        fulfillment_status=None,
        placed_at=NOON,
        updated_at=NOON,
        email="Ann@Example.com",
        attributes={"visitor_id": "visitor-1"},
        customer=ShopifyCustomer(501, "ann@example.com", "Ann", "Lee", None, accepts_marketing=True),
        visit=ShopifyVisit(NOON - timedelta(minutes=9), "/?utm_source=google&utm_medium=cpc", None),
        lines=(
            ShopifyLine(order_id * 10 + 1, "Compact disc", 3, 2_000, 600, 71, 710, "CD-1"),
            ShopifyLine(order_id * 10 + 2, "Poster", 1, 4_000, 400, 72, 720, "PO-1"),
        ),
    )
    return replace(order, **changes)


def a_refund(refund_id: int, amount: int, net: int, at: datetime, line_id: int = 10011) -> ShopifyRefund:
    return ShopifyRefund(refund_id, amount, net, at, "damaged", (ShopifyRefundLine(line_id, 1, net),))


def a_fulfillment(number: int, at: datetime, delivered_at: datetime | None = None) -> ShopifyFulfillment:
    return ShopifyFulfillment(
        id=number,
        status="success",
        shipment_status="delivered" if delivered_at else "in_transit",
        tracking_company="UPS",
        tracking_number=f"1Z{number}",
        tracking_url=None,
        created_at=at,
        updated_at=delivered_at or at,
        delivered_at=delivered_at,
    )


def body_of(order: ShopifyOrder) -> dict[str, Any]:
    """An order as an order topic's webhook tells it, for an order in a currency of cents."""

    def amount(cents: int) -> str:
        return f"{cents / 100:.2f}"

    customer = order.customer
    return {
        "id": order.id,
        "admin_graphql_api_id": f"gid://shopify/Order/{order.id}",
        "name": order.name,
        "currency": order.currency,
        "created_at": order.placed_at.isoformat(),
        "processed_at": order.placed_at.isoformat(),
        "updated_at": order.updated_at.isoformat(),
        "cancelled_at": order.cancelled_at.isoformat() if order.cancelled_at else None,
        "cancel_reason": order.cancel_reason,
        "financial_status": order.financial_status,
        "fulfillment_status": order.fulfillment_status,
        "email": order.email,
        "test": order.test,
        "tags": ", ".join(order.tags),
        "total_line_items_price": amount(order.gross_cents),
        "total_discounts": amount(order.discount_cents),
        "total_tax": amount(order.tax_cents),
        "total_price": amount(order.total_cents),
        "total_shipping_price_set": {
            "shop_money": {"amount": amount(order.shipping_cents), "currency_code": order.currency}
        },
        "landing_site": "/the-first-visit-of-a-journey",
        "discount_codes": [{"code": code} for code in order.discount_codes],
        "note_attributes": [{"name": name, "value": value} for name, value in order.attributes.items()],
        "customer": customer
        and {
            "id": customer.id,
            "email": customer.email,
            "first_name": customer.first_name,
            "last_name": customer.last_name,
            "phone": customer.phone,
        },
        "line_items": [
            {
                "id": line.id,
                "title": line.title,
                "quantity": line.quantity,
                "price": amount(line.unit_price_cents),
                "total_discount": amount(line.discount_cents),
                "product_id": line.product_id,
                "variant_id": line.variant_id,
                "sku": line.sku,
            }
            for line in order.lines
        ],
        "refunds": [
            {
                "id": refund.id,
                "created_at": refund.created_at.isoformat(),
                "note": refund.note,
                "refund_line_items": [
                    {
                        "line_item_id": line.line_id,
                        "quantity": line.quantity,
                        "subtotal": amount(line.subtotal_cents),
                    }
                    for line in refund.lines
                ],
                "transactions": [
                    {"kind": "refund", "status": "success", "amount": amount(refund.amount_cents)}
                ],
            }
            for refund in order.refunds
        ],
        "fulfillments": [
            {"id": parcel.id, "status": parcel.status, "created_at": parcel.created_at.isoformat()}
            for parcel in order.fulfillments
        ],
    }
