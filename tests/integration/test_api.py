"""The platform's API: events and runs in, states out, one exact answer for each kind of bad input."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from infra.local.postgres import DatabaseUrls
from ingress.api import Api
from ingress.manifest import Manifest, load_manifest, load_payload_schemas
from ingress.platform_api.document import describe_api
from ingress.relay import Relay
from tests.integration.desk import INGEST, LIMIT, ROLE, TOUCH, Desk
from tradewind.contracts.events import EVENTS
from tradewind.tasks.message import run_id_of
from tradewind.tenancy.database import Connections

ORDER = {"order_id": 1001}


@pytest.fixture
def desk(database: DatabaseUrls) -> Iterator[Desk]:
    built = Desk(database)
    yield built
    built.connections.close()


def test_event_is_kept_and_starts_each_of_its_tasks(desk: Desk) -> None:
    reply = desk.publish()
    [run] = reply.body["runs"]
    assert (reply.status, reply.body["event"], reply.body["duplicate"]) == (202, "touchpoint.recorded", False)
    message = desk.message()
    assert run == {"task": INGEST, "run_id": str(run_id_of(message["key"]))}
    assert (message["source"], message["tenant_id"]) == ("event", str(desk.acme))
    assert message["cause"] == "api:events:touchpoint.recorded:request-1"
    assert message["payload"] == TOUCH
    assert desk.queues.sent[0].queue == f"tradewind-test-{INGEST}.fifo"
    assert desk.query("SELECT provider, app, topic, state FROM webhook_inbox") == [
        {"provider": "api", "app": "events", "topic": "touchpoint.recorded", "state": "routed"}
    ]


def test_task_is_started_in_the_group_of_what_it_is_about(desk: Desk) -> None:
    reply = desk.run(ORDER)
    message = desk.message()
    assert reply.status == 202
    assert reply.body == {
        "task": "commerce-sync-order",
        "run_id": str(run_id_of(message["key"])),
        "duplicate": False,
    }
    assert (message["source"], message["entity"], message["lane"]) == ("manual", "1001", "live")


def test_backfill_goes_into_its_own_queue(desk: Desk) -> None:
    assert desk.run({"order_ids": [1]}, "commerce-sync-order-batch").status == 202
    assert desk.queues.sent[0].queue == "tradewind-test-commerce-sync-order-batch-backfill.fifo"


def test_same_key_and_body_answers_the_same_run_and_enqueues_nothing(desk: Desk) -> None:
    first, again = desk.publish(), desk.publish()
    assert again.status == 202
    assert again.body == {**first.body, "duplicate": True}
    assert desk.counts() == (1, 1, 1)


def test_same_key_with_another_body_is_refused_and_changes_nothing(desk: Desk) -> None:
    first = desk.publish()
    refused = desk.publish({**TOUCH, "visitor_id": "v-2"})
    assert (refused.status, refused.body["field"]) == (409, "idempotency-key")
    assert desk.counts() == (1, 1, 1)
    assert desk.publish().body["runs"] == first.body["runs"]


def test_key_counts_for_its_target_and_tenant_only(desk: Desk) -> None:
    replies = [
        desk.run(ORDER),
        desk.run(ORDER, "commerce-order-attribution"),
        desk.publish(),
        desk.run(ORDER, token=desk.key("tasks:run", tenant="bolt")),
    ]
    assert [reply.status for reply in replies] == [202] * 4
    assert desk.counts() == (4, 4, 4)


def test_body_beyond_a_messages_size_goes_through_the_payload_store(desk: Desk) -> None:
    body = {"order_ids": list(range(10**9, 10**9 + 4000))}
    large = json.dumps(body)
    assert LIMIT // 2 < len(large) < LIMIT
    assert desk.run(body, "commerce-sync-order-batch").status == 202
    message = desk.message()
    assert message["payload"] is None
    assert message["claim"].startswith(f"tenants/{desk.acme}/requests/")
    assert json.loads(desk.objects.kept[message["claim"]]) == body
    assert desk.run({**body, "limit": 1}, "commerce-sync-order-batch").status == 409
    assert json.loads(desk.objects.kept[message["claim"]]) == body


def test_base64_body_is_read(desk: Desk) -> None:
    text = base64.b64encode(json.dumps({**TOUCH, "visitor_id": "Ünïcødé 東京"}).encode()).decode()
    assert desk.publish(text, encoded=True).status == 202


@pytest.mark.parametrize(
    ("about", "status", "field"),
    [
        ({"token": None}, 401, "authorization"),
        ({"token": "x"}, 401, "authorization"),
        ({"token": f"twk_{uuid4().hex}_{'a' * 43}"}, 401, "authorization"),
        ({"authorization": "Basic YTpi"}, 401, "authorization"),
        ({"key": None}, 400, "idempotency-key"),
        ({"key": ""}, 400, "idempotency-key"),
        ({"key": "x" * 256}, 400, "idempotency-key"),
        ({"key": "two words"}, 400, "idempotency-key"),
        ({"key": "a\x00b"}, 400, "idempotency-key"),
        ({"key": "ünïque"}, 400, "idempotency-key"),
        ({"kind": "nobody.knows"}, 404, None),
        ({"kind": "touch\x00point"}, 404, None),
        ({"content_type": "text/plain"}, 415, "content-type"),
        ({"content_type": None}, 415, "content-type"),
        ({"body": "{not json"}, 400, "body"),
        ({"body": '{"visitor_id": NaN}'}, 400, "body"),
        ({"body": '{"customer_id": 1e400}'}, 400, "body"),
        ({"body": '{"customer_id": -1e400}'}, 400, "body"),
        ({"body": '{"customer_id": ' + "9" * 5000 + "}"}, 400, "body"),
        ({"body": "[1]"}, 400, "body"),
        ({"body": "null"}, 400, "body"),
        ({"body": '"text"'}, 400, "body"),
        ({"body": "\ud800"}, 400, "body"),
        ({"body": "not base64!", "encoded": True}, 400, "body"),
        ({"body": base64.b64encode(b'{"a": "\xff"}').decode(), "encoded": True}, 400, "body"),
        ({"body": '{"x": ' + "[" * 30000 + "]" * 30000 + "}"}, 400, "body"),
        ({"body": '{"x": ' + "[" * 65 + "]" * 65 + "}"}, 400, "x" + ".0" * 64),
        ({"body": '{"visitor_id": "a\\u0000"}'}, 400, "visitor_id"),
        ({"body": '{"utm": {"source": "\\ud800"}}'}, 400, "utm.source"),
        ({"body": '{"utm": {"\\u0000": "x"}}'}, 400, "utm.\\x00"),
        ({"body": {}}, 400, "occurred_at"),
        ({"body": None}, 400, "occurred_at"),
        ({"body": {**TOUCH, "occurred_at": "yesterday"}}, 400, "occurred_at"),
        ({"body": {**TOUCH, "visitor_id": 7}}, 400, "visitor_id"),
        ({"body": {**TOUCH, "utm": {"source": ["x"]}}}, 400, "utm.source"),
        ({"body": {**TOUCH, "visitor": "v"}}, 400, "visitor"),
        ({"body": {"occurred_at": "2026-11-20T12:00:00Z"}}, 400, "body"),
        ({"body": {**TOUCH, "landing_page": "x" * LIMIT}}, 413, "body"),
        ({"body": "x" * LIMIT * 2, "encoded": True}, 413, "body"),
        ({"body": json.dumps({**TOUCH, "session_id": "東" * (LIMIT // 2)}, ensure_ascii=False)}, 413, "body"),
    ],
)
def test_bad_event_is_refused_by_the_name_of_its_fault_and_leaves_nothing(
    desk: Desk, about: dict[str, Any], status: int, field: str | None
) -> None:
    reply = desk.publish(**about)
    assert (reply.status, reply.body.get("field")) == (status, field), reply.body
    assert reply.body["status"] == status
    assert reply.body["detail"]
    assert reply.headers["content-type"] == "application/problem+json"
    assert desk.counts() == (0, 0, 0)


@pytest.mark.parametrize(
    ("task", "body", "status", "field"),
    [
        ("nobody-knows", ORDER, 404, None),
        ("commerce-sync-order", {}, 400, "order_id"),
        ("commerce-sync-order", {"order_id": "x"}, 400, "order_id"),
        ("commerce-sync-order", {"order_id": 0}, 400, "order_id"),
        ("commerce-sync-order", {"order_id": 2**63}, 400, "order_id"),
        ("commerce-sync-order", {"order_id": 1, "changed_at": "no"}, 400, "changed_at"),
        ("commerce-order-created", {"order_id": 1, "total_price": "0.01"}, 400, "total_price"),
        ("commerce-sync-order-batch", {"order_ids": [1, "2"]}, 400, "order_ids.1"),
    ],
)
def test_bad_payload_is_refused_by_the_path_of_its_fault(
    desk: Desk, task: str, body: dict[str, Any], status: int, field: str | None
) -> None:
    reply = desk.run(body, task)
    assert (reply.status, reply.body.get("field")) == (status, field), reply.body
    assert reply.body["remedy"]
    assert desk.counts() == (0, 0, 0)


def test_what_is_not_there_is_answered_with_what_is(desk: Desk) -> None:
    assert desk.publish(kind="nobody.knows").body["remedy"] == f"known: {', '.join(sorted(EVENTS))}"
    assert "commerce-sync-order," in desk.run(ORDER, "nobody").body["remedy"]


@pytest.mark.parametrize(
    ("scopes", "expected"),
    [
        (("events:publish",), (202, 403, 403)),
        (("events:publish:touchpoint.recorded",), (202, 403, 403)),
        (("tasks:run",), (403, 202, 403)),
        (("tasks:run:commerce-sync-order",), (403, 202, 403)),
        (("tasks:run:commerce-order-commission",), (403, 403, 403)),
        (("runs:read",), (403, 403, 200)),
        ((f"runs:read:{INGEST}",), (403, 403, 200)),
        (("runs:read:commerce-sync-order",), (403, 403, 403)),
    ],
)
def test_key_does_what_its_scopes_say(desk: Desk, scopes: tuple[str, ...], expected: tuple[int, ...]) -> None:
    run_id = desk.publish(key="before").body["runs"][0]["run_id"]
    token = desk.key(*scopes)
    replies = [desk.publish(token=token), desk.run(ORDER, token=token), desk.look_up(run_id, token=token)]
    assert tuple(reply.status for reply in replies) == expected
    refused = [reply.body["remedy"] for reply in replies if reply.status == 403]
    assert all("with the scope" in remedy for remedy in refused)


def test_run_of_a_tenant_is_nobody_elses(desk: Desk) -> None:
    run_id = desk.publish().body["runs"][0]["run_id"]
    bolt = desk.key("runs:read", tenant="bolt")
    assert desk.look_up(run_id).status == 200
    assert desk.look_up(run_id, token=bolt).status == 404


def test_run_that_is_none_is_said_so(desk: Desk) -> None:
    assert (desk.look_up("nonsense").status, desk.look_up("nonsense").body["field"]) == (400, "id")
    assert desk.look_up(str(uuid4())).status == 404


def test_paused_tenants_events_are_kept_and_held_until_it_goes_on(desk: Desk) -> None:
    desk.set_status("acme", "paused")
    run_id = desk.publish().body["runs"][0]["run_id"]
    assert (desk.counts(), desk.look_up(run_id).body["state"]) == ((1, 1, 0), "held")
    with desk.platform.session() as session:
        assert desk.platform.release(session, limit=100) == 0
        desk.set_status("acme", "active")
        assert desk.platform.release(session, limit=100) == 1
    assert (desk.counts(), desk.look_up(run_id).body["state"]) == ((1, 1, 1), "queued")


def test_uninstalled_tenants_key_opens_nothing(desk: Desk) -> None:
    desk.set_status("acme", "uninstalled")
    assert (desk.publish().status, desk.run(ORDER).status) == (403, 403)
    assert desk.counts() == (0, 0, 0)


def test_platforms_own_service_says_for_which_tenant_it_asks(desk: Desk) -> None:
    route = "POST /platform/events/{type}"

    def ask(**about: Any) -> tuple[int, str | None]:
        reply = desk.ask(route, "touchpoint.recorded", TOUCH, token=None, **about)
        return reply.status, reply.body.get("field")

    assert ask() == (401, "authorization")
    assert ask(iam=ROLE) == (400, "x-tradewind-tenant")
    assert ask(iam=ROLE, x_tradewind_tenant="nobody") == (404, "x-tradewind-tenant")
    assert ask(iam=ROLE, x_tradewind_tenant="a\x00") == (404, "x-tradewind-tenant")
    assert ask(iam=ROLE, x_tradewind_tenant="bolt") == (202, None)
    assert ask(iam=ROLE, x_tradewind_tenant=str(desk.acme)) == (202, None)
    tenants = desk.query("SELECT tenant_id FROM webhook_inbox ORDER BY received_at")
    assert [row["tenant_id"] for row in tenants] == [desk.tenants["bolt"], desk.acme]


def test_key_does_not_open_the_services_door(desk: Desk) -> None:
    reply = desk.ask("POST /platform/events/{type}", "touchpoint.recorded", TOUCH)
    assert (reply.status, desk.counts()) == (401, (0, 0, 0))


def test_task_of_no_tenant_is_run_by_the_platforms_own_services_only(desk: Desk) -> None:
    about = {**load_manifest().tasks["commerce-order-reconciliation"], "scope": "platform", "entity": None}
    manifest = Manifest(tasks={"commerce-order-reconciliation": about}, routes={}, schedules={})
    acceptance = desk.api._acceptance
    desk.api = Api(desk.settings, desk.connections, acceptance._dispatcher, desk.objects, manifest)
    task, route = "commerce-order-reconciliation", "POST /platform/tasks/{id}/runs"
    assert desk.run({}, task).status == 403
    assert desk.ask(route, task, {}, token=None, iam=ROLE, x_tradewind_tenant="acme").status == 403
    run_id = desk.ask(route, task, {}, token=None, iam=ROLE).body["run_id"]
    assert desk.message()["tenant_id"] == str(UUID(int=0))
    assert desk.look_up(run_id).status == 404
    reply = desk.ask("GET /platform/runs/{id}", run_id, token=None, iam=ROLE)
    assert (reply.status, reply.body["state"]) == (200, "queued")


def test_database_that_does_not_answer_means_ask_again(desk: Desk) -> None:
    desk.api._connections = Connections("postgresql://nobody@127.0.0.1:9/none")
    reply = desk.publish()
    assert (reply.status, reply.headers["retry-after"]) == (503, "5")


def test_key_that_was_used_says_when(desk: Desk) -> None:
    assert desk.query("SELECT last_used_at FROM api_keys") == [{"last_used_at": None}]
    desk.publish()
    [first] = desk.query("SELECT last_used_at FROM api_keys")
    assert first["last_used_at"] is not None
    desk.publish()
    assert desk.query("SELECT last_used_at FROM api_keys") == [first]


def test_lost_message_is_sent_again_by_the_relay(desk: Desk) -> None:
    desk.publish()
    with desk.platform.session() as session:
        assert Relay(desk.platform, load_manifest(), session).send_lost(timedelta()) == 1
    assert desk.queues.sent[0].body == desk.queues.sent[1].body


def test_document_is_served_to_anybody(desk: Desk) -> None:
    reply = desk.ask("GET /openapi.json", "", token=None, key=None)
    assert (reply.status, reply.body["openapi"]) == (200, "3.1.0")
    assert reply.body == json.loads(json.dumps(describe_api(load_manifest(), load_payload_schemas())))


def test_route_that_is_none_is_said_so(desk: Desk) -> None:
    assert desk.ask("GET /events/{type}", "touchpoint.recorded").status == 404
