"""The one error tree. What the kernel does with a failure follows from its class alone.

    TradewindError
    ├── RetryableError            again later, with the task's backoff; counts as an attempt
    │   ├── ProviderUnavailableError    no answer, a reset, a time-out, 5xx
    │   ├── ConflictError               the provider or database asks to try again
    │   └── LeaseHeldError              another worker is on the same run
    ├── RateLimitedError          again after the provider's own wait; counts as no attempt
    │   └── QuotaExceededError          a day's or a month's quota: nothing passes for long
    └── TerminalError             never again by itself: a dead letter, and the group moves on
        ├── InvalidPayloadError         a field is missing or impossible
        ├── NotFoundError               the thing that is asked for does not exist
        ├── RepeatRefusedError          the provider knows the key of a repeated call, with another content
        ├── CredentialsRejectedError    a token, key or permission is not accepted
        ├── MisconfiguredError          a setting is missing or wrong
        └── PausedError                 an operator has paused the tenant or the task

Anything outside the tree is a bug: logged with its stack and retried up to the task's attempts. Invoked directly (a
state machine, a manual run) a task raises the *kind* as the error's name: ``RetryableError``, ``RateLimitedError``,
``TerminalError`` or ``UnexpectedError``.
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum


class ErrorKind(StrEnum):
    """What the kernel does with a failure; the value is the error name seen by a state machine."""

    RETRYABLE = "RetryableError"
    RATE_LIMITED = "RateLimitedError"
    TERMINAL = "TerminalError"
    UNEXPECTED = "UnexpectedError"


class TradewindError(Exception):
    """Base of the tree. ``kind`` is a fact of the class."""

    kind = ErrorKind.UNEXPECTED


class RetryableError(TradewindError):
    """A passing fault; the next attempt may well succeed."""

    kind = ErrorKind.RETRYABLE


class ProviderUnavailableError(RetryableError):
    """A provider gave no usable answer. ``outcome_unknown`` says that the call may have taken effect."""

    def __init__(self, provider: str, reason: str, *, outcome_unknown: bool = False) -> None:
        super().__init__(f"{provider}: {reason}")
        self.provider = provider
        self.outcome_unknown = outcome_unknown


class ConflictError(RetryableError):
    """Two writers met; the loser tries again."""


class LeaseHeldError(RetryableError):
    """Another worker holds the run until ``wait`` has passed."""

    def __init__(self, task: str, cause: str, wait: timedelta) -> None:
        super().__init__(f"{task} for {cause} is being worked on for up to {wait.total_seconds():.0f} s more")
        self.wait = wait


class RateLimitedError(TradewindError):
    """A limit is reached; ``wait`` is how long until a call may pass."""

    kind = ErrorKind.RATE_LIMITED

    def __init__(self, limit: str, wait: timedelta) -> None:
        super().__init__(f"{limit}: wait {wait.total_seconds():.3f} s")
        self.limit = limit
        self.wait = wait


class QuotaExceededError(RateLimitedError):
    """A quota of a day or a month is used up; whoever sends pauses until then instead of waiting."""


class TerminalError(TradewindError):
    """Trying again cannot help; a person or a later event has to change something first."""

    kind = ErrorKind.TERMINAL


class InvalidPayloadError(TerminalError):
    """A field is missing or impossible. ``field`` is its path, ``remedy`` what to send instead."""

    def __init__(self, field: str, problem: str, remedy: str = "") -> None:
        super().__init__(f"{field}: {problem}" + (f"; {remedy}" if remedy else ""))
        self.field = field
        self.remedy = remedy


class NotFoundError(TerminalError):
    """``what`` with ``identifier`` does not exist where it was looked for."""

    def __init__(self, what: str, identifier: object) -> None:
        super().__init__(f"no {what} with id {identifier}")
        self.what = what
        self.identifier = identifier


class RepeatRefusedError(TerminalError):
    """An idempotency key was used before with another content: what became of the first call is unknown."""


class CredentialsRejectedError(TerminalError):
    """The provider refuses the tenant's credentials; they must be renewed by a person."""


class PausedError(TerminalError):
    """An operator has paused the tenant or the task; a run by hand needs ``force``."""

    def __init__(self, task: str) -> None:
        super().__init__(f"{task} or its tenant is paused: resume it, or run it with force")


class MisconfiguredError(TerminalError):
    """A setting is missing or unusable; the message names it."""


def kind_of(error: BaseException) -> ErrorKind:
    """Classify any exception: the tree's own kind, else unexpected."""
    return error.kind if isinstance(error, TradewindError) else ErrorKind.UNEXPECTED


class UnexpectedError(TradewindError):
    """How a bug leaves a direct invocation: the original class and message are in its text."""
