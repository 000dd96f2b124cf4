"""Dead letters replayed: by filter, at a rate, audited, each effect once."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import psycopg
import pytest
from pydantic import BaseModel

from infra.local.postgres import DatabaseUrls
from ingress.dead_letter_intake import keep
from ingress.relay import Relay
from ingress.replay import ReplayFilter
from tests.integration.harness import add_tenant
from tests.integration.headquarters import Headquarters, a_manifest, record
from tradewind.errors import CredentialsRejectedError, TerminalError
from tradewind.tasks.message import message_from
from tradewind.tasks.run import Outbox, Run
from tradewind.tasks.task import Task
from tradewind.tasks.worker import Dead, Done
from tradewind.tenancy.database import TenantDb


class Number(BaseModel):
    value: int = 0


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
    assert (hq.queues.sent, hq.count("operator_audit"), hq.count("outbox")) == ([], 0, 0)


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
    [audit] = hq.house.query("SELECT actor, action, details FROM operator_audit")
    details = audit["details"]
    assert (audit["actor"], audit["action"], details["matched"], details["replayed"]) == (
        "ann",
        "replay",
        1,
        1,
    )
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
    assert hq.count("operator_audit") == 4


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
