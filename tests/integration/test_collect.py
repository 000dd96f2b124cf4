"""The door of storefronts' touches, on a real Postgres."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from ingress import api_keys
from ingress.collect import Door
from ingress.experiments_api.edge import BURST, ValkeyEdge
from ingress.platform import Platform
from tests.fakes import FakeQueues
from tests.integration.harness import House, add_tenant
from tradewind.errors import InvalidPayloadError
from tradewind.tasks.dispatch import Dispatcher
from tradewind.tenancy.database import Connections

NOW = datetime.now(UTC).replace(microsecond=0)
TOUCH: dict[str, Any] = {
    "touch_id": "t-1",
    "visitor_id": "v-1",
    "session_id": "s-1",
    "occurred_at": NOW.isoformat(),
    "landing_page": "https://acme.example/?utm_source=newsletter&utm_medium=email&fbclid=",
    "utm": {"campaign": "June"},
    "device": "phone",
}


class FakeEdge:
    def __init__(self) -> None:
        self.wait = timedelta()
        self.asked: list[tuple[UUID, int]] = []

    def admit(self, tenant_id: UUID, events: int) -> timedelta:
        self.asked.append((tenant_id, events))
        return self.wait


class Page:
    """A page of the tenant acme, with a key that opens this door."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.connections = Connections(house.urls.app)
        self.edge = FakeEdge()
        self.door = Door(self.connections, self.edge)
        dispatcher = Dispatcher(FakeQueues(), "test")  # type: ignore[arg-type]
        self.platform_connections = Connections(house.urls.platform)
        self.platform = Platform(house.settings, self.platform_connections, dispatcher)
        self.key = self.make_key("touchpoints:collect")

    def make_key(self, *scopes: str, tenant: str = "acme") -> str:
        about = {"tenant": tenant, "name": "page", "scopes": list(scopes)}
        return str(api_keys.create_api_key(self.platform, about)["token"])

    def post(self, body: Any, key: str | None = None, **event: Any) -> tuple[int, dict[str, Any]]:
        asked = {
            "routeKey": "POST /collect",
            "headers": {"authorization": f"Bearer {self.key if key is None else key}"},
            "body": body if isinstance(body, str) else json.dumps(body),
            **event,
        }
        answer = self.door.answer(asked)
        return answer["statusCode"], json.loads(answer["body"])

    def touches(self) -> list[dict[str, Any]]:
        return self.house.query("SELECT * FROM attribution_touchpoints ORDER BY visitor_id, touchpoint_id")


@pytest.fixture
def page(house: House) -> Iterator[Page]:
    built = Page(house)
    yield built
    built.connections.close()
    built.platform_connections.close()


def told(*touches: Mapping[str, Any]) -> dict[str, Any]:
    return {"touches": list(touches)}


def test_touch_is_in_postgres_with_its_channel_when_it_is_answered_for(page: Page) -> None:
    assert page.post(told(TOUCH)) == (202, {"accepted": 1, "duplicates": 0})
    [row] = page.touches()
    assert {name: row[name] for name in ("visitor_id", "session_id", "device", "type", "channel", "source")} == {
        "visitor_id": "v-1", "session_id": "s-1", "device": "phone", "type": "click", "channel": "email",
        "source": "newsletter",
    }  # fmt: skip
    assert (row["tenant_id"], row["shopify_customer_id"], row["occurred_at"]) == (
        page.house.tenant_id,
        None,
        NOW,
    )
    assert page.edge.asked == [(page.house.tenant_id, 1)]


def test_touch_told_again_is_stored_once_whatever_its_time(page: Page) -> None:
    page.post(told(TOUCH))
    again = {**TOUCH, "occurred_at": (NOW - timedelta(hours=1)).isoformat(), "landing_page": "/else"}
    assert page.post(told(TOUCH, again, TOUCH)) == (202, {"accepted": 0, "duplicates": 3})
    nameless = {key: value for key, value in TOUCH.items() if key != "touch_id"}
    assert page.post(told(nameless, nameless)) == (202, {"accepted": 1, "duplicates": 1})
    assert len(page.touches()) == 2


