"""Privacy requests against values by hand: what goes, what stays, and that nothing brings it back."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

from commerce.order_sync.tasks import sync_order
from infra.local.postgres import DatabaseUrls
from operations.privacy import work
from operations.privacy.tasks import gdpr_request_process, tenant_uninstall_cleanup
from tests.fakes import NOON, a_refund, an_order
from tests.integration.harness import House, add_tenant, local_settings
from tradewind.tasks.message import Message, Source
from tradewind.tasks.worker import Dead, Done, End, to_plain
from tradewind.tenancy.tenant import PLATFORM_TENANT

TABLES = (
    "SELECT relname AS table_name FROM pg_class WHERE relrowsecurity AND relkind IN ('r', 'p') AND NOT relispartition"
    " AND relnamespace = 'public'::regnamespace AND relname <> 'tenants' ORDER BY 1"
)
ANN, ANNS_ADDRESS, BOB = 501, "ann@example.com", 502
SHOP = "acme.myshopify.com"
TOUCHING = ("customers", "fulfillments", "refunds", "attribution_touchpoints", "review_email_queue")


@pytest.fixture
def shop(house: House) -> House:
    """Ann's order 1001 and Bob's 1002, with a refund of Ann's, kept webhooks and a dead letter of each."""
    bob = replace(an_order().customer, id=BOB, email="bob@example.com", first_name="Bob")  # type: ignore[type-var]
    house.shopify.put(
        an_order(1001, refunds=(a_refund(1, 500, 500, NOON),), updated_at=NOON),
        an_order(1002, email="bob@example.com", customer=bob, attributes={"visitor_id": "visitor-2"}),
    )
    for order_id in (1001, 1002):
        assert isinstance(house.run(sync_order, {"order_id": order_id}, cause=f"first-{order_id}"), Done)
    for person, order_id in ((ANNS_ADDRESS, 1001), ("bob@example.com", 1002)):
        body = {
            "id": order_id,
            "email": person,
            "customer": {"id": 1},
            "shipping_address": {"city": "Ulm"},
            "total": "9",
        }
        keep(house, "orders/updated", body, f"hook-{order_id}")
        keep(
            house,
            "fulfillments/create",
            {"id": 7, "order_id": order_id, "destination": {"zip": "1"}},
            f"f-{order_id}",
        )
        house.write(
            "INSERT INTO dead_letter (task, cause, source, correlation_id, message, error_kind, error_class,"
            " error_message, attempts) VALUES ('t', %s, 'task', 'c', %s, 'k', 'C', %s, 1)",
            f"dead-{order_id}",
            Jsonb({"payload": {"order_id": order_id, "email": person}}),
            f"cannot mail {person.upper()}",
        )
        house.payloads.kept[f"tenants/{house.tenant_id}/webhooks/{order_id}.json"] = json.dumps(body).encode()
    return house


def keep(house: House, topic: str, body: dict[str, Any], event_id: str, shop: str = SHOP) -> UUID:
    """A webhook as the receiver keeps it."""
    inbox_id = uuid4()
    house.write(
        "INSERT INTO webhook_inbox (inbox_id, provider, app, event_id, topic, shop, state, correlation_id, body)"
        " VALUES (%s, 'shopify', 'default', %s, %s, %s, 'routed', %s, %s)",
        inbox_id,
        event_id,
        topic,
        shop,
        event_id,
        json.dumps(body).encode(),
    )
    return inbox_id


def ask(house: House, topic: str, body: dict[str, Any] | None = None, **about: Any) -> End:
    """Shopify's request, kept and worked to its end, however many messages that takes."""
    payload = {"shop_id": 1, "shop_domain": SHOP, **(body or {})}
    cause = about.pop("cause", f"ask-{topic}")
    inbox_id = keep(house, topic, payload, cause)
    message = house.message(gdpr_request_process, payload, cause=cause, inbox_id=inbox_id, **about)
    for _ in range(30):
        end = house.worker(gdpr_request_process).work(message, house.deadline() + timedelta(minutes=2))
        [run] = house.query("SELECT state FROM task_run WHERE cause = %s", cause)
        if run["state"] != "retrying" or not isinstance(end, Done):
            return end
    raise AssertionError("the run does not come to an end")


def redact_ann(house: House, **customer: Any) -> dict[str, Any]:
    about = customer or {"id": ANN, "email": "Ann@Example.com", "phone": None}
    end = ask(house, "customers/redact", {"customer": about, "orders_to_redact": [1001]})
    assert isinstance(end, Done), end
    found: dict[str, Any] = to_plain(end.result)
    return found


