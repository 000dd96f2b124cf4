"""A direct invocation, by a state machine or a person: its result, or the error of its kind."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel

from tests.integration.harness import Context, House
from tradewind.errors import (
    LeaseHeldError,
    ProviderUnavailableError,
    RateLimitedError,
    RetryableError,
    TerminalError,
    UnexpectedError,
)
from tradewind.tasks.retry import Retry, fixed
from tradewind.tasks.run import Run
from tradewind.tasks.runtime import Runtime
from tradewind.tasks.task import Task
from tradewind.tenancy.tenant import Tenant


class Number(BaseModel):
    value: int = 0


def states(house: House) -> dict[str, str]:
    return {row["cause"]: row["state"] for row in house.query("SELECT cause, state FROM task_run")}


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
