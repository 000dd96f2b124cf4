"""Token buckets in a real Valkey, held against a plain model of what a bucket may and must do."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from typing import Any, cast
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.cluster import RedisCluster
from redis.exceptions import RedisError

from infra.local import ValkeyServer, valkey_server
from tradewind.errors import RateLimitedError
from tradewind.integrations.shopify.provider import SECOND
from tradewind.ratelimit import LONGEST_SLEEP, Bucket, RateLimiter, Window, connect

MICRO = 1_000_000
ROUNDING = 4
"""Levels are kept in whole millionths of a token: so many of them may be lost to rounding in one call."""

_serial = count()


@pytest.fixture(scope="module")
def store(valkey: ValkeyServer) -> Iterator[RedisCluster]:
    made = connect(valkey.url)
    yield made
    made.close()


@pytest.fixture
def limiter(store: RedisCluster) -> RateLimiter:
    return RateLimiter(store)


def account() -> str:
    """A hash tag that no other test uses."""
    return f"{{shopify:shop-{next(_serial)}}}"


def server_time(store: RedisCluster) -> int:
    """Valkey's own clock in microseconds."""
    seconds, micros = store.time(target_nodes=RedisCluster.RANDOM)
    return int(seconds) * MICRO + int(micros)


def take_all(limiter: RateLimiter, bucket: Bucket, most: int = 1000) -> int:
    """How many calls pass at once."""
    for taken in range(most):
        if limiter.try_take([bucket])[0]:
            return taken
    return most


@dataclass
class Model:
    """What is surely and what is possibly in a bucket, in millionths, given when the calls can have happened."""

    capacity: int
    refill: float
    sure: float
    possible: float
    since: tuple[int, int] | None = None

    def levels(self, earliest: int, latest: int) -> tuple[float, float]:
        """The bounds of the level in a call between two readings of the server's clock."""
        if self.since is None:
            return self.sure, self.possible
        full = self.capacity * MICRO
        least, most = max(0, earliest - self.since[1]), latest - self.since[0]
        return (
            min(full, self.sure + least * self.refill) - ROUNDING,
            min(full, self.possible + most * self.refill) + ROUNDING,
        )


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    sizes=st.lists(
        st.tuples(st.integers(1, 30), st.floats(0.5, 3000, allow_nan=False)), min_size=1, max_size=3
    ),
    calls=st.lists(st.lists(st.integers(1, 35), min_size=3, max_size=3), min_size=1, max_size=25),
)
def test_bucket_never_gives_more_and_never_refuses_what_it_surely_has(
    store: RedisCluster, sizes: list[tuple[int, float]], calls: list[list[int]]
) -> None:
    tag, limiter = account(), RateLimiter(store)
    models = [Model(capacity, refill, capacity * MICRO, capacity * MICRO) for capacity, refill in sizes]
    for costs in calls:
        buckets = [
            Bucket(f"{tag}:{at}", model.capacity, model.refill, costs[at]) for at, model in enumerate(models)
        ]
        before = server_time(store)
        wait, at = limiter.try_take(buckets)
        after = server_time(store)
        check_call(models, [bucket.cost for bucket in buckets], (before, after), wait, at)


def check_call(
    models: Sequence[Model], costs: Sequence[int], called: tuple[int, int], wait: timedelta, at: int
) -> None:
    """The answer must be possible for every bucket; a grant is then taken from each, a refusal from none."""
    needs = [min(cost, model.capacity) * MICRO for cost, model in zip(costs, models, strict=True)]
    levels = [model.levels(*called) for model in models]
    if wait:
        sure, possible = levels[at]
        assert sure < needs[at], "refused although the tokens were surely there"
        micros = wait / timedelta(microseconds=1)
        assert (needs[at] - possible) / models[at].refill - 1 <= micros
        assert micros <= (needs[at] - sure) / models[at].refill + 1
        return
    for model, need, (sure, possible) in zip(models, needs, levels, strict=True):
        assert possible >= need, "granted more than capacity and refill allow"
        model.sure, model.possible, model.since = max(0.0, sure - need), possible - need, called


