"""An order reads the same from its webhook and from the Admin API (the sandbox's), at every moment of its life."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import httpx

from commerce.order_sync.payloads import OrderBody
from infra.local.demo.orders import tell_stories
from infra.local.sandbox.application import Sandbox
from infra.local.sandbox.wire import Request
from tradewind.integrations.shopify.client import ShopifyClient
from tradewind.integrations.transport import Transport
from tradewind.ports import ShopifyOrder


class Free:
    """A limiter and token source that never refuse."""

    def acquire(self, cost: int) -> None:
        assert cost > 0

    def answered(self) -> None:
        """Nothing is kept of it."""

    def report(self, available: float, maximum: float, restore_per_second: float) -> None:
        assert available <= maximum
        assert restore_per_second > 0

    def access_token(self) -> str:
        return "token"

    def refresh(self, rejected: str) -> str:
        raise AssertionError(rejected)


def without_what_a_webhook_does_not_tell(order: ShopifyOrder) -> ShopifyOrder:
    """A webhook's landing page is a path, without parsed parameters; what is saved of both is the same."""
    return replace(order, visit=None)


def test_webhook_and_api_tell_the_same_order() -> None:
    sandbox = Sandbox()

    def handle(request: httpx.Request) -> httpx.Response:
        path = tuple(part for part in request.url.path.split("/") if part)
        reply = sandbox.handle(Request(request.method, path, {}, dict(request.headers), request.content))
        return httpx.Response(reply.status, content=reply.body)

    transport = Transport.open(timedelta(seconds=1), wire=httpx.MockTransport(handle))
    plan = Request("PUT", ("_sandbox", "shopify", "*", "plan"), {}, {}, b'{"plan": "enterprise"}')
    assert sandbox.handle(plan).status == 200
    compared = 0
    for story in tell_stories(11, datetime(2026, 11, 22, 6, 30, tzinfo=UTC), 60):
        shop = story.shop
        client = ShopifyClient(
            shop,
            base_url=f"http://sandbox/shopify/{shop}",
            api_version="2026-07",
            transport=transport,
            limiter=Free(),
            tokens=Free(),
        )
        for event in story.events:
            path = ("_sandbox", "shopify", shop, "orders", str(story.order_id))
            put = Request("PUT", path, {}, {}, json.dumps(event.order_state).encode())
            assert sandbox.handle(put).status == 200
            fetched = client.find_order(story.order_id)
            assert fetched is not None
            delivered = OrderBody.model_validate(event.order_state).to_order()
            assert without_what_a_webhook_does_not_tell(fetched) == without_what_a_webhook_does_not_tell(
                delivered
            )
            assert (fetched.visit is None) is (delivered.visit is None)
            compared += 1
    assert compared > 200
