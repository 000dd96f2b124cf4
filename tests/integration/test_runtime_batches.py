"""Lambda's side of a task: SQS batches with several message groups."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import BaseModel

from tests.integration.harness import Context, House, add_tenant, printed
from tradewind.errors import (
    ProviderUnavailableError,
    RateLimitedError,
    RetryableError,
    TerminalError,
)
from tradewind.observability import logger
from tradewind.tasks.message import Message, Source
from tradewind.tasks.retry import Retry, exponential
from tradewind.tasks.run import Run
from tradewind.tasks.runtime import Runtime
from tradewind.tasks.task import Task
from tradewind.tenancy.tenant import PLATFORM_TENANT, Tenant

QUEUE = "arn:aws:sqs:us-east-1:000000000000:tradewind-test-test-task.fifo"
ZERO = timedelta(0)

READABLE = Message(
    tenant_id=UUID(int=1),
    task="test-task",
    cause="cause-1",
    key="key",
    source=Source.TASK,
    correlation_id="x",
    accepted_at=datetime(2026, 11, 20, 12, tzinfo=UTC),
).to_json()


class Number(BaseModel):
    value: int = 0


def record(message: Message | str, group: str, name: str | None = None) -> dict[str, Any]:
    """A queue's record: its id and receipt handle are the message's cause."""
    key = name or (message.cause if isinstance(message, Message) else str(uuid4()))
    return {
        "messageId": key,
        "receiptHandle": f"handle-{key}",
        "body": message if isinstance(message, str) else message.to_json(),
        "attributes": {"MessageGroupId": group, "ApproximateReceiveCount": "1"},
        "eventSourceARN": QUEUE,
    }


def batch(house: House, made: Task, groups: Mapping[str, Sequence[int]]) -> list[dict[str, Any]]:
    """Records of several groups, in turns as a queue may give them; causes are ``group-value``."""
    records = [
        (at, record(house.message(made, {"value": value}, cause=f"{group}-{value}"), group))
        for group, values in groups.items()
        for at, value in enumerate(values)
    ]
    return [each for _, each in sorted(records, key=lambda pair: pair[0])]


def work(
    house: House, made: Task, records: Sequence[Mapping[str, Any]], context: Context | None = None
) -> list[str]:
    """Work a batch; the ids that must come again, sorted."""
    answer = Runtime(made, house.process, context or Context()).work_batch(records)
    assert set(answer) == {"batchItemFailures"}
    return sorted(item["itemIdentifier"] for item in answer["batchItemFailures"])


def waits(house: House) -> dict[str, timedelta]:
    return {handle.removeprefix("handle-"): wait for handle, wait in house.queues.waits}


def states(house: House) -> dict[str, str]:
    return {row["cause"]: row["state"] for row in house.query("SELECT cause, state FROM task_run")}


def test_groups_are_worked_side_by_side_and_each_in_order(
    house: House, make_task: Callable[..., Task]
) -> None:
    together = threading.Barrier(3, timeout=10)
    done: list[tuple[str, int]] = []

    def meet(payload: Number, run: Run) -> None:
        together.wait()
        done.append((run.cause[0], payload.value))

    made = make_task(meet)
    assert work(house, made, batch(house, made, {"a": [1, 2, 3], "b": [1, 2, 3], "c": [1, 2, 3]})) == []
    assert house.queues.waits == []
    for group in "abc":
        assert [value for name, value in done if name == group] == [1, 2, 3]
    assert set(states(house).values()) == {"succeeded"}


def test_failing_message_holds_its_group_back_and_no_other(
    house: House, make_task: Callable[..., Task]
) -> None:
    def fails_at_two(payload: Number, run: Run) -> None:
        if run.cause == "a-2":
            raise ProviderUnavailableError("shopify", "503")

    made = make_task(fails_at_two)
    again = work(house, made, batch(house, made, {"a": [1, 2, 3, 4], "b": [1, 2], "c": [1]}))
    assert again == ["a-2", "a-3", "a-4"]
    assert waits(house) == {"a-2": timedelta(seconds=5), "a-3": ZERO, "a-4": ZERO}
    assert states(house) == {
        "a-1": "succeeded",
        "a-2": "retrying",
        "b-1": "succeeded",
        "b-2": "succeeded",
        "c-1": "succeeded",
    }


def test_rate_limited_message_waits_as_long_as_the_provider_says(
    house: House, make_task: Callable[..., Task]
) -> None:
    def limited() -> None:
        raise RateLimitedError("shopify", timedelta(seconds=17))

    made = make_task(limited)
    assert work(house, made, batch(house, made, {"a": [1, 2], "b": [1]})) == ["a-1", "a-2", "b-1"]
    assert waits(house) == {"a-1": timedelta(seconds=17), "a-2": ZERO, "b-1": timedelta(seconds=17)}


def test_dead_run_is_acknowledged_and_its_group_moves_on(
    house: House, make_task: Callable[..., Task]
) -> None:
    def refuses_one(payload: Number) -> None:
        if payload.value == 1:
            raise TerminalError("no such order")

    made = make_task(refuses_one)
    assert work(house, made, batch(house, made, {"a": [1, 2]})) == []
    assert states(house) == {"a-1": "failed", "a-2": "succeeded"}
    assert house.query("SELECT cause, state FROM dead_letter") == [{"cause": "a-1", "state": "open"}]
    assert house.queues.waits == []


def test_payload_with_a_null_byte_becomes_a_dead_letter(house: House, make_task: Callable[..., Task]) -> None:
    """Postgres stores no null byte in JSON; the letter must be written all the same."""

    def refuses() -> None:
        raise TerminalError("no\x00such order")

    made = make_task(refuses)
    message = house.message(made, {"note": "a\x00b", "same": "a\\u0000b"}, cause="a-1")
    assert work(house, made, [record(message, "a")]) == []
    [letter] = house.query("SELECT cause, message->'payload' AS payload FROM dead_letter")
    assert letter["cause"] == "a-1"
    assert letter["payload"]["same"] == "a\\u0000b"


def test_message_is_begun_only_while_its_timeout_fits(house: House, make_task: Callable[..., Task]) -> None:
    context, begun = Context(), []

    def slow(run: Run) -> None:
        begun.append(run.cause)
        context.left = timedelta(seconds=40)

    made = make_task(slow)
    assert work(house, made, batch(house, made, {"a": [1, 2, 3]}), context) == ["a-2", "a-3"]
    assert begun == ["a-1"]
    assert waits(house) == {"a-2": ZERO, "a-3": ZERO}
    assert states(house) == {"a-1": "succeeded"}
    assert work(house, made, batch(house, made, {"b": [1]}), context) == ["b-1"]
    assert begun == ["a-1"]


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("{not json", "body: is not JSON"),
        ("[]", "version: is None"),
        ('{"version": 99}', "version: is 99; accepted: [1]"),
        ('{"version": 1}', "accepted_at: is missing"),
        ('{"version": 1, "accepted_at": "x\x00"}', "body: is not JSON"),
        (READABLE.replace('"cause-1"', '"a\\u0000b"'), "cause: is 'a\\x00b'"),
        (READABLE.replace('"cause-1"', "17"), "cause: is 17"),
        (
            READABLE.replace('"2026-11-20T12:00:00+00:00"', '"2026-11-20T12:00:00"'),
            "body: has an unusable field",
        ),
    ],
)
def test_unreadable_message_is_kept_and_acknowledged(
    house: House, make_task: Callable[..., Task], body: str, problem: str
) -> None:
    made = make_task(lambda: None)
    readable = record(house.message(made, {}, cause="after"), "a")
    for _ in range(2):
        assert work(house, made, [record(body, "a", "poison"), readable]) == []
    assert house.query("SELECT tenant_id, task, body, attempts FROM dead_letter") == [
        {"tenant_id": PLATFORM_TENANT, "task": "test-task", "body": body.encode(), "attempts": 1}
    ]
    [letter] = house.query("SELECT error_message, error_kind FROM dead_letter")
    assert letter["error_message"].startswith(problem)
    assert letter["error_kind"] == "TerminalError"
    assert states(house) == {"after": "succeeded"}


def test_message_whose_database_is_gone_comes_again(house: House, make_task: Callable[..., Task]) -> None:
    made = make_task(lambda: None)
    records = batch(house, made, {"a": [1, 2]})
    house.process.connections._url = "postgresql://nobody@127.0.0.1:9/none"
    assert work(house, made, records) == ["a-1", "a-2"]
    assert waits(house) == {"a-1": timedelta(seconds=5), "a-2": ZERO}


def test_message_waits_longer_each_time_while_the_database_is_gone(
    house: House, make_task: Callable[..., Task]
) -> None:
    made = make_task(lambda: None, retry=Retry(5, exponential(2, 30)))
    house.process.connections._url = "postgresql://nobody@127.0.0.1:9/none"
    waited = []
    for receives in ("1", "2", "4", "900"):
        given = record(house.message(made, {}, cause="c"), "g")
        given["attributes"]["ApproximateReceiveCount"] = receives
        assert work(house, made, [given]) == ["c"]
        waited.append(house.queues.waits[-1][1])
    assert waited == [timedelta(seconds=seconds) for seconds in (2, 4, 16, 30)]


def test_visibility_that_cannot_be_set_changes_no_answer(
    house: House, make_task: Callable[..., Task]
) -> None:
    def fails() -> None:
        raise RetryableError("x")

    class Refusing:
        def set_visibility(self, queue: str, waits: Sequence[tuple[str, timedelta]]) -> None:
            assert queue == "tradewind-test-test-task.fifo"
            raise RetryableError("sqs: not now")

    made = make_task(fails)
    runtime = Runtime(made, house.process, Context())
    object.__setattr__(house.process, "queues", Refusing())
    answer = runtime.work_batch(batch(house, made, {"a": [1, 2]}))
    assert [item["itemIdentifier"] for item in answer["batchItemFailures"]] == ["a-1", "a-2"]


def test_lines_and_metrics_of_two_tenants_in_one_batch_keep_their_tenant(
    house: House, make_task: Callable[..., Task]
) -> None:
    bolt, together = add_tenant(house.urls, "bolt"), threading.Barrier(2, timeout=10)

    def speaks(payload: Number, tenant: Tenant, run: Run) -> None:
        for turn in range(3):
            together.wait()
            logger().info("inside", extra={"who": str(tenant.id), "why": run.cause, "turn": turn})

    made = make_task(speaks)
    records = [
        record(
            house.message(
                made, {"value": value}, cause=f"{slug}-{value}", tenant_id=tenant_id, inbox_id=uuid4()
            ),
            slug,
        )
        for value in (1, 2)
        for slug, tenant_id in (("acme", house.tenant_id), ("bolt", bolt))
    ]
    lines = printed(lambda: work(house, made, records))
    inside = [line for line in lines if line.get("message") == "inside"]
    assert len(inside) == 12
    for line in inside:
        assert (line["tenant_id"], line["cause"]) == (line["who"], line["why"])
        assert (line["task"], line["correlation_id"]) == ("test-task", line["why"])
    ended = [line for line in lines if line.get("message") == "run succeeded"]
    assert sorted((line["tenant_id"], line["cause"]) for line in ended) == sorted(
        (str(tenant_id), f"{slug}-{value}")
        for value in (1, 2)
        for slug, tenant_id in (("acme", house.tenant_id), ("bolt", bolt))
    )
    metrics = [line for line in lines if "_aws" in line]
    assert metrics == ended
    for line in metrics:
        [about] = line["_aws"]["CloudWatchMetrics"]
        assert [metric["Name"] for metric in about["Metrics"]] == ["WebhookToDone"]
        assert about["Dimensions"] == [["task"]]
    outside = printed(lambda: logger().info("afterwards"))
    assert [key for key in ("tenant_id", "task", "cause") if key in outside[0]] == []
