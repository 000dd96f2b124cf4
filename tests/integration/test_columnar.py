"""JSON lines as CSV, read back by Postgres: what arrives is what was written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from infra.local.postgres import DatabaseUrls
from tradewind.columnar import JsonLines, UnreadableLinesError

FIELDS = ("id", "text", "number", "yes", "nested")


@pytest.fixture
def lines() -> Iterator[JsonLines]:
    with JsonLines() as reader:
        yield reader


@pytest.fixture
def connection(database: DatabaseUrls) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database.app) as connection:
        connection.execute(
            "CREATE TEMPORARY TABLE read_lines (id bigint, text text, number numeric, yes boolean, nested jsonb)"
        )
        yield connection


def through_postgres(connection: psycopg.Connection[Any], rows: bytes) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor, cursor.copy("COPY read_lines FROM STDIN (FORMAT csv)") as copy:
        copy.write(rows)
    return connection.execute("SELECT * FROM read_lines ORDER BY id").fetchall()


@pytest.mark.parametrize(
    "text",
    [
        "plain",
        "",
        "  spaces  ",
        'quotes " and ""',
        "commas, and\ttabs",
        "two\nlines\r\nand three",
        "\\.\n\\.\n",
        "back\\slash \\n \\N",
        "null",
        "NULL",
        "größer, 大, 🎉",
        "\x01\x1f\x7f",
        None,
    ],
    ids=repr,
)
def test_text_arrives_as_it_was(
    lines: JsonLines, connection: psycopg.Connection[Any], text: str | None
) -> None:
    written = json.dumps({"id": 1, "text": text}).encode()
    assert through_postgres(connection, lines.as_csv(written, FIELDS)) == [(1, text, None, None, None)]


def test_values_arrive_whatever_their_order_and_what_nobody_asks_for_is_left_out(
    lines: JsonLines, connection: psycopg.Connection[Any]
) -> None:
    nested = {"a": [1, "x", None, {"b": 'say "no"'}], "c": True}
    written = "\n".join(
        json.dumps(row)
        for row in (
            {"yes": True, "id": 2, "nested": nested, "ID2": "other", "number": 12.5},
            {"unknown": {"deep": [1]}, "id": 1, "number": "0.10", "yes": None, "nested": []},
            {"id": 2**62, "text": 7},
        )
    )
    rows = through_postgres(connection, lines.as_csv(written.encode() + b"\n", FIELDS))
    assert [row[0] for row in rows] == [1, 2, 2**62]
    assert [str(row[2]) for row in rows] == ["0.10", "12.5", "None"]
    assert [row[3:] for row in rows] == [(None, []), (True, nested), (None, None)]
    assert rows[2][1] == "7"


@pytest.mark.parametrize("line", ["no json", "[]", "7", '{"id": 1', '"text"', '{"text": "\\ud800"}'])
def test_line_that_is_no_object_is_refused_with_all_others(lines: JsonLines, line: str) -> None:
    with pytest.raises(UnreadableLinesError):
        lines.as_csv(b'{"id": 1}\n' + line.encode() + b'\n{"id": 2}\n', FIELDS)


def test_threads_read_side_by_side(lines: JsonLines) -> None:
    parts = [
        b"".join(b'{"id": %d}\n' % (part * 1000 + number) for number in range(1000)) for part in range(8)
    ]
    with ThreadPoolExecutor(4) as pool:
        read = list(pool.map(lambda part: lines.as_csv(part, ("id",)), parts))
    assert [[int(row) for row in rows.split()] for rows in read] == [
        list(range(part * 1000, part * 1000 + 1000)) for part in range(8)
    ]
