"""A tenant's hot counters in Valkey, by hour: added to at the edge, taken away as snapshots.

A snapshot is the hour's hash under another name, with an id that stays until the snapshot is dropped: who dies between
taking and dropping finds the same snapshot under the same id again, so that a reader who remembers ids adds each once.
What is lost with Valkey itself is counted again from the events it was counted from.

All keys of a tenant share a hash tag, so that they lie on one node of a cluster.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from tradewind.errors import RetryableError
from tradewind.ports import CounterSnapshot
from tradewind.ratelimit import UNREACHABLE, Store, connected

EXPERIMENTS = "ab"
"""The counters of A/B tests."""
LIFE = timedelta(days=8)
"""Counters that nobody takes end after it; the events they stand for are rebuilt from by then."""
_ID = "#id"
_HOUR = "%Y%m%d%H"

# KEYS: the hour's hash, the set of hours. ARGV: the hour, seconds to live, then field and amount in turn.
_ADD = """
for i = 3, #ARGV, 2 do redis.call('HINCRBY', KEYS[1], ARGV[i], ARGV[i + 1]) end
redis.call('EXPIRE', KEYS[1], ARGV[2])
redis.call('SADD', KEYS[2], ARGV[1])
redis.call('EXPIRE', KEYS[2], ARGV[2])
return 1
"""
# KEYS: the hour's hash, its snapshot, the set of hours. ARGV: the hour, a new id, seconds to live.
_TAKE = """
if redis.call('EXISTS', KEYS[2]) == 0 then
  if redis.call('EXISTS', KEYS[1]) == 0 then
    redis.call('SREM', KEYS[3], ARGV[1])
    return {}
  end
  redis.call('RENAME', KEYS[1], KEYS[2])
  redis.call('HSET', KEYS[2], '#id', ARGV[2])
  redis.call('EXPIRE', KEYS[2], ARGV[3])
end
return redis.call('HGETALL', KEYS[2])
"""
# KEYS: the snapshot. ARGV: its id. Another's snapshot stays.
_DROP = """
if redis.call('HGET', KEYS[1], '#id') == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""


class ValkeyCounters:
    """One tenant's counters of one kind: the port ``HotCounters``."""

    def __init__(self, store: Store, tenant_id: UUID, kind: str) -> None:
        self._store = store
        self._base = f"counters:{{{tenant_id}}}:{kind}"

    def add(self, hour: datetime, amounts: Mapping[str, int]) -> None:
        """Add to the hour's counters. Raises RetryableError where Valkey does not answer: some may be added."""
        name = hour.astimezone(UTC).strftime(_HOUR)
        pairs = [part for field, amount in amounts.items() for part in (field, amount)]
        if pairs:
            self._call(_ADD, [self._hour(name), self._hours], name, _seconds(LIFE), *pairs)

    def take(self, before: datetime) -> CounterSnapshot | None:
        """The oldest snapshot of hours that begin before ``before``; None where none is left.

        The same one comes again until it is dropped.
        """
        last = before.astimezone(UTC).strftime(_HOUR)
        for name in sorted(_text(each) for each in self._members()):
            if name >= last:
                break
            keys = [self._hour(name), self._taken(name), self._hours]
            content = self._call(_TAKE, keys, name, str(uuid4()), _seconds(LIFE))
            if content:
                return _snapshot(name, [_text(each) for each in content])
        return None

    def drop(self, snapshot: CounterSnapshot) -> None:
        """Forget a snapshot that was added elsewhere."""
        self._call(_DROP, [self._taken(snapshot.hour.strftime(_HOUR))], snapshot.id)

    def _members(self) -> Any:
        return self._call("return redis.call('SMEMBERS', KEYS[1])", [self._hours])

    def _call(self, script: str, keys: list[str], *arguments: Any) -> Any:
        try:
            return self._store.eval(script, len(keys), *keys, *arguments)
        except UNREACHABLE as error:
            raise RetryableError(f"valkey: {error}") from error

    def _hour(self, name: str) -> str:
        return f"{self._base}:{name}"

    def _taken(self, name: str) -> str:
        return f"{self._base}:{name}:taken"

    @property
    def _hours(self) -> str:
        return f"{self._base}:hours"


def _snapshot(name: str, content: list[str]) -> CounterSnapshot:
    amounts = dict(zip(content[::2], content[1::2], strict=True))
    snapshot_id = amounts.pop(_ID)
    hour = datetime.strptime(name, _HOUR).replace(tzinfo=UTC)
    return CounterSnapshot(snapshot_id, hour, {field: int(amount) for field, amount in amounts.items()})


def _seconds(duration: timedelta) -> int:
    return int(duration.total_seconds())


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def counter_store(url: str) -> Any:
    """The process's connection."""
    return connected(url)
