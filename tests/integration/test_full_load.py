"""Everything at once: a bulk operation's result, copied, staged, written; what is gone is archived."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from commerce.bulk_load import load
from commerce.bulk_load.lines import mend
from commerce.bulk_load.model import cut, next_look
from commerce.customer_sync.tasks import customer_batch_sync
from commerce.order_sync.tasks import sync_order
from commerce.product_sync.tasks import handle_product_sync, product_batch_sync, product_sync
from tests.fakes import an_order
from tests.integration.harness import House
from tests.played import NOON, a_customer, a_product
from tradewind import crash
from tradewind.crash import Point
from tradewind.tasks.message import Source, message_from
from tradewind.tasks.task import Task
from tradewind.tasks.worker import Dead, Done, End, TryAgain

LATER = NOON + timedelta(hours=1)


@pytest.fixture(autouse=True)
def small_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranges of a few lines, so that a small shop has many parts."""
    monkeypatch.setattr(load, "RANGE_BYTES", 4096)


def go_on(house: House, task: Task) -> End:
    """Work the run's next message, whether it waits for its time or lies in the queue; the end of it."""
    [row] = house.query("SELECT * FROM outbox WHERE state <> 'done' AND task = %s", task.id)
    return house.worker(task).work(message_from(row), house.deadline() + timedelta(minutes=3))


def load_all(house: House, task: Task, cause: str = "load") -> dict[str, Any]:
    """A full load from its beginning to its end."""
    house.run(task, {"full": True}, cause=cause)
    for _ in range(50):
        [run] = house.query(
            "SELECT state, result FROM task_run WHERE task = %s AND cause = %s", task.id, cause
        )
        if run["state"] == "succeeded":
            result: dict[str, Any] = run["result"]
            return result
        assert isinstance(go_on(house, task), Done)
    raise AssertionError("the load does not come to an end")


def fill(house: House, count: int = 40) -> None:
    """A shop whose bulk operations have ended when they are looked at for the second time."""
    house.shop.control("PUT", "bulk", document={"looks": 2})
    house.shop.put("products", *(a_product(number, variants=3) for number in range(1, count + 1)))


def counted(house: House) -> tuple[int, int, int]:
    [row] = house.query(
        "SELECT (SELECT count(*)::int FROM products WHERE deleted_at IS NULL) AS products,"
        " (SELECT count(*)::int FROM variants WHERE deleted_at IS NULL) AS variants,"
        " (SELECT count(*)::int FROM product_images) AS images"
    )
    return row["products"], row["variants"], row["images"]


def written(house: House) -> list[dict[str, Any]]:
    """Everything that a load writes, but when it did."""
    return [
        {key: value for key, value in row.items() if key not in {"synced_at", "position"}}
        for table in ("products", "variants", "product_images")
        for row in house.query(f"SELECT * FROM {table} ORDER BY 2, 3")
    ]


def test_full_load_writes_what_single_syncs_would(house: House) -> None:
    fill(house)
    assert load_all(house, product_batch_sync) == {
        "kind": "products",
        "parents": 40,
        "children": 160,
        "refused": 0,
        "archived": 0,
        "complete": True,
    }
    loaded = written(house)
    house.write("DELETE FROM products")
    house.write("DELETE FROM variants")
    house.write("DELETE FROM product_images")
    for number in range(1, 41):
        house.run(product_sync, {"product_id": number})
    assert loaded == written(house)
    assert counted(house) == (40, 120, 40)


def test_full_load_leaves_nothing_behind(house: House) -> None:
    fill(house)
    load_all(house, product_batch_sync)
    assert (house.payloads.kept, house.query("SELECT * FROM seen")) == ({}, [])
    [operation] = house.query("SELECT kind, task, finished_at FROM bulk_operations")
    assert (operation["kind"], operation["task"]) == ("products", "commerce-product-batch-sync")
    assert operation["finished_at"] is not None


def test_second_load_of_the_same_shop_writes_nothing(house: House) -> None:
    fill(house)
    load_all(house, product_batch_sync)
    again = load_all(house, product_batch_sync, cause="again")
    assert (again["parents"], again["children"], again["archived"]) == (0, 0, 0)


