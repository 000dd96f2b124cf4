"""Storefronts' pages beside the webhooks: an A/B test for each tenant, and what its visitors do."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from random import Random
from typing import Any

import httpx

from infra.local.demo.orders import Story
from tests.e2e.cloud import Cloud, Tenant

TEST_ID = "hero"
VISITORS, BUYERS_EVERY = 30, 5
A_BATCH = 10
TIRED_AFTER_S = 240.0
SINCE, BACK = timedelta(days=3), timedelta(hours=2)
_STATUS = "SELECT status FROM ab_tests WHERE tenant_id = %s AND test_id = %s"
VARIANTS = [
    {"variant_id": "control", "name": "As it is", "is_control": True},
    {"variant_id": "bold", "name": "Bold"},
]
Event = Mapping[str, Any]


class NotKeptError(Exception):
    """A page's batch was refused, left out, or not kept for longer than any outage of the suite lasts."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What a page sends at once."""

    tenant: int
    events: tuple[Event, ...]


def tell_visits(seed: int, tenant: int, stories: Sequence[Story], now: datetime) -> tuple[Event, ...]:
    """What a tenant's visitors do, each at one instant. Some buy an order of the stories, at an amount that is wrong:
    what counts is the order, in the end.
    """
    chance = Random(f"pages:{seed}:{tenant}")
    told: list[Event] = []
    for number in range(VISITORS):
        moment = (now - BACK - timedelta(minutes=chance.randint(0, 60))).isoformat()
        visitor: dict[str, Any] = {
            "test_id": TEST_ID,
            "visitor_id": f"visitor-{number}",
            "occurred_at": moment,
        }
        kinds = ["page_view", "page_view", "add_to_cart", "begin_checkout"][: chance.randint(1, 4)]
        told += [
            {**visitor, "event_id": f"{number}-{place}", "type": kind} for place, kind in enumerate(kinds)
        ]
        order = number // BUYERS_EVERY
        if number % BUYERS_EVERY == 0 and order < len(stories):
            bought = {"type": "purchase", "order_id": stories[order].order_id, "value_cents": 1}
            told.append({**visitor, **bought, "event_id": f"{number}-bought"})
    return tuple(told)


def batches_of(visits: Iterable[Sequence[Event]]) -> Iterator[Batch]:
    """Each tenant's events as they are, so many at once."""
    for tenant, events in enumerate(visits):
        for at in range(0, len(events), A_BATCH):
            yield Batch(tenant, tuple(events[at : at + A_BATCH]))


def shuffled(visits: Iterable[Sequence[Event]], chance: Random) -> Iterator[Batch]:
    """Each event one to five times, all of a tenant's shuffled, so that no two copies come in like company."""
    again = [[event for event in events for _ in range(chance.randint(1, 5))] for events in visits]
    for events in again:
        chance.shuffle(events)
    return batches_of(again)


class Storefront:
    """A tenant's page and its owner's application, each with a key of its own."""

    def __init__(self, tenant: Tenant) -> None:
        self._tenant, self._cloud = tenant, tenant.cloud
        self._page, self._owner = self._key("ab:collect"), self._key("events:publish")

    def _key(self, scope: str) -> str:
        about = {"action": "create-api-key", "tenant": self._tenant.slug, "name": "chaos", "scopes": [scope]}
        return str(self._cloud.invoke("ingress-admin", about)["token"])

    def begin(self, now: datetime) -> None:
        """Create and start the test, and wait until it runs. Nothing is disturbed yet."""
        created = {"test_id": TEST_ID, "name": "Hero", "variants": VARIANTS, "guardrails": []}
        self.publish("ab.testCreated", created)
        self._wait_for("draft")
        self.publish("ab.testStarted", {"test_id": TEST_ID, "started_at": (now - SINCE).isoformat()})
        self._wait_for("running")

    def end(self, now: datetime) -> None:
        """It is counted a last time, from what was kept."""
        self.publish("ab.testEnded", {"test_id": TEST_ID, "ended_at": now.isoformat()})
        self._wait_for("completed")

    def publish(self, kind: str, body: Mapping[str, Any]) -> None:
        headers = {"Authorization": f"Bearer {self._owner}", "Idempotency-Key": kind}
        self._post(f"/events/{kind}", body, headers)

    def send(self, batch: Batch) -> None:
        """Until it is kept, as a page does. Raises NotKeptError."""
        answer = self._post("/ab/events", {"key": self._page, "events": list(batch.events)}, {})
        if answer["accepted"] + answer["duplicates"] != len(batch.events):
            raise NotKeptError(f"{len(batch.events)} events were sent: {answer}")

    def _post(self, path: str, body: Mapping[str, Any], headers: Mapping[str, str]) -> dict[str, Any]:
        deadline, tries = time.monotonic() + TIRED_AFTER_S, 0
        while True:
            tries += 1
            try:
                answer = self._cloud.http.post(
                    f"{self._cloud.state.webhook_url}{path}", json=body, headers=dict(headers)
                )
                status, text = answer.status_code, answer.text
            except httpx.TransportError as error:
                status, text = 0, repr(error)
            if status == HTTPStatus.ACCEPTED:
                kept: dict[str, Any] = answer.json()
                return kept
            refused = HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR
            if time.monotonic() > deadline or (refused and status != HTTPStatus.TOO_MANY_REQUESTS):
                raise NotKeptError(f"{path}: {status} {text} after {tries} tries")
            time.sleep(min(2.0, 0.2 * tries))

    def _wait_for(self, status: str) -> None:
        cloud: Cloud = self._cloud

        def look() -> bool:
            return [row["status"] for row in cloud.query(_STATUS, self._tenant.id, TEST_ID)] == [status]

        cloud.wait_for(f"the A/B test to be {status}", look)
