"""Customers through the kernel's worker, on a real Postgres, from a shop that the sandbox plays."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from commerce.customer_sync.tasks import (
    customer_batch_sync,
    customer_sync,
    handle_customer_created,
    handle_customer_updated,
)
from commerce.order_sync.tasks import sync_order
from tests.fakes import an_order
from tests.integration.harness import House
from tests.played import NOON, a_customer
from tradewind.ports import ShopifyCustomer
from tradewind.tasks.message import message_from
from tradewind.tasks.worker import Dead, Done

LATER = NOON + timedelta(hours=1)
RULES = {
    "customer_rules": {
        "tags": [{"name": "loyal", "min_orders": 3}, {"name": "whale", "min_spent_cents": 1_000_000}],
        "segments": [{"name": "canadians", "country": "CA"}, {"name": "new", "max_orders": 1}],
    }
}


def row_of(house: House, customer_id: int = 501) -> dict[str, Any]:
    [row] = house.query("SELECT * FROM customers WHERE shopify_customer_id = %s", customer_id)
    return row


def told(house: House) -> list[tuple[str, dict[str, Any]]]:
    rows = house.query(
        "SELECT topic, convert_from(body, 'UTF8')::jsonb AS body FROM webhook_inbox"
        " WHERE provider = 'tradewind' ORDER BY 1"
    )
    return [(row["topic"], row["body"]) for row in rows]


def settings(house: House, given: dict[str, Any]) -> None:
    house.write("UPDATE tenants SET settings = %s::jsonb", json.dumps(given))


def test_webhook_of_a_customer_saves_the_profile_with_its_addresses(house: House) -> None:
    house.shop.put("customers", a_customer())
    assert house.run(customer_sync, a_customer()) == Done({"customer_id": 501, "state": "written"})
    row = row_of(house)
    expected = {
        "email": "ann-501@example.com",
        "first_name": "Ann",
        "last_name": "Lee",
        "phone": "+15550001",
        "accepts_marketing": True,
        "tags": ["vip"],
        "locale": "en-CA",
        "account_state": "enabled",
        "verified_email": True,
        "orders_count": 3,
        "total_spent_cents": 25_050,
        "currency": "USD",
        "default_address_id": 5010,
        "profile_updated_at": NOON,
        "source_updated_at": NOON,
    }
    assert {name: row[name] for name in expected} == expected
    [address] = house.query("SELECT * FROM customer_addresses")
    told_of = ("shopify_customer_id", "shopify_address_id", "city", "country_code")
    assert [address[name] for name in told_of] == [501, 5010, "Ottawa", "CA"]


def test_what_is_stored_already_is_not_asked_for_and_an_older_state_is_not_written(house: House) -> None:
    house.shop.put("customers", a_customer(at=LATER, first_name="Anna"))
    house.run(customer_sync, {"customer_id": 501})
    house.shop.forget_calls()
    assert house.run(customer_sync, a_customer()) == Done({"customer_id": 501, "state": "unchanged"})
    assert house.shop.operations() == []
    house.shop.put("customers", a_customer())
    assert house.run(customer_sync, {"customer_id": 501}) == Done({"customer_id": 501, "state": "outdated"})
    assert row_of(house)["first_name"] == "Anna"


@pytest.mark.parametrize("order_first", [True, False])
@pytest.mark.parametrize("order_later", [True, False])
def test_orders_and_profiles_write_one_customer_in_any_order(
    house: House, order_first: bool, order_later: bool
) -> None:
    """Of two the later tells name and address; what only a profile tells is always the profile's."""
    at = LATER if order_later else NOON - timedelta(hours=1)
    customer = ShopifyCustomer(501, "order@example.com", "Order", "Lee", None, None, None)
    house.shopify.put(replace(an_order(1001, updated_at=at), customer=customer))
    house.shop.put("customers", a_customer())
    steps = [(sync_order, {"order_id": 1001}), (customer_sync, {"customer_id": 501})]
    for task, payload in steps if order_first else reversed(steps):
        assert isinstance(house.run(task, payload), Done)
    row = row_of(house)
    assert row["first_name"] == ("Order" if order_later else "Ann")
    assert (row["orders_count"], row["tags"], row["accepts_marketing"]) == (3, ["vip"], True)
    assert row["source_updated_at"] == max(at, NOON)


def test_new_customer_is_tagged_put_into_segments_and_welcomed_once(house: House) -> None:
    settings(house, RULES)
    house.shop.put("customers", a_customer())
    for cause in ("first", "second"):
        end = house.run(handle_customer_created, a_customer(), cause=cause)
        assert isinstance(end, Done)
    assert house.shop.state().customers["501"]["tags"] == "vip, loyal"
    assert house.shop.operations().count("AddTags") == 1
    row = row_of(house)
    assert (row["tags"], row["segments"]) == (["vip", "loyal"], ["canadians"])
    assert told(house) == [
        ("customer.segments-changed", {"customer_id": 501, "before": [], "after": ["canadians"]}),
        ("customer.welcome", {"customer_id": 501, "changed_at": None}),
    ]


