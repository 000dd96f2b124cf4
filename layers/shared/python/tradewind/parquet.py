"""The one door to DuckDB, which turns a CSV file into Parquet. It comes with ``layers=("exports",)``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

MEMORY = "256MB"


def write_parquet(source: Path, target: Path, columns: Mapping[str, str]) -> None:
    """Turn a CSV file with a heading into Parquet, row by row in its order, in constant memory.

    ``columns`` are its columns with DuckDB's types, in order; an empty field without quotes is null. The same file
    gives the same bytes.
    """
    import duckdb  # noqa: PLC0415 - needs the layer

    about: dict[str, str | int | float | list[str]] = {
        "threads": 1,
        "memory_limit": MEMORY,
        "temp_directory": str(target.parent),
        "autoinstall_known_extensions": "false",
    }
    with duckdb.connect(config=about) as connection:
        connection.execute("SET preserve_insertion_order = true; SET TimeZone = 'UTC'")
        types = ", ".join(f"'{name}': '{kind}'" for name, kind in columns.items())
        connection.execute(  # names and types are a dataset's own, paths are ours
            f"COPY (SELECT * FROM read_csv({_text(source)}, header = true, auto_detect = false, delim = ',',"  # noqa: S608 - the same
            f" quote = '\"', escape = '\"', columns = {{{types}}}, allow_quoted_nulls = false))"
            f" TO {_text(target)} (FORMAT parquet, COMPRESSION zstd)"
        )


def _text(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"
