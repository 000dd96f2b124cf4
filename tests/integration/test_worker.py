"""What becomes of a run: retried, given back, dead, taken over, continued, split into children."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from commerce.order_sync.tasks import sync_order
from tests.fakes import an_order
from tests.integration.harness import House
from tradewind.crash import install
from tradewind.errors import (
    LeaseHeldError,
    ProviderUnavailableError,
    RateLimitedError,
    TerminalError,
)
from tradewind.tasks.message import Lane, Message, Source, message_from
from tradewind.tasks.retry import Retry, fixed
from tradewind.tasks.run import Continuation, Outbox, Run
from tradewind.tasks.task import Task
from tradewind.tasks.worker import Dead, Done, TryAgain
from tradewind.tenancy.database import TenantDb


class Number(BaseModel):
    value: int = 0


class CrashedError(BaseException):
    """A process that died: nothing after it runs, no handler of the kernel sees it."""


def test_retryable_error_is_retried_by_the_tasks_backoff_until_its_attempts_are_used(
    house: House, make_task: Callable[..., Task]
) -> None:
    def flaky() -> None:
        raise ProviderUnavailableError("shopify", "503")

    made = make_task(flaky)
    ends = [house.run(made, {}, cause="c") for _ in range(4)]
    assert [type(end) for end in ends] == [TryAgain, TryAgain, Dead, Dead]
    assert isinstance(ends[0], TryAgain)
    assert ends[0].wait == timedelta(seconds=5)
    attempts = house.query("SELECT number, error_kind, error_class FROM task_attempt ORDER BY number")
    assert attempts == [
        {"number": number, "error_kind": "RetryableError", "error_class": "ProviderUnavailableError"}
        for number in (1, 2, 3)
    ]
    [letter] = house.query("SELECT attempts, message FROM dead_letter")
    assert letter["attempts"] == 3
    assert letter["message"]["cause"] == "c"


def test_rate_limit_counts_no_attempt_and_waits_as_the_provider_says(
    house: House, make_task: Callable[..., Task]
) -> None:
    def limited() -> None:
        raise RateLimitedError("shopify", timedelta(seconds=17))

    made = make_task(limited)
    for _ in range(10):
        end = house.run(made, {}, cause="c")
        assert isinstance(end, TryAgain)
        assert end.wait == timedelta(seconds=17)
    assert house.query("SELECT state, attempt FROM task_run") == [{"state": "retrying", "attempt": 0}]
    assert house.query("SELECT * FROM dead_letter") == []


def test_terminal_error_is_a_dead_letter_at_once(house: House, make_task: Callable[..., Task]) -> None:
    def refused() -> None:
        raise TerminalError("no such card")

    end = house.run(make_task(refused), {})
    assert isinstance(end, Dead)
    assert house.query("SELECT state, error_message FROM task_run") == [
        {"state": "failed", "error_message": "no such card"}
    ]


def test_bug_is_retried_and_its_stack_is_kept(house: House, make_task: Callable[..., Task]) -> None:
    def buggy() -> None:
        raise ZeroDivisionError("oops")

    end = house.run(make_task(buggy), {})
    assert isinstance(end, TryAgain)
    [attempt] = house.query("SELECT error_kind, stack FROM task_attempt")
    assert attempt["error_kind"] == "UnexpectedError"
    assert "ZeroDivisionError: oops" in attempt["stack"]


def test_bug_undoes_the_transaction_that_was_held_back(house: House, make_task: Callable[..., Task]) -> None:
    def writes_then_breaks(db: TenantDb) -> None:
        with db.begin() as tx:
            tx.execute("INSERT INTO creators (name, code) VALUES ('X', 'X')")
        raise KeyError("x")

    house.run(make_task(writes_then_breaks), {})
    assert house.query("SELECT * FROM creators") == []


def test_finished_run_returns_its_stored_result(house: House, make_task: Callable[..., Task]) -> None:
    calls: list[int] = []

    def once(payload: Number) -> dict[str, int]:
        calls.append(payload.value)
        return {"doubled": payload.value * 2}

    made = make_task(once)
    first = house.run(made, {"value": 4}, cause="c")
    second = house.run(made, {"value": 4}, cause="c")
    assert first == Done({"doubled": 8})
    assert second == Done({"doubled": 8}, again=True)
    assert calls == [4]


def test_forced_run_runs_again(house: House, make_task: Callable[..., Task]) -> None:
    calls: list[int] = []
    made = make_task(lambda: calls.append(1))
    message = house.message(made, {}, cause="c")
    house.worker(made).work(message, house.deadline())
    house.worker(made).work(message, house.deadline(), force=True)
    assert calls == [1, 1]


def test_payload_that_does_not_fit_names_the_field(house: House, make_task: Callable[..., Task]) -> None:
    def wants_number(payload: Number) -> None:
        raise AssertionError(payload)

    end = house.run(make_task(wants_number), {"value": "many"})
    assert isinstance(end, Dead)
    assert str(end.error).startswith("value: Input should be a valid integer")


def test_unknown_tenant_is_refused_and_writes_nothing(house: House, make_task: Callable[..., Task]) -> None:
    made = make_task(lambda: None)
    message = replace(house.message(made, {}), tenant_id=house.tenant_id.__class__(int=99))
    end = house.worker(made).work(message, house.deadline())
    assert isinstance(end, Dead)
    assert house.query("SELECT * FROM task_run") == []


def test_live_lease_hands_the_message_back_and_a_direct_call_says_so(
    house: House, make_task: Callable[..., Task]
) -> None:
    inside, go_on = threading.Event(), threading.Event()

    def slow() -> None:
        inside.set()
        assert go_on.wait(10)

    made = make_task(slow)
    message = house.message(made, {}, cause="c")
    thread = threading.Thread(target=house.worker(made).work, args=(message, house.deadline()))
    thread.start()
    assert inside.wait(10)
    end = house.worker(made).work(message, house.deadline())
    go_on.set()
    thread.join()
    assert isinstance(end, TryAgain)
    assert isinstance(end.error, LeaseHeldError)
    assert house.query("SELECT state, attempt FROM task_run") == [{"state": "succeeded", "attempt": 1}]


def test_run_is_taken_over_after_its_lease_and_the_old_worker_commits_nothing(
    house: House, make_task: Callable[..., Task]
) -> None:
    inside, go_on = threading.Event(), threading.Event()
    turns: list[str] = []

    def slow_then_quick(db: TenantDb, run: Run) -> str:
        first = not turns
        turns.append("first" if first else "second")
        if first:
            inside.set()
            assert go_on.wait(10)
        with db.begin() as tx:
            tx.execute(
                "INSERT INTO creators (name, code) VALUES (%(n)s, %(n)s)", {"n": turns[0 if first else 1]}
            )
        return "first" if first else "second"

    made = make_task(slow_then_quick)
    message = house.message(made, {}, cause="c")
    ended_before = datetime.now(UTC) - timedelta(seconds=10)
    ends: list[Any] = []
    thread = threading.Thread(target=lambda: ends.append(house.worker(made).work(message, ended_before)))
    thread.start()
    assert inside.wait(10)
    second = house.worker(made).work(message, house.deadline())
    go_on.set()
    thread.join()
    assert second == Done("second")
    assert isinstance(ends[0], TryAgain)
    assert house.query("SELECT name FROM creators") == [{"name": "second"}]
    assert house.query("SELECT result, fence FROM task_run") == [{"result": "second", "fence": 2}]


POINTS = ["run.claimed", "task.returned", "run.finished", "outbox.sent", "outbox.marked"]


@pytest.mark.parametrize("point", POINTS)
def test_death_at_any_line_neither_loses_nor_doubles(
    house: House, make_task: Callable[..., Task], point: str
) -> None:
    follower = make_task(lambda: None, "test-follower")

    def works(db: TenantDb, outbox: Outbox) -> str:
        with db.begin() as tx:
            tx.execute("INSERT INTO creators (name, code) VALUES ('A', 'A') ON CONFLICT DO NOTHING")
        outbox.start(follower, Number(value=1))
        return "done"

    made = make_task(works, starts=("test-follower",))

    def die(here: str) -> None:
        if here == point:
            raise CrashedError

    remove = install(die)
    try:
        with pytest.raises(CrashedError):
            house.worker(made).work(
                house.message(made, {}, cause="c"), datetime.now(UTC) - timedelta(seconds=9)
            )
    finally:
        remove()
    end = house.run(made, {}, cause="c")
    assert isinstance(end, Done)
    assert end.result == "done"
    assert house.query("SELECT name FROM creators") == [{"name": "A"}]
    rows = house.query("SELECT task, state FROM outbox")
    assert [row["task"] for row in rows] == ["test-follower"]
    assert rows[0]["state"] in ("ready", "sent")
    assert house.query("SELECT state FROM task_run WHERE task = 'test-task'") == [{"state": "succeeded"}]


def test_a_held_step_of_a_workflow_is_waited_for_and_counts_no_attempt(
    house: House, make_task: Callable[..., Task]
) -> None:
    held = iter([True] * 7)

    def starts_workflow() -> str:
        if next(held, False):
            raise LeaseHeldError("order-sync", "one of its steps", timedelta(seconds=5))
        return "done"

    made = make_task(starts_workflow, retry=Retry(2, fixed(5)))
    message = house.message(made, {}, cause="c")
    for _ in range(7):
        end = house.worker(made).work(message, house.deadline())
        assert isinstance(end, TryAgain)
        assert end.wait == timedelta(seconds=2)
    assert house.worker(made).work(message, house.deadline()) == Done("done")
    assert house.query("SELECT state, attempt FROM task_run") == [{"state": "succeeded", "attempt": 1}]
    assert house.query("SELECT count(*) FROM dead_letter") == [{"count": 0}]


def test_long_run_continues_in_new_messages_from_its_checkpoint(
    house: House, make_task: Callable[..., Task]
) -> None:
    def paged(run: Run) -> Continuation | int:
        page = (run.checkpoint or {"page": 0})["page"] + 1
        return run.continue_with({"page": page}) if page < 3 else page

    made = make_task(paged)
    house.run(made, {}, cause="c")
    for at in range(2):
        body = json.loads(house.queues.sent[at].body)
        assert body["hops"] == at + 1
        house.worker(made).work(message_of(body), house.deadline())
    assert house.query("SELECT state, result, hops, attempt FROM task_run") == [
        {"state": "succeeded", "result": 3, "hops": 2, "attempt": 1}
    ]


def test_parent_is_continued_once_with_each_childs_result_or_error(
    house: House, make_task: Callable[..., Task]
) -> None:
    def child(payload: Number) -> int:
        if payload.value == 2:
            raise TerminalError("two is bad")
        return payload.value * 10

    child_task = make_task(child, "test-child")

    def parent(run: Run) -> Continuation | dict[str, Any]:
        if run.checkpoint is None:
            for value in (1, 2, 3):
                run.start_child(child_task, f"part-{value}", Number(value=value))
            return run.wait_for_children({"asked": 3})
        return {result.step: result.result or result.error for result in run.children_results()}

    made = make_task(parent, "test-parent", starts=("test-child",))
    assert house.run(made, {}, cause="c") == Done(None)
    assert house.run(made, {}, cause="c") == Done(None, again=True)
    children, house.queues.sent = house.queues.sent, []
    assert len(children) == 3
    for entry in children:
        house.worker(child_task).work(message_of(json.loads(entry.body)), house.deadline())
        house.worker(child_task).work(message_of(json.loads(entry.body)), house.deadline())
    [again] = house.queues.sent
    end = house.worker(made).work(message_of(json.loads(again.body)), house.deadline())
    assert end == Done({"part-1": 10, "part-2": "TerminalError: two is bad", "part-3": 30})


def test_follow_up_that_the_decorator_does_not_name_is_refused(
    house: House, make_task: Callable[..., Task]
) -> None:
    other = make_task(lambda: None, "test-other")

    def starts_undeclared(outbox: Outbox) -> None:
        outbox.start(other, Number())

    end = house.run(make_task(starts_undeclared), {})
    assert isinstance(end, Dead)
    assert "add it to starts=(...)" in str(end.error)
    assert house.query("SELECT * FROM outbox") == []


def test_tenant_has_at_most_the_bound_of_a_task_in_its_queue_and_the_rest_follows(
    house: House, make_task: Callable[..., Task]
) -> None:
    follower = make_task(lambda: None, "test-follower")

    def many(outbox: Outbox) -> None:
        for value in range(130):
            outbox.start(follower, Number(value=value), key=str(value))

    house.run(make_task(many, starts=("test-follower",)), {})
    states = house.query("SELECT state, count(*)::int AS n FROM outbox GROUP BY 1 ORDER BY 1")
    assert states == [{"state": "held", "n": 30}, {"state": "sent", "n": 100}]
    done = 0
    while done < len(house.queues.sent):
        body = json.loads(house.queues.sent[done].body)
        house.worker(follower).work(message_of(body), house.deadline())
        done += 1
        [row] = house.query("SELECT count(*)::int AS n FROM outbox WHERE state IN ('ready', 'sent')")
        assert row["n"] <= 100
    assert done == 130
    assert house.query("SELECT DISTINCT state FROM outbox") == [{"state": "done"}]


def test_backfill_goes_to_its_own_lane(house: House, make_task: Callable[..., Task]) -> None:
    follower = make_task(lambda: None, "test-follower", backfill=True)

    def starts(outbox: Outbox) -> None:
        outbox.start(follower, Number())

    made = make_task(starts, starts=("test-follower",))
    house.run(made, {}, lane=Lane.BACKFILL, source=Source.BACKFILL)
    [entry] = house.queues.sent
    assert entry.queue == "tradewind-test-test-follower-backfill.fifo"
    assert json.loads(entry.body)["source"] == "backfill"


def test_two_runs_of_one_order_at_once_save_it_once(house: House) -> None:
    house.shopify.put(an_order())
    payload = {"id": 1001, "updated_at": "2026-11-20T12:00:00Z"}
    threads = [
        threading.Thread(target=house.run, args=(sync_order, payload), kwargs={"cause": f"c{at}"})
        for at in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    states = house.query("SELECT state, count(*)::int AS n FROM task_run GROUP BY 1")
    assert states == [{"state": "succeeded", "n": 6}]
    assert house.query("SELECT count(*)::int AS n FROM attribution_credits") == [{"n": 5}]


def message_of(body: dict[str, Any]) -> Message:

    return message_from(body)


def test_what_postgres_says_of_a_customer_is_not_kept_with_the_error(
    house: House, make_task: Callable[..., Task]
) -> None:
    def breaks_a_rule(db: TenantDb) -> None:
        with db.begin() as tx:
            tx.execute("INSERT INTO email_suppressions (email, reason) VALUES ('Ann@Example.com', 'manual')")

    house.run(make_task(breaks_a_rule), {})
    [attempt] = house.query("SELECT message, stack FROM task_attempt")
    assert attempt["message"].startswith("CheckViolation: new row for relation")
    assert "Ann@Example.com'" not in attempt["message"]
    assert "DETAIL" not in attempt["message"] + attempt["stack"]
