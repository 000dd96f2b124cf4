"""Lambda's side of a task: SQS batches with several message groups, and direct invocations."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import BaseModel

from tests.integration.harness import House, add_tenant
from tradewind.errors import (
    LeaseHeldError,
    ProviderUnavailableError,
    RateLimitedError,
    RetryableError,
    TerminalError,
    UnexpectedError,
)
from tradewind.observability import logger
from tradewind.tasks.message import Message, Source
from tradewind.tasks.registry import REGISTRY
from tradewind.tasks.retry import Retry, fixed
from tradewind.tasks.run import Run
from tradewind.tasks.runtime import Runtime
from tradewind.tasks.task import Task, task
from tradewind.tenancy.tenant import PLATFORM_TENANT, Tenant

QUEUE = "arn:aws:sqs:us-east-1:000000000000:tradewind-test-test-batch.fifo"
ZERO = timedelta(0)

READABLE = Message(
    tenant_id=UUID(int=1),
    task="test-batch",
    cause="cause-1",
    key="key",
    source=Source.TASK,
    correlation_id="x",
    accepted_at=datetime(2026, 11, 20, 12, tzinfo=UTC),
).to_json()


class Number(BaseModel):
    value: int = 0


@dataclass
class Context:
    """Lambda's context, with as much time left as a test says."""

    left: timedelta = timedelta(seconds=46)
    aws_request_id: str = "request-1"
    log_stream_name: str = "stream-1"

    def get_remaining_time_in_millis(self) -> int:
        return int(self.left.total_seconds() * 1000)


@pytest.fixture
def make_task() -> Iterator[Callable[..., Task]]:
    """Declares a task for one test and takes it out of the registry afterwards."""

    def make(function: Callable[..., Any], **about: Any) -> Task:
        function.__doc__ = "A task of a test."
        return task("test-batch", **{"retry": Retry(3, fixed(5)), **about})(function)

    yield make
    REGISTRY._tasks.pop("test-batch", None)


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
        {"tenant_id": PLATFORM_TENANT, "task": "test-batch", "body": body.encode(), "attempts": 1}
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


def test_visibility_that_cannot_be_set_changes_no_answer(
    house: House, make_task: Callable[..., Task]
) -> None:
    def fails() -> None:
        raise RetryableError("x")

    class Refusing:
        def set_visibility(self, queue: str, waits: Sequence[tuple[str, timedelta]]) -> None:
            assert queue == "tradewind-test-test-batch.fifo"
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
        assert (line["task"], line["correlation_id"]) == ("test-batch", line["why"])
    ended = [line for line in lines if line.get("message") == "run succeeded"]
    assert sorted((line["tenant_id"], line["cause"]) for line in ended) == sorted(
        (str(tenant_id), f"{slug}-{value}")
        for value in (1, 2)
        for slug, tenant_id in (("acme", house.tenant_id), ("bolt", bolt))
    )
    metrics = [line for line in lines if "_aws" in line]
    by_tenant = sorted(line["tenant"] for line in metrics if "tenant" in line)
    assert by_tenant == sorted([str(house.tenant_id)] * 2 + [str(bolt)] * 2)
    for line in metrics:
        [about] = line["_aws"]["CloudWatchMetrics"]
        assert [metric["Name"] for metric in about["Metrics"]] == ["WebhookToDone"]
    outside = printed(lambda: logger().info("afterwards"))
    assert [key for key in ("tenant_id", "task", "cause") if key in outside[0]] == []


def printed(act: Callable[[], object]) -> list[dict[str, Any]]:
    """The JSON lines that something writes to standard output."""
    written = io.StringIO()
    handler = logger().registered_handler
    assert hasattr(handler, "setStream")
    before = handler.setStream(written)
    try:
        with redirect_stdout(written):
            act()
    finally:
        handler.setStream(before)
    return [json.loads(line) for line in written.getvalue().splitlines()]


def invoke(house: House, made: Task, event: Any) -> Any:
    return Runtime(made, house.process, Context()).invoke(event)


def test_direct_call_returns_the_tasks_result_by_slug_and_by_id(
    house: House, make_task: Callable[..., Task]
) -> None:
    made = make_task(answers_who)
    for tenant in ("acme", str(house.tenant_id)):
        assert invoke(house, made, {"tenant": tenant, "payload": {"value": 7}}) == ["acme", 7, "manual"]
    assert house.query("SELECT count(*)::int AS n FROM task_run WHERE state = 'succeeded'") == [{"n": 2}]


def answers_who(payload: Number, tenant: Tenant, run: Run) -> list[Any]:
    return [tenant.slug, payload.value, str(run.source)]


def test_direct_call_with_the_same_cause_returns_the_stored_result_unless_forced(
    house: House, make_task: Callable[..., Task]
) -> None:
    calls: list[int] = []

    def once(payload: Number) -> int:
        calls.append(payload.value)
        return payload.value

    made = make_task(once)
    event = {"tenant": "acme", "cause": "execution-1"}
    assert invoke(house, made, {**event, "payload": {"value": 1}}) == 1
    assert invoke(house, made, {**event, "payload": {"value": 2}}) == 1
    assert invoke(house, made, {**event, "payload": {"value": 3}, "force": True}) == 3
    assert calls == [1, 3]