def test_complete_load_archives_what_shopify_has_no_more_and_tells_of_it(house: House) -> None:
    fill(house)
    load_all(house, product_batch_sync)
    for number in (3, 4):
        house.shop.delete("products", number)
    house.shop.put("products", a_product(5, variants=1, at=LATER))
    assert load_all(house, product_batch_sync, cause="again")["archived"] == 2
    assert counted(house) == (38, 112, 38)
    gone = house.query(
        "SELECT shopify_product_id AS id, status FROM products WHERE deleted_at IS NOT NULL ORDER BY 1"
    )
    assert gone == [{"id": 3, "status": "archived"}, {"id": 4, "status": "archived"}]
    told = house.query("SELECT topic FROM webhook_inbox WHERE provider = 'tradewind'")
    assert told == [{"topic": "product.deleted"}] * 2


def test_product_that_came_during_the_load_is_not_archived(house: House) -> None:
    fill(house, 5)
    house.run(product_batch_sync, {"full": True}, cause="load")
    house.shop.put("products", a_product(900))
    house.run(product_sync, {"product_id": 900})
    bulk = next(iter(house.shop.bulk().operations.values()))
    house.shop.delete("products", 900)
    house.shop.bulk().finish(bulk)
    go_on(house, product_batch_sync)
    assert house.query("SELECT shopify_product_id AS id FROM products WHERE deleted_at IS NOT NULL") == []


def test_first_load_meets_a_product_that_a_webhook_has_brought_meanwhile(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "ENOUGH", timedelta(days=1))
    fill(house)
    house.run(product_batch_sync, {"full": True}, cause="load")
    for _ in range(10):
        [run] = house.query("SELECT checkpoint FROM task_run WHERE cause = 'load'")
        if run["checkpoint"]["phase"] == "copy":
            break
        go_on(house, product_batch_sync)
    assert run["checkpoint"]["all_new"] is True
    house.run(product_sync, {"product_id": 3})
    while (end := go_on(house, product_batch_sync)) == Done(None):
        pass
    assert isinstance(end, Done)
    assert (end.result["parents"], end.result["children"], end.result["refused"]) == (39, 156, 0)
    assert counted(house) == (40, 120, 40)


def test_failed_operation_is_loaded_as_far_as_it_came_and_archives_nothing(house: House) -> None:
    fill(house)
    load_all(house, product_batch_sync)
    house.shop.delete("products", 3)
    house.shop.put(
        "products", *(a_product(number, at=LATER, title="New") for number in range(1, 41) if number != 3)
    )
    house.shop.control("PUT", "bulk", document={"outcome": "FAILED", "error_code": "TIMEOUT", "partial": 0.5})
    result = load_all(house, product_batch_sync, cause="again")
    assert (result["complete"], result["archived"]) == (False, 0)
    assert 0 < result["parents"] < 39
    assert counted(house)[0] == 40


@pytest.mark.parametrize(
    ("plan", "error", "again"),
    [
        ({"outcome": "FAILED", "error_code": "ACCESS_DENIED"}, "CredentialsRejectedError", False),
        ({"outcome": "CANCELED", "partial": 0}, "TerminalError", False),
        ({"outcome": "EXPIRED", "partial": 0}, "RetryableError", True),
        ({"outcome": "FAILED", "error_code": "INTERNAL_SERVER_ERROR", "partial": 0}, "RetryableError", True),
    ],
    ids=str,
)
def test_operation_that_brings_nothing_begins_anew_or_ends_for_good(
    house: House, plan: dict[str, Any], error: str, again: bool
) -> None:
    fill(house, 5)
    house.shop.control("PUT", "bulk", document={"looks": 1, **plan})
    end = house.run(product_batch_sync, {"full": True}, cause="load")
    assert isinstance(end, TryAgain if again else Dead)
    assert type(end.error).__name__ == error
    assert counted(house) == (0, 0, 0)
    if again:
        house.shop.control("PUT", "bulk", document={})
        assert load_all(house, product_batch_sync)["parents"] == 5
        assert len(house.shop.bulk().operations) == 2


