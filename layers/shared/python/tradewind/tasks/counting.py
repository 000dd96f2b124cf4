"""The hot counters that a task is handed: its tenant's, with no transaction held over a call."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from tradewind.counters import EXPERIMENTS, ValkeyCounters, counter_store
from tradewind.errors import MisconfiguredError
from tradewind.ports import CounterSnapshot
from tradewind.tasks.scope import Scope


class SettledCounters:
    """Counters, with the open transaction committed first: none is held over a network call."""

    def __init__(self, scope: Scope, counters: ValkeyCounters) -> None:
        self._session = scope.session
        self._counters = counters

    def add(self, hour: datetime, amounts: Mapping[str, int]) -> None:
        self._session.settle()
        self._counters.add(hour, amounts)

    def take(self, before: datetime) -> CounterSnapshot | None:
        self._session.settle()
        return self._counters.take(before)

    def drop(self, snapshot: CounterSnapshot) -> None:
        self._session.settle()
        self._counters.drop(snapshot)


def hot_counters(scope: Scope) -> SettledCounters:
    """The tenant's counters of A/B tests, for a task. Raises MisconfiguredError without Valkey."""
    if scope.settings.redis_url is None:
        raise MisconfiguredError("TRADEWIND_REDIS_URL is not set; counters need Valkey")
    store = counter_store(scope.settings.redis_url)
    return SettledCounters(scope, ValkeyCounters(store, scope.tenant.id, EXPERIMENTS))
