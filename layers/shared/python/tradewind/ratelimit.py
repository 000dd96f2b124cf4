"""Token buckets and windows in Valkey, on the server's clock. Several buckets are taken from at once, all or none.

In a cluster the keys of one script must live on one node, so the buckets of a call share a hash tag
(``{provider:account}``); a tenant's own overall bucket is a call of its own. A wait under one second is slept; a
longer one gives the message back. Where Valkey does not answer, a provider's limit fails closed (wait) and an internal
one open.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any, Protocol
from uuid import uuid4

from redis.cluster import RedisCluster
from redis.exceptions import RedisClusterException, RedisError

from tradewind.crash import Point, reached
from tradewind.errors import RateLimitedError

LONGEST_SLEEP = timedelta(milliseconds=1100)
"""A second and a little: a place in a tenant's second (1.05 s) is waited for, also by who has just used it up."""
_UNREACHABLE_WAIT = timedelta(seconds=5)
_MICROSECOND = timedelta(microseconds=1)
UNREACHABLE = (RedisError, RedisClusterException)
"""What the client raises where Valkey does not answer; the second, for a whole cluster, is no RedisError."""

# KEYS: buckets. ARGV: capacity, refill per second, cost of each. Levels are kept in millionths of a token.
# Answers {0} when all were taken, else {wait in microseconds, index of the bucket that waits longest}.
TAKE = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local wait, at = 0, 0
local levels = {}
for i = 1, #KEYS do
  local capacity = tonumber(ARGV[3 * i - 2]) * 1000000
  local refill = tonumber(ARGV[3 * i - 1])
  local cost = tonumber(ARGV[3 * i]) * 1000000
  local kept = redis.call('HMGET', KEYS[i], 'level', 'at', 'capacity', 'refill')
  capacity = tonumber(kept[3]) or capacity
  refill = tonumber(kept[4]) or refill
  local level = capacity
  if kept[1] then
    level = math.min(capacity, tonumber(kept[1]) + math.max(0, now - tonumber(kept[2])) * refill)
  end
  if cost > capacity then cost = capacity end
  levels[i] = {level, cost, capacity, refill}
  if level < cost then
    local need = math.ceil((cost - level) / refill)
    if need > wait then wait, at = need, i end
  end
end
if wait > 0 then return {wait, at} end
for i = 1, #KEYS do
  local l = levels[i]
  redis.call('HSET', KEYS[i], 'level', string.format('%.0f', l[1] - l[2]), 'at', string.format('%.0f', now))
  redis.call('PEXPIRE', KEYS[i], math.ceil(l[3] / l[4] / 1000) + 60000)
end
return {0}
"""

# KEYS: window. ARGV: most calls in it, its length in microseconds, the call. Answers 0 when the call may pass, else
# the wait. The set holds the calls of the last length with their instants: when it is full, the oldest decides.
THROUGH = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local most, length = tonumber(ARGV[1]), tonumber(ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now - length))
if redis.call('ZCARD', KEYS[1]) >= most then
  return tonumber(redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2]) + length - now
end
redis.call('ZADD', KEYS[1], string.format('%.0f', now), ARGV[3])
redis.call('PEXPIRE', KEYS[1], math.ceil(length / 1000))
return 0
"""

# KEYS: window. ARGV: its length in microseconds, the call. The call's instant is now: it reached the provider by now.
ANSWERED = """
local time = redis.call('TIME')
redis.call('ZADD', KEYS[1], string.format('%.0f', time[1] * 1000000 + time[2]), ARGV[2])
redis.call('PEXPIRE', KEYS[1], math.ceil(tonumber(ARGV[1]) / 1000))
return 1
"""

# KEYS: bucket. ARGV: level, capacity, refill as the provider reports them after a call.
REPORT = """
local time = redis.call('TIME')
redis.call('HSET', KEYS[1], 'level', string.format('%.0f', tonumber(ARGV[1]) * 1000000),
           'at', string.format('%.0f', time[1] * 1000000 + time[2]),
           'capacity', string.format('%.0f', tonumber(ARGV[2]) * 1000000), 'refill', ARGV[3])
redis.call('PEXPIRE', KEYS[1], 3600000)
return 1
"""


@dataclass(frozen=True, slots=True)
class Bucket:
    """``capacity`` tokens, refilled at ``refill`` a second; a call takes ``cost``. Costs above capacity take it all."""

    key: str
    capacity: int
    refill: float
    cost: int = 1


@dataclass(frozen=True, slots=True)
class Window:
    """At most ``most`` calls in any stretch of ``length``, wherever it begins; a bucket lets twice as many pass.

    That holds where the calls set out. Whoever also tells when each was answered has it hold where they arrive, however
    long each was under way: a call arrives before its answer, and the next in its place sets out a length after that.
    """

    key: str
    most: int
    length: timedelta