def everything(house: House) -> str:
    """All that is stored of all tenants, as text."""
    tables = house.query(TABLES)
    told = []
    for row in tables:
        content = house.query(f"SELECT to_jsonb(x)::text AS row FROM {row['table_name']} x")
        told += [each["row"] for each in content]
    bodies = house.query("SELECT encode(body, 'escape') AS b FROM webhook_inbox WHERE body IS NOT NULL")
    return "\n".join(
        [*told, *(row["b"] for row in bodies), *(body.decode() for body in house.payloads.kept.values())]
    )


def money(house: House) -> list[dict[str, Any]]:
    return house.query(
        "SELECT shopify_order_id, order_number, total_cents, net_cents, refunded_cents, status, placed_at FROM orders"
        " ORDER BY 1"
    )


def test_redaction_takes_the_person_and_leaves_the_books(shop: House) -> None:
    books = money(shop)
    credit = shop.query(
        "SELECT channel, model, revenue_cents FROM attribution_results WHERE shopify_order_id = 1001 ORDER BY 1, 2"
    )
    assert credit
    done = redact_ann(shop)
    assert (done["topic"], done["state"]) == ("customers/redact", "done")
    text = everything(shop).lower()
    for gone in (ANNS_ADDRESS, '"visitor-1"', '"ann"'):
        assert gone not in text, gone
    assert money(shop) == books
    assert (
        shop.query(
            "SELECT channel, model, revenue_cents FROM attribution_results WHERE shopify_order_id = 1001 ORDER BY 1, 2"
        )
        == credit
    )
    [order] = shop.query("SELECT * FROM orders WHERE shopify_order_id = 1001")
    cleared = {"shopify_customer_id", "email", "visitor_id", "landing_page", "referrer_url"}
    assert {name: order[name] for name in cleared} == dict.fromkeys(cleared)
    assert (order["tags"], order["attributes"]) == ([], {})
    assert shop.query("SELECT reason, amount_cents FROM refunds") == [{"reason": None, "amount_cents": 500}]
    assert shop.query("SELECT shopify_customer_id FROM customers") == [{"shopify_customer_id": BOB}]
    assert shop.query("SELECT DISTINCT shopify_order_id FROM review_email_queue") == [
        {"shopify_order_id": 1002}
    ]


def test_redaction_leaves_another_customer_as_it_was(shop: House) -> None:
    def bobs() -> list[Any]:
        found: list[Any] = []
        for table in ("orders", "review_email_queue", "attribution_touchpoints", "attribution_conversions"):
            found += shop.query(f"SELECT * FROM {table} WHERE shopify_order_id = 1002 ORDER BY 1, 2, 3")
        found += shop.query("SELECT * FROM customers WHERE shopify_customer_id = %s", BOB)
        found += shop.query(
            "SELECT body FROM webhook_inbox WHERE event_id IN ('hook-1002', 'f-1002') ORDER BY event_id"
        )
        found += shop.query("SELECT message, error_message FROM dead_letter WHERE cause = 'dead-1002'")
        return [*found, shop.payloads.kept[f"tenants/{shop.tenant_id}/webhooks/1002.json"]]

    before = bobs()
    redact_ann(shop)
    assert bobs() == before


def test_documents_lose_the_person_and_can_still_be_worked(shop: House) -> None:
    redact_ann(shop)
    bodies = {
        row["event_id"]: json.loads(bytes(row["body"]))
        for row in shop.query("SELECT event_id, body FROM webhook_inbox WHERE body IS NOT NULL")
    }
    assert bodies["hook-1001"] == {
        "id": 1001,
        "email": None,
        "customer": None,
        "shipping_address": None,
        "total": "9",
    }
    assert bodies["f-1001"] == {"id": 7, "order_id": 1001, "destination": None}
    assert (
        json.loads(shop.payloads.kept[f"tenants/{shop.tenant_id}/webhooks/1001.json"]) == bodies["hook-1001"]
    )
    [letter] = shop.query("SELECT message, error_message FROM dead_letter WHERE cause = 'dead-1001'")
    assert letter == {
        "message": {"payload": {"order_id": 1001, "email": None}},
        "error_message": "cannot mail [redacted]",
    }


