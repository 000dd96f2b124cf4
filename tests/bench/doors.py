"""Requests of storefronts' pages at the doors that are theirs, for the cost model."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from ingress import api_keys, collect, experiments
from ingress.experiments_api.edge import ValkeyEdge
from ingress.platform import Platform
from tests.bench.experiments import Unlimited
from tests.bench.kernel import quietly
from tests.fakes import FakeQueues
from tests.integration.harness import House
from tradewind.tasks.dispatch import Dispatcher
from tradewind.tenancy.database import Connections

BATCH = 10
"""What happens on a page until it is left goes in one request."""
_TEST = """
INSERT INTO ab_tests (test_id, name, status, mode, started_at, counted_through)
VALUES ('hero', 'Hero', 'running', 'thompson', now() - interval '3 days', now())
"""
_VARIANTS = """
INSERT INTO ab_variants (test_id, variant_id, name, place, is_control, weight_basis_points)
SELECT 'hero', v, v, 0, v = 'control', 5000 FROM unnest(ARRAY['control', 'bold']) v
"""
Answer = Callable[[Mapping[str, Any]], Mapping[str, Any]]


@contextmanager
def opened(house: House) -> Iterator[dict[str, Callable[[int], None]]]:
    """By function, what sends the request of a number there."""
    house.write(_TEST)
    house.write(_VARIANTS)
    key = _key(house)
    connections = Connections(house.urls.app)
    doors: dict[str, tuple[Answer, Callable[[str, int], dict[str, Any]]]] = {
        "ingress-collect": (collect.Door(connections, _edge(house, "touches")).answer, _touches),
        "ingress-experiments": (experiments.Door(connections, _edge(house, "events")).answer, _events),
    }

    def sender(answer: Answer, request: Callable[[str, int], dict[str, Any]]) -> Callable[[int], None]:
        def send(number: int) -> None:
            told = answer(request(key, number))
            if told["statusCode"] != HTTPStatus.ACCEPTED:
                raise RuntimeError(told["body"])

        return send

    yield {name: sender(*door) for name, door in doors.items()}
    connections.close()


def _edge(house: House, what: str) -> ValkeyEdge:
    return Unlimited(house.settings, what)


def _key(house: House) -> str:
    connections = Connections(house.urls.platform)
    platform = Platform(house.settings, connections, Dispatcher(FakeQueues(), "bench"))  # type: ignore[arg-type]
    about = {"tenant": "acme", "name": "pages", "scopes": ["touchpoints:collect", "ab:collect"]}
    made: list[str] = []
    quietly(lambda: made.append(str(api_keys.create_api_key(platform, about)["token"])))
    connections.close()
    return made[0]


def _touches(key: str, number: int) -> dict[str, Any]:
    touches = [
        {
            "touch_id": f"{number}-{at}",
            "visitor_id": f"page-{number}",
            "occurred_at": datetime.now(UTC).isoformat(),
            "landing_page": "https://acme.example/products/mug?utm_source=google&utm_medium=cpc&gclid=abc123",
            "referrer_url": "https://www.google.com/",
            "device": "phone",
        }
        for at in range(BATCH)
    ]
    headers = {"authorization": f"Bearer {key}"}
    return {"routeKey": "POST /collect", "headers": headers, "body": json.dumps({"touches": touches})}


def _events(key: str, number: int) -> dict[str, Any]:
    events = [
        {
            "event_id": f"{number}-{at}",
            "test_id": "hero",
            "visitor_id": f"page-{number}",
            "type": ("page_view", "add_to_cart")[at % 2],
            "occurred_at": datetime.now(UTC).isoformat(),
        }
        for at in range(BATCH)
    ]
    return {"routeKey": "POST /ab/events", "body": json.dumps({"events": events, "key": key})}
