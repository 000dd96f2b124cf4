"""The client against the sandbox's own GraphQL, in one process: what does not fit in a call is followed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from infra.local.sandbox.application import Sandbox
from infra.local.sandbox.shopify.execution import prepare
from infra.local.sandbox.wire import Request
from tradewind.contracts.shopify import topics_for
from tradewind.errors import TerminalError
from tradewind.integrations.shopify import catalogue_queries, queries
from tradewind.integrations.shopify.client import ShopifyClient
from tradewind.integrations.transport import Transport
from tradewind.ports import OrderUpdate, WebhookSubscription

SHOP = "acme.myshopify.com"
PLACED = datetime(2026, 10, 1, 10, tzinfo=UTC)


@dataclass
class Free:
    """Neither limits nor refuses."""

    operations: list[int] = field(default_factory=list)

    def acquire(self, cost: int) -> None:
        self.operations.append(cost)

    def answered(self) -> None:
        """Nothing is kept of it."""

    def report(self, available: float, maximum: float, restore_per_second: float) -> None:
        assert 0 <= available <= maximum
        assert restore_per_second == 2000.0

    def access_token(self) -> str:
        return "token"

    def refresh(self, rejected: str) -> str:
        raise AssertionError(rejected)


@dataclass
class World:
    sandbox: Sandbox
    client: ShopifyClient
    limiter: Free

    def put(self, order: Mapping[str, Any]) -> None:
        path = ("_sandbox", "shopify", SHOP, "orders", str(order["id"]))
        assert self.sandbox.handle(Request("PUT", path, {}, {}, json.dumps(order).encode())).status == 200

    def operations(self) -> list[str]:
        return [call.operation for call in reversed(self.sandbox.calls.latest(1000))]


@pytest.fixture
def world() -> World:
    sandbox = Sandbox()

    def handle(request: httpx.Request) -> httpx.Response:
        path = tuple(part for part in request.url.path.split("/") if part)
        reply = sandbox.handle(Request(request.method, path, {}, dict(request.headers), request.content))
        return httpx.Response(reply.status, content=reply.body, headers=dict(reply.headers))

    plan = Request("PUT", ("_sandbox", "shopify", SHOP, "plan"), {}, {}, b'{"plan": "enterprise"}')
    assert sandbox.handle(plan).status == 200
    limiter = Free()
    client = ShopifyClient(
        SHOP,
        base_url=f"http://sandbox/shopify/{SHOP}",
        api_version="2026-07",
        transport=Transport.open(timedelta(seconds=1), wire=httpx.MockTransport(handle)),
        limiter=limiter,
        tokens=limiter,
    )
    return World(sandbox, client, limiter)


def order(number: int, lines: int = 1, **more: Any) -> dict[str, Any]:
    moment = (PLACED + timedelta(minutes=number)).isoformat()
    return {
        "id": number,
        "currency": "USD",
        "created_at": moment,
        "updated_at": moment,
        "total_price": f"{lines}.10",
        "line_items": [
            {"id": number * 1000 + at, "title": f"Line {at}", "quantity": 1, "price": "1.10"}
            for at in range(lines)
        ],
        **more,
    }


def refund(number: int, lines: int) -> dict[str, Any]:
    return {
        "id": number,
        "created_at": PLACED.isoformat(),
        "refund_line_items": [
            {"id": number * 1000 + at, "line_item_id": 5 * 1000 + at, "quantity": 1, "subtotal": "1.10"}
            for at in range(lines)
        ],
        "transactions": [{"kind": "refund", "status": "success", "amount": "2.20"}],
    }


@pytest.mark.parametrize(
    ("lines", "calls"),
    [(0, 1), (10, 1), (11, 2), (110, 2), (111, 3), (250, 4)],
)
def test_follows_line_items_to_the_end(world: World, lines: int, calls: int) -> None:
    world.put(order(5, lines))
    found = world.client.find_order(5)
    assert found is not None
    assert [line.id for line in found.lines] == [5000 + at for at in range(lines)]
    assert found.gross_cents == 110 * lines
    assert world.operations() == ["FindOrder"] + ["OrderLines"] * (calls - 1)


@pytest.mark.parametrize(
    ("refunds", "lines", "expected"),
    [
        (1, 5, ["FindOrder"]),
        (1, 6, ["FindOrder", "RefundLines"]),
        (2, 1, ["FindOrder", "OrderRefunds"]),
        (3, 2, ["FindOrder", "OrderRefunds", "RefundLines"]),
    ],
)
def test_follows_refunds_and_their_lines(world: World, refunds: int, lines: int, expected: list[str]) -> None:
    world.put(order(5, 9, refunds=[refund(900 + at, lines) for at in range(refunds)]))
    found = world.client.find_order(5)
    assert found is not None
    assert [item.id for item in found.refunds] == [900 + at for at in range(refunds)]
    assert [(item.amount_cents, item.net_sales_cents, len(item.lines)) for item in found.refunds] == [
        (220, 110 * lines, lines)
    ] * refunds
    assert world.operations() == expected


def test_follows_fulfillments(world: World) -> None:
    parcels = [{"id": 70 + at, "status": "success", "created_at": PLACED.isoformat()} for at in range(7)]
    world.put(order(5, fulfillments=parcels))
    found = world.client.find_order(5)
    assert found is not None
    assert [parcel.id for parcel in found.fulfillments] == [70 + at for at in range(7)]
    assert world.operations() == ["FindOrder", "OrderFulfillments"]


def test_more_refunds_than_shopify_lists_are_refused(world: World) -> None:
    world.put(order(5, refunds=[refund(900 + at, 1) for at in range(250)]))
    with pytest.raises(TerminalError, match="250 refunds or more"):
        world.client.find_order(5)


@pytest.mark.parametrize(("limit", "pages", "calls"), [(100, 1, 4), (6, 4, 4), (4, 5, 5), (7, 3, 5)])
def test_pages_through_all_orders_by_update_time(world: World, limit: int, pages: int, calls: int) -> None:
    for number in range(1, 21):
        world.put(order(number))
    seen: list[int] = []
    cursor, turned = None, 0
    while True:
        page = world.client.list_orders(updated_from=None, updated_to=None, cursor=cursor, limit=limit)
        seen.extend(found.id for found in page.orders)
        cursor, turned = page.next_cursor, turned + 1
        if cursor is None:
            break
    assert seen == list(range(1, 21))
    assert turned == pages
    assert world.operations() == ["ListOrders"] * calls


def test_lists_when_orders_changed_for_a_point_each(world: World) -> None:
    for number in range(1, 21):
        world.put(order(number))
    first = world.client.list_order_updates(updated_from=None, updated_to=None, cursor=None, limit=15)
    rest = world.client.list_order_updates(
        updated_from=None, updated_to=None, cursor=first.next_cursor, limit=250
    )
    assert [update.id for update in first.updates + rest.updates] == list(range(1, 21))
    assert first.updates[2] == OrderUpdate(3, PLACED + timedelta(minutes=3))
    assert rest.next_cursor is None
    assert [call.cost for call in world.sandbox.calls.latest(2)] == [7, 17]


@pytest.mark.parametrize("limit", [0, 251])
def test_page_of_updates_has_bounds(world: World, limit: int) -> None:
    with pytest.raises(ValueError, match="1 to 250"):
        world.client.list_order_updates(updated_from=None, updated_to=None, cursor=None, limit=limit)
    assert world.operations() == []


def test_update_range_includes_both_bounds(world: World) -> None:
    for number in range(1, 8):
        world.put(order(number))
    bounds = {"updated_from": PLACED + timedelta(minutes=3), "updated_to": PLACED + timedelta(minutes=5)}
    page = world.client.list_orders(**bounds, cursor=None, limit=100)
    assert [found.id for found in page.orders] == [3, 4, 5]
    assert page.next_cursor is None


def test_an_order_that_moves_while_paging_is_not_lost(world: World) -> None:
    for number in range(1, 9):
        world.put(order(number))
    first = world.client.list_orders(updated_from=None, updated_to=None, cursor=None, limit=4)
    world.put(order(4, updated_at=(PLACED + timedelta(hours=1)).isoformat()))
    second = world.client.list_orders(updated_from=None, updated_to=None, cursor=first.next_cursor, limit=100)
    assert [found.id for found in first.orders] == [1, 2, 3, 4]
    assert [found.id for found in second.orders] == [5, 6, 7, 8, 4]


def test_lists_by_id_those_that_exist(world: World) -> None:
    for number in range(1, 16):
        world.put(order(number))
    wanted = [*range(15, 0, -1), 99]
    assert [found.id for found in world.client.list_orders_by_id(wanted)] == list(range(15, 0, -1))
    assert world.limiter.operations == [912] * 3
    assert world.client.list_orders_by_id([]) == ()


def test_subscribing_twice_gives_the_same_subscription(world: World) -> None:
    uri = "https://hooks.example/webhooks/shopify"
    [created] = world.client.create_webhook_subscriptions(["orders/create"], uri)
    assert created == WebhookSubscription("gid://shopify/WebhookSubscription/1000001", "orders/create", uri)
    assert world.client.create_webhook_subscriptions(["orders/create"], uri) == (created,)
    topics = ["orders/partially_fulfilled", "orders/create", "orders/paid"]
    parted, known, paid = world.client.create_webhook_subscriptions(topics, uri)
    assert known == created
    assert world.client.list_webhook_subscriptions() == (created, parted, paid)
    assert world.client.create_webhook_subscriptions([], uri) == ()


def test_many_topics_are_subscribed_in_few_calls(world: World) -> None:
    uri = "https://hooks.example/webhooks/shopify"
    all_flags = {"features": {"products": True, "inventory": True}}
    topics = [*topics_for(all_flags), "orders/fulfilled"]
    assert len(topics) == 21
    made = world.client.create_webhook_subscriptions(topics, uri)
    assert [each.topic for each in made] == topics
    assert world.client.list_webhook_subscriptions() == made
    assert world.limiter.operations[:2] == [200, 10]


@pytest.mark.parametrize("uri", ["http://hooks.example/", "ftp://hooks.example/", "nonsense", ""])
def test_unusable_address_is_terminal(world: World, uri: str) -> None:
    with pytest.raises(TerminalError, match="Address is invalid"):
        world.client.create_webhook_subscriptions(["orders/create"], uri)
    assert world.client.list_webhook_subscriptions() == ()


@pytest.mark.parametrize("operation", queries.OPERATIONS, ids=lambda operation: operation.name)
def test_stated_cost_is_what_the_rule_gives(operation: queries.Operation) -> None:
    prepared = prepare(operation.text, operation.name)
    assert prepared.errors == ()
    assert prepared.costs is not None
    first = queries.MAX_UPDATES if operation is queries.LIST_ORDER_UPDATES else queries.ORDERS_PER_CALL
    many = {"first": first, "ids": ["x"] * queries.ORDERS_PER_CALL}
    assert prepared.costs.requested(many) == operation.cost
    assert operation.cost <= queries.MAX_QUERY_COST


@pytest.mark.parametrize("operation", catalogue_queries.OPERATIONS, ids=lambda operation: operation.name)
def test_stated_cost_of_the_catalogues_operations_is_what_the_rule_gives(
    operation: queries.Operation,
) -> None:
    prepared = prepare(operation.text, operation.name)
    assert prepared.errors == ()
    assert prepared.costs is not None
    customers = "Customers" in operation.name
    many = catalogue_queries.CUSTOMERS_PER_CALL if customers else catalogue_queries.PRODUCTS_PER_CALL
    assert prepared.costs.requested({"first": many, "ids": ["x"] * many}) == operation.cost
    assert operation.cost <= queries.MAX_QUERY_COST


def test_costs_are_counted_for_what_came(world: World) -> None:
    world.put(order(5, 2))
    world.client.find_order(5)
    [call] = world.sandbox.calls.latest(10)
    # The order, four sums of two objects, two lines in their connection, each with a price of two objects,
    # and the journey, which has no visit.
    assert call.cost == 1 + 4 * 2 + 2 + 2 * (1 + 2) + 1