class Store(Protocol):
    """What the limiter needs of Valkey."""

    def eval(self, script: str, numkeys: int, *keys_and_args: Any) -> Any: ...


class RateLimiter:
    """Takes tokens. ``fail_open`` says what an unreachable Valkey means for this limit."""

    def __init__(self, store: Store, sleep: Callable[[float], None] = time.sleep) -> None:
        self._store = store
        self._sleep = sleep

    def take(self, buckets: Sequence[Bucket], *, fail_open: bool = False) -> None:
        """Take from all buckets or none. Sleeps for a short wait; raises RateLimitedError for a longer one."""

        def attempt() -> tuple[timedelta, str]:
            wait, at = self.try_take(buckets, fail_open=fail_open)
            return wait, buckets[at].key if wait else ""

        self._wait_for(attempt)
        reached(Point.LIMIT_TAKEN)

    def pass_window(self, window: Window, *, fail_open: bool = False) -> str:
        """Wait for a place in the window and name it. Sleeps for a short wait; raises RateLimitedError for a longer."""
        call = uuid4().hex
        self._wait_for(lambda: (self.try_pass(window, call, fail_open=fail_open), window.key))
        return call

    def answered(self, window: Window, call: str) -> None:
        """Hold the call's place for the window's length from now on. A failure is no matter: it is held already."""
        try:
            self._store.eval(ANSWERED, 1, window.key, window.length // _MICROSECOND, call)
        except UNREACHABLE:
            return

    def _wait_for(self, attempt: Callable[[], tuple[timedelta, str]]) -> None:
        """Try until there is no wait; ``attempt`` tells it, and whose it is."""
        slept = timedelta()
        while True:
            wait, key = attempt()
            if not wait:
                return
            if slept + wait > LONGEST_SLEEP:
                raise RateLimitedError(key, wait)
            slept += wait
            self._sleep(wait.total_seconds())

    def try_pass(self, window: Window, call: str, *, fail_open: bool = False) -> timedelta:
        """One try: zero where the call may pass, else the wait until there is a place."""
        length = window.length // _MICROSECOND
        try:
            wait = self._store.eval(THROUGH, 1, window.key, window.most, length, call)
            return timedelta(microseconds=int(wait))
        except UNREACHABLE as error:
            if fail_open:
                return timedelta()
            raise RateLimitedError(
                f"{window.key} (limiter unreachable: {error})", _UNREACHABLE_WAIT
            ) from error

    def try_take(self, buckets: Sequence[Bucket], *, fail_open: bool = False) -> tuple[timedelta, int]:
        """One try: (zero, 0) when taken, else the wait and the index of the bucket that causes it.

        Raises ValueError for buckets without a common hash tag: they lie on several nodes.
        """
        if len({_hash_tag(bucket.key) for bucket in buckets}) > 1:
            raise ValueError(f"buckets of one call need the same hash tag: {[each.key for each in buckets]}")
        arguments = [number for bucket in buckets for number in (bucket.capacity, bucket.refill, bucket.cost)]
        try:
            answer = self._store.eval(TAKE, len(buckets), *(bucket.key for bucket in buckets), *arguments)
        except UNREACHABLE as error:
            if fail_open:
                return timedelta(), 0
            raise RateLimitedError(
                f"{buckets[0].key} (limiter unreachable: {error})", _UNREACHABLE_WAIT
            ) from error
        if answer[0] == 0:
            return timedelta(), 0
        return timedelta(microseconds=int(answer[0])), int(answer[1]) - 1

    def report(self, key: str, available: float, maximum: float, refill: float) -> None:
        """Follow the provider's own account of its bucket: what it gives back of an estimate, and its true size.

        A failure is no matter: the next report comes with the next call.
        """
        try:
            self._store.eval(REPORT, 1, key, available, maximum, refill)
        except UNREACHABLE:
            return


def _hash_tag(key: str) -> str:
    """The part of a key that chooses its node."""
    return key.partition("{")[2].partition("}")[0] or key


def connect(url: str) -> RedisCluster:
    """A cluster client: ElastiCache Serverless is always in cluster mode, and so is the local Valkey.

    Raises RateLimitedError where no node answers: what needs the limiter has to wait.
    """
    try:
        return RedisCluster.from_url(url, socket_timeout=2.0, socket_connect_timeout=2.0)
    except UNREACHABLE as error:
        raise RateLimitedError(f"limiter unreachable: {error}", _UNREACHABLE_WAIT) from error


@cache
def connected(url: str) -> RedisCluster:
    """The process's client, whatever it is for."""
    return connect(url)
