"""The platform's own functions on a real Postgres: intake of dead letters, fan-out, relay, retention, replay."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from pydantic import BaseModel

from infra.local.postgres import DatabaseUrls
from ingress.dead_letter_intake import keep
from ingress.fan_out import FanOut
from ingress.manifest import Manifest
from ingress.platform import Platform
from ingress.relay import Relay
from ingress.replay import ReplayFilter, replay
from tests.fakes import FakeQueues
from tests.integration.harness import House, add_tenant
from tradewind.errors import CredentialsRejectedError, NotFoundError, TerminalError
from tradewind.tasks.dispatch import Dispatcher
from tradewind.tasks.message import message_from
from tradewind.tasks.registry import REGISTRY
from tradewind.tasks.run import Outbox, Run
from tradewind.tasks.task import Task, task
from tradewind.tasks.worker import Dead, Done
from tradewind.tenancy.database import Connections, TenantDb
from tradewind.tenancy.tenant import PLATFORM_TENANT

HOUR = timedelta(hours=1)
SLOT = datetime(2026, 11, 20, 10, 30, tzinfo=UTC)


class Number(BaseModel):
    value: int = 0


@dataclass
class Headquarters:
    """The platform role's hands, and queues that keep what was sent."""

    house: House
    queues: FakeQueues = field(default_factory=FakeQueues)

    def __post_init__(self) -> None:
        self.connections = Connections(self.house.urls.platform)
        dispatcher = Dispatcher(self.queues, "test")  # type: ignore[arg-type]
        self.platform = Platform(self.house.settings, self.connections, dispatcher)

    def write(self, statement: str, *params: Any) -> None:
        with psycopg.connect(self.house.urls.platform) as connection:
            connection.execute(statement.encode(), params)

    def count(self, table: str, where: str = "true") -> int:
        [row] = self.house.query(f"SELECT count(*)::int AS n FROM {table} WHERE {where}")
        found: int = row["n"]
        return found

    def causes(self) -> list[str]:
        return [json.loads(entry.body)["cause"] for entry in self.queues.sent]

    def replay(
        self,
        manifest: Manifest,
        chosen: ReplayFilter | None = None,
        *,
        dry_run: bool = False,
        limit: int = 100,
    ) -> dict[str, Any]:
        with self.platform.session() as session:
            return replay(
                self.platform,
                session,
                manifest,
                chosen or ReplayFilter(),
                "ann",
                dry_run=dry_run,
                limit=limit,
            )


@pytest.fixture
def hq(house: House) -> Iterator[Headquarters]:
    built = Headquarters(house)
    yield built
    built.connections.close()


@pytest.fixture
def make_task() -> Iterator[Callable[..., Task]]:
    """Declares a task for one test and takes it out of the registry afterwards."""
    made: list[str] = []

    def make(function: Callable[..., Any], task_id: str = "test-task", **about: Any) -> Task:
        made.append(task_id)
        function.__doc__ = "A task of a test."
        return task(task_id, **about)(function)

    yield make
    for task_id in made:
        REGISTRY._tasks.pop(task_id, None)


def a_manifest(*ids: str, routes: Mapping[str, Any] | None = None, **schedule: Any) -> Manifest:
    about = {
        "task": "sweep",
        "cron": "30 * * * *",
        "zone": "UTC",
        "payload": {"hours": 2},
        "overlap": "skip",
        "each_tenant": True,
    }
    return Manifest(
        tasks={task_id: {"cap": 10, "entity": None} for task_id in ("sweep", *ids)},
        routes=routes or {},
        schedules={"hourly": {**about, **schedule}},
    )


# Dead-letter intake


def record(body: str, receives: int = 1000) -> dict[str, Any]:
    return {
        "messageId": "message-1",
        "body": body,
        "attributes": {"ApproximateReceiveCount": str(receives), "MessageGroupId": "g"},
        "eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:tradewind-test-commerce-dead.fifo",
    }


