"""Crash points: places where a commit, a call, an enqueue or an acknowledgement has just happened.

Inert in production. A chaos test installs a hook that kills the process (or raises) at a point of its choice, and
proves that nothing is lost or doubled whichever it is.
"""

from __future__ import annotations

from collections.abc import Callable

_hooks: list[Callable[[str], None]] = []


def reached(point: str) -> None:
    """Say that ``point`` has been passed."""
    for hook in _hooks:
        hook(point)


def install(hook: Callable[[str], None]) -> Callable[[], None]:
    """Install a hook for tests; returns what removes it again."""
    _hooks.append(hook)
    return lambda: _hooks.remove(hook)
