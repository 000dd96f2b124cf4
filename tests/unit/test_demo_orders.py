"""The demo's stories: real purchases, exact sums, and lives that only go forward."""

from __future__ import annotations

import csv
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pytest

from infra.local.demo.basket import fill, share
from infra.local.demo.cdnow import last_purchases
from infra.local.demo.orders import Story, all_touchpoints, tell_stories
from infra.local.demo.shops import CREATORS, SHOP_CODES, SHOPS, shop_of

NOW = datetime(2026, 11, 22, 6, 30, tzinfo=UTC)
FILE = Path(__file__).parents[2] / "infra" / "local" / "demo" / "cdnow.csv"


@pytest.fixture(scope="module")
def stories() -> tuple[Story, ...]:
    return tell_stories(7, NOW)


def cents(text: Any) -> int:
    return int(Decimal(str(text)) * 100)


def test_takes_the_last_purchases_and_ends_today() -> None:
    purchases = last_purchases(1_200, date(2026, 11, 22))
    with FILE.open(encoding="utf-8", newline="") as file:
        rows = sorted(
            (row["order_date"], int(row["customer_id"]), number, int(row["amount_cents"]))
            for number, row in enumerate(csv.DictReader(file), start=1)
        )
    assert len(rows) == 6_919
    assert [purchase.number for purchase in purchases] == [row[2] for row in rows[-1_200:]]
    assert (
        sum(purchase.amount_cents for purchase in purchases)
        == sum(row[3] for row in rows[-1_200:])
        == 4_324_235
    )
    assert purchases[-1].day == date(2026, 11, 22)
    assert purchases[0].day == date(2026, 11, 22) - (date(1998, 6, 30) - date(1997, 12, 30))


@pytest.mark.parametrize("count", [0, -1, 6_920])
def test_asks_for_no_more_purchases_than_there_are(count: int) -> None:
    with pytest.raises(ValueError, match="has 6919"):
        last_purchases(count, date(2026, 11, 22))


def test_same_seed_same_stories_other_seed_others() -> None:
    assert tell_stories(7, NOW, 40) == tell_stories(7, NOW, 40)
    assert tell_stories(7, NOW, 40) != tell_stories(8, NOW, 40)


def test_lines_sum_to_the_purchases(stories: tuple[Story, ...]) -> None:
    assert len(stories) == 1_200
    gross = sum(
        cents(line["price"]) * line["quantity"]
        for story in stories
        for line in story.final_state["line_items"]
    )
    assert gross == 4_324_235
    units = sum(line["quantity"] for story in stories for line in story.final_state["line_items"])
    assert units == sum(purchase.quantity for purchase in last_purchases(1_200, NOW.date()))


def test_every_state_adds_up(stories: tuple[Story, ...]) -> None:
    for story in stories:
        for event in story.events:
            state = event.order_state
            lines = state["line_items"]
            gross = sum(cents(line["price"]) * line["quantity"] for line in lines)
            off = sum(cents(part["amount"]) for line in lines for part in line["discount_allocations"])
            shipping = cents(state["total_shipping_price_set"]["shop_money"]["amount"])
            assert cents(state["total_line_items_price"]) == gross
            assert cents(state["total_discounts"]) == off
            assert cents(state["subtotal_price"]) == gross - off
            assert cents(state["total_price"]) == gross - off + shipping + cents(state["total_tax"])
            assert min(cents(line["price"]) for line in lines) > 0


def test_refunds_never_give_back_more_than_was_paid(stories: tuple[Story, ...]) -> None:
    refunded = 0
    for story in stories:
        state = story.final_state
        sold = {line["id"]: line["quantity"] for line in state["line_items"]}
        back: Counter[int] = Counter()
        amount = net = 0
        for refund in state["refunds"]:
            amount += sum(cents(paid["amount"]) for paid in refund["transactions"])
            net += sum(cents(line["subtotal"]) for line in refund["refund_line_items"])
            back.update({line["line_item_id"]: line["quantity"] for line in refund["refund_line_items"]})
        assert all(back[line] <= sold[line] for line in back)
        assert amount <= cents(state["total_price"])
        assert net <= cents(state["subtotal_price"])
        if state["financial_status"] == "refunded":
            assert amount == cents(state["total_price"])
            refunded += 1
    assert refunded == 149


def test_lives_only_go_forward_and_never_past_now(stories: tuple[Story, ...]) -> None:
    for story in stories:
        updates = [datetime.fromisoformat(event.order_state["updated_at"]) for event in story.events]
        assert updates == sorted(set(updates))
        assert updates == [event.at for event in story.events]
        assert updates[-1] <= NOW
        assert story.events[0].topic == "orders/create"
        assert story.events[0].order_state["refunds"] == []