def test_message_that_its_queue_gave_up_is_kept_once_and_linked_to_its_run(
    hq: Headquarters, make_task: Callable[..., Task]
) -> None:
    def breaks() -> None:
        raise ZeroDivisionError

    made = make_task(breaks)
    message = hq.house.message(made, {"note": "a\x00b"}, cause="c")
    hq.house.worker(made).work(message, hq.house.deadline())
    for _ in range(2):
        keep(hq.platform, record(message.to_json()))
    [letter] = hq.house.query("SELECT * FROM dead_letter")
    [run] = hq.house.query("SELECT run_id FROM task_run")
    assert (letter["tenant_id"], letter["run_id"]) == (hq.house.tenant_id, run["run_id"])
    assert (letter["task"], letter["cause"], letter["attempts"]) == ("test-task", "c", 1000)
    assert letter["message"]["payload"] == {"note": "a\ufffdb"}
    assert letter["body"] is None


@pytest.mark.parametrize("body", ["{not json", '{"version": 9}', "\ufffd\x00", ""])
def test_unreadable_message_is_kept_as_it_came_under_the_platforms_tenant(
    hq: Headquarters, body: str
) -> None:
    for _ in range(2):
        keep(hq.platform, record(body))
    [letter] = hq.house.query("SELECT tenant_id, task, body, message FROM dead_letter")
    assert letter == {
        "tenant_id": PLATFORM_TENANT,
        "task": "tradewind-test-commerce-dead.fifo",
        "body": body.encode(),
        "message": None,
    }


def test_message_of_an_unknown_tenant_is_kept_under_the_platforms(
    hq: Headquarters, make_task: Callable[..., Task]
) -> None:
    message = hq.house.message(make_task(lambda: None), {}, tenant_id=UUID(int=77))
    keep(hq.platform, record(message.to_json()))
    [letter] = hq.house.query("SELECT tenant_id, body FROM dead_letter")
    assert letter == {"tenant_id": PLATFORM_TENANT, "body": message.to_json().encode()}


# Fan-out


@pytest.fixture
def crowd(hq: Headquarters) -> int:
    """250 active tenants, acme among them, and two that are not active."""
    hq.write(
        "INSERT INTO tenants (slug, name, status) SELECT 'shop-' || n, 'Shop', 'active'"
        " FROM generate_series(2, 250) n UNION ALL VALUES ('paused', 'P', 'paused'), ('gone', 'G', 'uninstalled')"
    )
    return 250


def fire(hq: Headquarters, manifest: Manifest, slot: datetime, now: datetime | None = None) -> dict[str, Any]:
    return FanOut(hq.platform, manifest).run("hourly", slot.isoformat(), now or slot + timedelta(seconds=3))


def test_each_active_tenant_gets_one_message_however_often_the_clock_fires(
    hq: Headquarters, crowd: int
) -> None:
    written = [fire(hq, a_manifest(), SLOT)["written"] for _ in range(3)]
    assert written == [crowd, 0, 0]
    assert (hq.count("schedule_slot"), hq.count("outbox")) == (crowd, crowd)
    bodies = [json.loads(entry.body) for entry in hq.queues.sent]
    assert len({body["tenant_id"] for body in bodies}) == crowd
    assert {(body["cause"], body["source"], body["task"]) for body in bodies} == {
        ("hourly@2026-11-20T10:30", "schedule", "sweep")
    }
    assert {body["accepted_at"] for body in bodies} == {SLOT.isoformat()}
    assert all(body["payload"] == {"hours": 2} for body in bodies)


