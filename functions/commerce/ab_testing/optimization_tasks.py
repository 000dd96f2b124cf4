"""Optimizing running tests: every quarter of an hour, those whose mode asks for it get weights by what is known."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from commerce.ab_testing.bandit import EPSILON, Algorithm
from commerce.ab_testing.measuring import ALGORITHMS, measure, reweigh
from commerce.ab_testing.model import AbTest, Measurement, Mode, Standing, why_not_yet
from commerce.ab_testing.payloads import Optimization, TestToOptimize
from commerce.ab_testing.repository import Tests
from commerce.ab_testing.standing_repository import Standings
from tradewind.clock import Clock
from tradewind.errors import NotFoundError
from tradewind.tasks.retry import Retry, fixed
from tradewind.tasks.task import task
from tradewind.tasks.triggers import Cron
from tradewind.tenancy.database import TenantDb

OPTIMISE = Retry(attempts=3, backoff=fixed(3))
NO_BUYERS = "the numbers say nothing yet"


@dataclass(frozen=True, slots=True)
class Optimized:
    """New weights in basis points by test and variant; ``unchanged`` says of each other test why."""

    weights: dict[str, dict[str, int]]
    unchanged: dict[str, str]


@task(
    "ab-optimization",
    schedule=Cron("*/15 * * * *"),
    each_tenant=True,
    retry=OPTIMISE,
    timeout=timedelta(minutes=4),
    cap=1,
    concurrency=10,
    memory=1024,
    layers=("statistics",),
)
def optimization(payload: Optimization, db: TenantDb, clock: Clock) -> Optimized:
    """Give the variants of bandit tests the weights that their numbers earn; every test's weights sum to 100 %.

    Nothing is changed before each variant has 100 visitors and the test has run for a day, nor twice in a quarter hour.
    """
    now = clock.now()
    with db.begin() as tx:
        tests = {test.id: test for test in Tests(tx).list_live() if test.mode is not Mode.MANUAL}
        standings = Standings(tx).list_standings()
        unchanged = {
            id_: why for id_, test in tests.items() if (why := why_not_yet(test, standings[id_], now))
        }
        changed: dict[str, list[Measurement]] = {}
        for test_id in tests.keys() - unchanged.keys():
            measured = _optimize(tests[test_id], standings[test_id], None, payload.epsilon)
            if measured:
                changed[test_id] = measured
            else:
                unchanged[test_id] = NO_BUYERS
        metric = {test_id: str(test.metric) for test_id, test in tests.items()}
        algorithm = {test_id: str(ALGORITHMS[test.mode]) for test_id, test in tests.items()}
        Standings(tx).save_weights(changed, metric, algorithm, now)
    return Optimized({test_id: _weights(each) for test_id, each in sorted(changed.items())}, unchanged)


@task(
    "ab-optimize-test",
    retry=OPTIMISE,
    cap=1,
    concurrency=10,
    memory=1024,
    entity="test_id",
    layers=("statistics",),
)
def optimize_test(payload: TestToOptimize, db: TenantDb, clock: Clock) -> Optimized:
    """Give one running test new weights now, by a chosen algorithm, under the same conditions."""
    now = clock.now()
    with db.begin() as tx:
        test = Tests(tx).lock(payload.test_id)
        if test is None:
            raise NotFoundError("A/B test", payload.test_id)
        standings = Standings(tx).list_standings(test.id)[test.id]
        why = why_not_yet(test, standings, now)
        if why is not None:
            return Optimized({}, {test.id: why})
        algorithm = _chosen(payload.algorithm, test)
        measured = _optimize(test, standings, algorithm, payload.epsilon)
        if not measured:
            return Optimized({}, {test.id: NO_BUYERS})
        metric, by = {test.id: str(test.metric)}, {test.id: str(algorithm)}
        Standings(tx).save_weights({test.id: measured}, metric, by, now)
    return Optimized({test.id: _weights(measured)}, {})


def _chosen(name: str | None, test: AbTest) -> Algorithm:
    """The algorithm by its name, else the test's own; a test without one is sampled."""
    if name is None:
        return ALGORITHMS.get(test.mode, Algorithm.THOMPSON)
    return Algorithm.EPSILON_GREEDY if name == "mab" else Algorithm(name)


def _optimize(
    test: AbTest, standings: list[Standing], algorithm: Algorithm | None, epsilon: float | None
) -> list[Measurement]:
    measured = measure(test, standings)
    by = algorithm or ALGORITHMS[test.mode]
    return reweigh(measured, by, EPSILON if epsilon is None else epsilon) if measured else []


def _weights(measured: list[Measurement]) -> dict[str, int]:
    return {each.variant_id: each.weight_after for each in measured}
