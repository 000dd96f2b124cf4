"""Attribution at scale: a full recalculation beside plain SQL in the same Postgres, and beside pandas that copies rows
out and its results in; its arithmetic beside pandas and DuckDB over rows that they hold already; and how many touches a
second ``POST /collect`` keeps.

Five models, one window of 30 days. Everything that is compared divides the same whole numbers: its cents must be equal.
"""

from __future__ import annotations

import io
import json
import os
import resource
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import psycopg

from analytics.attribution import recalculating
from analytics.attribution.recalculating import CHUNK, Progress, Range, recalculate
from analytics.attribution.repository import Conversions
from infra.local import valkey_server
from infra.local.postgres import DatabaseUrls
from ingress import api_keys
from ingress.collect import Door
from ingress.experiments_api.edge import ValkeyEdge
from ingress.platform import Platform
from tests.bench.figures import Spread, digits
from tests.bench.kernel import quietly
from tests.fakes import FakeQueues
from tests.integration.harness import House, add_tenant, local_settings
from tradewind.tasks.dispatch import Dispatcher
from tradewind.tenancy.database import Connections, Session, TenantDb

CONVERSIONS = int(os.environ.get("BENCH_CONVERSIONS", "100000"))
TOUCHES = 5
REQUESTS, THREADS = 400, 4
SINCE, UNTIL = datetime(2026, 8, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC)
SETTINGS = {
    "attribution": {
        "windows_days": [30],
        "enabled_models": ["first_touch", "last_touch", "linear", "time_decay", "position_based"],
    }
}
COLUMNS = ["place", "revenue", "age", "instant"]
SQL = Path(__file__).with_name("attribution.sql").read_text(encoding="utf-8").split("-- next --")


def measure(urls: DatabaseUrls) -> dict[str, Any]:
    """Raises AssertionError where two ways disagree in a cent."""
    with valkey_server() as valkey:
        settings = local_settings(urls, TRADEWIND_REDIS_URL=valkey.url)
        house = House(urls, settings, add_tenant(urls, "acme", SETTINGS))
        intake = _intake(house)
        _fill(house)
        told = _recalculation(house)
        house.close()
    return {"recalculation": told, "intake": intake}


