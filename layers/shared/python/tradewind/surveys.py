"""What customers answer after a purchase, and the port through which it is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class SurveyAnswer:
    """One answer. ``original`` is what an edited one was at first; ``order_id`` is the shop's own number, if told."""

    id: str
    answered_at: datetime
    question_id: str | None
    question: str | None
    answer: str | None
    original: str | None
    other: str | None
    order_id: int | None
    order_number: str | None
    customer_id: int | None


@dataclass(frozen=True, slots=True)
class AnswerPage:
    """A page of answers; ``cursor`` asks for the next, None on the last."""

    answers: tuple[SurveyAnswer, ...]
    cursor: str | None


class Survey(Protocol):
    """A tenant's survey of its customers."""

    def is_connected(self) -> bool:
        """Whether the tenant has stored what asking needs; asks nobody."""

    def list_answers(self, since: datetime, cursor: str | None) -> AnswerPage:
        """Answers that were given from ``since`` on, or those that a page before has left.

        Raises NotFoundError (no key), RateLimitedError, ProviderUnavailableError, CredentialsRejectedError,
        MisconfiguredError, InvalidPayloadError.
        """
