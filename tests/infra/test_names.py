"""Names are derived, and within what AWS allows."""

from __future__ import annotations

import pytest

from infra.names import Names, NameTooLongError

from .conftest import Application


def test_derives_every_name_from_the_stage() -> None:
    names = Names("dev")
    assert names.function("commerce-sync-order") == "tradewind-dev-commerce-sync-order"
    assert names.queue("commerce-sync-order") == "tradewind-dev-commerce-sync-order.fifo"
    assert names.backfill_queue("commerce-sync-order") == "tradewind-dev-commerce-sync-order-backfill.fifo"
    assert names.dead_letters("commerce") == "tradewind-dev-commerce-dead.fifo"
    assert names.machine("order-sync") == "tradewind-dev-order-sync"
    assert names.stack("commerce-order_sync") == "tradewind-dev-commerce-order-sync"
    assert names.key_alias == "alias/tradewind-dev"
    assert names.secret("app") == "tradewind-dev/database/app"


@pytest.mark.parametrize(
    ("kind", "part", "limit"),
    [
        ("function", "a" * (64 - len("tradewind-prod-") + 1), 64),
        ("queue", "a" * (80 - len("tradewind-prod-.fifo") + 1), 80),
        ("backfill_queue", "a" * (80 - len("tradewind-prod--backfill.fifo") + 1), 80),
        ("machine", "a" * (80 - len("tradewind-prod-") + 1), 80),
        ("schedule", "a" * 65, 64),
        ("stack", "a" * (128 - len("tradewind-prod-") + 1), 128),
    ],
)
def test_refuses_a_name_that_aws_would_refuse(kind: str, part: str, limit: int) -> None:
    names = Names("prod")
    with pytest.raises(NameTooLongError, match=f"has {limit + 1} characters; AWS allows {limit}"):
        getattr(names, kind)(part)
    assert len(getattr(names, kind)(part[:-1])) == limit


def test_every_name_of_the_real_application_fits_every_stage(real: Application) -> None:
    for stage in ("local", "dev", "prod"):
        names = Names(stage)
        for task in real.registry:
            assert names.function(task.id)
            assert names.backfill_queue(task.id)
        for schedule_id, _, _ in real.registry.schedules():
            assert names.schedule(schedule_id)