def _fill(house: House) -> None:
    numbers = {"conversions": CONVERSIONS, "touches": TOUCHES, "since": SINCE, "until": UNTIL}
    with _as_tenant(house) as connection:
        for statement in SQL[:3]:
            connection.execute(statement.encode(), numbers)
    with psycopg.connect(house.urls.owner, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE attribution_touchpoints, attribution_conversions, orders")


@contextmanager
def _as_tenant(house: House) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(house.urls.app) as connection:
        connection.execute("SELECT set_config('app.tenant_id', %s, true)", (str(house.tenant_id),))
        yield connection


def _recalculation(house: House) -> dict[str, Any]:
    seconds: dict[str, float] = {}
    spent = dict.fromkeys(("out", "computing", "in"), 0.0)
    seconds["ours_first"] = _timed(lambda: _recalculate(house, spent))
    ours = _totals(house)
    seconds["ours_again"] = _timed(lambda: _recalculate(house, dict(spent)))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    _empty(house)

    def plain() -> None:
        with _as_tenant(house) as connection:
            connection.execute(SQL[3].encode())

    seconds["plain_sql"] = _timed(plain)
    assert _totals(house) == ours
    _empty(house)
    seconds["pandas_with_copies"] = _timed(lambda: _whole_by_pandas(house))
    assert _totals(house) == ours
    frame = _frame(house)
    found: dict[str, Any] = {}
    seconds["pandas"] = _timed(lambda: found.update(_by_pandas(frame)))
    assert {name: int(value.sum()) for name, value in found.items()} == dict.fromkeys(found, ours["revenue"])
    with duckdb.connect() as duck:
        duck.execute("SET threads = 2")
        duck.register("given", frame)
        duck.execute("CREATE TABLE touches AS SELECT * FROM given")
        seconds["duckdb"] = _timed(lambda: duck.execute(SQL[4]))
        [row] = duck.execute(SQL[5]).fetchall()
        assert {*row} == {ours["revenue"]}
    return {
        "conversions": CONVERSIONS,
        "touches": CONVERSIONS * TOUCHES,
        "models": 5,
        "chunk": CHUNK,
        "seconds": {name: digits(value) for name, value in seconds.items()},
        "copy_out_seconds": digits(spent["out"]),
        "computing_seconds": digits(spent["computing"]),
        "copy_in_and_write_seconds": digits(spent["in"]),
        "duckdb_and_two_copies_seconds": digits(seconds["duckdb"] + spent["out"] + spent["in"]),
        "conversions_per_second": digits(CONVERSIONS / seconds["ours_first"]),
        "peak_memory_mb": digits(peak),
    }


def _timed(act: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    act()
    return time.perf_counter() - begun


def _recalculate(house: House, spent: dict[str, float]) -> None:
    """The task's own loop; how long its reading, computing and writing take is noted. They go on beside each other."""
    session = Session(house.connections)
    noted: list[tuple[Any, str, str]] = [
        *((Conversions, name, "out") for name in ("take_chunk", "pack_touches", "pack_standing")),
        *((recalculating, name, "computing") for name in ("select_journeys", "credit_chunk", "compare")),
        (Conversions, "write_credits", "in"),
    ]
    taken = [getattr(owner, name) for owner, name, _ in noted]

    def noting(act: Callable[..., Any], side: str) -> Callable[..., Any]:
        def noted_call(*given: Any, **named: Any) -> Any:
            begun = time.perf_counter()
            answer = act(*given, **named)
            spent[side] += time.perf_counter() - begun
            return answer

        return noted_call

    for (owner, name, side), act in zip(noted, taken, strict=True):
        setattr(owner, name, noting(act, side))
    done = [Progress()]
    try:
        for step in recalculate(
            TenantDb(session, house.tenant_id), Range(SINCE, UNTIL, SETTINGS), Progress()
        ):
            session.settle()
            done.append(step)
    finally:
        for (owner, name, _), act in zip(noted, taken, strict=True):
            setattr(owner, name, act)
        session.close()
    assert done[-1].conversions == CONVERSIONS


def _empty(house: House) -> None:
    with psycopg.connect(house.urls.owner, autocommit=True) as connection:
        connection.execute("TRUNCATE attribution_credits")


def _totals(house: House) -> dict[str, Any]:
    """What stands: rows, revenue by model (all alike), and a digest of every cent."""
    [row] = house.query(SQL[6])
    assert row["least"] == row["most"] == row["revenue"]
    return row


def _frame(house: House) -> pd.DataFrame:
    with _as_tenant(house) as connection:
        rows = connection.execute(SQL[7].encode()).fetchall()
    return pd.DataFrame(rows, columns=[*COLUMNS, "touch", "channel"])[COLUMNS]


@dataclass(frozen=True)
class Ordered:
    """Touches in their order, each with its place in its journey, how many the journey has, and its weights."""

    frame: pd.DataFrame
    place: pd.Series
    number: pd.Series
    weights: dict[str, Any]

    @classmethod
    def of(cls, frame: pd.DataFrame, *by: str) -> Ordered:
        frame = frame.sort_values([*by], kind="stable", ignore_index=True)
        groups = frame.groupby("place", sort=False)
        place, number = groups.cumcount(), groups["place"].transform("size")
        age = frame["age"] - groups["age"].transform("min")
        weights = {
            "linear": pd.Series(1, index=frame.index),
            "time_decay": (np.exp2(-age / 604_800_000_000) * 1e9 + 0.5).astype("int64"),
            "position_based": pd.Series(
                np.where(number == 1, 1, np.where(number == 2, 40, np.where(
                    (place == 0) | (place == number - 1), 40 * (number - 2), 20))),
                index=frame.index,
            ),
        }  # fmt: skip
        return cls(frame, place, number, weights)

    def sums(self, values: pd.Series) -> Any:
        return values.groupby(self.frame["place"], sort=False).transform("sum")


def _by_pandas(frame: pd.DataFrame) -> dict[str, Any]:
    """Every model's cents, with group-by's own vectorised operations."""
    return _cents(Ordered.of(frame, "place", "instant"))


def _cents(given: Ordered) -> dict[str, Any]:
    revenue = given.frame["revenue"]
    found = {
        "first_touch": revenue.where(given.place == 0, 0),
        "last_touch": revenue.where(given.place == given.number - 1, 0),
    }
    for model, weight in given.weights.items():
        whole, product = given.sums(weight), revenue * weight
        cents = product // whole
        left = revenue - given.sums(cents)
        rank = (-(product % whole)).groupby(given.frame["place"], sort=False).rank(method="first")
        found[model] = cents + (rank <= left)
    return found


def _whole_by_pandas(house: House) -> None:
    """The same from Postgres to Postgres as one would with pandas: rows copied out as CSV, a row a touch copied in,
    and the conversions' rows put together there.
    """
    with _as_tenant(house) as connection:
        with (
            connection.cursor() as cursor,
            cursor.copy(f"COPY ({SQL[7]}) TO STDOUT (FORMAT csv)".encode()) as out,
        ):
            rows = io.BytesIO(b"".join(bytes(piece) for piece in out))
        frame = pd.read_csv(rows, names=[*COLUMNS, "touch", "channel"])
        given = Ordered.of(frame, "place", "instant", "touch")
        told = {name: given.frame[name] for name in ("place", "instant", "touch", "channel")}
        shares = {f"share_{model}": value for model, value in _shares(given).items()}
        flat = pd.DataFrame({**told, **shares, **_cents(given)})
        connection.execute(SQL[8].encode())
        with connection.cursor() as cursor, cursor.copy(b"COPY flat FROM STDIN (FORMAT csv)") as copy:
            copy.write(flat.to_csv(header=False, index=False))
        connection.execute(SQL[9].encode())


def _shares(given: Ordered) -> dict[str, Any]:
    """Every model's shares in thousand millionths, half up."""
    found = {
        "first_touch": pd.Series(np.where(given.place == 0, 10**9, 0)),
        "last_touch": pd.Series(np.where(given.place == given.number - 1, 10**9, 0)),
    }
    for model, weight in given.weights.items():
        whole = given.sums(weight)
        found[model] = (2 * weight * 10**9 + whole) // (2 * whole)
    return found


class Unlimited(ValkeyEdge):
    """The door's own edge without a tenant's limit, which would be all that is measured."""

    def admit(self, tenant_id: object, events: int) -> timedelta:
        return timedelta()


def _intake(house: House) -> list[dict[str, Any]]:
    connections = Connections(house.urls.platform)
    platform = Platform(house.settings, connections, Dispatcher(FakeQueues(), "bench"))  # type: ignore[arg-type]
    about = {"tenant": "acme", "name": "bench", "scopes": ["touchpoints:collect"]}
    made: list[str] = []
    quietly(lambda: made.append(str(api_keys.create_api_key(platform, about)["token"])))
    connections.close()
    return [_batches(house, made[0], size) for size in (1, 10, 100)]


def _batches(house: House, key: str, size: int) -> dict[str, Any]:
    connections = Connections(house.urls.app)
    door = Door(connections, Unlimited(house.settings, "touches"))
    requests = [_request(key, size, number) for number in range(REQUESTS)]
    spent: list[float] = []

    def send(request: dict[str, Any]) -> None:
        begun = time.perf_counter()
        answer = door.answer(request)
        assert answer["statusCode"] == 202, answer["body"]
        spent.append((time.perf_counter() - begun) * 1000)

    def act() -> None:
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(send, requests))

    seconds = _timed(lambda: quietly(act))
    connections.close()
    return {
        "touches_a_request": size,
        "touches_per_second": digits(REQUESTS * size / seconds),
        "request_ms": Spread.of(spent).document(),
    }


def _request(key: str, size: int, number: int) -> dict[str, Any]:
    now = datetime.now(UTC).isoformat()
    touches = [
        {
            "touch_id": f"{size}-{number}-{at}",
            "visitor_id": f"page-{number}",
            "occurred_at": now,
            "landing_page": "https://acme.example/products/mug?utm_source=google&utm_medium=cpc&gclid=abc123",
            "referrer_url": "https://www.google.com/",
            "device": "phone",
        }
        for at in range(size)
    ]
    return {
        "routeKey": "POST /collect",
        "headers": {"authorization": f"Bearer {key}"},
        "body": json.dumps({"touches": touches}),
    }
