"""How many messages of a task each tenant may have in its queue: a share of the queue's room."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from uuid import UUID

import pytest

from ingress.manifest import Manifest
from ingress.relay import Relay, room_of
from tests.integration.harness import add_tenant
from tests.integration.headquarters import Headquarters, a_manifest
from tradewind.tasks.message import message_key, shard_of
from tradewind.tenancy.database import Jsonb

TASK, BOUND = "sweep", 100
_ENQUEUE = "SELECT * FROM enqueue(%(rows)s, %(bound)s)"
_ADMIT = """
SELECT set_config('app.tenant_id', %(tenant)s::text, true), a.*
FROM admit(%(tenant)s, 'sweep', 'live', %(bound)s, 10) a
"""


def row(tenant_id: UUID, number: int) -> dict[str, object]:
    cause = f"event-{number}"
    return {
        "tenant_id": str(tenant_id),
        "key": message_key(tenant_id, TASK, cause),
        "task": TASK,
        "lane": "live",
        "shard": shard_of(cause, 10),
        "cause": cause,
        "source": "event",
        "payload": {},
        "correlation_id": cause,
        "accepted_at": "2026-11-20T12:00:00+00:00",
    }


def flood(hq: Headquarters, tenant_id: UUID, count: int, start: int = 0) -> int:
    """Enqueue messages of a tenant; how many may be sent at once."""
    rows = [row(tenant_id, start + number) for number in range(count)]
    with hq.platform.session() as session:
        return len(session.call(_ENQUEUE, {"rows": Jsonb(rows), "bound": BOUND}))


def admitted(hq: Headquarters) -> Counter[UUID]:
    rows = hq.house.query("SELECT tenant_id FROM outbox WHERE state IN ('ready', 'sent')")
    return Counter(found["tenant_id"] for found in rows)


def finish(hq: Headquarters, tenant_id: UUID) -> int:
    """End a tenant's oldest message and admit what follows; how many were."""
    hq.write(
        "UPDATE outbox SET state = 'done' WHERE (tenant_id, key) = (SELECT tenant_id, key FROM outbox "
        "WHERE tenant_id = %s AND state = 'ready' ORDER BY created_at, key LIMIT 1)",
        tenant_id,
    )
    with hq.platform.session() as session:
        return len(session.call(_ADMIT, {"tenant": tenant_id, "bound": BOUND}))


@pytest.fixture
def tenants(hq: Headquarters) -> list[UUID]:
    """acme and five more."""
    return [hq.house.tenant_id, *(add_tenant(hq.house.urls, f"shop-{number}") for number in range(5))]


def make_room(hq: Headquarters, concurrency: int, cap: int = 1000) -> None:
    manifest = a_manifest(TASK)
    manifest.tasks[TASK].update(concurrency=concurrency, cap=cap)  # type: ignore[attr-defined]
    with hq.platform.session() as session:
        Relay(hq.platform, manifest, session).save_rooms()


@pytest.mark.parametrize(("concurrency", "room"), [(1, 2), (2, 3), (4, 6), (50, 75), (1000, 1500)])
def test_room_is_what_is_worked_on_and_half_as_much_waiting(concurrency: int, room: int) -> None:
    assert room_of(concurrency) == room


def test_one_tenant_alone_may_fill_the_room_but_not_pass_its_bound(
    hq: Headquarters, tenants: Sequence[UUID]
) -> None:
    make_room(hq, 4)
    assert flood(hq, tenants[0], 50) == 6
    make_room(hq, 1000)
    assert flood(hq, tenants[1], 200) == BOUND
    make_room(hq, 1000, cap=10)
    assert flood(hq, tenants[2], 200) == 15


def test_newcomer_finds_a_place_and_the_flood_gives_way_as_its_messages_end(
    hq: Headquarters, tenants: Sequence[UUID]
) -> None:
    make_room(hq, 4)
    flood(hq, tenants[0], 50)
    assert flood(hq, tenants[1], 1) == 1
    # Two tenants share a room of six: three each.
    assert [finish(hq, tenants[0]) for _ in range(5)] == [0, 0, 0, 1, 1]
    assert admitted(hq) == {tenants[0]: 3, tenants[1]: 1}
    assert finish(hq, tenants[1]) == 0
    assert finish(hq, tenants[0]) == 4


def test_all_tenants_together_stay_within_the_room_and_each_has_a_place(
    hq: Headquarters, tenants: Sequence[UUID]
) -> None:
    make_room(hq, 2)
    for tenant_id in tenants:
        flood(hq, tenant_id, 20)
    for turn in range(60):
        finish(hq, tenants[turn % len(tenants)])
    # A room of three for six tenants: one each.
    assert admitted(hq) == dict.fromkeys(tenants, 1)


def test_lanes_and_tasks_do_not_share_room(hq: Headquarters, tenants: Sequence[UUID]) -> None:
    make_room(hq, 4)
    flood(hq, tenants[0], 50)
    other = row(tenants[1], 1) | {"lane": "backfill", "key": "other"}
    with hq.platform.session() as session:
        assert len(session.call(_ENQUEUE, {"rows": Jsonb([other]), "bound": BOUND})) == 1
    assert flood(hq, tenants[1], 50) == 3


def test_share_is_taken_only_as_far_as_others_have_left_room(
    hq: Headquarters, tenants: Sequence[UUID]
) -> None:
    make_room(hq, 50)
    assert [flood(hq, tenant_id, 60) for tenant_id in tenants[:4]] == [60, 15, 3, 3]


def test_relay_saves_rooms_once_per_change(hq: Headquarters) -> None:
    tasks = {
        "a": {"concurrency": 50, "cap": 10, "backfill": True},
        "b": {"concurrency": 2, "cap": 1, "backfill": False},
    }
    manifest = Manifest(tasks=tasks, routes={}, schedules={})
    with hq.platform.session() as session:
        relay = Relay(hq.platform, manifest, session)
        assert [relay.save_rooms() for _ in range(2)] == [3, 0]
    assert hq.house.query("SELECT task, lane, room, tenant_room FROM queue_room ORDER BY 1, 2") == [
        {"task": "a", "lane": "backfill", "room": 75, "tenant_room": 15},
        {"task": "a", "lane": "live", "room": 75, "tenant_room": 15},
        {"task": "b", "lane": "live", "room": 3, "tenant_room": 2},
    ]
