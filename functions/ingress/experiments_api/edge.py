"""A tenant's limit and its counters, both in Valkey. Where it does not answer, events pass and are counted later."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from tradewind.counters import EXPERIMENTS, ValkeyCounters, counter_store
from tradewind.errors import RateLimitedError, RetryableError
from tradewind.ratelimit import Bucket, RateLimiter
from tradewind.settings import Settings

BURST, PER_SECOND = 5_000, 500.0
"""Events that a tenant may send at once, and each second thereafter."""


class ValkeyEdge:
    """The port ``Edge`` of both doors; each kind of thing is limited by itself."""

    def __init__(self, settings: Settings, what: str) -> None:
        self._url = settings.redis_url
        self._what = what

    def admit(self, tenant_id: UUID, events: int) -> timedelta:
        bucket = Bucket(f"rate:{{ab:{tenant_id}}}:{self._what}", BURST, PER_SECOND, events)
        try:
            wait, _ = RateLimiter(self._store()).try_take([bucket], fail_open=True)
        except RetryableError:
            return timedelta()
        return wait

    def count(self, tenant_id: UUID, hour: datetime, amounts: Mapping[str, int]) -> None:
        ValkeyCounters(self._store(), tenant_id, EXPERIMENTS).add(hour, amounts)

    def _store(self) -> Any:
        if self._url is None:
            raise RetryableError("TRADEWIND_REDIS_URL is not set")
        try:
            return counter_store(self._url)
        except RateLimitedError as error:
            raise RetryableError(str(error)) from error