def test_later_news_of_a_redacted_order_brings_nobody_back(shop: House) -> None:
    redact_ann(shop)
    shop.shopify.put(an_order(1001, updated_at=NOON + timedelta(days=1), total_cents=10_300))
    assert isinstance(shop.run(sync_order, {"order_id": 1001}, cause="later"), Done)
    [order] = shop.query(
        "SELECT total_cents, email, shopify_customer_id, visitor_id FROM orders WHERE shopify_order_id = 1001"
    )
    assert order == {"total_cents": 10_300, "email": None, "shopify_customer_id": None, "visitor_id": None}
    assert shop.query("SELECT shopify_customer_id FROM customers") == [{"shopify_customer_id": BOB}]
    assert ANNS_ADDRESS not in everything(shop).lower()


def test_order_that_comes_after_its_redaction_is_stored_without_its_customer(shop: House) -> None:
    ask(shop, "customers/redact", {"customer": {"id": 77}, "orders_to_redact": [1003]})
    late = replace(an_order().customer, id=77, email="late@example.com")  # type: ignore[type-var]
    shop.shopify.put(an_order(1003, email="late@example.com", customer=late))
    assert isinstance(shop.run(sync_order, {"order_id": 1003}, cause="late"), Done)
    assert shop.query("SELECT total_cents, email FROM orders WHERE shopify_order_id = 1003") == [
        {"total_cents": 10_200, "email": None}
    ]
    assert "late@example.com" not in everything(shop)


def test_customer_known_by_address_alone_is_found(shop: House) -> None:
    redact_ann(shop, email="ANN@example.com")
    assert ANNS_ADDRESS not in everything(shop).lower()
    assert shop.query("SELECT shopify_customer_id FROM customers") == [{"shopify_customer_id": BOB}]


def test_customer_whom_the_merchant_deleted_is_redacted_by_what_the_webhook_tells(shop: House) -> None:
    books = money(shop)
    message = house_message(shop, {"id": ANN, "admin_graphql_api_id": f"gid://shopify/Customer/{ANN}"})
    assert isinstance(shop.worker(gdpr_request_process).work(message, late(shop)), Done)
    assert ANNS_ADDRESS not in everything(shop).lower()
    assert shop.query("SELECT shopify_customer_id FROM customers") == [{"shopify_customer_id": BOB}]
    assert money(shop) == books
    assert shop.query("SELECT kind, state FROM privacy_requests") == [
        {"kind": "customers/delete", "state": "done"}
    ]


def house_message(house: House, body: dict[str, Any]) -> Message:
    inbox_id = keep(house, "customers/delete", body, "deleted")
    return house.message(gdpr_request_process, body, cause="deleted", inbox_id=inbox_id)


def late(house: House) -> datetime:
    return house.deadline() + timedelta(minutes=2)


def test_shop_redaction_that_names_no_shop_is_a_dead_letter_and_deletes_nothing(shop: House) -> None:
    books = money(shop)
    inbox_id = keep(shop, "shop/redact", {"shop_id": 1}, "nameless")
    end = shop.run(gdpr_request_process, {"shop_id": 1}, cause="nameless", inbox_id=inbox_id)
    assert isinstance(end, Dead)
    assert "shop_domain" in str(end.error)
    assert money(shop) == books


def test_request_is_written_down_and_then_forgets_whose_it_was(shop: House) -> None:
    done = redact_ann(shop)
    [request] = shop.query("SELECT * FROM privacy_requests")
    assert (request["kind"], request["state"], request["counts"]) == (
        "customers/redact",
        "done",
        done["counts"],
    )
    assert request["due_at"] - request["requested_at"] == timedelta(days=30)
    assert (request["shopify_customer_id"], request["order_ids"]) == (None, [])
    assert done["counts"]["orders"] == 1
    assert done["counts"]["customers"] == 1
    assert done["counts"]["documents"] == 5
    assert done["counts"]["objects"] == 1
    [run] = shop.query("SELECT checkpoint, continuation FROM task_run WHERE task = 'gdpr-request-process'")
    assert run == {"checkpoint": None, "continuation": None}


def test_redaction_that_runs_out_of_time_goes_on_in_the_next_message(
    shop: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "WINDOW", 1)
    monkeypatch.setattr(work, "ENOUGH", timedelta(days=1))
    done = redact_ann(shop)
    assert done["state"] == "done"
    assert ANNS_ADDRESS not in everything(shop).lower()
    [handed_on] = shop.query("SELECT count(*)::int AS n FROM outbox WHERE task = 'gdpr-request-process'")
    assert handed_on["n"] > 0