def test_full_bucket_gives_its_capacity_at_once_and_then_by_its_refill(limiter: RateLimiter) -> None:
    bucket = Bucket(f"{account()}:calls", 10, 0.5)
    assert take_all(limiter, bucket) == 10
    wait, at = limiter.try_take([bucket])
    assert timedelta(seconds=1.5) < wait <= timedelta(seconds=2)
    assert at == 0


def test_refill_is_exact_over_time(store: RedisCluster, limiter: RateLimiter) -> None:
    """A quarter of a second tells a refill that is off by a hundredth."""
    model = Model(1_000_000, 100_000.0, 1e12, 1e12)
    bucket = Bucket(f"{account()}:points", model.capacity, model.refill, model.capacity)
    for pause in (0, 0.25, 0.25):
        threading.Event().wait(pause)
        before = server_time(store)
        wait, at = limiter.try_take([bucket])
        check_call([model], [bucket.cost], (before, server_time(store)), wait, at)
    assert timedelta(seconds=9) < wait < timedelta(seconds=9.5)


def test_several_buckets_are_taken_from_all_or_none(limiter: RateLimiter) -> None:
    tag = account()
    wide, narrow = Bucket(f"{tag}:wide", 100, 0.001), Bucket(f"{tag}:narrow", 3, 0.001)
    granted = [not limiter.try_take([wide, narrow])[0] for _ in range(8)]
    assert granted == [True] * 3 + [False] * 5
    assert limiter.try_take([wide, narrow])[1] == 1
    assert take_all(limiter, wide) == 97


def test_bucket_that_waits_longest_is_named(limiter: RateLimiter) -> None:
    tag = account()
    slow, quick = Bucket(f"{tag}:slow", 1, 0.01), Bucket(f"{tag}:quick", 1, 10)
    limiter.try_take([quick, slow])
    wait, at = limiter.try_take([quick, slow])
    assert at == 1
    assert timedelta(seconds=99) < wait <= timedelta(seconds=100)


def test_cost_above_capacity_takes_the_whole_bucket(limiter: RateLimiter) -> None:
    key = f"{account()}:points"
    assert limiter.try_take([Bucket(key, 50, 0.01, cost=51)]) == (timedelta(), 0)
    wait, _ = limiter.try_take([Bucket(key, 50, 0.01, cost=1000)])
    assert timedelta(seconds=4990) < wait <= timedelta(seconds=5000)


def test_limiter_follows_the_providers_report(limiter: RateLimiter) -> None:
    key = f"{account()}:points"
    asked = Bucket(key, 1000, 100.0, cost=100)
    assert limiter.try_take([asked]) == (timedelta(), 0)
    limiter.report(key, available=40, maximum=2000, refill=0.5)
    wait, _ = limiter.try_take([asked])
    assert timedelta(seconds=119) < wait <= timedelta(seconds=120)
    limiter.report(key, available=2000, maximum=2000, refill=0.5)
    assert take_all(limiter, asked) == 20


def test_report_of_more_than_the_maximum_is_cut_at_it(limiter: RateLimiter) -> None:
    key = f"{account()}:points"
    limiter.report(key, available=500, maximum=20, refill=0.001)
    assert take_all(limiter, Bucket(key, 1000, 100.0)) == 20


def test_buckets_of_two_accounts_do_not_meet(limiter: RateLimiter) -> None:
    first, second = (Bucket(f"{account()}:calls", 2, 0.001) for _ in range(2))
    assert take_all(limiter, first) == 2
    assert take_all(limiter, second) == 2


def test_unused_bucket_is_forgotten_by_valkey(store: RedisCluster, limiter: RateLimiter) -> None:
    bucket = Bucket(f"{account()}:calls", 10, 2)
    limiter.try_take([bucket])
    assert 60_000 < store.pttl(bucket.key) <= 65_000


class Naps:
    """Sleeps for real and remembers how long."""

    def __init__(self) -> None:
        self.taken: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.taken.append(seconds)
        threading.Event().wait(seconds)


def test_short_wait_is_slept(store: RedisCluster) -> None:
    naps = Naps()
    limiter, bucket = RateLimiter(store, naps), Bucket(f"{account()}:calls", 1, 10)
    limiter.take([bucket])
    limiter.take([bucket])
    assert naps.taken
    assert 0.05 < sum(naps.taken) <= 0.2


