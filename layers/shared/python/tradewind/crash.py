"""Crash points: places where a commit, a call, an enqueue or an acknowledgement has just happened.

Inert in production: nothing but the local cloud's chaos runtime installs a hook, which kills the process (or raises) at
a point of its choice. ``tests/chaos`` kills a process at every point and proves that nothing is lost or doubled; a new
point joins it by standing here.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum


class Point(StrEnum):
    """Every crash point. The first group lies in the doors that all code goes through, the rest where it says."""

    TRANSACTION_COMMITTED = "transaction.committed"
    STATEMENT_COMMITTED = "statement.committed"
    AWS_ANSWERED = "aws.answered"
    PROVIDER_ANSWERED = "provider.answered"

    RECEIVER_CLAIM_CHECKED = "receiver.claim_checked"
    RECEIVER_KEPT = "receiver.kept"
    RECEIVER_DEAD_KEPT = "receiver.dead_kept"
    RECEIVER_DONE = "receiver.done"
    """Everything is done, and the provider gets no answer."""

    OUTBOX_SENT = "outbox.sent"
    OUTBOX_MARKED = "outbox.marked"
    OUTBOX_ADMITTED = "outbox.admitted"

    RUN_CLAIMED = "run.claimed"
    TASK_RETURNED = "task.returned"
    RUN_FINISHED = "run.finished"
    RUN_GIVEN_BACK = "run.given_back"
    RUN_FAILED = "run.failed"
    WORKFLOW_ENDED = "workflow.ended"
    LIMIT_TAKEN = "limit.taken"
    TOKEN_RENEWED = "token.renewed"  # noqa: S105 - a name
    """Shopify has issued new tokens, and nobody has stored them."""
    POISON_KEPT = "poison.kept"
    VISIBILITY_SET = "visibility.set"
    BATCH_ENDED = "batch.ended"
    """Everything is done, and the queue is not told."""
    CALL_ENDED = "call.ended"
    """The same for a direct invocation: a state machine's step."""

    RECEIVER_SET_ASIDE = "receiver.set_aside"
    """Postgres is away, the intake queue has the webhook, and the provider gets no answer."""
    INTAKE_ACCEPTED = "intake.accepted"
    """A webhook that had been set aside is accepted, and the intake queue is not told."""

    RELAY_ROUTED = "relay.routed"
    RELAY_PURGED = "relay.purged"
    SLOTS_WRITTEN = "slots.written"
    DEAD_LETTER_KEPT = "dead_letter.kept"
    REPLAY_COMMITTED = "replay.committed"


_hooks: list[Callable[[Point], None]] = []


def reached(point: Point) -> None:
    """Say that ``point`` has been passed."""
    for hook in _hooks:
        hook(point)


def install(hook: Callable[[Point], None]) -> Callable[[], None]:
    """Install a hook; returns what removes it again."""
    _hooks.append(hook)
    return lambda: _hooks.remove(hook)
