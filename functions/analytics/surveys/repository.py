"""Answers and the orders that they are of, in Postgres."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from tradewind.sql import load_queries
from tradewind.surveys import SurveyAnswer
from tradewind.tenancy.database import Jsonb, Transaction

QUERIES = load_queries(__file__)


class Answers:
    """A tenant's answers."""

    def __init__(self, transaction: Transaction) -> None:
        self._tx = transaction

    def schedule_next(self, schedule: str, due_at: datetime) -> None:
        """Say when there is something to fetch again."""
        self._tx.execute(QUERIES["schedule_next"], {"schedule": schedule, "due_at": due_at})

    def save(self, provider: str, answers: Sequence[SurveyAnswer]) -> int:
        """Write answers as they are told now; how many of them are new or were edited."""
        rows = [
            {
                "provider": provider,
                "answer_id": each.id,
                "question_id": each.question_id,
                "question": each.question,
                "answer": each.answer,
                "original": each.original,
                "other": each.other,
                "told_order_id": each.order_id,
                "order_number": each.order_number,
                "shopify_customer_id": each.customer_id,
                "answered_at": each.answered_at.isoformat(),
            }
            for each in {each.id: each for each in answers}.values()
        ]
        return self._tx.execute(QUERIES["save_answers"], {"answers": Jsonb(rows)})

    def match(self, since: datetime, now: datetime) -> int:
        """Find the orders of answers that have none yet; how many were found."""
        return self._tx.execute(QUERIES["match_answers"], {"since": since, "now": now})