def test_there_is_some_of_everything(stories: tuple[Story, ...]) -> None:
    topics = Counter(event.topic for story in stories for event in story.events)
    assert topics == {
        "orders/create": 1_200,
        "orders/updated": 1_492,
        "orders/paid": 1_186,
        "fulfillments/create": 488,
        "orders/fulfilled": 488,
        "fulfillments/update": 420,
        "refunds/create": 241,
        "orders/cancelled": 64,
    }
    assert Counter(story.tenant_slug for story in stories) == {"alder": 332, "birch": 423, "cedar": 445}


def test_payload_is_the_topics_own(stories: tuple[Story, ...]) -> None:
    for story in stories:
        for event in story.events:
            if event.topic.startswith("orders/"):
                assert event.payload == event.order_state
            else:
                assert event.payload["order_id"] == story.order_id
                kind = "refunds" if event.topic == "refunds/create" else "fulfillments"
                assert event.order_state[kind][-1] == event.payload


def test_half_of_the_codes_are_creators_and_typed_as_people_type(stories: tuple[Story, ...]) -> None:
    creators = {creator.code.lower() for creator in CREATORS}
    used = [item["code"] for story in stories for item in story.final_state["discount_codes"][:1]]
    by_creators = [code for code in used if code.lower() in creators]
    assert 300 <= len(used) <= 420
    assert 0.42 <= len(by_creators) / len(used) <= 0.58
    assert set(used) - set(by_creators) <= set(SHOP_CODES)
    assert len({code for code in by_creators if code.lower() == by_creators[0].lower()}) > 1


def test_one_currency_a_shop_one_shop_a_customer(stories: tuple[Story, ...]) -> None:
    currency = {shop.shop: shop.currency for shop in SHOPS}
    assert set(currency.values()) == {"USD", "CAD"}
    for story in stories:
        assert story.final_state["currency"] == currency[story.shop]
        customer = story.final_state["customer"]["id"] - 6_100_000_000_000
        assert story.tenant_slug == shop_of(customer).slug


def test_touchpoints_lie_in_the_forty_days_before(stories: tuple[Story, ...]) -> None:
    numbers = Counter(len(story.touchpoints) for story in stories)
    assert set(numbers) == set(range(7))
    for story in stories:
        placed = story.events[0].at
        instants = [touch.occurred_at for touch in story.touchpoints]
        assert instants == sorted(set(instants))
        assert all(placed - timedelta(days=40) <= at < placed for at in instants)
        visitor = next(
            (item["value"] for item in story.final_state["note_attributes"] if item["name"] == "visitor_id"),
            None,
        )
        assert {touch.visitor_id for touch in story.touchpoints} <= {visitor}
    assert len(all_touchpoints(stories)) == sum(number * count for number, count in numbers.items())


def test_who_names_no_visitor_still_names_its_origin(stories: tuple[Story, ...]) -> None:
    nameless = [story for story in stories if len(story.final_state["note_attributes"]) == 1]
    assert 60 <= len(nameless) <= 160
    assert all(story.final_state["landing_site"] for story in nameless)


def test_no_order_is_as_old_as_the_review_limit(stories: tuple[Story, ...]) -> None:
    ages = [NOW - story.events[0].at for story in stories]
    assert all(abs(age - timedelta(days=60)) >= timedelta(hours=3) for age in ages)


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize(("quantity", "amount"), [(1, 0), (1, 1), (2, 3), (7, 10_001), (26, 26_360), (3, 2)])
def test_a_basket_always_sums(seed: int, quantity: int, amount: int) -> None:
    lines = fill(Random(seed), 1, quantity, amount, 15)
    assert sum(line.quantity for line in lines) == quantity
    assert sum(line.quantity * line.price_cents for line in lines) == amount
    assert sum(line.discount_cents for line in lines) == amount * 15 // 100
    assert all(0 <= line.discount_cents <= line.quantity * line.price_cents for line in lines)


@pytest.mark.parametrize(
    ("total", "weights", "parts"),
    [
        (10, [1, 1, 1], [4, 3, 3]),
        (7, [0, 1], [0, 7]),
        (5, [0, 0], [0, 0]),
        (1, [1, 2], [0, 1]),
        (100, [1], [100]),
    ],
)
def test_shares_sum_to_the_total(total: int, weights: list[int], parts: list[int]) -> None:
    assert share(total, weights) == parts