def test_due_times_of_a_crowd_are_spread_within_the_period(hq: Headquarters, crowd: int) -> None:
    begun = datetime.now(UTC).replace(minute=30, second=0, microsecond=0) + HOUR
    answer = fire(hq, a_manifest(), begun)
    assert answer == {"schedule": "hourly", "written": crowd, "released": 0}
    [row] = hq.house.query(
        "SELECT min(due_at) AS first, max(due_at) AS last, count(DISTINCT due_at)::int AS n FROM outbox"
    )
    assert begun <= row["first"] < begun + timedelta(seconds=20)
    assert begun + timedelta(minutes=4, seconds=40) < row["last"] < begun + timedelta(minutes=5)
    assert row["n"] == crowd


def test_tenant_with_an_unfinished_older_slot_is_skipped(hq: Headquarters, crowd: int) -> None:
    fire(hq, a_manifest(), SLOT)
    assert fire(hq, a_manifest(), SLOT + HOUR)["written"] == 0
    hq.write("UPDATE outbox SET state = 'done' WHERE tenant_id IN (SELECT tenant_id FROM outbox LIMIT 3)")
    assert fire(hq, a_manifest(), SLOT + HOUR)["written"] == 3
    assert fire(hq, a_manifest(), SLOT + 2 * HOUR)["written"] == 0
    assert hq.count("outbox") == crowd + 3


def test_schedule_that_queues_does_not_skip(hq: Headquarters, crowd: int) -> None:
    manifest = a_manifest(overlap="queue")
    assert [fire(hq, manifest, SLOT + HOUR * at)["written"] for at in (0, 1, 1)] == [crowd, crowd, 0]


def test_slot_is_the_scheduled_time_even_if_the_clock_is_late(hq: Headquarters) -> None:
    fire(hq, a_manifest(), SLOT + timedelta(minutes=9))
    FanOut(hq.platform, a_manifest()).run("hourly", None, SLOT + timedelta(minutes=50))
    FanOut(hq.platform, a_manifest()).run(
        "hourly", "<aws.scheduler.scheduled-time>", SLOT + timedelta(minutes=51)
    )
    assert hq.house.query("SELECT slot FROM schedule_slot") == [{"slot": "2026-11-20T10:30"}]


def test_schedule_of_the_platform_runs_once_for_all(hq: Headquarters, crowd: int) -> None:
    manifest = a_manifest(each_tenant=False)
    assert [fire(hq, manifest, SLOT)["written"] for _ in range(2)] == [1, 0]
    assert hq.house.query("SELECT tenant_id FROM outbox") == [{"tenant_id": PLATFORM_TENANT}]


def test_unknown_schedule_is_refused(hq: Headquarters) -> None:
    with pytest.raises(NotFoundError, match="no schedule with id never"):
        FanOut(hq.platform, a_manifest()).run("never", None, SLOT)


ZONES = {"tokyo": "Asia/Tokyo", "berlin": "Europe/Berlin", "york": "America/New_York"}


@pytest.fixture
def clocks(hq: Headquarters) -> Headquarters:
    """Tenants in three zones, and acme in UTC."""
    for slug, zone in ZONES.items():
        hq.write("INSERT INTO tenants (slug, name, zone) VALUES (%s, %s, %s)", slug, slug, zone)
    return hq


def slots_by_slug(hq: Headquarters) -> list[tuple[str, str]]:
    rows = hq.house.query(
        "SELECT t.slug, s.slot FROM schedule_slot s JOIN tenants t USING (tenant_id) ORDER BY s.due_at, t.slug"
    )
    return [(row["slug"], row["slot"]) for row in rows]


def test_each_tenant_is_served_at_nine_on_its_own_clock(clocks: Headquarters) -> None:
    manifest = a_manifest(cron="0 9 * * *", zone="tenant")
    start = datetime(2026, 11, 19, 20, tzinfo=UTC)
    written = {}
    for step in range(1, 24 * 4 + 1):
        now = start + step * timedelta(minutes=15)
        answer = FanOut(clocks.platform, manifest).run("hourly", now.isoformat(), now)
        if answer["written"]:
            written[now.strftime("%H:%M")] = answer["written"]
    assert written == {"00:00": 1, "08:00": 1, "09:00": 1, "14:00": 1}
    day = "2026-11-20T09:00"
    assert slots_by_slug(clocks) == [("tokyo", day), ("berlin", day), ("acme", day), ("york", day)]