@pytest.mark.parametrize(
    ("raised", "name", "message"),
    [
        (
            ProviderUnavailableError("shopify", "503"),
            RetryableError,
            "ProviderUnavailableError: shopify: 503",
        ),
        (TerminalError("no"), TerminalError, "TerminalError: no"),
        (KeyError("x"), UnexpectedError, "KeyError: 'x'"),
        (RateLimitedError("shopify", timedelta(seconds=2.5)), RateLimitedError, "shopify: wait 2.500 s"),
    ],
)
def test_direct_call_raises_the_kind_under_its_name_and_writes_no_dead_letter(
    house: House, make_task: Callable[..., Task], raised: Exception, name: type[Exception], message: str
) -> None:
    def fails() -> None:
        raise raised

    made = make_task(fails, retry=Retry(1, fixed(5)))
    for _ in range(2 if name is not TerminalError else 1):
        with pytest.raises(name) as caught:
            invoke(house, made, {"tenant": "acme", "cause": "c"})
        assert type(caught.value) is name
        assert str(caught.value) == message
    assert house.query("SELECT * FROM dead_letter") == []


@pytest.mark.parametrize(
    ("event", "message"),
    [
        ("text", "event: expected an object with tenant and payload"),
        ({}, "tenant: is missing; give the tenant's slug or id"),
        ({"tenant": "nobody"}, "NotFoundError: no tenant with id nobody"),
        ({"tenant": str(UUID(int=9))}, f"NotFoundError: no tenant with id {UUID(int=9)}"),
        ({"tenant": "acme", "payload": [1]}, "payload: expected an object"),
        (
            {"tenant": "acme", "payload": {"value": "x"}},
            "InvalidPayloadError: value: Input should be a valid",
        ),
        ({"tenant": "acme", "accepted_at": "yesterday"}, "event has an unusable field: Invalid isoformat"),
        (
            {"tenant": "acme", "accepted_at": "2026-11-20T12:00:00"},
            "event has an unusable field: '2026-11-20T",
        ),
        ({"tenant": "acme", "accepted_at": 1763640000}, "event has an unusable field: "),
        ({"tenant": "a\x00b"}, "NotFoundError: no tenant with id a"),
        ({"tenant": "acme", "cause": "a\x00"}, "event has an unusable field: cause: is 'a\\x00'"),
        ({"tenant": "acme", "source": "gossip"}, "event has an unusable field: 'gossip'"),
    ],
)
def test_unusable_event_is_refused_by_name(
    house: House, make_task: Callable[..., Task], event: Any, message: str
) -> None:
    made = make_task(answers_who)
    with pytest.raises(TerminalError) as caught:
        invoke(house, made, event)
    assert type(caught.value) is TerminalError
    assert str(caught.value).startswith(message)
    assert house.query("SELECT * FROM task_run WHERE state <> 'failed'") == []


def test_workflow_step_is_booked_as_such(house: House, make_task: Callable[..., Task]) -> None:
    made = make_task(answers_who, entity="value")
    event = {
        "tenant": str(house.tenant_id),
        "payload": {"value": 5},
        "cause": "event-1",
        "correlation_id": "click-1",
        "source": "workflow",
        "accepted_at": "2026-11-20T13:00:00.500+01:00",
    }
    assert invoke(house, made, event) == ["acme", 5, "workflow"]
    assert house.query("SELECT cause, correlation_id, entity, source, accepted_at FROM task_run") == [
        {
            "cause": "event-1",
            "correlation_id": "click-1",
            "entity": "5",
            "source": "workflow",
            "accepted_at": datetime(2026, 11, 20, 12, 0, 0, 500_000, tzinfo=UTC),
        }
    ]


def test_direct_call_of_a_run_at_work_says_who_holds_it(house: House, make_task: Callable[..., Task]) -> None:
    inside, go_on = threading.Event(), threading.Event()

    def slow() -> None:
        inside.set()
        assert go_on.wait(10)

    made = make_task(slow)
    event = {"tenant": "acme", "cause": "c"}
    thread = threading.Thread(target=invoke, args=(house, made, event))
    thread.start()
    assert inside.wait(10)
    with pytest.raises(LeaseHeldError) as caught:
        invoke(house, made, event)
    go_on.set()
    thread.join()
    assert type(caught.value) is LeaseHeldError
    assert timedelta(seconds=40) < caught.value.wait <= timedelta(seconds=51)
    assert states(house) == {"c": "succeeded"}


def test_direct_call_without_a_database_is_retryable(house: House, make_task: Callable[..., Task]) -> None:
    house.process.connections._url = "postgresql://nobody@127.0.0.1:9/none"
    for tenant in ("acme", str(house.tenant_id)):
        with pytest.raises(RetryableError) as caught:
            invoke(house, make_task(answers_who), {"tenant": tenant})
        assert type(caught.value) is RetryableError
