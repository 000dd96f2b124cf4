"""Attribution over arrays gives what the rule gives for each conversion by itself."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from analytics.attribution.statistics.chunk import Chunk, credit_chunk, select_journeys
from analytics.attribution.statistics.comparing import compare, standing_of
from analytics.attribution.statistics.copying import CONVERSION, HEADER, TOUCH
from tests.fakes import NOON
from tradewind.contracts.attribution import (
    CHANNEL_CODES,
    AttributionSettings,
    Journey,
    Model,
    Order,
    Touch,
    convert,
)

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
LEARNT = {"paid": 0.5, "email": 0.3, "social": 0.2}
SETTINGS = [
    AttributionSettings.of({}),
    AttributionSettings.of({}, LEARNT),
    AttributionSettings.of({"attribution": {"collapse_consecutive": True, "half_life_hours": 5}}, LEARNT),
    AttributionSettings.of({"attribution": {"enabled_models": ["linear"], "windows_days": [3, 90]}}),
    AttributionSettings.of({"attribution": {"position_percent": [0, 70], "default_window_days": 7}}),
]


def microseconds(at: datetime) -> int:
    return (at - EPOCH) // timedelta(microseconds=1)


def packed(kind: np.dtype[Any], rows: Sequence[tuple[Any, ...]]) -> bytes:
    """Rows as Postgres packs them."""
    records = np.zeros(len(rows), kind)
    for at, row in enumerate(rows):
        records[at] = row
    return records.tobytes()


def read_credits(copied: bytes) -> list[dict[str, Any]]:
    """What Postgres would read, by its manual alone."""
    assert copied.startswith(HEADER)
    at, rows = len(HEADER), []
    while (fields := struct.unpack_from(">h", copied, at)[0]) != -1:
        at += 2
        assert fields == 6
        values = []
        for _ in range(fields):
            (length,) = struct.unpack_from(">i", copied, at)
            values.append(copied[at + 4 : at + 4 + length])
            at += 4 + length
        order, window, *arrays = values
        names = ("touchpoint_ids", "channels", "credits", "cents")
        row = {"shopify_order_id": int.from_bytes(order, "big"), "window_days": int.from_bytes(window, "big")}
        rows.append(row | dict(zip(names, map(read_array, arrays), strict=True)))
    assert at + 2 == len(copied)
    return rows


def read_array(data: bytes) -> list[Any]:
    dimensions, holds_nulls, kind = struct.unpack_from(">iii", data)
    sizes = [struct.unpack_from(">ii", data, 12 + 8 * at)[0] for at in range(dimensions)]
    at = 12 + 8 * dimensions
    found: list[Any] = []
    while at < len(data):
        (length,) = struct.unpack_from(">i", data, at)
        at += 4
        if length == -1:
            found.append(None)
            continue
        part = data[at : at + length]
        found.append(str(UUID(bytes=part)) if kind == 2950 else int.from_bytes(part, "big", signed=True))
        at += length
    assert holds_nulls == int(None in found)
    assert len(found) == np.prod(sizes)
    return found if len(sizes) == 1 else [found[at : at + sizes[1]] for at in range(0, len(found), sizes[1])]


def over_arrays(
    orders: Sequence[tuple[Order, list[Touch]]], settings: AttributionSettings
) -> list[dict[str, Any]]:
    chunk = Chunk.of(
        packed(
            CONVERSION, [(o.order_id, o.remaining_cents, microseconds(o.placed_at), 0, 0) for o, _ in orders]
        )
    )
    touches = [
        (place, touch.id.bytes, CHANNEL_CODES[touch.channel], microseconds(touch.occurred_at))
        for place, (_, found) in enumerate(orders)
        for touch in found
    ]
    journeys = select_journeys(packed(TOUCH, touches), chunk, settings)
    changes = compare(chunk, journeys, credit_chunk(chunk, journeys, settings), standing_of(b""))
    return read_credits(b"".join(changes.copy()))


def by_rule(
    orders: Sequence[tuple[Order, list[Touch]]], settings: AttributionSettings
) -> list[dict[str, Any]]:
    rows = []
    for order, touches in orders:
        # What Postgres hands over lies within the longest window.
        found = convert(order, Journey(touches, bought_before=False), settings)
        rows += [window.row(order.order_id) for window in found.windows]
    return rows


@st.composite
def journeys(draw: st.DrawFn) -> list[tuple[Order, list[Touch]]]:
    found = []
    for number in range(1, draw(st.integers(1, 6)) + 1):
        placed = NOON - timedelta(hours=draw(st.integers(0, 100)))
        cents = draw(st.sampled_from([0, 1, 99, 10_000, 123_457, 8_999_999_999]))
        order = Order(number, "v", None, "USD", max(cents, 1), cents, placed)
        touches = [
            Touch(
                UUID(int=draw(st.integers(1, 400))),
                draw(st.sampled_from(list(CHANNEL_CODES))),
                placed
                - timedelta(
                    seconds=draw(st.sampled_from([0, 1, 86_400, 86_401, 604_800, 1_209_600, 2_592_000]))
                )
                - timedelta(microseconds=draw(st.integers(0, 3))),
            )
            for _ in range(draw(st.integers(0, 9)))
        ]
        once = {touch.id: touch for touch in touches}.values()
        found.append((order, [each for each in once if placed - each.occurred_at <= timedelta(days=30)]))
    return found


def compared(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """In one order, and with lists for what is a tuple in one of the two."""
    plain: list[dict[str, Any]] = json.loads(json.dumps(rows))
    return sorted(plain, key=lambda row: (row["shopify_order_id"], row["window_days"]))


@given(orders=journeys(), settings=st.sampled_from(SETTINGS))
def test_arrays_give_what_the_rule_gives(
    orders: list[tuple[Order, list[Touch]]], settings: AttributionSettings
) -> None:
    found, wanted = compared(over_arrays(orders, settings)), compared(by_rule(orders, settings))
    assert found == wanted


def test_touch_that_was_found_twice_counts_once_and_the_latest_fifty_do() -> None:
    order = Order(1, "v", None, "USD", 100, 100, NOON)
    many = [Touch(UUID(int=at + 1), "paid", NOON - timedelta(minutes=at)) for at in range(60)]
    [row] = [row for row in over_arrays([(order, [*many, *many])], SETTINGS[0]) if row["window_days"] == 30]
    assert row["touchpoint_ids"] == [str(UUID(int=at)) for at in range(50, 0, -1)]
    assert row["cents"][2] == [2] * 50


def test_chunk_without_a_touch_gives_nothing() -> None:
    order = Order(1, "v", None, "USD", 100, 100, NOON)
    assert over_arrays([(order, [])], SETTINGS[0]) == []


def test_models_that_are_not_written_are_null() -> None:
    order = Order(1, "v", None, "USD", 100, 100, NOON)
    rows = over_arrays([(order, [Touch(UUID(int=1), "paid", NOON)])], SETTINGS[3])
    written = [list(Model)[at] for at, cents in enumerate(rows[0]["cents"]) if cents != [None]]
    assert written == [Model.LINEAR, Model.TIME_DECAY]