def test_run_waits_longer_each_time_and_the_webhook_wakes_it(house: House) -> None:
    fill(house, 2)
    house.shop.control("PUT", "bulk", document={"looks": 1000})
    assert house.run(product_batch_sync, {"full": True}, cause="load") == Done(None)
    [row] = house.query("SELECT state, due_at FROM outbox WHERE task = 'commerce-product-batch-sync'")
    assert row["state"] == "held"
    [number] = house.shop.bulk().operations
    body = house.shop.control("POST", "bulk", number, "finish")
    assert house.run(handle_product_sync, body) == Done({"to": "waiting run", "started": 1})
    [woken] = house.query("SELECT due_at FROM outbox WHERE task = 'commerce-product-batch-sync'")
    assert woken["due_at"] < row["due_at"]
    assert isinstance(go_on(house, product_batch_sync), Done)
    assert counted(house) == (2, 6, 2)


def test_waits_grow_to_ten_minutes() -> None:
    assert [next_look(looks).total_seconds() for looks in (0, 1, 4, 5, 1000)] == [30, 60, 480, 600, 600]


def test_lost_answer_does_not_start_a_second_operation(house: House) -> None:
    fill(house, 2)
    house.shop.fail("lost_answer", "StartBulkOperation")
    message = house.message(product_batch_sync, {"full": True}, cause="load")
    assert isinstance(house.worker(product_batch_sync).work(message, house.deadline()), TryAgain)
    assert load_all(house, product_batch_sync)["parents"] == 2
    assert len(house.shop.bulk().operations) == 1


def test_shop_that_runs_as_many_as_it_may_is_asked_again_later(house: House) -> None:
    for _ in range(5):
        house.shop.bulk().start("query Other { products { edges { node { id } } } }")
    end = house.run(product_batch_sync, {"full": True})
    assert isinstance(end, TryAgain)
    assert type(end.error).__name__ == "RetryableError"


class Killed(BaseException):
    """The process dies here."""


@pytest.mark.parametrize("kill_at", range(1, 40, 3))
def test_kill_anywhere_between_copy_load_and_checkpoint_resumes_without_loss_or_doubles(
    house: House, kill_at: int
) -> None:
    fill(house, 12)
    passed = 0

    def kill(point: Point) -> None:
        nonlocal passed
        if point in {Point.TRANSACTION_COMMITTED, Point.STATEMENT_COMMITTED}:
            passed += 1
            if passed == kill_at:
                raise Killed

    message = house.message(product_batch_sync, {"full": True}, cause="load")
    uninstall: Callable[[], None] = crash.install(kill)
    try:
        house.worker(product_batch_sync).work(message, house.deadline())
        go_on(house, product_batch_sync)
        go_on(house, product_batch_sync)
    except (Killed, ValueError):
        pass  # dead, or already at its end before the kill
    finally:
        uninstall()
    house.write("UPDATE task_run SET lease_until = now() - interval '1 second' WHERE state = 'running'")
    for _ in range(20):
        runs = house.query("SELECT state FROM task_run WHERE cause = 'load'")
        if runs and runs[0]["state"] == "succeeded":
            break
        open_rows = house.query("SELECT * FROM outbox WHERE state <> 'done'")
        again = message_from(open_rows[-1]) if open_rows else message
        house.worker(product_batch_sync).work(again, house.deadline() + timedelta(minutes=3))
    assert house.query("SELECT state FROM task_run WHERE cause = 'load'") == [{"state": "succeeded"}]
    assert counted(house) == (12, 36, 12)
    assert (house.payloads.kept, house.query("SELECT * FROM seen")) == ({}, [])
    assert len(house.shop.bulk().operations) == 1


def test_part_with_what_postgres_cannot_hold_is_mended_line_by_line(house: House) -> None:
    fill(house, 5)
    nodes = house.shop.state().nodes
    nodes["gid://shopify/Product/2"]["title"] = "null\x00and half \ud800 a pair"
    nodes["gid://shopify/ProductVariant/30001"]["price"] = "1,50"
    result = load_all(house, product_batch_sync)
    assert (result["parents"], result["refused"], result["complete"]) == (5, 1, False)
    assert counted(house) == (5, 14, 5)
    titles = house.query("SELECT title FROM products WHERE shopify_product_id = 2")
    assert titles == [{"title": "nulland half \ufffd a pair"}]