@pytest.mark.parametrize("topic", ["customers/redact", "customers/data_request"])
def test_request_with_anothers_ids_changes_and_tells_nothing_of_theirs(shop: House, topic: str) -> None:
    bolt = House(shop.urls, local_settings(shop.urls), add_tenant(shop.urls, "bolt"), payloads=shop.payloads)
    before = everything_of(shop)
    end = ask(bolt, topic, {"customer": {"id": ANN, "email": ANNS_ADDRESS}, "orders_to_redact": [1001]})
    assert isinstance(end, Done)
    assert everything_of(shop) == before
    counts = to_plain(end.result)["counts"]
    assert {name: count for name, count in counts.items() if count and name != "privacy_requests"} == {}
    bolt.close()


def everything_of(house: House) -> dict[str, Any]:
    tables = house.query(TABLES)
    told: dict[str, Any] = {
        row["table_name"]: house.query(
            f"SELECT to_jsonb(x) AS r FROM {row['table_name']} x WHERE tenant_id = %s ORDER BY 1::text",
            house.tenant_id,
        )
        for row in tables
    }
    prefix = f"tenants/{house.tenant_id}/"
    return told | {
        "objects": {key: body for key, body in house.payloads.kept.items() if key.startswith(prefix)}
    }


def test_export_holds_everything_of_the_customer_and_nothing_of_another(shop: House) -> None:
    about = {
        "customer": {"id": ANN, "email": ANNS_ADDRESS},
        "orders_requested": [1001],
        "data_request": {"id": 9999},
    }
    end = ask(shop, "customers/data_request", about)
    assert isinstance(end, Done)
    [request] = shop.query("SELECT * FROM privacy_requests")
    assert (request["state"], request["shopify_request_id"], request["shopify_customer_id"]) == (
        "done",
        9999,
        ANN,
    )
    assert request["claim"] == f"tenants/{shop.tenant_id}/privacy/{request['request_id']}.json"
    document = json.loads(shop.payloads.kept[request["claim"]])
    tables = document["tables"]
    assert [row["email"] for row in tables["customers"]] == [ANNS_ADDRESS]
    assert [row["shopify_order_id"] for row in tables["orders"]] == [1001]
    assert [row["reason"] for row in tables["refunds"]] == ["damaged"]
    assert len(tables["order_line_items"]) == 2
    assert {row["visitor_id"] for row in tables["attribution_touchpoints"]} == {"visitor-1"}
    assert {json.dumps(each["body"]) for each in document["documents"] if "body" in each} >= {
        json.dumps({"id": 7, "order_id": 1001, "destination": {"zip": "1"}})
    }
    assert [each["id"] for each in document["objects"]] == [1001]
    text = json.dumps(document)
    assert "bob@example.com" not in text
    assert "1002" not in text
    redact_ann(shop)
    assert request["claim"] not in shop.payloads.kept


@pytest.mark.parametrize("topic", ["customers/data_request", "customers/redact"])
@pytest.mark.parametrize("body", [{}, {"customer": {}}, {"customer": {"phone": "1"}}])
def test_request_that_names_nobody_is_done_and_touches_nobody(
    shop: House, topic: str, body: dict[str, Any]
) -> None:
    books, before = money(shop), len(everything(shop))
    end = ask(shop, topic, body)
    assert isinstance(end, Done)
    counts = to_plain(end.result)["counts"]
    assert {name: count for name, count in counts.items() if count} == {}
    assert money(shop) == books
    assert len(everything(shop)) > before


@pytest.mark.parametrize("topic", ["customers/data_request", "customers/redact", "shop/redact"])
def test_shop_that_no_tenant_has_holds_nothing(shop: House, topic: str) -> None:
    """Its request is kept under the platform's tenant; it is done at once, and nothing of it stays."""
    platform = House(shop.urls, local_settings(shop.urls), PLATFORM_TENANT, payloads=shop.payloads)
    before = everything_of(shop)
    end = ask(
        platform, topic, {"customer": {"id": 1, "email": "x@example.com"}, "shop_domain": "no.myshopify.com"}
    )
    assert isinstance(end, Done)
    result = to_plain(end.result)
    assert (result["state"], result["counts"], result["reason"]) == (
        "done",
        {},
        "no tenant has this shop; nothing of it is held",
    )
    assert everything_of(shop) == before
    assert "x@example.com" not in everything(shop)
    assert shop.query("SELECT slug FROM tenants WHERE status = 'platform'") == [{"slug": "platform"}]
    platform.close()


