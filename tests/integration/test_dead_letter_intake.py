"""What a queue gave up on is kept, once, where it can be found."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import pytest

from ingress.dead_letter_intake import keep
from tests.integration.headquarters import Headquarters, record
from tradewind.tasks.task import Task
from tradewind.tenancy.tenant import PLATFORM_TENANT


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
