"""What is sent: the webhooks of several tenants, made from a seed, the poisoned ones among them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from random import Random
from typing import Any
from uuid import UUID

from infra.local.demo.orders import Story, tell_stories
from infra.local.demo.shops import CREATORS, SHOPS
from tests.chaos.pages import Event, tell_visits

POOL_PER_TENANT, LARGEST_POOL = 400, 1_000
"""Purchases from which a tenant's stories are taken; a third of them are its own shop's."""
LATELY_EVERY, PAST_THEIR_LIMITS = 2, timedelta(days=8)
"""Every second story is of today or yesterday, the others too old for ad platforms: none grows so meanwhile."""
LARGE_NOTE = "n" * 950_000
"""More than a queue takes: the body travels by claim check."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much. ``kills`` are those of each crash point, ``outage_s`` is how long Postgres is away under load, and
    ``lost_s`` after how long a sent message counts as lost: the more there are, the longer one may lie in its queue.
    ``workers`` are those of each queue: where much is to be done they wait for each other, and where little is, each
    costs its start.
    """

    webhooks: int
    tenants: int
    kills: int
    patience_s: float
    outage_s: float
    lost_s: int
    workers: int


SIZES = {
    "small": Size(webhooks=120, tenants=3, kills=1, patience_s=240, outage_s=8, lost_s=20, workers=2),
    "medium": Size(webhooks=2_000, tenants=10, kills=4, patience_s=300, outage_s=30, lost_s=60, workers=4),
    "large": Size(webhooks=10_000, tenants=10, kills=12, patience_s=900, outage_s=60, lost_s=300, workers=4),
}


def chosen_size() -> str:
    """``CHAOS_SIZE``; the small one unless told otherwise."""
    return os.environ.get("CHAOS_SIZE", "small")


def chosen_seed() -> int:
    """``CHAOS_SEED``, for the same webhooks, copies, order and deaths again."""
    return int(os.environ.get("CHAOS_SEED") or datetime.now(UTC).strftime("%y%m%d%H%M"))


class Poison(StrEnum):
    """Why a webhook's work cannot succeed. The last two can be mended: by the order that appears, the token renewed."""

    UNREADABLE = "unreadable"
    IMPOSSIBLE = "impossible"
    ABSENT = "absent"
    LOCKED_OUT = "locked out"


MENDABLE = frozenset({Poison.ABSENT, Poison.LOCKED_OUT})


@dataclass(frozen=True, slots=True)
class Sent:
    """One webhook. ``order_state`` is what Shopify knows of the order by then, ``step`` its place in the story."""

    tenant: int
    topic: str
    event_id: str
    body: bytes
    order_id: int
    step: int
    order_state: Mapping[str, Any] | None = None
    poison: Poison | None = None


@dataclass(frozen=True, slots=True)
class Scenario:
    """The list of a run: the same for the undisturbed and the disturbed one. Tenants are numbered; the last is locked
    out of its shop until its token is mended.
    """

    seed: int
    size: Size
    now: datetime
    stories: tuple[tuple[Story, ...], ...]
    sent: tuple[Sent, ...]
    visits: tuple[tuple[Event, ...], ...]
    """What the visitors of each tenant's A/B test do, but for the tenant that is locked out."""

    @property
    def locked_out(self) -> int:
        return self.size.tenants

    @property
    def poisoned(self) -> list[Sent]:
        return [sent for sent in self.sent if sent.poison is not None]


def shop_of(tenant: int) -> str:
    """The slug of the demo's shop whose codes and currency a tenant has."""
    return SHOPS[tenant % len(SHOPS)].slug


def make_scenario(seed: int, size: Size, now: datetime) -> Scenario:
    """Webhooks in the order in which Shopify would tell them."""
    chance = Random(f"chaos:{seed}")
    share = size.webhooks // size.tenants
    stories = [_stories(seed + tenant, tenant, share, now) for tenant in range(size.tenants)]
    sent = [each for tenant, own in enumerate(stories) for each in _told(chance, tenant, own)]
    sent = _with_large_note(sent)
    locked = _stories(seed + size.tenants, size.tenants, 40, now)
    sent += _locked_out(chance, size.tenants, locked)
    for tenant in range(size.tenants):
        sent += _poisoned(chance, tenant, now)
    chance.shuffle(sent)
    sent.sort(key=lambda each: each.step)
    visits = tuple(tell_visits(seed, tenant, own, now) for tenant, own in enumerate(stories))
    return Scenario(seed, size, now, (*stories, locked), tuple(sent), visits)


def _stories(seed: int, tenant: int, webhooks: int, now: datetime) -> tuple[Story, ...]:
    """Stories of about so many webhooks, first one that pays a creator and one of lately with a refund."""
    chosen: list[Story] = []
    left = webhooks
    pool, refunded = _pool(seed, tenant, webhooks, now)
    paying = next(story for story in pool if _pays_a_creator(story))
    for story in [paying, refunded, *(story for story in pool if story not in (paying, refunded))]:
        if left > 0:
            chosen.append(story)
            left -= len(story.events)
    return tuple(chosen)


