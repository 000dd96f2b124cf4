"""Queries live in ``queries.sql`` beside their repository: ``-- name --`` and a line of meaning above each."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

_HEADING = re.compile(r"^-- ([a-z][a-z0-9_]*) --\s*$", re.MULTILINE)


def load_queries(beside: str) -> Mapping[str, str]:
    """Read ``queries.sql`` in the folder of ``beside`` (pass ``__file__``).

    Returns name -> SQL. Raises ValueError for a name used twice, and where the file has no named query.
    """
    text = Path(beside).with_name("queries.sql").read_text(encoding="utf-8")
    pieces = _HEADING.split(text)
    queries: dict[str, str] = {}
    for name, body in zip(pieces[1::2], pieces[2::2], strict=True):
        if name in queries:
            raise ValueError(f"query {name} stands twice beside {beside}")
        queries[name] = body.strip()
    if not queries:
        raise ValueError(f"queries.sql beside {beside} has no query named as '-- name --'")
    return queries