def test_schedule_does_nothing_for_a_tenant_without_the_feature(house: House) -> None:
    end = house.run(product_batch_sync, {"full": True}, source=Source.SCHEDULE)
    assert (end, house.shop.operations()) == (Done({"feature": "products"}), [])


def test_customers_are_loaded_with_their_addresses_and_those_gone_are_marked(house: House) -> None:
    house.shop.put("customers", *(a_customer(number) for number in range(1, 31)))
    result = load_all(house, customer_batch_sync)
    assert (result["parents"], result["children"], result["complete"]) == (30, 30, True)
    [row] = house.query("SELECT * FROM customers WHERE shopify_customer_id = 7")
    told = (
        "email",
        "phone",
        "accepts_marketing",
        "tags",
        "orders_count",
        "total_spent_cents",
        "default_address_id",
    )
    assert [row[name] for name in told] == ["ann-7@example.com", "+15550001", True, ["vip"], 3, 25_050, 70]
    [address] = house.query("SELECT * FROM customer_addresses WHERE shopify_customer_id = 7")
    assert (address["shopify_address_id"], address["city"], address["country_code"]) == (70, "Ottawa", "CA")
    house.shop.delete("customers", 8)
    house.shopify.put(an_order(1001))
    house.run(sync_order, {"order_id": 1001})
    assert load_all(house, customer_batch_sync, cause="again")["archived"] == 1
    gone = house.query("SELECT shopify_customer_id AS id FROM customers WHERE deleted_at IS NOT NULL")
    assert gone == [{"id": 8}]


@pytest.mark.parametrize(
    ("content", "last", "lines"),
    [
        (b'{"id":1}\n{"id":2', False, b'{"id":1}\n'),
        (b'{"id":1}\n{"id":2', True, b'{"id":1}\n{"id":2'),
        (b'{"id":1', False, b""),
        (b"", True, b""),
    ],
)
def test_range_is_cut_after_its_last_whole_line(content: bytes, last: bool, lines: bytes) -> None:
    assert cut(content, last=last) == lines


PRODUCT = {
    "id": "gid://shopify/Product/1",
    "title": "T",
    "handle": "t",
    "status": "ACTIVE",
    "createdAt": NOON.isoformat(),
    "updatedAt": NOON.isoformat(),
    "priceRangeV2": {
        "minVariantPrice": {"amount": "1.0", "currencyCode": "USD"},
        "maxVariantPrice": {"amount": "1.0", "currencyCode": "USD"},
    },
}


@pytest.mark.parametrize(
    "line",
    [
        "no json",
        "[]",
        "7",
        "{}",
        json.dumps(PRODUCT | {"id": "gid://shopify/Theme/1"}),
        json.dumps(PRODUCT | {"id": "gid://shopify/Product/0"}),
        json.dumps(PRODUCT | {"id": "gid://shopify/Product/" + "9" * 19}),
        json.dumps(PRODUCT | {"status": "GONE"}),
        json.dumps(PRODUCT | {"updatedAt": "2026-11-20"}),
        json.dumps(PRODUCT | {"title": None}),
        json.dumps(PRODUCT | {"totalInventory": 2**31}),
        json.dumps({**PRODUCT, "priceRangeV2": None}),
        "[" * 100_000,
    ],
    ids=lambda line: line[:60],
)
def test_unusable_line_is_left_out_and_counted(line: str) -> None:
    assert mend(line.encode() + b"\n" + json.dumps(PRODUCT).encode() + b"\n") == (
        json.dumps(PRODUCT, ensure_ascii=False).encode() + b"\n",
        1,
    )


def test_shop_without_anything_is_loaded_and_nothing_of_orders_is_marked(house: House) -> None:
    house.shopify.put(an_order(1001))
    house.run(sync_order, {"order_id": 1001})
    result = load_all(house, customer_batch_sync)
    assert (result["parents"], result["archived"], result["complete"]) == (0, 0, True)
    assert house.query("SELECT deleted_at FROM customers") == [{"deleted_at": None}]
    assert house.payloads.kept == {}


def test_load_that_never_has_time_for_two_steps_still_comes_to_its_end(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message does a step before it hands the run on; one that hands it on as it was would do so for ever."""
    monkeypatch.setattr(load, "ENOUGH", timedelta(days=1))
    fill(house, 10)
    assert load_all(house, product_batch_sync)["parents"] == 10
