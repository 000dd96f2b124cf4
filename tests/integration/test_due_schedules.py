"""A schedule that asks only those who have said to have work."""

from __future__ import annotations

from datetime import timedelta

import psycopg
import pytest

from tests.integration.headquarters import HOUR, SLOT, Headquarters, a_manifest, fire
from tradewind.tasks.task import task
from tradewind.tasks.triggers import TENANT, Cron

MANIFEST = a_manifest(only_due=True)


def mark(hq: Headquarters, minutes_before_slot: int) -> None:
    """Say, as the tenant, that there is work from so many minutes before the slot on."""
    with psycopg.connect(hq.house.urls.app) as connection:
        connection.execute("SELECT set_config('app.tenant_id', %s, true)", (str(hq.house.tenant_id),))
        connection.execute("SELECT mark_due('hourly', %s)", (SLOT - timedelta(minutes=minutes_before_slot),))


def test_tenant_without_work_gets_no_message(hq: Headquarters) -> None:
    assert fire(hq, MANIFEST, SLOT)["written"] == 0
    mark(hq, minutes_before_slot=-1)
    assert fire(hq, MANIFEST, SLOT)["written"] == 0


def test_tenant_with_work_gets_one_message_and_must_say_so_again(hq: Headquarters) -> None:
    mark(hq, minutes_before_slot=10)
    assert [fire(hq, MANIFEST, slot)["written"] for slot in (SLOT, SLOT, SLOT + HOUR)] == [1, 0, 0]
    assert hq.count("schedule_due") == 0


def test_earliest_time_counts_and_null_says_nothing(hq: Headquarters) -> None:
    mark(hq, minutes_before_slot=-90)
    mark(hq, minutes_before_slot=5)
    mark(hq, minutes_before_slot=-30)
    with psycopg.connect(hq.house.urls.app) as connection:
        connection.execute("SELECT set_config('app.tenant_id', %s, true)", (str(hq.house.tenant_id),))
        connection.execute("SELECT mark_due('other', NULL)")
    rows = hq.house.query("SELECT schedule, due_at FROM schedule_due")
    assert rows == [{"schedule": "hourly", "due_at": SLOT - timedelta(minutes=5)}]


def test_work_of_a_tenant_that_is_still_busy_is_not_forgotten(hq: Headquarters) -> None:
    mark(hq, minutes_before_slot=10)
    assert fire(hq, MANIFEST, SLOT)["written"] == 1
    mark(hq, minutes_before_slot=1)
    assert fire(hq, MANIFEST, SLOT + HOUR)["written"] == 0
    assert hq.count("schedule_due") == 1
    hq.write("UPDATE outbox SET state = 'done'")
    assert fire(hq, MANIFEST, SLOT + 2 * HOUR)["written"] == 1


@pytest.mark.parametrize(
    ("cron", "each_tenant"),
    [(Cron("0 * * * *", only_due=True), False), (Cron("0 * * * *", zone=TENANT, only_due=True), True)],
)
def test_schedule_that_cannot_ask_tenants_is_refused_at_import(cron: Cron, each_tenant: bool) -> None:
    def never() -> None:
        """A task that is not to be."""

    with pytest.raises(ValueError, match="a schedule"):
        task("test-never", schedule=cron, each_tenant=each_tenant)(never)