def test_long_wait_is_raised_without_sleeping(store: RedisCluster) -> None:
    naps = Naps()
    limiter, bucket = RateLimiter(store, naps), Bucket(f"{account()}:calls", 1, 0.5)
    limiter.take([bucket])
    with pytest.raises(RateLimitedError) as caught:
        limiter.take([bucket])
    assert timedelta(seconds=1.5) < caught.value.wait <= timedelta(seconds=2)
    assert caught.value.limit == bucket.key
    assert naps.taken == []


def test_short_waits_do_not_add_up_to_a_long_one(store: RedisCluster) -> None:
    naps: list[float] = []
    limiter, bucket = RateLimiter(store, naps.append), Bucket(f"{account()}:calls", 1, 2.5)
    limiter.take([bucket])
    with pytest.raises(RateLimitedError):
        limiter.take([bucket])
    assert sum(naps) <= 1


def test_eight_threads_never_take_more_than_there_is(store: RedisCluster) -> None:
    bucket = Bucket(f"{account()}:calls", 20, 40.0)
    limiter, stop = RateLimiter(store), threading.Event()
    granted = [0] * 8

    def hammer(at: int) -> None:
        while not stop.is_set():
            granted[at] += not limiter.try_take([bucket])[0]

    threads = [threading.Thread(target=hammer, args=(at,)) for at in range(8)]
    begun = server_time(store)
    for thread in threads:
        thread.start()
    stop.wait(1)
    stop.set()
    for thread in threads:
        thread.join()
    seconds = (server_time(store) - begun) / MICRO
    assert 20 + 40 * 0.9 <= sum(granted) <= 20 + 40 * seconds


def test_keys_of_one_call_share_a_slot_and_others_fail_loudly(limiter: RateLimiter) -> None:
    tag = account()
    limiter.take([Bucket(f"{tag}:a", 1, 1.0), Bucket(f"{tag}:b", 1, 1.0)], fail_open=True)
    apart = [Bucket(f"{account()}:a", 1, 1.0), Bucket(f"{account()}:b", 1, 1.0)]
    for fail_open in (True, False):
        with pytest.raises(ValueError, match="need the same hash tag"):
            limiter.take(apart, fail_open=fail_open)


@pytest.fixture(scope="module")
def gone() -> Iterator[RedisCluster]:
    """A client whose Valkey has ended."""
    with valkey_server() as server:
        made = connect(server.url)
        made.ping(target_nodes=RedisCluster.RANDOM)
    yield made
    made.close()


def test_unreachable_valkey_lets_internal_limits_pass(gone: RedisCluster) -> None:
    limiter = RateLimiter(gone)
    for _ in range(3):
        limiter.take([Bucket(f"{account()}:tenant", 1, 0.001)], fail_open=True)


def test_unreachable_valkey_makes_provider_limits_wait(gone: RedisCluster) -> None:
    limiter = RateLimiter(gone)
    for _ in range(3):
        with pytest.raises(RateLimitedError, match="limiter unreachable") as caught:
            limiter.take([Bucket(f"{account()}:points", 1, 0.001)])
        assert caught.value.wait == timedelta(seconds=5)


def test_connecting_to_an_unreachable_valkey_is_a_wait() -> None:
    with pytest.raises(RateLimitedError, match="limiter unreachable"):
        connect("redis://127.0.0.1:9/0")


def test_report_to_an_unreachable_valkey_is_no_matter(gone: RedisCluster) -> None:
    RateLimiter(gone).report(f"{account()}:points", 1, 2, 3.0)


def test_answer_that_comes_too_late_is_as_good_as_none() -> None:
    class Slow:
        def eval(self, script: str, numkeys: int, *keys_and_args: Any) -> Any:
            raise RedisError("Timeout reading from socket")

    limiter = RateLimiter(Slow())
    assert limiter.try_take([Bucket("{a}", 1, 1.0)], fail_open=True) == (timedelta(), 0)
    with pytest.raises(RateLimitedError):
        limiter.try_take([Bucket("{a}", 1, 1.0)])


LONG = timedelta(hours=1)


def pass_all(limiter: RateLimiter, window: Window, tries: int) -> int:
    return sum(not limiter.try_pass(window, uuid4().hex) for _ in range(tries))