def test_day_of_twenty_five_hours_has_its_slot_once(clocks: Headquarters) -> None:
    manifest = a_manifest(cron="30 1 * * *", zone="tenant", overlap="queue")
    start = datetime(2026, 10, 31, 23, tzinfo=UTC)
    for step in range(24 * 4 + 8):
        now = start + step * timedelta(minutes=15)
        FanOut(clocks.platform, manifest).run("hourly", now.isoformat(), now)
    york = [slot for slug, slot in slots_by_slug(clocks) if slug == "york"]
    assert york == ["2026-11-01T01:30"]


def test_clock_that_stood_still_for_days_catches_up_once(clocks: Headquarters) -> None:
    manifest = a_manifest(cron="0 9 * * *", zone="tenant")
    begun = datetime(2026, 11, 17, 20, tzinfo=UTC)
    for now in (begun, begun + timedelta(days=3)):
        FanOut(clocks.platform, manifest).run("hourly", None, now)
    assert sorted(slots_by_slug(clocks)) == [(slug, "2026-11-18T09:00") for slug in sorted(["acme", *ZONES])]
    next_runs = clocks.house.query("SELECT min(next_run_at) AS at FROM schedule_next_run")
    assert next_runs[0]["at"] == datetime(2026, 11, 21, 0, tzinfo=UTC)


def test_tenant_that_moves_is_served_on_its_new_clock(clocks: Headquarters) -> None:
    manifest = a_manifest(cron="0 9 * * *", zone="tenant")
    now = datetime(2026, 11, 19, 20, tzinfo=UTC)
    FanOut(clocks.platform, manifest).run("hourly", None, now)
    clocks.write("UPDATE tenants SET zone = 'Asia/Tokyo' WHERE slug = 'york'")
    FanOut(clocks.platform, manifest).run("hourly", None, now)
    rows = clocks.house.query("SELECT next_run_at FROM schedule_next_run WHERE zone = 'Asia/Tokyo'")
    assert [row["next_run_at"] for row in rows] == [datetime(2026, 11, 20, 0, tzinfo=UTC)] * 2


# Relay


def add_inbox(
    hq: Headquarters, event_id: str, topic: str, body: Mapping[str, Any] | None, **about: Any
) -> None:
    row: dict[str, Any] = {"state": "unrouted", "age": timedelta(), "provider": "shopify", **about}
    hq.write(
        "INSERT INTO webhook_inbox (tenant_id, provider, app, event_id, topic, shop, state, correlation_id, body,"
        " claim, received_at) VALUES (%s, %s, 'default', %s, %s, 'acme.myshopify.com', %s, %s, %s, %s, now() - %s)",
        hq.house.tenant_id,
        row["provider"],
        event_id,
        topic,
        row["state"],
        f"click-{event_id}",
        None if body is None else json.dumps(body).encode(),
        None if body is not None else f"claims/{event_id}",
        row["age"],
    )