@pytest.mark.parametrize("short", [False, True])
def test_shop_redaction_leaves_a_nameless_tenant_and_touches_no_other(
    shop: House, short: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    bolt = add_tenant(shop.urls, "bolt")
    other = House(shop.urls, local_settings(shop.urls), bolt, payloads=shop.payloads)
    keep(other, "orders/create", {"id": 1, "email": ANNS_ADDRESS}, "theirs")
    shop.payloads.kept[f"tenants/{bolt}/webhooks/1.json"] = b"{}"
    theirs = everything_of(other)
    monkeypatch.setattr(work, "PURGE_PAGE", 1)
    if short:
        left = iter([timedelta(minutes=2)] * 3 + [timedelta()] + [timedelta(minutes=2)] * 1000)
        monkeypatch.setattr(work.Work, "is_short_of_time", property(lambda _: next(left) < work.ENOUGH))
    end = ask(shop, "shop/redact")
    assert isinstance(end, Done)
    assert to_plain(end.result)["state"] == "done"
    counts = to_plain(end.result)["counts"]
    assert (counts["orders"], counts["customers"], counts["objects"]) == (2, 2, 2)
    left_over = {name: len(rows) for name, rows in everything_of(shop).items() if rows}
    assert left_over == {"privacy_requests": 1, "task_run": 1}
    tenant = shop.query(
        "SELECT slug, name, status, settings FROM tenants WHERE tenant_id = %s", shop.tenant_id
    )
    assert tenant == [
        {
            "slug": f"removed-{shop.tenant_id}",
            "name": "removed",
            "status": "uninstalled",
            "settings": {},
        }
    ]
    assert everything_of(other) == theirs
    other.close()


@pytest.mark.parametrize("again", ["the same shop, later", "another shop"])
def test_shop_redaction_leaves_a_tenant_alone_that_has_a_shop(shop: House, again: str) -> None:
    if again == "another shop":
        shop.write("INSERT INTO shopify_app_installations (shop_domain) VALUES ('second.myshopify.com')")
    else:
        shop.write("UPDATE shopify_app_installations SET installed_at = now() + interval '1 hour'")
    books = money(shop)
    end = ask(shop, "shop/redact")
    assert isinstance(end, Done)
    assert to_plain(end.result)["state"] == "ignored"
    assert money(shop) == books
    assert shop.query("SELECT state, counts FROM privacy_requests") == [{"state": "ignored", "counts": {}}]


@pytest.mark.parametrize("topic", ["orders/create", ""])
def test_what_is_asked_for_is_never_guessed(shop: House, topic: str) -> None:
    end = ask(shop, topic, cause="strange")
    assert isinstance(end, Dead)
    assert len(money(shop)) == 2


def uninstall(house: House, *, days_ago: int = 0) -> dict[str, Any]:
    cause = f"gone-{uuid4()}"
    inbox_id = keep(house, "app/uninstalled", {"myshopify_domain": SHOP}, cause)
    house.write(
        "UPDATE webhook_inbox SET triggered_at = now() - %s * interval '1 day' WHERE inbox_id = %s",
        days_ago,
        inbox_id,
    )
    end = house.run(tenant_uninstall_cleanup, {"myshopify_domain": SHOP}, inbox_id=inbox_id, cause=cause)
    assert isinstance(end, Done)
    found: dict[str, Any] = to_plain(end.result)
    return found


def with_traces(house: House) -> House:
    for name in ("app_secret", "access_token", "refresh_token"):
        house.write(
            "INSERT INTO credentials (provider, name, encrypted_key, nonce, ciphertext)"
            " VALUES ('shopify', %s, '', '', '')",
            name,
        )
    house.write(
        "INSERT INTO webhook_registrations (shop_domain, topic, subscription_id, uri) VALUES (%s, 't', 's', 'u')",
        SHOP,
    )
    house.write("INSERT INTO schedule_due (schedule, due_at) VALUES ('nightly', now())")
    for state, task in (
        ("held", "commerce-sync-order"),
        ("ready", "commerce-sync-order"),
        ("held", "gdpr-request-process"),
    ):
        house.write(
            "INSERT INTO outbox (key, task, shard, cause, source, correlation_id, state, accepted_at)"
            " VALUES (%s, %s, 0, 'c', 'task', 'c', %s, now())",
            f"{task}-{state}",
            task,
            state,
        )
    return house


def test_uninstall_ends_everything_but_what_the_law_still_asks(shop: House) -> None:
    with_traces(shop)
    assert uninstall(shop) == {"uninstalled": True, "left": True, "cancelled": 2}
    assert shop.query("SELECT status FROM tenants WHERE tenant_id = %s", shop.tenant_id) == [
        {"status": "uninstalled"}
    ]
    [installation] = shop.query("SELECT status, uninstalled_at FROM shopify_app_installations")
    assert installation["status"] == "uninstalled"
    assert installation["uninstalled_at"] is not None
    assert shop.query("SELECT name FROM credentials") == [{"name": "app_secret"}]
    assert shop.query("SELECT deleted_at IS NOT NULL AS gone FROM webhook_registrations") == [{"gone": True}]
    assert shop.query("SELECT 1 FROM schedule_due") == []
    assert shop.query("SELECT task FROM outbox WHERE state IN ('held', 'ready')") == [
        {"task": "gdpr-request-process"}
    ]
    assert shop.shopify.calls.count("list_webhook_subscriptions") == 0
    assert uninstall(shop) == {"uninstalled": False, "left": False, "cancelled": 0}


def test_message_that_is_on_its_way_when_a_tenant_leaves_is_dropped_without_a_dead_letter(
    shop: House,
) -> None:
    uninstall(shop)
    before = money(shop)
    shop.shopify.put(an_order(1009))
    assert shop.run(sync_order, {"order_id": 1009}, cause="late") == Done(None, again=True)
    assert money(shop) == before
    assert shop.query("SELECT 1 FROM task_run WHERE cause = 'late'") == []
    assert shop.query("SELECT 1 FROM dead_letter WHERE cause = 'late'") == []
    message = shop.message(sync_order, {"order_id": 1009}, cause="by hand", source=Source.MANUAL)
    worker = shop.worker(sync_order)
    assert isinstance(worker.work(message, shop.deadline(), direct=True), Dead)
    assert isinstance(worker.work(message, shop.deadline(), direct=True, force=True), Done)


def test_uninstall_from_before_the_installation_is_ignored(shop: House) -> None:
    with_traces(shop)
    assert uninstall(shop, days_ago=1) == {"uninstalled": False, "left": False, "cancelled": 0}
    assert shop.query("SELECT status FROM tenants WHERE tenant_id = %s", shop.tenant_id) == [
        {"status": "active"}
    ]
    assert len(shop.query("SELECT 1 FROM credentials")) == 3


def test_tenant_with_another_shop_stays(shop: House) -> None:
    shop.write("INSERT INTO shopify_app_installations (shop_domain) VALUES ('second.myshopify.com')")
    assert uninstall(with_traces(shop)) == {"uninstalled": True, "left": False, "cancelled": 0}
    assert shop.query("SELECT status FROM tenants WHERE tenant_id = %s", shop.tenant_id) == [
        {"status": "active"}
    ]


def test_run_by_hand_needs_the_topic(shop: House) -> None:
    message = shop.message(gdpr_request_process, {"shop_domain": SHOP}, source=Source.MANUAL)
    end = shop.worker(gdpr_request_process).work(message, shop.deadline(), direct=True)
    assert isinstance(end, Dead)
    assert "topic: is None" in str(end.error)


PERSONAL_TYPES = {"text", "jsonb", "bytea", "_text"}
KEYS = {"shopify_customer_id", "shopify_order_id", "visitor_id", "email", "phone"}


def test_every_column_that_could_hold_something_personal_is_declared(database: DatabaseUrls) -> None:
    with psycopg.connect(database.reader) as reader:
        columns = reader.execute(
            "SELECT c.table_name, c.column_name, c.udt_name FROM information_schema.columns c"
            " JOIN pg_class k ON k.oid = c.table_name::regclass"
            " WHERE c.table_schema = 'public' AND k.relkind IN ('r', 'p') AND k.relrowsecurity"
            " AND NOT k.relispartition"
        ).fetchall()
        declared = {
            (table, column): (holds, act)
            for table, column, holds, act in reader.execute("SELECT * FROM personal_data").fetchall()
        }
    assert len(columns) > 200
    wanted = {(table, name) for table, name, kind in columns if kind in PERSONAL_TYPES or name in KEYS}
    assert wanted - set(declared) == set(), (
        "declare what it holds: CALL declare_data('table', '{...}') in its migration"
    )
    assert set(declared) - {(table, name) for table, name, _ in columns} == set()
    named = {
        "email": "email",
        "phone": "phone",
        "shopify_customer_id": "customer",
        "shopify_order_id": "order",
    }
    for (table, column), (holds, _) in declared.items():
        assert column not in named or holds in {named[column], "partner"}, f"{table}.{column}"
