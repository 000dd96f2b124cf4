"""The webhook endpoint: one exact answer for each kind of input, and nothing lost whichever line it dies at."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from psycopg.rows import dict_row

from infra.local.postgres import DatabaseUrls
from ingress.manifest import load_manifest
from ingress.platform import Platform
from ingress.receiver import Receiver
from ingress.relay import Relay
from ingress.shops import ShopDirectory
from tests.fakes import FakeQueues
from tests.integration.harness import add_tenant, local_settings
from tradewind.aws.keys import DataKey
from tradewind.crash import install
from tradewind.errors import NotFoundError
from tradewind.integrations.shopify.webhook import sign
from tradewind.tasks.dispatch import Dispatcher
from tradewind.tenancy.credentials import CredentialVault, Label, TenantCredentials
from tradewind.tenancy.database import Connections, Session

SECRET, OTHER_SECRET = b"acme-secret", b"bolt-secret"
ORDER = {"id": 1001, "admin_graphql_api_id": "gid://shopify/Order/1001", "updated_at": "2026-11-20T12:00:00Z"}
LIMIT = 64 * 1024


class LocalKeys:
    """Data keys that their own context opens; what KMS does, without its cipher."""

    def generate(self, context: Mapping[str, str]) -> DataKey:
        return DataKey(b"k" * 32, json.dumps(dict(context)).encode())

    def decrypt(self, encrypted: bytes, context: Mapping[str, str]) -> bytes:
        assert json.loads(encrypted) == dict(context)
        return b"k" * 32


@dataclass
class Objects:
    """A payload store of one process."""

    kept: dict[str, bytes] = field(default_factory=dict)

    def put(self, key: str, body: bytes) -> None:
        self.kept[key] = body

    def get(self, key: str) -> bytes:
        if key not in self.kept:
            raise NotFoundError("stored payload", key)
        return self.kept[key]


@dataclass
class Door:
    """A receiver on a fresh database, with tenants acme, bolt, and gone (uninstalled)."""

    urls: DatabaseUrls

    def __post_init__(self) -> None:
        limits = {"TRADEWIND_MAX_BODY_BYTES": str(LIMIT), "TRADEWIND_MAX_MESSAGE_BYTES": str(LIMIT // 2)}
        self.settings = local_settings(self.urls, **limits)
        self.connections = Connections(self.urls.platform)
        vault = CredentialVault(LocalKeys())
        self.tenants = {slug: add_tenant(self.urls, slug) for slug in ("acme", "bolt", "gone")}
        for slug, secret in {"acme": SECRET, "bolt": OTHER_SECRET, "gone": b"gone-secret"}.items():
            self.store_secret(vault, self.tenants[slug], secret)
        with psycopg.connect(self.urls.platform) as connection:
            connection.execute("UPDATE tenants SET status = 'uninstalled' WHERE slug = 'gone'")
        self.queues = FakeQueues()
        self.objects = Objects()
        self.dispatcher = Dispatcher(self.queues, "test")  # type: ignore[arg-type]
        self.receiver = Receiver(
            self.settings,
            self.connections,
            ShopDirectory(self.connections, vault),
            self.dispatcher,
            self.objects,  # type: ignore[arg-type]
            load_manifest(),
        )
        self.vault = vault

    def store_secret(
        self, vault: CredentialVault, tenant_id: UUID, secret: bytes, overlap: timedelta | None = None
    ) -> None:
        session = Session(self.connections)
        with session.transaction(tenant_id) as tx:
            TenantCredentials(tenant_id, vault).put(
                tx, Label("shopify", "app_secret"), secret.decode(), previous_life=overlap
            )
        session.settle()
        session.close()

    def post(
        self,
        body: bytes | dict[str, Any] = ORDER,
        *,
        secret: bytes | None = SECRET,
        shop: str = "acme.myshopify.com",
        topic: str = "orders/create",
        webhook_id: str = "hook-1",
        provider: str = "shopify",
        encode: bool = False,
        **headers: str,
    ) -> tuple[int, dict[str, Any]]:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        given = {
            "x-shopify-topic": topic,
            "x-shopify-shop-domain": shop,
            "x-shopify-api-version": "2026-07",
            "x-shopify-webhook-id": webhook_id,
            **({} if secret is None else {"x-shopify-hmac-sha256": sign(raw, secret)}),
            **{name.replace("_", "-"): text for name, text in headers.items()},
        }
        event: dict[str, Any] = {
            "pathParameters": {"provider": provider},
            "headers": {name: text for name, text in given.items() if text != "missing"},
            "body": base64.b64encode(raw).decode() if encode else raw.decode("utf-8", "surrogateescape"),
            "isBase64Encoded": encode,
        }
        answer = self.receiver.receive(event)
        return answer["statusCode"], json.loads(answer["body"])

    def query(self, statement: str) -> list[dict[str, Any]]:
        with psycopg.connect(self.urls.reader, row_factory=dict_row) as connection:
            return connection.execute(statement.encode()).fetchall()

    def counts(self) -> tuple[int, int, int]:
        """(inbox rows, messages sent, dead letters)"""
        inbox = self.query("SELECT 1 AS x FROM webhook_inbox")
        return len(inbox), len(self.queues.sent), len(self.query("SELECT 1 AS x FROM dead_letter"))


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
        {"tenant_id": door.tenants["gone"], "state": "unrouted"},
        {"tenant_id": UUID(int=0), "state": "unrouted"},
    ]


def test_previous_secret_signs_until_its_time_is_over(door: Door) -> None:
    door.store_secret(door.vault, door.tenants["acme"], b"new-secret", timedelta(hours=1))
    assert door.post(webhook_id="a", secret=b"new-secret")[0] == 200
    assert door.post(webhook_id="b", secret=SECRET)[0] == 200
    with psycopg.connect(door.urls.owner) as connection:
        connection.execute("UPDATE credentials SET previous_until = now() - interval '1 s'")
    door.receiver._directory._kept.clear()
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


def test_database_that_does_not_answer_means_deliver_again(door: Door) -> None:
    door.receiver._connections = Connections("postgresql://nobody@127.0.0.1:9/none")
    assert door.post()[0] == 503


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