def test_webhooks_that_waited_for_a_task_are_routed_once_it_is_there(hq: Headquarters) -> None:
    add_inbox(hq, "one", "customers/redact", {"shop_id": 7, "customer": {"id": 1}})
    add_inbox(hq, "large", "customers/redact", None)
    add_inbox(hq, "other", "shop/redact", {"shop_id": 7})
    add_inbox(hq, "done", "customers/redact", {"shop_id": 7}, state="routed")
    manifest = a_manifest("redact", routes={"shopify": {"customers/redact": ["redact", "sweep"]}})
    with hq.platform.session() as session:
        relay = Relay(hq.platform, manifest, session)
        assert [relay.route_waiting() for _ in range(2)] == [4, 0]
    states = hq.house.query("SELECT event_id, state FROM webhook_inbox ORDER BY 1")
    assert {row["event_id"]: row["state"] for row in states} == {
        "done": "routed",
        "large": "routed",
        "one": "routed",
        "other": "unrouted",
    }
    bodies = [json.loads(entry.body) for entry in hq.queues.sent]
    assert sorted((body["cause"], body["task"]) for body in bodies) == [
        ("large", "redact"),
        ("large", "sweep"),
        ("one", "redact"),
        ("one", "sweep"),
    ]
    assert {body["claim"] for body in bodies if body["cause"] == "large"} == {"claims/large"}
    assert all(body["payload"]["shop_id"] == 7 for body in bodies if body["cause"] == "one")
    assert {body["correlation_id"] for body in bodies} == {"click-one", "click-large"}


def test_topic_of_another_provider_is_not_taken_for_a_routed_one(hq: Headquarters) -> None:
    add_inbox(hq, "stripe-1", "orders/create", {"id": 1}, provider="stripe")
    manifest = a_manifest("redact", routes={"shopify": {"orders/create": ["redact"]}})
    with hq.platform.session() as session:
        assert Relay(hq.platform, manifest, session).route_waiting() == 0
    assert hq.house.query("SELECT state FROM webhook_inbox") == [{"state": "unrouted"}]


def age_everything(hq: Headquarters, by: timedelta) -> None:
    columns = {
        "webhook_inbox": "received_at",
        "outbox": "created_at",
        "task_run": "first_started_at",
        "dead_letter": "created_at",
        "schedule_slot": "created_at",
    }
    for table, column in columns.items():
        hq.write(f"UPDATE {table} SET {column} = {column} - %s", by)


