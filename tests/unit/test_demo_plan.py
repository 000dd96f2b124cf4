"""The plan of deliveries: how much mischief there is, and that each delivery is what it says."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime

import pytest

from infra.local.demo.orders import Story, tell_stories
from infra.local.demo.plan import SAMPLES, Delivery, Kind, Shares, build_plan
from infra.local.demo.shops import SHOPS, STRANGER
from tradewind.integrations.shopify.webhook import read_headers, signature_of, verify

NOW = datetime(2026, 11, 22, 6, 30, tzinfo=UTC)
SECRETS = {shop.shop: shop.app_secret.encode() for shop in SHOPS}
ANSWERED_200 = {"customers/data_request"}


@pytest.fixture(scope="module")
def stories() -> tuple[Story, ...]:
    return tell_stories(7, NOW)


@pytest.fixture(scope="module")
def plan(stories: tuple[Story, ...]) -> tuple[Delivery, ...]:
    return build_plan(stories, 7, answered_200=ANSWERED_200, now=NOW)


def of_kind(plan: tuple[Delivery, ...], kind: Kind) -> list[Delivery]:
    return [delivery for delivery in plan if delivery.kind is kind]


def test_every_event_is_delivered_once(stories: tuple[Story, ...], plan: tuple[Delivery, ...]) -> None:
    events = of_kind(plan, Kind.EVENT)
    assert sorted((item.order_id or 0, item.step) for item in events) == sorted(
        (story.order_id, step) for story in stories for step in range(len(story.events))
    )
    assert len({item.headers["X-Shopify-Webhook-Id"] for item in events}) == len(events)


def test_shares_of_mischief(plan: tuple[Delivery, ...]) -> None:
    events = len(of_kind(plan, Kind.EVENT))
    assert len(of_kind(plan, Kind.DUPLICATE)) / events == pytest.approx(0.05, abs=0.01)
    assert len(of_kind(plan, Kind.BAD_SIGNATURE)) / events == pytest.approx(0.02, abs=0.005)
    assert len(of_kind(plan, Kind.WRONG_SHOP)) / events == pytest.approx(0.005, abs=0.003)
    assert len(of_kind(plan, Kind.POISON)) == 3
    assert len(of_kind(plan, Kind.SAMPLE)) == len(list(SAMPLES.glob("*__*.json"))) >= 23


def test_neighbours_change_places(plan: tuple[Delivery, ...]) -> None:
    lives: dict[int, list[int]] = {}
    for delivery in of_kind(plan, Kind.EVENT):
        lives.setdefault(delivery.order_id or 0, []).append(delivery.step)
    moved = total = 0
    for steps in lives.values():
        total += len(steps)
        out_of_place = [at for at, step in enumerate(steps) if at != step]
        moved += len(out_of_place)
        assert all(abs(at - steps[at]) == 1 for at in out_of_place)
    assert moved / total == pytest.approx(0.15, abs=0.015)


def test_no_mischief_when_none_is_asked_for(stories: tuple[Story, ...]) -> None:
    calm = build_plan(stories[:50], 7, answered_200=(), now=NOW, shares=Shares(0.0, 0.0, 0.0, 0.0))
    assert Counter(item.kind for item in calm if item.kind not in {Kind.SAMPLE, Kind.POISON}) == {
        Kind.EVENT: sum(len(story.events) for story in stories[:50])
    }
    steps: dict[int, int] = {}
    for delivery in of_kind(calm, Kind.EVENT):
        number = delivery.order_id or 0
        assert delivery.step == steps.get(number, -1) + 1
        steps[number] = delivery.step


def test_a_duplicate_repeats_a_delivery_that_came_before(plan: tuple[Delivery, ...]) -> None:
    seen: dict[str, bytes] = {}
    for delivery in plan:
        webhook = delivery.headers["X-Shopify-Webhook-Id"]
        if delivery.kind is Kind.DUPLICATE:
            assert seen[webhook] == delivery.body
            assert delivery.expected_status == 200
        else:
            assert webhook not in seen
            seen[webhook] = delivery.body


def test_signatures_are_valid_exactly_where_they_should_be(plan: tuple[Delivery, ...]) -> None:
    ways: Counter[bool] = Counter()
    for delivery in plan:
        secrets = [SECRETS[delivery.shop]] if delivery.shop in SECRETS else [*SECRETS.values()]
        signature = signature_of(delivery.headers)
        assert verify(delivery.body, signature, secrets) is (delivery.kind is not Kind.BAD_SIGNATURE)
        if delivery.kind is Kind.BAD_SIGNATURE:
            ways[signature is None] += 1
            assert delivery.expected_status == 401
            assert delivery.order_state is None
    assert ways[True] > 0
    assert ways[False] > 0


def test_headers_are_as_shopify_sends_them(plan: tuple[Delivery, ...]) -> None:
    for delivery in plan:
        headers = read_headers(delivery.headers)
        assert (headers.topic, headers.shop_domain, headers.api_version) == (
            delivery.topic,
            delivery.shop,
            "2026-07",
        )
        assert headers.event_id is not None
        assert headers.triggered_at is not None
        assert headers.triggered_at <= NOW


def test_strangers_are_answered_202(plan: tuple[Delivery, ...]) -> None:
    strangers = of_kind(plan, Kind.WRONG_SHOP)
    assert {(item.shop, item.expected_status, item.order_state is None) for item in strangers} == {
        (STRANGER, 202, True)
    }


def test_samples_are_answered_by_whether_the_topic_is_routed(plan: tuple[Delivery, ...]) -> None:
    answers = {item.topic: item.expected_status for item in of_kind(plan, Kind.SAMPLE)}
    assert {topic for topic, status in answers.items() if status == 200} == ANSWERED_200
    assert answers["products/update"] == 202
    assert not {"orders/create", "app/uninstalled", "shop/redact"} & answers.keys()


def test_poison_is_valid_only_in_its_signature(plan: tuple[Delivery, ...]) -> None:
    broken, impossible, no_object = sorted(of_kind(plan, Kind.POISON), key=lambda item: item.shop)
    with pytest.raises(json.JSONDecodeError):
        json.loads(broken.body)
    assert json.loads(impossible.body)["id"] == "not a number"
    assert isinstance(json.loads(no_object.body), list)
    assert {item.expected_status for item in (broken, impossible, no_object)} == {200}


def test_same_seed_same_plan(stories: tuple[Story, ...], plan: tuple[Delivery, ...]) -> None:
    again = build_plan(stories, 7, answered_200=ANSWERED_200, now=NOW)
    assert [(item.headers, item.body) for item in again] == [(item.headers, item.body) for item in plan]


def test_deliveries_of_one_order_share_a_lane(plan: tuple[Delivery, ...]) -> None:
    lanes: dict[int, set[int]] = {}
    for delivery in plan:
        if delivery.order_id is not None:
            lanes.setdefault(delivery.order_id, set()).add(delivery.lane)
    assert all(len(own) == 1 for own in lanes.values())
    loads = Counter(delivery.lane // 1_000 % 8 for delivery in plan)
    assert set(loads) == set(range(8))
    assert max(loads.values()) < 1.3 * min(loads.values())