def test_window_lets_its_number_pass_and_tells_the_wait_until_the_oldest_leaves(
    limiter: RateLimiter, store: RedisCluster
) -> None:
    window = Window(f"rate:{account()}:window", 5, LONG)
    assert pass_all(limiter, window, 20) == 5
    [(_, oldest)] = cast("list[tuple[bytes, float]]", store.zrange(window.key, 0, 0, withscores=True))
    before = server_time(store)
    wait = limiter.try_pass(window, "next")
    after = server_time(store)
    leaves = int(oldest) + LONG // timedelta(microseconds=1)
    assert leaves - after <= wait // timedelta(microseconds=1) <= leaves - before


def test_each_place_in_a_window_is_free_again_when_its_own_call_leaves(
    limiter: RateLimiter, store: RedisCluster
) -> None:
    window = Window(f"rate:{account()}:window", 5, LONG)
    pass_all(limiter, window, 5)
    gone = server_time(store) - LONG // timedelta(microseconds=1)
    for call in cast("list[bytes]", store.zrange(window.key, 0, 1)):
        store.zadd(window.key, {call: gone})
    assert pass_all(limiter, window, 20) == 2
    assert store.zcard(window.key) == 5


def test_place_of_an_answered_call_is_held_from_its_answer_on(
    limiter: RateLimiter, store: RedisCluster
) -> None:
    """Three calls set out together; one was long under way: it may have arrived only now."""
    window = Window(f"rate:{account()}:window", 3, LONG)
    early, late, _ = (limiter.pass_window(window) for _ in range(3))
    length = LONG // timedelta(microseconds=1)
    for call in (early, late):
        store.zadd(window.key, {call: server_time(store) - length + 1_000_000_000})
    limiter.answered(window, late)
    wait = limiter.try_pass(window, "next")
    assert timedelta(seconds=990) < wait <= timedelta(seconds=1000)
    store.zrem(window.key, early)
    assert not limiter.try_pass(window, "next")
    assert limiter.try_pass(window, "fourth") > timedelta(minutes=59)


def test_answer_that_comes_after_its_place_was_given_away_takes_one_again(
    limiter: RateLimiter, store: RedisCluster
) -> None:
    window = Window(f"rate:{account()}:window", 2, LONG)
    slow = limiter.pass_window(window)
    store.zrem(window.key, slow)
    limiter.answered(window, slow)
    assert pass_all(limiter, window, 5) == 1


def test_window_never_lets_more_pass_to_many_at_once(limiter: RateLimiter) -> None:
    window = Window(f"rate:{account()}:window", 7, LONG)
    passed: list[int] = []
    threads = [
        threading.Thread(target=lambda: passed.append(pass_all(limiter, window, 10))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(passed) == 7


def test_who_has_used_a_tenants_second_up_waits_for_the_next(store: RedisCluster) -> None:
    """Registering a tenant asks its shop more often than it may in a second."""
    slept: list[float] = []
    window = Window(f"rate:{account()}:window", 3, SECOND)

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        store.delete(window.key)

    limiter = RateLimiter(store, sleep)
    for _ in range(4):
        limiter.pass_window(window)
    assert len(slept) == 1
    assert SECOND <= LONGEST_SLEEP


def test_short_wait_is_slept_and_a_long_one_is_told(store: RedisCluster) -> None:
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        store.delete(window.key)

    limiter = RateLimiter(store, sleep)
    window = Window(f"rate:{account()}:window", 1, timedelta(milliseconds=900))
    limiter.pass_window(window)
    limiter.pass_window(window)
    assert len(slept) == 1
    assert 0 < slept[0] <= 0.9
    long = Window(f"rate:{account()}:window", 1, LONG)
    limiter.pass_window(long)
    with pytest.raises(RateLimitedError) as told:
        limiter.pass_window(long)
    assert timedelta() < told.value.wait <= LONG


def test_window_without_valkey_is_open_or_closed_as_it_is_told() -> None:
    class Gone:
        def eval(self, *_: Any) -> Any:
            raise RedisError("gone")

    window = Window("rate:{x}:window", 1, LONG)
    assert not RateLimiter(Gone()).try_pass(window, "a", fail_open=True)
    RateLimiter(Gone()).answered(window, "a")
    with pytest.raises(RateLimitedError):
        RateLimiter(Gone()).try_pass(window, "a")