def test_changed_customer_leaves_a_segment_and_keeps_a_tag(house: House) -> None:
    settings(house, RULES)
    house.shop.put("customers", a_customer())
    house.run(handle_customer_created, a_customer())
    moved = {"id": 5011, "city": "Ulm", "country_code": "DE"}
    house.shop.put(
        "customers", a_customer(at=LATER, orders_count=1, tags="vip, loyal", default_address=moved)
    )
    end = house.run(handle_customer_updated, {"id": 501, "updated_at": LATER.isoformat()})
    assert isinstance(end, Done)
    assert end.result["settled"] == {
        "customer_id": 501,
        "tags_added": [],
        "segments": ["new"],
        "segments_changed": True,
    }
    assert row_of(house)["tags"] == ["vip", "loyal"]
    addresses = house.query("SELECT shopify_address_id AS id FROM customer_addresses")
    assert addresses == [{"id": 5011}]


def test_tag_that_shopify_refuses_is_added_when_the_run_comes_again(house: House) -> None:
    settings(house, RULES)
    house.shop.put("customers", a_customer())
    house.shop.sandbox.faults.clear()
    message = house.message(handle_customer_created, a_customer())
    house.shop.fail("500", "AddTags")
    house.worker(handle_customer_created).work(message, house.deadline())
    assert row_of(house)["tags"] == ["vip"]
    assert isinstance(house.worker(handle_customer_created).work(message, house.deadline()), Done)
    assert row_of(house)["tags"] == ["vip", "loyal"]


def test_tag_whose_answer_was_lost_is_there_once(house: House) -> None:
    settings(house, RULES)
    house.shop.put("customers", a_customer())
    message = house.message(handle_customer_created, a_customer())
    house.shop.fail("lost_answer", "AddTags")
    house.worker(handle_customer_created).work(message, house.deadline())
    assert isinstance(house.worker(handle_customer_created).work(message, house.deadline()), Done)
    assert house.shop.state().customers["501"]["tags"] == "vip, loyal"


def test_rules_that_cannot_be_are_a_dead_letter_and_no_tag_is_added(house: House) -> None:
    settings(house, {"customer_rules": {"tags": [{"name": "x", "min_order": 1}]}})
    house.shop.put("customers", a_customer())
    end = house.run(handle_customer_created, a_customer())
    assert isinstance(end, Dead)
    assert type(end.error).__name__ == "MisconfiguredError"
    assert (house.shop.operations().count("AddTags"), told(house)) == (0, [])


def test_customer_that_shopify_does_not_have_is_marked_and_not_welcomed(house: House) -> None:
    house.shop.put("customers", a_customer())
    house.run(customer_sync, {"customer_id": 501})
    house.shop.delete("customers", 501)
    assert house.run(handle_customer_created, a_customer(at=LATER)) == Done(
        {"state": "deleted", "settled": None}
    )
    assert row_of(house)["deleted_at"] is not None
    assert told(house) == []


def test_forgotten_customer_is_not_stored_again(house: House) -> None:
    nobody: dict[str, list[str]] = {kind: [] for kind in ("email", "phone", "order", "visitor")}
    house.write("SELECT redact_subject(%s::jsonb)", json.dumps({"customer": ["501"], **nobody}))
    house.shop.put("customers", a_customer())
    house.run(customer_sync, a_customer())
    house.run(handle_customer_created, a_customer())
    assert house.query("SELECT * FROM customers") == []
    assert house.query("SELECT * FROM customer_addresses") == []


def test_batch_goes_page_by_page_and_by_what_it_names(house: House) -> None:
    house.shop.put("customers", *(a_customer(number) for number in range(1, 251)))
    end = house.run(customer_batch_sync, {"updated_since": NOON.isoformat()})
    assert end == Done(None)
    while house.queues.sent:
        entry = house.queues.sent.pop(0)
        end = house.worker(customer_batch_sync).work(message_from(json.loads(entry.body)), house.deadline())
    assert end == Done({"customers": 250, "written": 250})
    assert house.query("SELECT count(*)::int AS n FROM customer_addresses") == [{"n": 250}]
    assert house.run(customer_batch_sync, {"customer_ids": [1, 2, 999]}) == Done(
        {"customers": 2, "written": 0}
    )
    since = {"created_since": LATER.isoformat()}
    assert house.run(customer_batch_sync, since) == Done({"customers": 0, "written": 0})


@pytest.mark.parametrize(
    "body",
    [{"id": -1}, {"id": "x"}, {"id": None}, {"id": 5, "updated_at": 7}, {"customer_id": 5, "page_size": 0}],
    ids=str,
)
def test_impossible_reference_is_a_dead_letter_and_nothing_is_asked(
    house: House, body: dict[str, object]
) -> None:
    task = customer_sync if "page_size" in body else handle_customer_created
    end = house.run(task, body)
    assert isinstance(end, Dead)
    assert type(end.error).__name__ == "InvalidPayloadError"
    assert house.shop.operations() == []
