"""The life of an A/B test: created, started. How it ends is decided in ``decision_tasks``."""

from __future__ import annotations

from dataclasses import dataclass

from commerce.ab_testing.model import AbTest
from commerce.ab_testing.payloads import definition_of
from commerce.ab_testing.repository import Tests
from commerce.ab_testing.summary import lived
from tradewind.clock import Clock
from tradewind.contracts.ab_tests import AbTestCreated, AbTestStarted
from tradewind.errors import RetryableError
from tradewind.ports import Messenger
from tradewind.tasks.retry import Retry, exponential
from tradewind.tasks.task import task
from tradewind.tasks.telling import tell
from tradewind.tasks.triggers import Event
from tradewind.tenancy.database import TenantDb, Transaction
from tradewind.tenancy.tenant import Tenant

LIFE_EVENT = Retry(attempts=5, backoff=exponential(2, 30))


class TestUnknownError(RetryableError):
    """A test is told of before its creation was worked: that comes in another queue."""

    __test__ = False


@dataclass(frozen=True, slots=True)
class Lived:
    """A test's status after an event. ``changed`` is false where it was so before; ``told`` is the note's fate."""

    test_id: str
    status: str
    changed: bool
    told: str


@task("ab-handle-test-created", on=Event("ab.testCreated"), retry=LIFE_EVENT, entity="test_id")
def handle_test_created(
    payload: AbTestCreated, tenant: Tenant, db: TenantDb, messenger: Messenger, clock: Clock
) -> Lived:
    """Store a test with equal weights where it names none, its rules, guardrails and first rows of metrics; tell it."""
    with db.begin() as tx:
        tests = Tests(tx)
        saved = tests.save(definition_of(payload, tenant.zone))
        if saved:
            tests.init_metrics(payload.test_id, clock.now())
        test = require_test(tx, payload.test_id)
    told = tell(messenger, f"ab-created:{test.id}", lived(test, "created"))
    return Lived(test.id, test.status, saved, told)


@task("ab-handle-test-started", on=Event("ab.testStarted"), retry=LIFE_EVENT, entity="test_id")
def handle_test_started(payload: AbTestStarted, db: TenantDb, messenger: Messenger, clock: Clock) -> Lived:
    """Let a test run: from now on visitors are assigned to its variants. One that is over stays over."""
    with db.begin() as tx:
        require_test(tx, payload.test_id)
        tests, at = Tests(tx), payload.started_at or clock.now()
        started = tests.start(payload.test_id, at)
        if started:
            tests.init_metrics(payload.test_id, at)
        test = require_test(tx, payload.test_id)
    if test.is_over:
        return Lived(test.id, test.status, started, "over")
    told = tell(messenger, f"ab-started:{test.id}", lived(test, "started"))
    return Lived(test.id, test.status, started, told)


def require_test(tx: Transaction, test_id: str) -> AbTest:
    """The test, locked. Raises TestUnknownError."""
    test = Tests(tx).lock(test_id)
    if test is None:
        raise TestUnknownError(f"no A/B test {test_id} yet")
    return test
