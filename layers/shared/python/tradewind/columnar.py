"""The one door to DuckDB: JSON lines to CSV, and CSV to Parquet. It comes with ``layers=("columnar",)``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

from tradewind.errors import TradewindError

MEMORY = "256MB"
_Settings = dict[str, str | int | float | list[str]]


class UnreadableLinesError(TradewindError):
    """Not every line is a JSON object."""


class JsonLines:
    """Reads JSON lines several times faster than a Python loop. Threads may read side by side: it holds no lock."""

    def __init__(self) -> None:
        import duckdb  # noqa: PLC0415 - needs the layer

        self._connection = duckdb.connect(config=_settings())
        self._refused = duckdb.Error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def as_csv(self, lines: bytes, fields: Sequence[str]) -> bytes:
        """A row a line with the ``fields`` of its object, in order and without a heading. Texts come unescaped, numbers
        and nested values as they are written; null and a missing field are empty without quotes, and an empty text is
        two quotes. Raises UnreadableLinesError.
        """
        columns = ", ".join(f"{_text(field)}: 'VARCHAR'" for field in fields)
        with TemporaryDirectory() as folder, self._connection.cursor() as cursor:
            source, target = Path(folder, "lines"), Path(folder, "rows")
            source.write_bytes(lines)
            try:
                cursor.execute(  # names are a statement's own, paths are ours
                    f"COPY (SELECT * FROM read_json({_text(source)}, format = 'newline_delimited', records = true,"  # noqa: S608 - the same
                    f" columns = {{{columns}}}, maximum_object_size = {len(lines)}))"
                    f" TO {_text(target)} (FORMAT csv, HEADER false)"
                )
            except self._refused as error:
                raise UnreadableLinesError(str(error)) from error
            return target.read_bytes()


def write_parquet(source: Path, target: Path, columns: Mapping[str, str]) -> None:
    """Turn a CSV file with a heading into Parquet, row by row in its order, in constant memory.

    ``columns`` are its columns with DuckDB's types, in order; an empty field without quotes is null. The same file
    gives the same bytes.
    """
    import duckdb  # noqa: PLC0415 - needs the layer

    with duckdb.connect(config=_settings() | {"temp_directory": str(target.parent)}) as connection:
        connection.execute("SET preserve_insertion_order = true; SET TimeZone = 'UTC'")
        types = ", ".join(f"{_text(name)}: '{kind}'" for name, kind in columns.items())
        connection.execute(  # names and types are a dataset's own, paths are ours
            f"COPY (SELECT * FROM read_csv({_text(source)}, header = true, auto_detect = false, delim = ',',"  # noqa: S608 - the same
            f" quote = '\"', escape = '\"', columns = {{{types}}}, allow_quoted_nulls = false))"
            f" TO {_text(target)} (FORMAT parquet, COMPRESSION zstd)"
        )


def _settings() -> _Settings:
    return {"threads": 1, "memory_limit": MEMORY, "autoinstall_known_extensions": "false"}


def _text(value: Path | str) -> str:
    return "'" + str(value).replace("'", "''") + "'"
