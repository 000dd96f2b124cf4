"""Tables that name types by text: each name is that of a type."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys

import pytest
from pydantic import BaseModel

from tradewind.contracts.events import EVENTS, PUBLISHED
from tradewind.tasks.providers import PROVIDERS, provider_of


@pytest.mark.parametrize("name", sorted(PROVIDERS))
def test_provider_is_named_by_its_type_and_can_be_loaded(name: str) -> None:
    module, _, wanted = name.rpartition(".")
    assert provider_of(getattr(importlib.import_module(module), wanted)) is PROVIDERS[name]
    assert callable(PROVIDERS[name].load())


@pytest.mark.parametrize("nobodys", [int, None, "tradewind.clock.Clock", list[int]])
def test_what_nobody_provides_has_no_provider(nobodys: object) -> None:
    assert provider_of(nobodys) is None


def test_each_event_has_a_contract() -> None:
    for table in (EVENTS, PUBLISHED):
        assert len(table) == len(list(table)) > 0
        for kind in table:
            assert issubclass(table[kind], BaseModel)
    assert "ab.testCreated" in EVENTS
    assert "no.such" not in EVENTS
    assert EVENTS.get("no.such") is None


def test_task_of_orders_imports_neither_the_catalogue_nor_other_events_contracts() -> None:
    told = "import sys, commerce.order_sync.tasks; print(*sorted(m for m in sys.modules if m.startswith('tradewind.')))"
    found = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run(
        [sys.executable, "-c", told], env=found, capture_output=True, text=True, check=True
    )
    loaded = set(ended.stdout.split())
    assert "tradewind.ports" in loaded
    assert (
        loaded & {"tradewind.spending", "tradewind.contracts.reviews", "tradewind.contracts.catalogue"}
        == set()
    )
