"""Telling a tenant's people, once, and without holding anything up where nobody can be told."""

from __future__ import annotations

from tradewind.errors import TerminalError
from tradewind.ports import Messenger, Note


def tell(messenger: Messenger, key: str, note: Note) -> str:
    """What became of it: posted now or before, not connected, or refused and why. Passing faults are raised: the task
    is done again, and tells under the same key.
    """
    try:
        return messenger.post(key, note)
    except TerminalError as error:
        return f"refused: {error}"
