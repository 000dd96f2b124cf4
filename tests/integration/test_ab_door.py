"""The door of A/B tests: what it takes, what it refuses and by which field, and what it answers."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from infra.local import ValkeyServer
from infra.local.postgres import DatabaseUrls
from ingress.experiments import Door
from ingress.experiments_api.edge import BURST, ValkeyEdge
from tests.integration.harness import House, add_tenant, local_settings
from tests.integration.storefront import HALVES, Storefront, an_event, decisions
from tradewind.contracts.experiments import position_of
from tradewind.errors import InvalidPayloadError
from tradewind.ratelimit import connect
from tradewind.tenancy.database import Connections


@pytest.fixture
def page(database: DatabaseUrls, house: House, valkey: ValkeyServer) -> Iterator[Storefront]:
    store = connect(valkey.url)
    store.flushall(target_nodes="all")
    built = Storefront(database, house, store)
    yield built
    built.close()
    store.close()


def an_hour(hours: float) -> str:
    return (datetime.now(UTC) + timedelta(hours=hours)).isoformat()


BAD_EVENTS: list[tuple[dict[str, Any], str]] = [
    ({"event_id": None}, "events.1.event_id"),
    ({"event_id": ""}, "events.1.event_id"),
    ({"event_id": "x" * 129}, "events.1.event_id"),
    ({"event_id": 7}, "events.1.event_id"),
    ({"event_id": "a\x00b"}, "events.1.event_id"),
    ({"event_id": "\ud800"}, "events.1.event_id"),
    ({"test_id": "no spaces"}, "events.1.test_id"),
    ({"test_id": "a:b"}, "events.1.test_id"),
    ({"test_id": None}, "events.1.test_id"),
    ({"variant_id": ["bold"]}, "events.1.variant_id"),
    ({"visitor_id": None}, "events.1.visitor_id"),
    ({"visitor_id": {"id": 1}}, "events.1.visitor_id"),
    ({"session_id": ""}, "events.1.session_id"),
    ({"customer_id": "7"}, "events.1.customer_id"),
    ({"customer_id": 0}, "events.1.customer_id"),
    ({"customer_id": 2**63}, "events.1.customer_id"),
    ({"type": "look"}, "events.1.type"),
    ({"type": None}, "events.1.type"),
    ({"type": ["page_view"]}, "events.1.type"),
    ({"type": "purchase", "value_cents": 100}, "events.1.order_id"),
    ({"type": "purchase", "order_id": 1}, "events.1.value_cents"),
    ({"type": "purchase", "order_id": 1, "value_cents": -1}, "events.1.value_cents"),
    ({"type": "purchase", "order_id": 1, "value_cents": 10**11}, "events.1.value_cents"),
    ({"type": "purchase", "order_id": True, "value_cents": 1}, "events.1.order_id"),
    ({"type": "purchase", "order_id": 1, "value_cents": 1.5}, "events.1.value_cents"),
    ({"occurred_at": "yesterday"}, "events.1.occurred_at"),
    ({"occurred_at": "2026-11-20T12:00:00"}, "events.1.occurred_at"),
    ({"occurred_at": 1_700_000_000}, "events.1.occurred_at"),
    ({"occurred_at": an_hour(-49)}, "events.1.occurred_at"),
    ({"occurred_at": an_hour(0.2)}, "events.1.occurred_at"),
    ({"context": []}, "events.1.type"),
    ({"context": ["x"]}, "events.1.context"),
    ({"context": {"Device": "x"}}, "events.1.context.Device"),
    ({"context": {"device": None}}, "events.1.context.device"),
    ({"context": {"device": "x" * 129}}, "events.1.context.device"),
    ({"context": {f"a{n}": "x" for n in range(31)}}, "events.1.context"),
    ({"nonsense": 1}, "events.1.nonsense"),
]


@pytest.mark.parametrize(("change", "field"), BAD_EVENTS)
def test_field_that_cannot_be_is_named_and_nothing_of_the_batch_is_kept(
    page: Storefront, change: dict[str, Any], field: str
) -> None:
    page.start()
    bad = {**an_event(2, "v-2"), **change}
    if field.endswith("type") and "context" in change:
        bad["type"] = "look"
    reply = page.post(an_event(1, "v-1"), bad)
    assert (reply.status, reply.body["field"]) == (400, field)
    assert page.house.query("SELECT count(*)::int AS n FROM ab_events") == [{"n": 0}]
    assert page.house.query("SELECT count(*)::int AS n FROM ab_test_assignments") == [{"n": 0}]
    assert page.edge.counted == []


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ("{", 400, "body"),
        ("[]", 400, "body"),
        ('{"events": NaN}', 400, "body"),
        ({}, 400, "events"),
        ({"events": []}, 400, "events"),
        ({"events": {}}, 400, "events"),
        ({"events": [7]}, 400, "events.0"),
        ({"events": [an_event(n, "v") for n in range(101)]}, 400, "events"),
        ({"events": [an_event(1, "v")], "tenant": "bolt"}, 400, "tenant"),
        ('{"events": "' + "x" * 300_000 + '"}', 413, "body"),
    ],
)
def test_body_that_cannot_be_is_refused(page: Storefront, body: Any, status: int, field: str) -> None:
    reply = page.ask("POST /ab/events", body)
    assert (reply.status, reply.body["field"]) == (status, field)


@pytest.mark.parametrize("encoded", ["not base64!", "/w=="])
def test_bytes_that_are_no_text_are_refused(page: Storefront, encoded: str) -> None:
    assert page.ask("POST /ab/events", encoded, isBase64Encoded=True).status == 400


def test_only_a_collecting_key_opens_the_door(page: Storefront) -> None:
    page.start()
    key_id = page.key.split("_")[1]
    others = ("", "twk_x", f"twk_{key_id}_{'A' * 43}", page.make_key("acme", "events:publish"))
    for key in others:
        assert page.post(an_event(1, "v-1"), key=key).status == 401
    assert page.house.query("SELECT count(*)::int AS n FROM ab_events") == [{"n": 0}]
    body = {"events": [an_event(1, "v-1")]}
    assert page.ask("POST /ab/events", {**body, "key": page.key}, headers={}).status == 202
    assert page.ask("POST /ab/events", body, query={"key": page.key}, headers={}).status == 202


def test_key_for_pages_may_do_nothing_else(page: Storefront) -> None:
    with pytest.raises(InvalidPayloadError, match="ab:collect stands alone"):
        page.make_key("acme", "ab:collect", "events:publish")
    with pytest.raises(InvalidPayloadError, match="there is no hero"):
        page.make_key("acme", "ab:collect:hero")


def test_key_of_a_tenant_that_uninstalled_is_refused(page: Storefront) -> None:
    with page.platform.session() as session:
        session.call("UPDATE tenants SET status = 'uninstalled' WHERE slug = 'acme' RETURNING 1", {})
    assert page.post(an_event(1, "v-1")).status == 403


def test_events_of_one_tenant_do_not_reach_anothers_test(page: Storefront, database: DatabaseUrls) -> None:
    page.start()
    add_tenant(database, "bolt")
    reply = page.post(an_event(1, "v-1"), key=page.make_key("bolt"))
    assert reply.body == {"accepted": 0, "duplicates": 0, "left_out": 1}
    assert page.house.query("SELECT count(*)::int AS n FROM ab_test_assignments") == [{"n": 0}]


def test_event_without_a_variant_gets_the_hashs(page: Storefront) -> None:
    page.start()
    visitors = [f"v-{n}" for n in range(20)]
    page.post(*(an_event(n, visitor) for n, visitor in enumerate(visitors)))
    rows = page.house.query("SELECT visitor_id, variant_id FROM ab_test_assignments")
    assert {row["visitor_id"]: row["variant_id"] for row in rows} == {
        visitor: "control" if position_of("hero", visitor) < 0.5 else "bold" for visitor in visitors
    }


@pytest.mark.parametrize(
    ("definition", "event"),
    [
        ({}, {"test_id": "unknown"}),
        ({}, {"variant_id": "unknown"}),
        ({"exclusion_group": "shop"}, {}),
        (
            {
                "targeting": [
                    {
                        "priority": 1,
                        "action": "exclude",
                        "conditions": [{"attribute": "device", "operator": "equals", "value": "bot"}],
                    }
                ]
            },
            {"context": {"device": "bot"}},
        ),
    ],
)
def test_event_of_nobody_who_is_in_the_test_is_left_out(
    page: Storefront, definition: dict[str, Any], event: dict[str, Any]
) -> None:
    page.start(**definition)
    reply = page.post({**an_event(1, "v-1"), **event})
    assert (reply.status, reply.body) == (202, {"accepted": 0, "duplicates": 0, "left_out": 1})


def test_test_that_is_over_takes_nothing_more(page: Storefront) -> None:
    page.start()
    assert page.post(an_event(1, "v-1")).body["accepted"] == 1
    page.run(decisions.handle_test_ended, {"test_id": "hero"})
    assert page.post(an_event(2, "v-1"), an_event(3, "v-2")).body["left_out"] == 2


def test_assignment_is_told_stored_and_kept_when_weights_change(page: Storefront) -> None:
    page.start()
    context = {"device": "phone", "utm_source": "mail"}
    asked = {"visitor_id": "v-1", "session_id": "s-1", "customer_id": 7, "context": context}
    first = page.ask("POST /ab/assignments", asked)
    [told] = first.body["assignments"]
    assert (first.status, told["test_id"], told["reason"]) == (200, "hero", "hash")
    assert first.headers["cache-control"] == "no-store"
    stored = page.house.query(
        "SELECT variant_id, session_id, shopify_customer_id, device, utm FROM ab_test_assignments"
    )
    assert [tuple(row.values()) for row in stored] == [
        (told["variant_id"], "s-1", 7, "phone", {"source": "mail"})
    ]
    page.house.write(
        "UPDATE ab_variants SET weight_basis_points = CASE WHEN variant_id = %s THEN 0 ELSE 10000 END",
        told["variant_id"],
    )
    page.door = Door(page.connections, page.edge)
    again = page.ask("GET /ab/assignments", query={"visitor_id": "v-1", "tests": "hero"})
    assert again.body["assignments"] == [{**told, "reason": "standing"}]
    new = page.ask("GET /ab/assignments", query={"visitor_id": "v-2"}).body["assignments"]
    assert new[0]["variant_id"] != told["variant_id"]


def test_assignments_keep_a_group_apart(page: Storefront) -> None:
    for name in ("one", "two"):
        page.start(name, exclusion_group="shop")
    told = page.ask("POST /ab/assignments", {"visitor_id": "v-1"}).body["assignments"]
    assert sorted(each["reason"] for each in told) == ["hash", "other_test"]
    page.start("zero", exclusion_group="shop", variants=HALVES)
    page.door = Door(page.connections, page.edge)
    later = page.ask("POST /ab/assignments", {"visitor_id": "v-1"}).body["assignments"]
    assert [each["test_id"] for each in later if each["variant_id"]] == [
        each["test_id"] for each in told if each["variant_id"]
    ]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({}, "visitor_id"),
        ({"visitor_id": "v", "customer_id": "x"}, "customer_id"),
        ({"visitor_id": "v", "tests": "a,b c"}, "tests.1"),
        ({"visitor_id": "v", "Nope": "x"}, "context.Nope"),
    ],
)
def test_question_that_cannot_be_is_refused(page: Storefront, query: dict[str, str], field: str) -> None:
    reply = page.ask("GET /ab/assignments", query=query)
    assert (reply.status, reply.body["field"]) == (400, field)


def test_too_much_at_once_has_to_wait(page: Storefront) -> None:
    page.edge.wait = timedelta(seconds=2.5)
    reply = page.post(an_event(1, "v-1"))
    assert (reply.status, reply.headers["retry-after"]) == (429, "3")


def test_limit_is_a_tenants_own_and_open_where_valkey_is_away(page: Storefront, valkey: ValkeyServer) -> None:
    edge = ValkeyEdge(local_settings(page.urls, TRADEWIND_REDIS_URL=valkey.url), "events")
    acme, bolt = page.house.tenant_id, add_tenant(page.urls, "bolt")
    assert edge.admit(acme, BURST) == timedelta()
    assert edge.admit(acme, 100) > timedelta()
    assert edge.admit(bolt, 100) == timedelta()
    assert ValkeyEdge(local_settings(page.urls), "events").admit(acme, BURST) == timedelta()


def test_database_that_is_away_is_told_so_and_nothing_is_counted(page: Storefront) -> None:
    away = Connections("postgresql://nobody@127.0.0.1:9/nothing", connect_timeout=1)
    page.door = Door(away, page.edge)
    reply = page.post(an_event(1, "v-1"))
    assert (reply.status, reply.headers["retry-after"]) == (503, "5")
    assert page.edge.counted == []


def test_no_such_route(page: Storefront) -> None:
    assert page.ask("PUT /ab/events", {}).status == 404
