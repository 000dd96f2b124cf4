"""From stories to deliveries: what is posted to the webhook endpoint, in which order, and what must be
answered.

Beside every event of every story: duplicates, neighbours that swap places, copies with a false signature,
copies for a shop that nobody knows, the sample webhooks of other topics, and three poisoned bodies under
valid signatures.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

from infra.local.demo.orders import Story, StoryEvent
from infra.local.demo.shops import SHOPS, STRANGER, DemoShop

API_VERSION = "2026-07"
SAMPLES = Path(__file__).parents[3] / "events" / "apigateway"


class Kind(StrEnum):
    """Why a delivery is in the plan."""

    EVENT = "event"
    DUPLICATE = "duplicate"
    BAD_SIGNATURE = "bad signature"
    WRONG_SHOP = "wrong shop"
    SAMPLE = "sample of another topic"
    POISON = "poison"


@dataclass(frozen=True, slots=True)
class Shares:
    """How much of the mischief there is, as shares of all events."""

    duplicates: float = 0.05
    swapped: float = 0.15
    bad_signatures: float = 0.02
    wrong_shop: float = 0.005


@dataclass(frozen=True, slots=True)
class Delivery:
    """One post. ``expected_status`` is the only right answer.

    ``order_id`` and ``order_state`` are set where Shopify would know the order by then: the sandbox is told
    first. ``step`` is the event's place in its story, so that an older state never replaces a newer.
    """

    kind: Kind
    topic: str
    shop: str
    headers: Mapping[str, str]
    body: bytes
    expected_status: int
    order_id: int | None = None
    step: int = 0
    order_state: Mapping[str, Any] | None = field(default=None, repr=False)

    @property
    def lane(self) -> int:
        """Deliveries of one lane are posted in the plan's order."""
        return self.order_id or int.from_bytes(
            hashlib.sha256(self.headers["X-Shopify-Webhook-Id"].encode()).digest()[:6]
        )


def build_plan(
    stories: Sequence[Story],
    seed: int,
    *,
    answered_200: Collection[str],
    now: datetime,
    shares: Shares = Shares(),
) -> tuple[Delivery, ...]:
    """The deliveries, in the order of posting.

    ``answered_200`` are the topics that the endpoint enqueues (its routes and the compliance topics); of the
    samples, any other topic is answered 202.
    """
    chance = Random(f"plan:{seed}")  # noqa: S311 - a plan, no secret
    plan = _swap_neighbours(chance, _events(chance, stories), shares.swapped)
    extras: list[tuple[float, Delivery]] = []
    for place, delivery in enumerate(plan):
        # A duplicate comes after its original, anything else anywhere around it.
        if chance.random() < shares.duplicates:
            extras.append((place + chance.uniform(0.5, 400), replace(delivery, kind=Kind.DUPLICATE)))
        if chance.random() < shares.bad_signatures:
            extras.append((place + chance.uniform(-50, 50), _falsified(chance, delivery)))
        if chance.random() < shares.wrong_shop:
            extras.append((place + chance.uniform(-50, 50), _misaddressed(chance, delivery)))
    odd = [*_samples(chance, answered_200, now), *_poisoned(chance, now)]
    extras.extend((chance.uniform(0, len(plan)), delivery) for delivery in odd)
    placed = [*((float(place), delivery) for place, delivery in enumerate(plan)), *extras]
    return tuple(delivery for _, delivery in sorted(placed, key=lambda item: item[0]))


def _events(chance: Random, stories: Sequence[Story]) -> list[Delivery]:
    """Every event of every story, by its time."""
    shops = {shop.shop: shop for shop in SHOPS}
    timed = [
        (event.at, story.order_id, step, _event(chance, shops[story.shop], story, step, event))
        for story in stories
        for step, event in enumerate(story.events)
    ]
    return [delivery for *_, delivery in sorted(timed, key=lambda item: item[:3])]


def _event(chance: Random, shop: DemoShop, story: Story, step: int, event: StoryEvent) -> Delivery:
    body = json.dumps(event.payload, separators=(",", ":")).encode()
    return Delivery(
        kind=Kind.EVENT,
        topic=event.topic,
        shop=shop.shop,
        headers=signed_headers(chance, shop.shop, shop.app_secret, event.topic, body, event.at),
        body=body,
        expected_status=200,
        order_id=story.order_id,
        step=step,
        order_state=event.order_state,
    )