def test_what_is_older_than_thirty_days_is_deleted_and_nothing_else(
    hq: Headquarters, make_task: Callable[..., Task]
) -> None:
    def refuses() -> None:
        raise TerminalError("no")

    made = make_task(refuses)

    def leave_traces(name: str) -> None:
        hq.house.run(made, {}, cause=name)
        add_inbox(hq, name, "customers/redact", {"shop_id": 7})
        manifest = a_manifest("redact", routes={"shopify": {"customers/redact": ["redact"]}})
        with hq.platform.session() as session:
            Relay(hq.platform, manifest, session).route_waiting()
        hq.write("UPDATE outbox SET state = 'done'")
        fire(hq, a_manifest(), SLOT if name == "old" else SLOT + HOUR)

    leave_traces("old")
    hq.write("UPDATE outbox SET state = 'done'")
    age_everything(hq, timedelta(days=30, minutes=1))
    leave_traces("young")
    tables = ("webhook_inbox", "outbox", "task_run", "task_attempt", "dead_letter", "schedule_slot")
    before = {table: hq.count(table) for table in tables}
    with hq.platform.session() as session:
        assert Relay(hq.platform, a_manifest(), session).purge() > 0
    assert {table: hq.count(table) for table in tables} == {name: n // 2 for name, n in before.items()}
    assert hq.house.query("SELECT cause FROM task_run UNION SELECT cause FROM dead_letter") == [
        {"cause": "young"}
    ]
    with hq.platform.session() as session:
        assert Relay(hq.platform, a_manifest(), session).purge() == 0


# Replay


@pytest.fixture
def broken(hq: Headquarters, make_task: Callable[..., Task]) -> Task:
    """A task that fails for good until the flag in its tenant's settings says otherwise."""

    def works(db: TenantDb, payload: Number, run: Run, outbox: Outbox) -> str:
        with db.begin() as tx:
            tx.execute("INSERT INTO creators (name, code) VALUES ('A', 'A') ON CONFLICT DO NOTHING")
            row = tx.fetch_one("SELECT settings ->> 'repaired' AS repaired FROM tenants")
        if row is None or row["repaired"] is None:
            raise CredentialsRejectedError("token") if payload.value % 2 else TerminalError("no")
        outbox.start(follower, payload)
        return "repaired"

    follower = make_task(lambda: None, "test-follower")
    return make_task(works, starts=("test-follower",))


def work_sent(hq: Headquarters, made: Task) -> list[type]:
    """Work what the replay has sent; how each ended."""
    sent, hq.queues.sent = hq.queues.sent, []
    return [
        type(hq.house.worker(made).work(message_from(json.loads(entry.body)), hq.house.deadline()))
        for entry in sent
    ]


def repair(hq: Headquarters) -> None:
    hq.write('UPDATE tenants SET settings = \'{"repaired": "yes"}\'')


REPLAYABLE = a_manifest("test-task", "test-follower")


def test_dry_run_counts_and_changes_nothing(hq: Headquarters, broken: Task) -> None:
    for value in range(3):
        hq.house.run(broken, {"value": value}, cause=f"c{value}")
    keep(hq.platform, record("unreadable"))
    assert hq.replay(REPLAYABLE, dry_run=True) == {
        "matched": 4,
        "unreadable": 1,
        "replayed": 0,
        "dry_run": True,
        "done": True,
    }
    assert hq.count("dead_letter", "state = 'open'") == 4
    assert (hq.queues.sent, hq.count("dead_letter_audit"), hq.count("outbox")) == ([], 0, 0)


def test_replay_is_a_linked_run_of_its_own_whose_effects_are_not_doubled(
    hq: Headquarters, broken: Task
) -> None:
    hq.house.run(broken, {"value": 1}, cause="c", entity="order-7")
    repair(hq)
    assert hq.replay(REPLAYABLE) == {
        "matched": 1,
        "unreadable": 0,
        "replayed": 1,
        "dry_run": False,
        "left": 0,
        "done": True,
    }
    [entry] = hq.queues.sent
    body = json.loads(entry.body)
    assert (body["payload"], body["entity"], body["cause"]) == ({"value": 1}, "order-7", "c~replay-1")
    assert work_sent(hq, broken) == [Done]
    runs = hq.house.query("SELECT run_id, cause, state, attempt, replay_of FROM task_run ORDER BY cause")
    assert [(run["cause"], run["state"], run["attempt"]) for run in runs] == [
        ("c", "failed", 1),
        ("c~replay-1", "succeeded", 1),
    ]
    assert runs[1]["replay_of"] == runs[0]["run_id"]
    assert hq.count("creators") == 1
    assert hq.count("outbox", "task = 'test-follower'") == 1
    assert hq.house.query("SELECT state FROM dead_letter") == [{"state": "replayed"}]
    [audit] = hq.house.query("SELECT actor, action, filters, matched, replayed FROM dead_letter_audit")
    assert (audit["actor"], audit["action"], audit["matched"], audit["replayed"]) == ("ann", "replay", 1, 1)
    assert hq.replay(REPLAYABLE)["replayed"] == 0


def test_replay_that_fails_again_can_be_replayed_again_under_a_cause_of_its_own(
    hq: Headquarters, broken: Task
) -> None:
    hq.house.run(broken, {"value": 1}, cause="c_%")
    hq.house.run(broken, {"value": 1}, cause="cXY~replay-5")
    hq.write("UPDATE dead_letter SET state = 'dismissed' WHERE cause LIKE 'cXY%%'")
    assert hq.replay(REPLAYABLE)["replayed"] == 1
    assert hq.causes() == ["c_%~replay-1"]
    assert work_sent(hq, broken) == [Dead]
    repair(hq)
    assert hq.replay(REPLAYABLE)["replayed"] == 1
    assert hq.causes() == ["c_%~replay-2"]
    assert work_sent(hq, broken) == [Done]
    assert hq.count("creators") == 1
    assert hq.count("dead_letter", "state = 'open'") == 0


def test_letters_are_chosen_by_tenant_task_class_time_and_id(hq: Headquarters, broken: Task) -> None:
    bolt = add_tenant(hq.house.urls, "bolt")
    for value in range(4):
        hq.house.run(broken, {"value": value}, cause=f"c{value}")
    hq.house.run(broken, {"value": 4}, cause="c4", tenant_id=bolt)
    hq.write("UPDATE dead_letter SET created_at = created_at - interval '1 day' WHERE cause IN ('c0', 'c1')")
    half_a_day_ago = datetime.now(UTC) - timedelta(hours=12)
    [row] = hq.house.query("SELECT dead_letter_id AS id FROM dead_letter WHERE cause = 'c3'")
    choices = {
        ReplayFilter(): 5,
        ReplayFilter(tenant_id=bolt): 1,
        ReplayFilter(tenant_id=uuid4()): 0,
        ReplayFilter(task="test-task"): 5,
        ReplayFilter(task="test-follower"): 0,
        ReplayFilter(error_class="CredentialsRejectedError"): 2,
        ReplayFilter(since=half_a_day_ago): 3,
        ReplayFilter(until=half_a_day_ago): 2,
        ReplayFilter(until=half_a_day_ago, error_class="TerminalError"): 1,
        ReplayFilter(ids=(row["id"], uuid4())): 1,
        ReplayFilter(ids=()): 0,
    }
    for chosen, matched in choices.items():
        assert hq.replay(REPLAYABLE, chosen, dry_run=True)["matched"] == matched
    assert (
        hq.replay(REPLAYABLE, ReplayFilter(error_class="TerminalError", since=half_a_day_ago))["replayed"]
        == 2
    )
    assert sorted(hq.causes()) == ["c2~replay-1", "c4~replay-1"]
    assert {json.loads(entry.body)["tenant_id"] for entry in hq.queues.sent} == {
        str(hq.house.tenant_id),
        str(bolt),
    }


def test_replay_goes_page_by_page_oldest_first(hq: Headquarters, broken: Task) -> None:
    for value in range(5):
        hq.house.run(broken, {"value": value}, cause=f"c{value}")
    answers = [hq.replay(REPLAYABLE, limit=2) for _ in range(4)]
    assert [(a["replayed"], a.get("left"), a["done"]) for a in answers] == [
        (2, 3, False),
        (2, 1, False),
        (1, 0, True),
        (0, 0, True),
    ]
    assert hq.causes() == [f"c{value}~replay-1" for value in range(5)]
    assert hq.count("dead_letter_audit") == 4


def test_letter_of_a_task_that_is_no_more_stays(hq: Headquarters, broken: Task) -> None:
    hq.house.run(broken, {"value": 1}, cause="c")
    answer = hq.replay(a_manifest())
    assert (answer["matched"], answer["replayed"], answer["done"]) == (1, 0, True)
    assert hq.house.query("SELECT state FROM dead_letter") == [{"state": "open"}]


def test_replay_that_cannot_be_sent_now_is_left_to_the_relay(hq: Headquarters, broken: Task) -> None:
    hq.house.run(broken, {"value": 1}, cause="c")
    hq.queues.failures = [TerminalError("sqs: no")]
    assert hq.replay(REPLAYABLE)["replayed"] == 1
    assert hq.queues.sent == []
    with hq.platform.session() as session:
        assert Relay(hq.platform, REPLAYABLE, session).send_unsent(timedelta()) == 1
    assert hq.causes() == ["c~replay-1"]


def test_urls_are_of_roles_that_cannot_see_past_their_policies(database: DatabaseUrls) -> None:
    with psycopg.connect(database.platform) as connection:
        row = connection.execute(
            "SELECT rolsuper, rolbypassrls, rolcreaterole FROM pg_roles WHERE rolname = current_user"
        ).fetchone()
    assert row == (False, False, False)
