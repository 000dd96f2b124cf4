"""A tenant that sends a little is served in time whatever others send; and no tenant gets more than its due."""

from __future__ import annotations

import pytest

from ingress.relay import room_of
from tests.bench.figures import percentile
from tests.fairness.conftest import CONCURRENCY, chosen_size
from tests.fairness.flood import TASK, Scene, Size, busiest_second
from tradewind.tasks.registry import REGISTRY

BOUND, IN_ALL = 100, 100_000
ONSET = 5
"""Webhooks of the quiet tenant that meet the flood's first wave: told, not counted."""
LASTING = 1200
"""Webhooks that all workers together have not worked off when the quiet tenant's last one comes."""


@pytest.fixture(scope="module")
def solo_p95(scene: Scene, size: Size) -> float:
    """The quiet tenant's p95 from webhook to done when it is alone."""
    [quiet] = scene.tenants(1)
    p95 = percentile(sorted(scene.trickle(quiet, size.quiet)), 0.95)
    print(f"\nalone: p95 {p95:.2f} s")
    return p95


@pytest.mark.parametrize("floods", chosen_size().floods)
def test_quiet_tenant_is_served_while_others_flood(
    scene: Scene, size: Size, solo_p95: float, floods: int
) -> None:
    quiet, *loud = scene.tenants(1 + floods)
    cap = REGISTRY.get(TASK).cap
    with scene.watched() as seen:
        scene.flood(loud, max(size.flood, LASTING // floods))
        onset = scene.trickle(quiet, ONSET)
        took = scene.trickle(quiet, size.quiet)
    still = scene.cloud.query(
        "SELECT count(*)::int AS n FROM outbox WHERE tenant_id = ANY (%s) AND state = 'held'",
        [tenant.id for tenant in loud],
    )[0]["n"]
    scene.forget(loud)
    p95 = percentile(sorted(took), 0.95)
    first = [round(each, 2) for each in onset]
    print(f"\n{floods} flood: p95 {p95:.2f} s, {p95 / solo_p95:.2f} times alone; the first {first}")
    assert seen.looks >= size.quiet
    assert max(seen.most_of_a_tenant.values()) <= BOUND
    assert seen.most_in_all <= min(IN_ALL, room_of(CONCURRENCY) + 3 * (floods + 1))
    assert max(seen.most_at_work.values()) <= cap
    assert still > 0, "the flood was over before the quiet tenant's last webhook: make it larger"
    assert p95 <= size.times_solo * solo_p95


@pytest.mark.parametrize("rate", [4, 10])
def test_no_second_holds_more_calls_than_the_tenants_rate(scene: Scene, rate: int) -> None:
    [tenant] = scene.tenants(1, requests_per_second=rate)
    before = len(scene.calls(tenant))
    scene.flood([tenant], rate * 5)
    scene.cloud.wait_for(
        "the flood's end",
        lambda: not tenant.rows("outbox", "state <> 'done'"),
        tenant_id=tenant.id,
    )
    calls = scene.calls(tenant)[before:]
    assert [call.operation for call in calls].count("FindOrder") == rate * 5
    assert busiest_second([call.at for call in calls]) <= rate
    assert tenant.rows("task_run", "state <> 'succeeded'") == []


def test_shops_own_limit_is_never_run_into(scene: Scene) -> None:
    """A standard shop: a bucket of 2,000 points refilled at 100 a second, far less than the tenant's rate allows."""
    [tenant] = scene.tenants(1)
    scene.cloud.sandbox.put(f"/shopify/{tenant.shop}/plan", json={"plan": "standard"}).raise_for_status()
    scene.flood([tenant], 30)
    scene.cloud.wait_for(
        "the flood's end", lambda: not tenant.rows("outbox", "state <> 'done'"), tenant_id=tenant.id
    )
    assert len(tenant.rows("orders")) == 30
    assert scene.refusals(tenant) == []
    assert tenant.rows("task_attempt", "error_kind <> 'RateLimitedError'") == []