def _pool(seed: int, tenant: int, webhooks: int, now: datetime) -> tuple[list[Story], Story]:
    """A tenant's stories and one of lately among them with a refund: of the first seed that has one."""
    pool_size = min(LARGEST_POOL, max(POOL_PER_TENANT, 5 * webhooks))
    for other in range(seed, seed + 1_000_000, 1_000):
        pool = [
            story
            for story in tell_stories(other, now, pool_size, LATELY_EVERY)
            if story.tenant_slug == shop_of(tenant) and (_is_of_lately(story, now) or _is_old(story, now))
        ]
        for story in pool:
            if _is_of_lately(story, now) and any(each.topic == "refunds/create" for each in story.events):
                return pool, story
    raise ValueError(f"no seed from {seed} on has a refund of lately")


def _is_of_lately(story: Story, now: datetime) -> bool:
    return now - story.events[0].at < timedelta(days=2)


def _is_old(story: Story, now: datetime) -> bool:
    return now - story.events[0].at > PAST_THEIR_LIMITS


def _pays_a_creator(story: Story) -> bool:
    codes = {creator.code for creator in CREATORS if creator.is_active and creator.slug == story.tenant_slug}
    return any(used["code"] in codes for used in story.final_state["discount_codes"])


def _told(chance: Random, tenant: int, stories: tuple[Story, ...]) -> Iterator[Sent]:
    for story in stories:
        for step, event in enumerate(story.events):
            body = json.dumps(event.payload, separators=(",", ":")).encode()
            yield Sent(tenant, event.topic, _id(chance), body, story.order_id, step, event.order_state)


def _with_large_note(sent: list[Sent]) -> list[Sent]:
    """One order carries a note that no queue takes."""
    first = next(each for each in sent if each.topic == "orders/create")
    return [_noted(each) if each is first else each for each in sent]


def _noted(sent: Sent) -> Sent:
    body = json.dumps({**json.loads(sent.body), "note": LARGE_NOTE}).encode()
    return Sent(sent.tenant, sent.topic, sent.event_id, body, sent.order_id, sent.step, sent.order_state)


def _locked_out(chance: Random, tenant: int, stories: tuple[Story, ...]) -> list[Sent]:
    """Parcels and refunds alone: their orders have to be fetched, and the shop refuses the token."""
    asking = ("fulfillments/create", "refunds/create")
    told = [each for each in _told(chance, tenant, stories) if each.topic in asking][:4]
    return [
        Sent(
            each.tenant, each.topic, each.event_id, each.body, each.order_id, each.step, each.order_state,
            Poison.LOCKED_OUT,
        )
        for each in told
    ]  # fmt: skip


def _poisoned(chance: Random, tenant: int, now: datetime) -> list[Sent]:
    """One webhook of each other kind."""
    number = 9_900_000_000_000 + tenant * 1000
    moment = now.isoformat()
    order = {"id": number + 1, "total_price": "twelve", "currency": "USD", "updated_at": moment}
    absent = {"id": number + 3, "order_id": number + 2, "status": "success", "created_at": moment}
    absent |= {"updated_at": moment, "line_items": []}
    unreadable = b'{"id": %d, "total_price": "12.00", "line_items": [' % number
    return [
        Sent(tenant, "orders/create", _id(chance), unreadable, number, 1, None, Poison.UNREADABLE),
        Sent(
            tenant, "orders/updated", _id(chance), json.dumps(order).encode(), number + 1, 1, None,
            Poison.IMPOSSIBLE,
        ),
        Sent(
            tenant, "fulfillments/create", _id(chance), json.dumps(absent).encode(), number + 2, 1,
            _appearing(number + 2, now), Poison.ABSENT,
        ),
    ]  # fmt: skip


def _appearing(order_id: int, now: datetime) -> dict[str, Any]:
    """The order that is missing until somebody mends it."""
    moment = now.replace(microsecond=0).isoformat()
    price = {"shop_money": {"amount": "12.00", "currency_code": "USD"}}
    return {
        "id": order_id,
        "admin_graphql_api_id": f"gid://shopify/Order/{order_id}",
        "name": f"#{order_id % 10_000}",
        "currency": "USD",
        "test": False,
        "email": "late@example.com",
        "created_at": moment,
        "processed_at": moment,
        "updated_at": moment,
        "cancelled_at": None,
        "financial_status": "paid",
        "fulfillment_status": None,
        "tags": "",
        "total_line_items_price": "12.00",
        "total_discounts": "0.00",
        "subtotal_price": "12.00",
        "total_tax": "0.00",
        "total_price": "12.00",
        "total_shipping_price_set": {"shop_money": {"amount": "0.00", "currency_code": "USD"}},
        "total_price_set": price,
        "discount_codes": [],
        "note_attributes": [],
        "line_items": [
            {"id": order_id + 5, "admin_graphql_api_id": f"gid://shopify/LineItem/{order_id + 5}",
             "title": "Mug", "quantity": 1, "price": "12.00", "total_discount": "0.00",
             "discount_allocations": [], "sku": "MUG", "product_id": 301, "variant_id": 401}
        ],
        "refunds": [],
        "fulfillments": [],
    }  # fmt: skip


def _id(chance: Random) -> str:
    return str(UUID(int=chance.getrandbits(128), version=4))
