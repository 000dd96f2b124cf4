"""The Admin API's client over recorded answers."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from tradewind.errors import CredentialsRejectedError, InvalidPayloadError, RateLimitedError
from tradewind.integrations.shopify.client import ShopifyClient, topic_of
from tradewind.integrations.transport import Transport
from tradewind.ports import (
    OrderPage,
    ShopifyCustomer,
    ShopifyFulfillment,
    ShopifyLine,
    ShopifyOrder,
    ShopifyRefund,
    ShopifyRefundLine,
    ShopifyVisit,
)

RECORDED = json.loads((Path(__file__).parents[1] / "data" / "shopify" / "find_order.json").read_text())
NUMBER = 820982911946154508
EXPECTED = ShopifyOrder(
    id=NUMBER,
    name="#1042",
    currency="USD",
    gross_cents=10_000,
    discount_cents=1_000,
    shipping_cents=495,
    tax_cents=902,
    total_cents=10_397,
    financial_status="partially_refunded",
    fulfillment_status="partial",
    placed_at=datetime(2026, 10, 1, 10, tzinfo=UTC),
    updated_at=datetime(2026, 10, 6, 12, 30, tzinfo=UTC),
    email="jon@example.com",
    tags=("gift", "vip"),
    discount_codes=("Ava10", "WELCOME5"),
    attributes={"visitor_id": "v-77", "gift_note": ""},
    customer=ShopifyCustomer(
        115310627314723954,
        "jon@example.com",
        "Jon",
        "Smith",
        "+16135550127",
        accepts_marketing=True,
        tags=("wholesale",),
    ),
    visit=ShopifyVisit(
        datetime(2026, 10, 1, 9, 48, 12, tzinfo=UTC),
        "https://acme.myshopify.com/?utm_source=google&utm_medium=cpc",
        "https://www.google.com/",
        {"source": "google", "medium": "cpc"},
    ),
    lines=(
        ShopifyLine(
            487817672276298554,
            "Aviator sunglasses",
            2,
            3_999,
            800,
            788032119674292922,
            11,
            "SKU2006-001",
        ),
        ShopifyLine(789012345678901234, "Case", 1, 2_002, 200),
    ),
    refunds=(
        ShopifyRefund(
            890088186047892319,
            amount_cents=1_952,
            net_sales_cents=1_802,
            created_at=datetime(2026, 10, 6, 12, 30, tzinfo=UTC),
            note="Broken",
            lines=(ShopifyRefundLine(789012345678901234, 1, 1_802),),
        ),
    ),
    fulfillments=(
        ShopifyFulfillment(
            123456,
            "success",
            "delivered",
            "UPS",
            "1Z2345",
            "https://www.ups.com/track?tracknum=1Z2345",
            created_at=datetime(2026, 10, 2, 8, tzinfo=UTC),
            updated_at=datetime(2026, 10, 5, 15, tzinfo=UTC),
            estimated_delivery_at=datetime(2026, 10, 5, tzinfo=UTC),
            delivered_at=datetime(2026, 10, 5, 15, tzinfo=UTC),
        ),
    ),
)


@dataclass
class FakeLimiter:
    acquired: list[int] = field(default_factory=list)
    reported: list[tuple[float, float, float]] = field(default_factory=list)
    answers: int = 0
    refuses: bool = False

    def acquire(self, cost: int) -> None:
        if self.refuses:
            raise RateLimitedError("shop", timedelta(seconds=3))
        self.acquired.append(cost)

    def answered(self) -> None:
        self.answers += 1

    def report(self, available: float, maximum: float, restore_per_second: float) -> None:
        self.reported.append((available, maximum, restore_per_second))


@dataclass
class FakeTokens:
    token: str = "old"
    refreshed: list[str] = field(default_factory=list)

    def access_token(self) -> str:
        return self.token

    def refresh(self, rejected: str) -> str:
        self.refreshed.append(rejected)
        return "new"


@dataclass
class Bench:
    """A client whose answers are given, and everything that it sent."""

    answers: list[httpx.Response]
    sent: list[httpx.Request] = field(default_factory=list)
    limiter: FakeLimiter = field(default_factory=FakeLimiter)
    tokens: FakeTokens = field(default_factory=FakeTokens)

    def client(self) -> ShopifyClient:
        def handle(request: httpx.Request) -> httpx.Response:
            self.sent.append(request)
            return self.answers.pop(0)

        return ShopifyClient(
            "acme.myshopify.com",
            base_url="https://acme.myshopify.com",
            api_version="2026-07",
            transport=Transport.open(timedelta(seconds=1), wire=httpx.MockTransport(handle)),
            limiter=self.limiter,
            tokens=self.tokens,
        )

    def variables(self, place: int = 0) -> dict[str, Any]:
        variables: dict[str, Any] = json.loads(self.sent[place].content)["variables"]
        return variables


def with_order(change: Callable[[dict[str, Any]], None]) -> httpx.Response:
    document = copy.deepcopy(RECORDED)
    change(document["data"]["order"])
    return httpx.Response(200, json=document)


def test_reads_a_whole_order_exactly() -> None:
    bench = Bench([httpx.Response(200, json=RECORDED)])
    assert bench.client().find_order(NUMBER) == EXPECTED
    [request] = bench.sent
    assert str(request.url) == "https://acme.myshopify.com/admin/api/2026-07/graphql.json"
    assert request.headers["X-Shopify-Access-Token"] == "old"
    assert bench.variables() == {"id": f"gid://shopify/Order/{NUMBER}"}
    assert bench.limiter.acquired == [152]
    assert bench.limiter.reported == [(1963.0, 2000.0, 100.0)]


def test_order_that_shopify_does_not_show_is_none() -> None:
    assert Bench([httpx.Response(200, json={"data": {"order": None}})]).client().find_order(1) is None


def test_personal_data_may_be_hidden() -> None:
    def hide(order: dict[str, Any]) -> None:
        order.update(customer=None, email=None, customerJourneySummary=None)

    found = Bench([with_order(hide)]).client().find_order(NUMBER)
    assert found is not None
    assert (found.customer, found.email, found.visit) == (None, None, None)
    assert found.total_cents == 10_397


def test_optional_parts_may_be_null() -> None:
    def empty(order: dict[str, Any]) -> None:
        order.update(totalDiscountsSet=None, totalTaxSet=None, displayFinancialStatus=None)
        order["fulfillments"][0].update(trackingInfo=[], displayStatus="FULFILLED", deliveredAt=None)
        order["refunds"][0].update(createdAt=None, note="")
        order["customer"].update(defaultEmailAddress=None, defaultPhoneNumber=None)

    found = Bench([with_order(empty)]).client().find_order(NUMBER)
    assert found is not None
    assert (found.discount_cents, found.tax_cents, found.financial_status) == (0, 0, "pending")
    assert (found.fulfillments[0].tracking_company, found.fulfillments[0].shipment_status) == (None, None)
    assert (found.refunds[0].created_at, found.refunds[0].note) == (
        datetime(2026, 10, 6, 12, 30, tzinfo=UTC),
        None,
    )
    assert found.customer is not None
    assert (found.customer.email, found.customer.accepts_marketing) == (None, False)


@pytest.mark.parametrize(
    ("display", "expected"),
    [
        ("UNFULFILLED", None),
        ("FULFILLED", "fulfilled"),
        ("PARTIALLY_FULFILLED", "partial"),
        ("ON_HOLD", "on_hold"),
        (None, None),
    ],
)
def test_fulfillment_status_is_said_as_webhooks_say_it(display: str | None, expected: str | None) -> None:
    found = (
        Bench([with_order(lambda order: order.update(displayFulfillmentStatus=display))])
        .client()
        .find_order(1)
    )
    assert found is not None
    assert found.fulfillment_status == expected


@pytest.mark.parametrize(
    ("currency", "amount", "cents"),
    [
        ("USD", "0.1", 10),
        ("USD", "1234567.89", 123_456_789),
        ("JPY", "500", 500),
        ("JPY", "500.0", 500),
        ("KWD", "1.005", 1_005),
        ("EUR", "0.0", 0),
    ],
)
def test_money_is_exact(currency: str, amount: str, cents: int) -> None:
    def price(order: dict[str, Any]) -> None:
        zero = {"shopMoney": {"amount": "0"}}
        order.update(currencyCode=currency, totalPriceSet={"shopMoney": {"amount": amount}}, refunds=[])
        order.update(totalDiscountsSet=zero, totalShippingPriceSet=zero, totalTaxSet=zero)
        order["lineItems"]["nodes"] = []

    found = Bench([with_order(price)]).client().find_order(NUMBER)
    assert found is not None
    assert (found.total_cents, found.gross_cents) == (cents, 0)


def _amount(text: Any) -> Callable[[dict[str, Any]], None]:
    return lambda order: order.update(totalPriceSet={"shopMoney": {"amount": text}})


FIRST_LINE = "order.lineItems.nodes.0"


@pytest.mark.parametrize(
    ("change", "field_name"),
    [
        (lambda order: order.pop("updatedAt"), "order.updatedAt"),
        (lambda order: order.update(updatedAt="2026-10-06T12:30:00"), "order.updatedAt"),
        (lambda order: order.update(updatedAt="soon"), "order.updatedAt"),
        (lambda order: order.update(id="820982911946154508"), "order.id"),
        (lambda order: order.update(id="gid://shopify/Order/99999999999999999999"), "order.id"),
        (lambda order: order.update(id="gid://shopify/Order/9999999999999999999"), "order.id"),
        (lambda order: order["lineItems"]["nodes"][0].update(quantity=-1), f"{FIRST_LINE}.quantity"),
        (lambda order: order["lineItems"]["nodes"][0].update(quantity=2**31), f"{FIRST_LINE}.quantity"),
        (lambda order: order.pop("lineItems"), "order.lineItems"),
        (lambda order: order["refunds"][0].pop("totalRefundedSet"), "order.refunds.0.totalRefundedSet"),
        (_amount(None), "order.totalPriceSet.shopMoney.amount"),
        (_amount(103.97), "order.totalPriceSet.shopMoney.amount"),
        (_amount("103.975"), f"order {NUMBER}"),
        (_amount("NaN"), f"order {NUMBER}"),
        (_amount("1e400"), f"order {NUMBER}"),
        (_amount("ten"), f"order {NUMBER}"),
        (lambda order: order.update(currencyCode="XYZ"), f"order {NUMBER}"),
    ],
)
def test_impossible_order_names_its_field(change: Callable[[dict[str, Any]], None], field_name: str) -> None:
    with pytest.raises(InvalidPayloadError) as caught:
        Bench([with_order(change)]).client().find_order(NUMBER)
    assert caught.value.field == field_name


def test_text_that_postgres_cannot_hold_is_cleaned() -> None:
    def spoil(order: dict[str, Any]) -> None:
        order["lineItems"]["nodes"][0]["title"] = "A\x00via\ud800tor \U0001f600"

    document = copy.deepcopy(RECORDED)
    spoil(document["data"]["order"])
    bench = Bench([httpx.Response(200, content=json.dumps(document))])
    found = bench.client().find_order(NUMBER)
    assert found is not None
    assert found.lines[0].title == "Avia\ufffdtor \U0001f600"
    found.lines[0].title.encode("utf-8")


def test_refused_token_is_renewed_once() -> None:
    bench = Bench([httpx.Response(401), httpx.Response(200, json=RECORDED)])
    assert bench.client().find_order(NUMBER) == EXPECTED
    assert bench.tokens.refreshed == ["old"]
    assert [request.headers["X-Shopify-Access-Token"] for request in bench.sent] == ["old", "new"]
    assert (bench.limiter.acquired, bench.limiter.answers) == ([152, 152], 2)


def test_token_refused_twice_is_given_up() -> None:
    bench = Bench([httpx.Response(401), httpx.Response(401)])
    with pytest.raises(CredentialsRejectedError):
        bench.client().find_order(NUMBER)
    assert (len(bench.sent), bench.tokens.refreshed) == (2, ["old"])


@pytest.mark.parametrize("token", ["", "a\r\nX-Evil: 1", "é", "\x00"])
def test_stored_token_that_is_none_sends_nothing(token: str) -> None:
    bench = Bench([], tokens=FakeTokens(token))
    with pytest.raises(CredentialsRejectedError, match="store it again"):
        bench.client().find_order(NUMBER)
    assert bench.sent == []


def test_empty_bucket_sends_nothing() -> None:
    bench = Bench([], limiter=FakeLimiter(refuses=True))
    with pytest.raises(RateLimitedError):
        bench.client().find_order(NUMBER)
    assert bench.sent == []


def test_throttled_answer_is_reported_to_the_limiter() -> None:
    document = json.loads((Path(__file__).parents[1] / "data" / "shopify" / "throttled.json").read_text())
    bench = Bench([httpx.Response(200, json=document)])
    with pytest.raises(RateLimitedError) as caught:
        bench.client().find_order(NUMBER)
    assert caught.value.wait == timedelta(seconds=1.72)
    assert bench.limiter.reported == [(666.0, 1000.0, 50.0)]


def test_searches_by_update_time_both_bounds_included() -> None:
    page = {"data": {"orders": {"nodes": [], "pageInfo": {"hasNextPage": False, "endCursor": "last"}}}}
    bench = Bench([httpx.Response(200, json=page)])
    found = bench.client().list_orders(
        updated_from=datetime(2026, 10, 1, 10, 0, 0, 900_000, tzinfo=UTC),
        updated_to=datetime(2026, 10, 1, 11, 0, 0, 1, tzinfo=UTC),
        cursor="before",
        limit=5,
    )
    assert (found.orders, found.next_cursor) == ((), None)
    assert bench.variables() == {
        "first": 5,
        "after": "before",
        "query": "updated_at:>='2026-10-01T10:00:00Z' updated_at:<='2026-10-01T11:00:01Z'",
    }


def order_page(next_cursor: str | None) -> httpx.Response:
    info = {"hasNextPage": next_cursor is not None, "endCursor": next_cursor}
    return httpx.Response(
        200, json={"data": {"orders": {"nodes": [RECORDED["data"]["order"]], "pageInfo": info}}}
    )


def list_all(bench: Bench, limit: int) -> OrderPage:
    return bench.client().list_orders(updated_from=None, updated_to=None, cursor=None, limit=limit)


def test_page_is_filled_by_several_calls() -> None:
    bench = Bench([order_page("a"), order_page("b"), order_page("c")])
    page = list_all(bench, 3)
    assert (page.orders, page.next_cursor) == ((EXPECTED,) * 3, "c")
    assert [bench.variables(place)["first"] for place in range(3)] == [3, 2, 1]
    assert [bench.variables(place)["after"] for place in range(3)] == [None, "a", "b"]


def test_page_ends_early_at_the_shops_limit() -> None:
    bench = Bench([order_page("a"), order_page("b"), httpx.Response(429)])
    page = list_all(bench, 100)
    assert (page.orders, page.next_cursor) == ((EXPECTED,) * 2, "b")


def test_page_that_cannot_begin_is_rate_limited() -> None:
    with pytest.raises(RateLimitedError):
        list_all(Bench([httpx.Response(429)]), 100)


@pytest.mark.parametrize("limit", [0, -1, 101])
def test_page_size_has_bounds(limit: int) -> None:
    with pytest.raises(ValueError, match="1 to 100"):
        Bench([]).client().list_orders(updated_from=None, updated_to=None, cursor=None, limit=limit)


@pytest.mark.parametrize(
    ("graphql", "header"),
    [
        ("ORDERS_CREATE", "orders/create"),
        ("ORDERS_PARTIALLY_FULFILLED", "orders/partially_fulfilled"),
        ("SUBSCRIPTION_BILLING_ATTEMPTS_SUCCESS", "subscription_billing_attempts/success"),
        ("INVENTORY_LEVELS_UPDATE", "inventory_levels/update"),
        ("APP_SCOPES_UPDATE", "app/scopes_update"),
        ("APP_UNINSTALLED", "app/uninstalled"),
        ("BULK_OPERATIONS_FINISH", "bulk_operations/finish"),
    ],
)
def test_topic_is_said_as_the_webhook_header_says_it(graphql: str, header: str) -> None:
    assert topic_of(graphql) == header
