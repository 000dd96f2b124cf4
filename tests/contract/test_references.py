"""A task that another domain starts is what the reference to it says."""

from __future__ import annotations

from tests.conftest import ROOT
from tradewind.contracts.orders import PROCESS_ATTRIBUTION
from tradewind.tasks.registry import discover


def test_reference_is_its_task() -> None:
    task = discover(ROOT / "functions").get(PROCESS_ATTRIBUTION.id)
    found = (task.payload, task.cap, task.entity, task.backfill)
    told = PROCESS_ATTRIBUTION
    assert found == (told.payload, told.cap, told.entity, told.backfill)
