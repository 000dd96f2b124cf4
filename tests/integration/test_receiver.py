"""The webhook endpoint: one exact answer for each kind of input, and nothing lost whichever line it dies at."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from infra.local.postgres import DatabaseUrls
from ingress.manifest import load_manifest
from ingress.platform import Platform
from ingress.relay import Relay
from tests.integration.door import LIMIT, ORDER, SECRET, Door
from tradewind.crash import install


@pytest.fixture
def door(database: DatabaseUrls) -> Iterator[Door]:
    built = Door(database)
    yield built
    built.connections.close()


def test_good_webhook_is_kept_and_enqueued_by_topic(door: Door) -> None:
    status, answer = door.post(x_shopify_event_id="click-7")
    assert (status, answer) == (200, {"status": "accepted", "correlation_id": "click-7"})
    [entry] = door.queues.sent
    assert entry.queue == "tradewind-test-commerce-order-created.fifo"
    assert entry.group.startswith(f"{door.tenants['acme']}#")
    body = json.loads(entry.body)
    assert (body["payload"], body["cause"], body["entity"]) == (ORDER, "hook-1", "1001")
    assert door.query("SELECT state, delivery FROM outbox") == [{"state": "sent", "delivery": 1}]


def test_copy_is_answered_and_not_enqueued(door: Door) -> None:
    door.post()
    status, answer = door.post()
    assert (status, answer["status"]) == (200, "duplicate")
    assert door.counts() == (1, 1, 0)


def test_same_event_id_with_another_delivery_id_is_other_work(door: Door) -> None:
    door.post(webhook_id="a", x_shopify_event_id="click")
    door.post(webhook_id="b", topic="orders/paid", x_shopify_event_id="click")
    assert door.counts() == (2, 2, 0)


def test_base64_body_is_verified_over_its_bytes(door: Door) -> None:
    assert door.post({**ORDER, "note": "Ünïcødé — 東京"}, encode=True)[0] == 200


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"secret": b"wrong"}, 401),
        ({"secret": None}, 401),
        ({"secret": b"bolt-secret"}, 401),
        ({"secret": b"wrong", "shop": "nobody.myshopify.com"}, 401),
        ({"body": b""}, 401),
        ({"x_shopify_hmac_sha256": "äöü"}, 401),
        ({"x_shopify_hmac_sha256": "x" * 4000}, 401),
        ({"shop": "nobody.myshopify.com"}, 202),
        ({"shop": "gone.myshopify.com", "secret": b"gone-secret"}, 202),
        ({"topic": "themes/create"}, 202),
        ({"provider": "nobody"}, 404),
        ({"body": b'{"id":1,"x":"' + b"y" * LIMIT + b'"}'}, 413),
        ({"body": b'{"id":1,"x":"' + b"y" * LIMIT + b'"}', "secret": b"wrong"}, 413),
        ({"body": b'{"id":1,"x":"' + b"y" * LIMIT + b'"}', "encode": True}, 413),
    ],
)
def test_refused_or_ignored_webhook_leaves_nothing(door: Door, change: dict[str, Any], status: int) -> None:
    assert door.post(**change)[0] == status
    assert door.counts() == (0, 0, 0)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"body": b"{not json"}, "body: is not JSON"),
        ({"body": b"[1, 2]"}, "body: is a list; an object is expected"),
        ({"body": b'"text"'}, "body: is a str"),
        ({"body": b"null"}, "body: is a NoneType"),
        ({"body": b"{}"}, "id: is 'None'; a positive whole number below 2**63 is expected"),
        ({"body": b'{"id": -5}'}, "id: is '-5'"),
        ({"body": b'{"id": 0}'}, "id: is '0'"),
        ({"body": b'{"id": true}'}, "id: is 'True'"),
        ({"body": b'{"id": 1.5}'}, "id: is '1.5'"),
        ({"body": b'{"id": "12"}'}, "id: is text: '12'"),
        ({"body": b'{"id": 9223372036854775808}'}, "id: is '9223372036854775808'"),
        ({"body": b'{"id": ' + b"9" * 5000 + b"}"}, "body: is not JSON"),
        ({"body": b'{"id": NaN}'}, "body: is not JSON"),
        ({"body": b'{"id": 1, "x": 1e400}'}, "body: is not JSON"),
        ({"body": b'{"id": 1, "x": ' + b"[" * 30000 + b"]" * 30000 + b"}"}, "body: is not JSON"),
        ({"body": b'\x00{"id": 1}'}, "body: is not JSON"),
        ({"body": b'{"id": 1, "x": "\xff\xfe"}', "encode": True}, "body: is not UTF-8"),
        ({"x_shopify_topic": "missing"}, "X-Shopify-Topic: header is missing"),
        ({"x_shopify_webhook_id": "missing"}, "X-Shopify-Webhook-Id: header is missing"),
        ({"topic": "orders create; drop table"}, "X-Shopify-Topic: header is impossible"),
        ({"x_shopify_triggered_at": "yesterday"}, "X-Shopify-Triggered-At"),
        ({"x_shopify_api_version": "1"}, "X-Shopify-API-Version: header is impossible"),
    ],
)
def test_signed_but_impossible_content_is_kept_as_a_dead_letter(
    door: Door, change: dict[str, Any], problem: str
) -> None:
    status, answer = door.post(**change)
    assert status == 200
    assert answer["status"] == "dead_letter"
    assert answer["error"].startswith(problem)
    [letter] = door.query("SELECT tenant_id, body, error_message FROM dead_letter")
    assert letter["tenant_id"] == door.tenants["acme"]
    sent = change.get("body", json.dumps(ORDER).encode())
    assert bytes(letter["body"]) == sent
    assert door.counts() == (0, 0, 1)


def test_compliance_topics_are_kept_for_uninstalled_and_unknown_shops(door: Door) -> None:
    redact = {"shop_id": 954889, "shop_domain": "gone.myshopify.com"}
    assert door.post(redact, topic="shop/redact", shop="gone.myshopify.com", secret=b"gone-secret")[0] == 200
    assert door.post(redact, topic="shop/redact", shop="nobody.myshopify.com", webhook_id="hook-2")[0] == 200
    rows = door.query("SELECT tenant_id, state FROM webhook_inbox ORDER BY received_at")
    assert rows == [
        {"tenant_id": door.tenants["gone"], "state": "routed"},
        {"tenant_id": UUID(int=0), "state": "routed"},
    ]
    assert [entry.queue for entry in door.queues.sent] == ["tradewind-test-gdpr-request-process.fifo"] * 2


def test_tenant_that_has_left_a_moment_ago_is_heard_no_more(door: Door) -> None:
    """The receiver still takes the shop for an installed one, for up to a minute."""
    door.post(topic="themes/create")
    with psycopg.connect(door.urls.platform) as connection:
        connection.execute("UPDATE tenants SET status = 'uninstalled' WHERE slug = 'acme'")
    assert door.post() == (202, {"status": "ignored", "reason": "uninstalled"})
    assert door.counts() == (0, 0, 0)
    redact = {"shop_id": 1, "shop_domain": "acme.myshopify.com"}
    assert door.post(redact, topic="shop/redact", webhook_id="hook-2")[0] == 200
    assert door.counts() == (1, 1, 0)


def test_previous_secret_signs_until_its_time_is_over(door: Door) -> None:
    door.store_secret(door.vault, door.tenants["acme"], b"new-secret", timedelta(hours=1))
    assert door.post(webhook_id="a", secret=b"new-secret")[0] == 200
    assert door.post(webhook_id="b", secret=SECRET)[0] == 200
    with psycopg.connect(door.urls.owner) as connection:
        connection.execute("UPDATE credentials SET previous_until = now() - interval '1 s'")
    door.acceptor._directory._kept.clear()
    assert door.post(webhook_id="c", secret=SECRET)[0] == 401


def test_body_beyond_the_queues_limit_goes_by_claim_check(door: Door) -> None:
    large = {**ORDER, "note": "n" * (LIMIT * 3 // 4)}
    assert door.post(large)[0] == 200
    [entry] = door.queues.sent
    message = json.loads(entry.body)
    assert message["payload"] is None
    assert json.loads(door.objects.get(message["claim"])) == large
    assert door.query("SELECT body, claim FROM webhook_inbox") == [{"body": None, "claim": message["claim"]}]


class DiedError(BaseException):
    pass


@pytest.mark.parametrize("point", ["receiver.claim_checked", "receiver.kept", "outbox.sent", "outbox.marked"])
@pytest.mark.parametrize("repair", ["delivered again", "relay"])
def test_death_between_any_two_lines_loses_nothing(door: Door, point: str, repair: str) -> None:
    large = {**ORDER, "note": "n" * (LIMIT * 3 // 4)}

    def die(here: str) -> None:
        if here == point:
            raise DiedError

    remove = install(die)
    try:
        with pytest.raises(DiedError):
            door.post(large)
    finally:
        remove()
    if repair == "delivered again" or point == "receiver.claim_checked":
        assert door.post(large)[0] == 200
    platform = Platform(door.settings, door.connections, door.dispatcher)
    with platform.session() as session:
        Relay(platform, load_manifest(), session).send_unsent(timedelta())
    assert {entry.key for entry in door.queues.sent} == {entry.key for entry in door.queues.sent[:1]}
    assert len({entry.deduplication for entry in door.queues.sent}) == 1
    assert json.loads(door.queues.sent[0].body)["claim"] is not None
    assert door.query("SELECT state FROM outbox") == [{"state": "sent"}]


def test_queue_that_lost_a_message_gets_it_again_under_a_new_number(door: Door) -> None:
    door.post()
    platform = Platform(door.settings, door.connections, door.dispatcher)
    with platform.session() as session:
        relay = Relay(platform, load_manifest(), session)
        assert relay.send_lost() == 0
        assert relay.send_lost(timedelta()) == 1
    first, second = door.queues.sent
    assert first.body == second.body
    assert (first.deduplication, second.deduplication) == (f"{first.key}-0", f"{first.key}-1")


@settings(
    max_examples=150,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
@given(
    body=st.one_of(
        st.binary(max_size=400),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
            max_leaves=12,
        ).map(lambda value: json.dumps(value).encode()),
        st.dictionaries(
            st.sampled_from(["id", "order_id", "admin_graphql_api_id"]), st.integers() | st.text()
        ).map(lambda value: json.dumps(value).encode()),
    ),
    topic=st.sampled_from(["orders/create", "refunds/create", "shop/redact", "themes/create"])
    | st.text(max_size=30),
    webhook_id=st.uuids().map(str) | st.text(max_size=30),
    signed=st.booleans(),
)
def test_any_input_has_an_answer_and_what_is_signed_is_never_lost(
    database_for_properties: Door, body: bytes, topic: str, webhook_id: str, signed: bool
) -> None:
    door = database_for_properties
    before = door.counts()
    status, _ = door.post(
        body, topic=topic, webhook_id=webhook_id, secret=SECRET if signed else b"wrong", encode=True
    )
    after = door.counts()
    if not signed or not body:
        assert status == 401
        assert after == before
    else:
        assert status in (200, 202)
        if status == 200:
            known = door.query("SELECT event_id AS id FROM webhook_inbox UNION SELECT cause FROM dead_letter")
            assert known
        else:
            assert after == before


@pytest.fixture(scope="module")
def database_for_properties(postgres: Any, migrated: str) -> Iterator[Door]:
    built = Door(postgres.create_database("receiver_properties", template=migrated))
    yield built
    built.connections.close()
    postgres.drop_database("receiver_properties")