def test_touch_lies_in_its_months_partition_and_one_without_a_month_with_the_others(page: Page) -> None:
    page.post(told(TOUCH))
    page.house.write(
        "INSERT INTO attribution_touchpoints (dedupe_hash, channel, occurred_at) VALUES ('old', 'paid', '2019-05-01')"
    )
    found = page.house.query(
        "SELECT tableoid::regclass::text AS part FROM attribution_touchpoints ORDER BY 1"
    )
    month = f"attribution_touchpoints_{NOW:%Y%m}"
    assert [row["part"] for row in found] == [month, "attribution_touchpoints_other"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"visitor_id": None}, "touches.0.visitor_id"),
        ({"visitor_id": "v" * 129}, "touches.0.visitor_id"),
        ({"occurred_at": None}, "touches.0.occurred_at"),
        ({"occurred_at": "2026-11-20T12:00:00"}, "touches.0.occurred_at"),
        ({"occurred_at": (NOW - timedelta(hours=49)).isoformat()}, "touches.0.occurred_at"),
        ({"occurred_at": (NOW + timedelta(hours=6)).isoformat()}, "touches.0.occurred_at"),
        ({"type": "hover"}, "touches.0.type"),
        ({"device": "watch"}, "touches.0.device"),
        ({"landing_page": "a\u0000b"}, "touches.0.landing_page"),
        ({"referrer_url": "r" * 4097}, "touches.0.referrer_url"),
        ({"utm": {"sauce": "x"}}, "touches.0.utm.sauce"),
        ({"utm": {"source": 7}}, "touches.0.utm.source"),
        ({"utm": "x"}, "touches.0.utm"),
        ({"customer_id": 7}, "touches.0.customer_id"),
    ],
)
def test_field_that_cannot_be_is_named_and_nothing_of_the_batch_is_kept(
    page: Page, change: dict[str, Any], field: str
) -> None:
    other = {**TOUCH, "touch_id": "t-2"}
    status, answer = page.post(told({**TOUCH, **change}, other))
    assert (status, answer["field"]) == (400, field)
    assert page.touches() == []


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ("{", 400, "body"),
        ("[]", 400, "body"),
        ({}, 400, "touches"),
        ({"touches": []}, 400, "touches"),
        ({"touches": [TOUCH] * 101}, 400, "touches"),
        ({"touches": [7]}, 400, "touches.0"),
        ({"touches": [TOUCH], "more": 1}, 400, "more"),
        (json.dumps({"touches": [{**TOUCH, "landing_page": "x" * 300_000}]}), 413, "body"),
    ],
)
def test_body_that_cannot_be_is_refused(page: Page, body: Any, status: int, field: str) -> None:
    found, answer = page.post(body)
    assert (found, answer["field"]) == (status, field)
    assert page.touches() == []


def test_other_keys_and_routes_do_not_open_the_door(page: Page) -> None:
    for key in ("", "twk_none", page.make_key("ab:collect"), page.make_key("events:publish")):
        assert page.post(told(TOUCH), key=key)[0] == 401
    assert page.post(told(TOUCH), routeKey="POST /ab/events")[0] == 404
    both = page.make_key("ab:collect", "touchpoints:collect")
    assert page.post({**told(TOUCH), "key": both}, key="", headers={})[0] == 202
    with pytest.raises(InvalidPayloadError, match="touchpoints:collect stands alone"):
        page.make_key("touchpoints:collect", "runs:read")


def test_tenants_touch_is_its_own_whatever_its_id(page: Page) -> None:
    bolt = add_tenant(page.house.urls, "bolt")
    assert page.post(told(TOUCH), key=page.make_key("touchpoints:collect", tenant="bolt"))[0] == 202
    assert page.post(told(TOUCH)) == (202, {"accepted": 1, "duplicates": 0})
    assert {row["tenant_id"] for row in page.touches()} == {bolt, page.house.tenant_id}


def test_too_many_touches_are_asked_to_wait(page: Page) -> None:
    page.edge.wait = timedelta(seconds=2.5)
    answer = page.door.answer(
        {
            "routeKey": "POST /collect",
            "headers": {"authorization": f"Bearer {page.key}"},
            "body": json.dumps(told(TOUCH)),
        }
    )
    assert (answer["statusCode"], answer["headers"]["retry-after"]) == (429, "3")
    assert page.touches() == []


def test_touches_pass_where_the_limit_cannot_be_asked(page: Page) -> None:
    assert ValkeyEdge(page.house.settings, "touches").admit(page.house.tenant_id, BURST) == timedelta()


def test_without_postgres_a_page_is_asked_to_send_again() -> None:
    away = Connections("postgresql://nobody@127.0.0.1:9/none", patience=timedelta(seconds=1))
    answer = Door(away, FakeEdge()).answer(
        {
            "routeKey": "POST /collect",
            "headers": {"authorization": f"Bearer twk_{'0' * 32}_{'a' * 43}"},
            "body": json.dumps(told(TOUCH)),
        }
    )
    assert answer["statusCode"] == 503
    assert json.loads(answer["body"])["remedy"] == "send it again"