def _swap_neighbours(chance: Random, plan: list[Delivery], share: float) -> list[Delivery]:
    """Let events change places with the next event of the same order; about ``share`` of all are moved."""
    places: dict[int, list[int]] = {}
    for place, delivery in enumerate(plan):
        places.setdefault(delivery.order_id or 0, []).append(place)
    for own in places.values():
        # A swap moves two events and is followed by none of them, and the last event has no successor.
        rate = share / (2 - share) * len(own) / max(1, len(own) - 1)
        at = 0
        while at + 1 < len(own):
            if chance.random() < rate:
                first, second = own[at], own[at + 1]
                plan[first], plan[second] = plan[second], plan[first]
                at += 1
            at += 1
    return plan


def signed_headers(
    chance: Random, shop: str, secret: str, topic: str, body: bytes, at: datetime
) -> dict[str, str]:
    """Headers as Shopify sends them, with a valid signature."""
    return {
        "Content-Type": "application/json",
        "X-Shopify-Topic": topic,
        "X-Shopify-Hmac-Sha256": base64.b64encode(
            hmac.digest(secret.encode(), body, hashlib.sha256)
        ).decode(),
        "X-Shopify-Shop-Domain": shop,
        "X-Shopify-API-Version": API_VERSION,
        "X-Shopify-Webhook-Id": str(UUID(int=chance.getrandbits(128), version=4)),
        "X-Shopify-Event-Id": str(UUID(int=chance.getrandbits(128), version=4)),
        "X-Shopify-Triggered-At": at.isoformat().replace("+00:00", "Z"),
    }


def _falsified(chance: Random, delivery: Delivery) -> Delivery:
    """A copy as an attacker sends it: signed with a guess, cut, altered, or not signed at all."""
    headers, body = dict(delivery.headers), delivery.body
    headers["X-Shopify-Webhook-Id"] = str(UUID(int=chance.getrandbits(128), version=4))
    match chance.randrange(4):
        case 0:
            guess = hmac.digest(b"guess", body, hashlib.sha256)
            headers["X-Shopify-Hmac-Sha256"] = base64.b64encode(guess).decode()
        case 1:
            headers["X-Shopify-Hmac-Sha256"] = headers["X-Shopify-Hmac-Sha256"][:-4]
        case 2:
            body = body + b" "
        case _:
            del headers["X-Shopify-Hmac-Sha256"]
    return Delivery(Kind.BAD_SIGNATURE, delivery.topic, delivery.shop, headers, body, expected_status=401)


def _misaddressed(chance: Random, delivery: Delivery) -> Delivery:
    """A validly signed copy for a shop that has no tenant."""
    headers = {
        **delivery.headers,
        "X-Shopify-Shop-Domain": STRANGER,
        "X-Shopify-Webhook-Id": str(UUID(int=chance.getrandbits(128), version=4)),
    }
    return Delivery(Kind.WRONG_SHOP, delivery.topic, STRANGER, headers, delivery.body, expected_status=202)


def _samples(chance: Random, answered_200: Collection[str], now: datetime) -> list[Delivery]:
    """The sample bodies of other topics, each to one shop in turn."""
    deliveries = []
    for place, file in enumerate(sorted(SAMPLES.glob("*__*.json"))):
        topic, shop, body = file.stem.replace("__", "/"), SHOPS[place % len(SHOPS)], file.read_bytes()
        headers = signed_headers(chance, shop.shop, shop.app_secret, topic, body, now)
        status = 200 if topic in answered_200 else 202
        deliveries.append(Delivery(Kind.SAMPLE, topic, shop.shop, headers, body, status))
    return deliveries


def _poisoned(chance: Random, now: datetime) -> list[Delivery]:
    """Three bodies that are validly signed and can never be worked on."""
    moment = now.isoformat()
    bodies = (
        b'{"id": 5400000000001, "total_price": "12.00", "line_items": [',
        json.dumps(
            {"id": "not a number", "total_price": "12.00", "currency": "USD", "updated_at": moment}
        ).encode(),
        json.dumps([{"id": 5400000000002}, "an order is an object"]).encode(),
    )
    return [
        Delivery(
            Kind.POISON,
            "orders/create",
            shop.shop,
            signed_headers(chance, shop.shop, shop.app_secret, "orders/create", body, now),
            body,
            expected_status=200,
        )
        for shop, body in zip(SHOPS, bodies, strict=True)
    ]
