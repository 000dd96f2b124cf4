"""When a webhook's own body is taken for the order's present state, and when Shopify is asked."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from commerce.order_sync.payloads import OrderBody
from commerce.order_sync.sync import save_delivered
from commerce.order_sync.tasks import order_attribution, sync_order
from tests.fakes import NOON, an_order, body_of
from tests.integration.harness import House
from tradewind.ports import ShopifyVisit
from tradewind.tasks.worker import Done
from tradewind.tenancy.database import Session, TenantDb
from tradewind.tenancy.tenant import Tenant

FIRST = {"id": 1001, "updated_at": NOON.isoformat()}
LATER = NOON + timedelta(minutes=1)


def body(**changes: Any) -> dict[str, Any]:
    """``an_order`` a minute later, tagged, as a webhook tells it. What is None is left out."""
    told = body_of(an_order(tags=("vip",), updated_at=LATER)) | changes
    return {name: value for name, value in told.items() if value is not None}


@pytest.fixture
def synced(house: House) -> House:
    """The order as it was placed is stored, with a consenting customer, and the fake shop has forgotten its calls."""
    house.shopify.put(an_order())
    house.run(sync_order, FIRST)
    house.shopify.calls.clear()
    return house


def test_newer_whole_order_is_taken_from_the_webhook(synced: House) -> None:
    end = synced.run(sync_order, body())
    assert isinstance(end, Done)
    assert synced.shopify.calls == []
    [order] = synced.query(
        "SELECT tags, shopify_updated_at, landing_page, visited_at, visitor_id FROM orders"
    )
    assert order == {
        "tags": ["vip"],
        "shopify_updated_at": LATER,
        "landing_page": "/?utm_source=google&utm_medium=cpc",
        "visited_at": NOON - timedelta(minutes=9),
        "visitor_id": "visitor-1",
    }


def test_what_two_topics_tell_of_one_change_is_settled_once(synced: House) -> None:
    first = synced.run(order_attribution, body())
    again = synced.run(sync_order, body() | {"note": "another topic's body may differ where nothing is read"})
    assert isinstance(first, Done)
    assert isinstance(again, Done)
    assert (again.result["fetched"], synced.shopify.calls) == (False, [])


def test_another_content_of_the_same_instant_is_asked_for(synced: House) -> None:
    synced.run(order_attribution, body())
    synced.shopify.put(an_order(tags=("vip", "later"), updated_at=LATER))
    synced.run(sync_order, body(tags="vip, earlier"))
    assert synced.shopify.calls == ["find_order 1001"]
    assert synced.query("SELECT tags FROM orders") == [{"tags": ["vip", "later"]}]


def test_both_ways_store_the_same(synced: House) -> None:
    tables = ("orders", "order_line_items", "customers", "attribution_touchpoints", "attribution_credits")

    def stored() -> dict[str, list[dict[str, Any]]]:
        found = {table: synced.query(f"SELECT * FROM {table} ORDER BY 1, 2, 3, 4") for table in tables}
        return {
            table: [{name: value for name, value in row.items() if name != "synced_at"} for row in rows]
            for table, rows in found.items()
        }

    synced.run(order_attribution, body())
    taken = stored()
    synced.write("DELETE FROM orders")
    synced.shopify.put(an_order(tags=("vip",), updated_at=LATER))
    synced.run(sync_order, {"id": 1001, "updated_at": LATER.isoformat()})
    assert synced.shopify.calls == ["find_order 1001"]
    assert stored() == taken


def test_consent_that_a_webhook_does_not_tell_stays(synced: House) -> None:
    synced.shopify.put(an_order(updated_at=LATER - timedelta(seconds=30)))
    synced.run(sync_order, body())
    assert synced.query("SELECT accepts_marketing, tags FROM customers") == [
        {"accepts_marketing": True, "tags": []}
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"updated_at": NOON.isoformat()},
        {"line_items": None},
        {"refunds": [{"id": 7, "created_at": LATER.isoformat()}]},
        {"fulfillments": [{"id": 8, "created_at": LATER.isoformat()}]},
        {"admin_graphql_api_id": "gid://shopify/Order/1001?x", "id": 1001},
        {"admin_graphql_api_id": None},
    ],
    ids=["same instant", "fields left out", "refunded", "sent", "other id", "no exact id"],
)
def test_shopify_is_asked_where_the_webhook_may_not_tell_all(synced: House, changes: dict[str, Any]) -> None:
    synced.shopify.put(an_order(tags=("asked",), updated_at=LATER))
    end = synced.run(sync_order, body(**changes))
    assert isinstance(end, Done)
    assert synced.shopify.calls == ["find_order 1001"]
    assert synced.query("SELECT tags FROM orders") == [{"tags": ["asked"]}]


def test_shopify_is_asked_for_an_order_that_is_not_stored_or_whose_visit_is_not(house: House) -> None:
    house.shopify.put(an_order(visit=None))
    house.run(sync_order, body(updated_at=NOON.isoformat()))
    visit = ShopifyVisit(NOON - timedelta(minutes=9), "/late", None)
    house.shopify.put(an_order(updated_at=LATER, visit=visit))
    house.run(sync_order, body())
    assert house.shopify.calls == ["find_order 1001"] * 2
    assert house.query("SELECT landing_page FROM orders") == [{"landing_page": "/late"}]


class StepsOnly:
    """As much of a run as saving needs."""

    def step(self, name: str) -> AbstractContextManager[None]:
        return nullcontext()


def test_two_states_of_one_instant_are_left_to_shopify(synced: House) -> None:
    """A worker that looked before another stored a state of the same instant must not overwrite it."""
    delivered = OrderBody.model_validate(body()).to_order()
    session = Session(synced.connections)
    tenant = Tenant(synced.tenant_id, "acme", "Acme", "active", "UTC", "USD")
    saved = []
    for order in (delivered, replace(delivered, tags=("other",)), replace(delivered, updated_at=NOON)):
        with TenantDb(session, synced.tenant_id).begin() as tx:
            saved.append(save_delivered(StepsOnly(), tx, tenant, order))  # type: ignore[arg-type]
        session.settle()
    session.close()
    assert [state is None for state in saved] == [False, True, False]
    assert synced.query("SELECT tags, shopify_updated_at FROM orders") == [
        {"tags": ["vip"], "shopify_updated_at": LATER}
    ]
