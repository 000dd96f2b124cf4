"""Postgres's binary forms as arrays: touches as they come out, packed, and credits as a COPY takes them.

Every field has four bytes of length before it; numbers are big-endian. An array's field begins with its number of
dimensions, whether it holds nulls, its type's oid, and each dimension's length and lower bound. Source: the manual's
"COPY, Binary Format", and ``array_send`` in Postgres's own code.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tradewind.contracts.attribution import Model

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
_UUID, _INT2, _INT4, _INT8 = 2950, 21, 23, 20
CONVERSION = np.dtype(
    [("order", ">i8"), ("revenue", ">i8"), ("placed", ">i8"), ("calculated", ">i8"), ("touches", ">i4")]
)
"""A conversion as it is packed: its order, what refunds leave of it in cents, its time and that of its last computation
in microseconds since 2000, and how many touches it then had.
"""
STANDING = np.dtype([("place", ">i4"), ("window", ">i4"), ("digest", "V16")])
"""A row of credits that stands: the place of its order in the chunk, its window, and its arrays' digest."""
TOUCH = np.dtype([("place", ">i4"), ("id", "V16"), ("channel", ">i2"), ("instant", ">i8")])
"""A touch: the place of its order in the chunk, its id, its channel's code and its time."""


class CreditRecords:
    """Records of ``attribution_credits`` (order, window, touches, channels, credits, cents) with ``number`` touches."""

    def __init__(self, number: int, models: Sequence[Model]) -> None:
        self._models = models
        line = [("ids", _UUID, "V16"), ("channels", _INT2, ">i2")]
        fields: list[Any] = [
            ("fields", ">i2"),
            ("lo", ">i4"),
            ("order", ">i8"),
            ("lw", ">i4"),
            ("window", ">i4"),
        ]
        sizes: dict[str, int] = {}
        for name, _, element in line:
            each = np.dtype([("l", ">i4"), ("v", element)])
            fields += [(f"l_{name}", ">i4"), (f"h_{name}", ">i4", 5), (name, each, number)]
            sizes[name] = 20 + each.itemsize * number
        for name, element in (("credits", ">i4"), ("cents", ">i8")):
            each = np.dtype([("l", ">i4"), ("v", element)])
            fields += [(f"l_{name}", ">i4"), (f"h_{name}", ">i4", 7)]
            fields += [
                (f"{name}_{model}", each if model in models else np.dtype([("l", ">i4")]), number)
                for model in Model
            ]
            written = len(models) * each.itemsize + (len(Model) - len(models)) * 4
            sizes[name] = 28 + written * number
        self.kind = np.dtype(fields)
        self._blank = self._make_blank(number, sizes)

    def _make_blank(self, number: int, sizes: dict[str, int]) -> NDArray[Any]:
        """One record with everything that is the same in all."""
        blank = np.zeros(1, self.kind)
        blank["fields"], blank["lo"], blank["lw"] = 6, 8, 4
        for name, size in sizes.items():
            blank[f"l_{name}"] = size
        blank["h_ids"] = (1, 0, _UUID, number, 1)
        blank["h_channels"] = (1, 0, _INT2, number, 1)
        blank["ids"]["l"], blank["channels"]["l"] = 16, 2
        holds_nulls = int(len(self._models) < len(Model))
        for name, oid, length in (("credits", _INT4, 4), ("cents", _INT8, 8)):
            blank[f"h_{name}"] = (2, holds_nulls, oid, len(Model), 1, number, 1)
            for model in Model:
                blank[f"{name}_{model}"]["l"] = length if model in self._models else -1
        return blank

    @property
    def shares_at(self) -> int:
        """Where in a record its arrays begin: what comes before names the row."""
        fields = self.kind.fields
        assert fields is not None, "the record has fields"  # noqa: S101 - for the type checker
        return int(fields["l_ids"][1])

    def make(self, rows: int) -> NDArray[Any]:
        """So many records, to be filled in."""
        return np.repeat(self._blank, rows)
