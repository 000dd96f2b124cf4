"""Attribution by webhook: told in the transaction that made it true, in order, until it arrives or is given up."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.types.json import Jsonb
from pydantic import ValidationError

import analytics.attribution.recalculation_tasks
import analytics.attribution_webhooks.tasks  # noqa: F401 - registers them
from analytics.attribution_webhooks.payloads import WebhookSubscription
from commerce.order_sync.tasks import order_attribution, sync_order
from operations.touchpoints.tasks import touchpoint_ingest
from tests.fakes import an_order
from tests.integration.export_room import SECRET, ExportRoom
from tests.integration.harness import House, printed
from tests.integration.test_sandbox import running
from tradewind import crash
from tradewind.clock import FixedClock
from tradewind.crash import Point
from tradewind.integrations.webhook_sender import TenantWebhookSender
from tradewind.tasks.message import Lane, Source
from tradewind.tasks.worker import Dead, Done, Worker, to_plain

SUBSCRIBE, QUEUE = "analytics-subscribe-webhook", "analytics-attribution-webhook-queue"
NOW = datetime.now(UTC).replace(microsecond=0)
ALL = ["conversion.recorded", "attribution.calculated", "touchpoint.recorded"]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running() as (address, _):
        yield address


class Post(ExportRoom):
    """A tenant whose facts are told; ``drain`` is one run of the queue."""

    def worker(self, task_id: str) -> Worker:
        worker = super().worker(task_id)
        if "sender" in worker._factories:
            worker._factories["sender"] = lambda scope: TenantWebhookSender(
                self.settings, scope.tenant, scope.session, self.vault, self.clock
            )
        return worker

    def subscribe(self, name: str = "shop", events: list[str] | None = None, **changes: Any) -> Any:
        self.store({"webhook_secret": SECRET}, name, "webhook")
        place = f"{self.url}/receiver/{self.place}/{name}"
        payload = {"name": name, "url": place, "events": events or ALL, **changes}
        return self.result(SUBSCRIBE, payload)

    def drain(self, **payload: Any) -> Any:
        return self.result(QUEUE, payload, source=Source.SCHEDULE)

    def order(self, number: int, *, touched: bool = True, **about: Any) -> None:
        """An order of a visitor who came by a paid click an hour before."""
        placed = NOW - timedelta(minutes=30)
        if touched:
            self.touch(f"visitor-{number}", placed - timedelta(hours=1))
        told = {"visit": None, "attributes": {"visitor_id": f"visitor-{number}"}}
        self.house.shopify.put(an_order(number, placed_at=placed, updated_at=placed, **told))
        for task in (sync_order, order_attribution):
            end = self.house.run(task, {"order_id": number}, **about)
            assert isinstance(end, Done), end

    def touch(self, visitor: str, at: datetime) -> None:
        told = {
            "occurred_at": at.isoformat(),
            "visitor_id": visitor,
            "utm": {"medium": "cpc", "source": "google"},
        }
        assert isinstance(self.house.run(touchpoint_ingest, told, source=Source.EVENT), Done)

    def told(self, name: str = "shop") -> list[Mapping[str, Any]]:
        return [json.loads(base64.b64decode(each["body"])) for each in self.at(name)["taken"]]

    def at(self, name: str = "shop") -> dict[str, Any]:
        self.place, before = f"{self.place}/{name}", self.place
        try:
            return self.seen()
        finally:
            self.place = before

    def answer(self, *statuses: int, name: str = "shop", **about: Any) -> None:
        self.place, before = f"{self.place}/{name}", self.place
        self.tell_place(secret=SECRET, answers=[*statuses], tolerance_s=10**8, **about)
        self.place = before

    def queue(self, columns: str = "event, subject, state, attempts") -> list[tuple[Any, ...]]:
        rows = self.house.query(f"SELECT {columns} FROM attribution_webhook_queue ORDER BY name, webhook_id")
        return [tuple(row.values()) for row in rows]


@pytest.fixture
def post(house: House, url: str) -> Post:
    clock = FixedClock(datetime.now(UTC) + timedelta(seconds=5))
    made = Post(house, url, lasting=timedelta(seconds=45), clock=clock)
    made.answer()
    return made


def test_order_with_its_touch_is_told_of_in_order_and_to_the_cent(post: Post) -> None:
    post.subscribe()
    post.order(1)
    assert [row[0] for row in post.queue()] == [
        "touchpoint.recorded",
        "conversion.recorded",
        "attribution.calculated",
    ]
    assert post.drain() == {"delivered": 3, "again": 0, "dead": 0, "gone": 0, "disabled": 0}
    touch, conversion, credited = post.told()
    [order] = post.house.query("SELECT total_cents FROM orders")
    cents = order["total_cents"]
    assert (touch["type"], touch["data"]["channel"], touch["data"]["visitor_id"]) == (
        "touchpoint.recorded",
        "paid",
        "visitor-1",
    )
    assert (conversion["data"]["order_id"], conversion["data"]["revenue_cents"]) == (1, cents)
    assert credited["data"]["models"]["linear"] == {"paid": cents}
    assert len(credited["data"]["models"]) == 6
    assert post.drain() == {"delivered": 0, "again": 0, "dead": 0, "gone": 0, "disabled": 0}


def test_what_is_computed_again_without_a_change_is_told_once(post: Post) -> None:
    post.subscribe(events=["attribution.calculated"])
    post.order(1)
    post.drain()
    post.result("analytics-process-attribution", {"order_id": 1})
    assert post.drain()["delivered"] == 0
    post.house.write("UPDATE orders SET refunded_cents = 100")
    post.result("analytics-process-attribution", {"order_id": 1})
    assert post.drain()["delivered"] == 1
    first, second = post.told()
    assert first["data"]["revenue_cents"] - second["data"]["revenue_cents"] == 100


def test_recalculation_tells_of_what_it_changed(post: Post) -> None:
    post.subscribe(events=["attribution.calculated"])
    post.order(1, touched=False)
    assert post.drain()["delivered"] == 0
    post.touch("visitor-1", NOW - timedelta(hours=2))
    about = {"since": (NOW - timedelta(days=1)).isoformat(), "until": NOW.isoformat()}
    post.result("analytics-attribution-recalculate-recent", about)
    post.drain()
    assert [each["data"]["status"] for each in post.told()] == ["attributed"]


def test_fact_that_is_undone_is_not_told(post: Post) -> None:
    post.subscribe(events=["touchpoint.recorded"])
    touch = {"touchpoint_id": str(UUID(int=1)), "dedupe_hash": "h", "visitor_id": "v", "channel": "paid"}
    told = Jsonb([{**touch, "type": "click", "occurred_at": NOW.isoformat()}])
    for kept in (False, True):
        with psycopg.connect(post.house.urls.app) as connection:
            tenant = str(post.house.tenant_id)
            connection.execute("SELECT set_config('app.tenant_id', %s, true)", (tenant,))
            connection.execute("SELECT * FROM save_touchpoints(%s)", (told,))
            if not kept:
                connection.rollback()
        assert len(post.queue()) == int(kept)


def test_backfill_tells_nobody(post: Post) -> None:
    post.subscribe(events=["conversion.recorded", "attribution.calculated"])
    post.order(1, source=Source.BACKFILL, lane=Lane.BACKFILL)
    assert post.house.query("SELECT told FROM attribution_conversions") == [{"told": False}]
    assert post.queue() == []


def test_only_what_was_subscribed_is_told_to_each(post: Post) -> None:
    post.subscribe("sales", ["conversion.recorded"])
    post.subscribe("visits", ["touchpoint.recorded"])
    post.subscribe("nobody", active=False)
    post.order(1)
    post.drain()
    assert [each["type"] for each in post.told("sales")] == ["conversion.recorded"]
    assert [each["type"] for each in post.told("visits")] == ["touchpoint.recorded"]
    assert post.at("nobody")["attempts"] == []


def test_what_fails_is_told_again_before_what_follows_and_under_its_id(post: Post) -> None:
    post.subscribe(events=["conversion.recorded"])
    post.order(1)
    post.order(2)
    post.answer(503)
    assert post.drain()["again"] == 1
    assert post.drain()["delivered"] == 0
    post.clock.advance(timedelta(seconds=61))
    assert post.drain()["delivered"] == 2
    assert [each["data"]["order_id"] for each in post.told()] == [1, 2]
    first, second, _ = post.at()["attempts"]
    assert first["webhook-id"] == second["webhook-id"]
    assert first["webhook-timestamp"] != second["webhook-timestamp"]


def test_wait_that_a_receiver_asks_for_is_kept(post: Post) -> None:
    post.subscribe(events=["conversion.recorded"])
    post.order(1)
    post.answer(429, retry_after="900")
    post.drain()
    post.clock.advance(timedelta(minutes=14))
    assert post.drain()["delivered"] == 0
    post.clock.advance(timedelta(minutes=2))
    assert post.drain()["delivered"] == 1


def test_address_that_is_silent_for_over_a_day_is_switched_off_and_on_again_by_hand(post: Post) -> None:
    post.subscribe(events=["conversion.recorded"])
    post.order(1)
    post.order(2)
    post.answer(*[500] * 6)
    begun = post.clock.now()
    for _ in range(5):
        assert post.drain()["again"] == 1
        [row] = post.house.query("SELECT due_at FROM attribution_webhooks")
        post.clock.at = row["due_at"]
    assert post.clock.now() - begun == timedelta(minutes=36, hours=26)
    lines = printed(post.drain)
    assert [line["WebhookDisabled"] for line in lines if "WebhookDisabled" in line] == [1]
    [row] = post.house.query("SELECT active, disabled_reason FROM attribution_webhooks")
    assert row == {"active": False, "disabled_reason": "ProviderUnavailableError: 127.0.0.1: answered 500"}
    assert post.queue("subject, state, attempts") == [("1", "dead", 6), ("2", "pending", 0)]
    post.order(3)
    assert len(post.queue()) == 2
    post.subscribe(events=["conversion.recorded"])
    assert post.drain()["delivered"] == 1


def test_refusal_is_given_up_at_once_and_twenty_in_a_row_switch_off(post: Post) -> None:
    post.subscribe(events=["touchpoint.recorded"])
    for number in range(22):
        post.touch(f"v-{number}", NOW - timedelta(minutes=number))
    post.answer(*[400] * 19, 200, *[400] * 2)
    assert post.drain() == {"delivered": 1, "again": 0, "dead": 21, "gone": 0, "disabled": 0}
    for number in range(22):
        post.touch(f"w-{number}", NOW - timedelta(minutes=number))
    post.answer(*[400] * 22)
    assert post.drain() == {"delivered": 0, "again": 0, "dead": 17, "gone": 0, "disabled": 1}


def test_address_that_says_it_is_gone_is_switched_off_at_once(post: Post) -> None:
    post.subscribe(events=["conversion.recorded"])
    post.order(1)
    post.answer(410)
    assert post.drain()["disabled"] == 1


def test_what_changes_while_nobody_has_tried_is_told_once_as_it_is(post: Post) -> None:
    post.subscribe(events=["attribution.calculated"])
    post.order(1)
    for refunded in (100, 200):
        post.house.write("UPDATE orders SET refunded_cents = %s", refunded)
        post.result("analytics-process-attribution", {"order_id": 1})
    assert post.drain()["delivered"] == 1
    [order] = post.house.query("SELECT total_cents - 200 AS left FROM orders")
    assert post.told()[0]["data"]["revenue_cents"] == order["left"]


def test_what_is_deleted_meanwhile_is_told_to_nobody(post: Post) -> None:
    post.subscribe(events=["conversion.recorded"])
    post.order(1)
    post.house.write("DELETE FROM attribution_conversions")
    assert post.drain()["gone"] == 1
    assert post.at()["attempts"] == []


def test_a_hundred_are_told_and_the_rest_is_handed_on(post: Post) -> None:
    post.subscribe(events=["touchpoint.recorded"])
    for number in range(5):
        post.touch(f"v-{number}", NOW - timedelta(minutes=number))
    end = post.run(QUEUE, {"limit": 2}, "slot", source=Source.SCHEDULE)
    assert isinstance(end, Done)
    assert end.result is None
    assert len(post.told()) == 2


@pytest.mark.parametrize("point", [Point.PROVIDER_ANSWERED, Point.TRANSACTION_COMMITTED])
def test_worker_that_dies_anywhere_loses_nothing(post: Post, point: Point) -> None:
    """Each passage of the point in turn: everything arrives, in order, and what comes twice has its id."""
    post.subscribe(events=["touchpoint.recorded"])
    expected = []
    for death in range(1, 8):
        expected.append(f"v-{death}")
        post.touch(f"v-{death}", NOW - timedelta(minutes=60 - death))
        passed = 0

        def die(at: Point, death: int = death) -> None:
            nonlocal passed
            passed += at is point
            if at is point and passed == death:
                raise KeyboardInterrupt

        uninstall = crash.install(die)
        try:
            post.run(QUEUE, {}, f"slot-{death}", source=Source.SCHEDULE)
        except KeyboardInterrupt:
            pass
        finally:
            uninstall()
        post.clock.advance(timedelta(minutes=5))
        post.run(QUEUE, {}, f"slot-{death}", source=Source.SCHEDULE)
        post.run(QUEUE, {}, f"after-{death}", source=Source.SCHEDULE)
    assert [each["data"]["visitor_id"] for each in post.told()] == expected


def test_address_in_a_private_network_is_refused_on_a_deployed_stage(house: House, url: str) -> None:
    post = Post(house, url, stage="prod", clock=FixedClock(datetime.now(UTC) + timedelta(seconds=5)))
    post.subscribe(events=["touchpoint.recorded"], url=url.replace("http:", "https:"))
    post.touch("v", NOW)
    assert post.drain()["dead"] == 1
    assert "private network" in post.queue("error")[0][0]


def test_schedule_has_work_when_something_is_queued_and_once_after(post: Post) -> None:
    due = "SELECT count(*) AS rows FROM schedule_due WHERE schedule = 'analytics-attribution-webhook-queue-scheduled'"
    post.touch("v-0", NOW)
    assert post.house.query(due) == [{"rows": 0}]
    post.subscribe(events=["touchpoint.recorded"])
    post.touch("v-1", NOW)
    for rows in (1, 1, 0):
        assert post.house.query(due) == [{"rows": rows}]
        post.house.write("DELETE FROM schedule_due")
        post.drain()


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": "My Shop"}, "name"),
        ({"url": "ftp://shop.example.com"}, "url"),
        ({"url": "https://a:b@shop.example.com"}, "url"),
        ({"url": "https://"}, "url"),
        ({"events": []}, "events"),
        ({"events": ["order.created"]}, "events"),
        ({"secret": "whsec_x"}, "secret"),
        ({"active": "perhaps"}, "active"),
    ],
)
def test_what_cannot_be_is_refused_by_its_field(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError) as refused:
        WebhookSubscription.model_validate({"name": "shop", "url": "https://shop.example.com/in", **changes})
    assert {str(each["loc"][0]) for each in refused.value.errors()} == {field}


def test_eleventh_subscription_is_refused(post: Post) -> None:
    for number in range(10):
        post.subscribe(f"shop-{number}")
    end = post.run(SUBSCRIBE, {"name": "eleventh", "url": "https://shop.example.com"})
    assert isinstance(end, Dead)
    assert "name: the tenant has 10 subscriptions already" in str(end.error)
    assert to_plain(post.subscribe("shop-3", active=False)) == {
        "name": "shop-3",
        "active": False,
        "events": ALL,
    }


def test_delivery_ids_are_each_ones_own(post: Post) -> None:
    post.subscribe("a", ["touchpoint.recorded"])
    post.subscribe("b", ["touchpoint.recorded"])
    post.touch("v-1", NOW)
    post.drain()
    ids = {UUID(post.at(name)["attempts"][0]["webhook-id"]) for name in ("a", "b")}
    assert len(ids) == 2
