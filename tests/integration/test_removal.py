"""Off-boarding by an operator, the rotation of a secret, and where exports lie."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from infra.local.postgres import DatabaseUrls
from ingress import admin
from ingress.platform import Platform
from operations.privacy.tasks import gdpr_request_process
from tests.integration.door import ORDER, SECRET, Door
from tests.integration.harness import House, add_tenant
from tests.integration.headquarters import Headquarters
from tradewind.errors import InvalidPayloadError, NotFoundError
from tradewind.tasks.message import read_message
from tradewind.tasks.worker import Done, to_plain

ASKED = {"tenant": "acme", "confirm": "acme", "reason": "the contract ended", "actor": "ann"}


@pytest.fixture
def office(hq: Headquarters, monkeypatch: pytest.MonkeyPatch) -> Headquarters:
    monkeypatch.setattr(admin, "current_platform", lambda: hq.platform)
    return hq


def act(action: str, **fields: Any) -> dict[str, Any]:
    return admin.handle({"action": action, **fields}, None)


def test_removed_tenant_is_gone_with_everything_it_had(office: Headquarters) -> None:
    house = office.house
    add_tenant(house.urls, "bolt")
    house.write("INSERT INTO creators (name, email, code) VALUES ('Cleo', 'cleo@example.com', 'CLEO')")
    house.write(
        "INSERT INTO credentials (provider, name, encrypted_key, nonce, ciphertext)"
        " VALUES ('shopify', 'app_secret', '', '', '')"
    )
    house.payloads.kept[f"tenants/{house.tenant_id}/webhooks/1.json"] = b"{}"
    answer = act("remove-tenant", **ASKED)
    assert answer["tenant_id"] == str(house.tenant_id)
    assert house.query("SELECT status FROM tenants WHERE slug = 'acme'") == [{"status": "uninstalled"}]
    assert office.queues.sent == [], "what is on its way may still arrive"
    office.write("UPDATE outbox SET due_at = now()")
    with office.platform.session() as session:
        assert office.platform.release(session, limit=10) == 1
    [entry] = office.queues.sent
    deadline = house.deadline() + timedelta(minutes=2)
    end = house.worker(gdpr_request_process).work(read_message(entry.body), deadline)
    assert isinstance(end, Done)
    assert to_plain(end.result)["state"] == "done"
    assert house.payloads.kept == {}
    for table in ("creators", "credentials", "shopify_app_installations", "webhook_inbox", "outbox"):
        own = house.query(f"SELECT 1 FROM {table} WHERE tenant_id = %s", house.tenant_id)
        assert own == [], table
    assert [row["slug"] for row in house.query("SELECT slug FROM tenants WHERE status = 'active'")] == [
        "bolt"
    ]
    [audit] = house.query("SELECT actor, action, reason, details ->> 'tenant' AS tenant FROM operator_audit")
    assert tuple(audit.values()) == ("ann", "remove-tenant", "the contract ended", "acme")
    assert isinstance(add_tenant(house.urls, "acme"), type(house.tenant_id)), "the name is free again"


@pytest.mark.parametrize(
    ("change", "error", "problem"),
    [
        ({"confirm": "bolt"}, InvalidPayloadError, "confirm: is 'bolt'; repeat the slug 'acme'"),
        ({"reason": ""}, InvalidPayloadError, "reason"),
        ({"tenant": "nobody", "confirm": "nobody"}, NotFoundError, "nobody"),
        ({"tenant": "platform", "confirm": "platform"}, InvalidPayloadError, "platform's own"),
    ],
)
def test_removal_that_is_not_meant_changes_nothing(
    office: Headquarters, change: dict[str, str], error: type[Exception], problem: str
) -> None:
    with pytest.raises(error, match=problem):
        act("remove-tenant", **{**ASKED, **change})
    assert office.house.query("SELECT status FROM tenants WHERE slug = 'acme'") == [{"status": "active"}]
    assert office.count("operator_audit") == 0
    assert office.queues.sent == []


def test_requests_are_listed_with_where_their_exports_lie(office: Headquarters) -> None:
    house: House = office.house
    house.write(
        "INSERT INTO privacy_requests (cause, kind, state, requested_at, due_at, claim)"
        " VALUES ('a', 'customers/data_request', 'done', now(), now(), 'tenants/x/privacy/y.json')"
    )
    [request] = act("privacy-requests", tenant="acme", state="done")["requests"]
    assert request["export"] == "s3://payloads/tenants/x/privacy/y.json"
    assert act("privacy-requests", state="open") == {"requests": []}
    assert json.dumps(request)


@pytest.fixture
def door(database: DatabaseUrls, monkeypatch: pytest.MonkeyPatch) -> Iterator[Door]:
    built = Door(database)
    platform = Platform(built.settings, built.connections, built.dispatcher)
    monkeypatch.setattr(admin, "current_platform", lambda: platform)
    monkeypatch.setattr(admin, "vault_of", lambda settings: built.vault)
    yield built
    built.connections.close()


def test_rotated_secret_and_the_one_before_both_sign_for_a_day(door: Door) -> None:
    stored = act("store-credentials", tenant="acme", provider="shopify", credentials={"app_secret": "fresh"})
    assert stored["versions"] == {"app_secret": 2}
    assert door.post(ORDER, webhook_id="a", secret=b"fresh")[0] == 200
    assert door.post(ORDER, webhook_id="b", secret=SECRET)[0] == 200
    [row] = door.query(
        "SELECT round(extract(epoch FROM previous_until - c.updated_at) / 3600) AS hours FROM credentials c"
        " JOIN tenants t ON t.tenant_id = c.tenant_id WHERE t.slug = 'acme'"
    )
    assert row["hours"] == 24
    with psycopg.connect(door.urls.owner) as connection:
        connection.execute("UPDATE credentials SET previous_until = now() - interval '1 s'")
    door.acceptor._directory._kept.clear()
    assert door.post(ORDER, webhook_id="c", secret=SECRET)[0] == 401
