"""Journeys, trainings and models in Postgres."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from analytics.ml_training.model import (
    CODE,
    HELD_FOR,
    LEAST_SAMPLES,
    MOST_JOURNEYS,
    SETTLING,
    WINDOW,
    Learnt,
    Reason,
    State,
    Training,
)
from tradewind.contracts.attribution import CHANNEL_CODES, AttributionSettings
from tradewind.sql import load_queries
from tradewind.tenancy.database import Jsonb, Transaction

QUERIES = load_queries(__file__)
KEPT = 90
"""Versions of which the registry keeps what is no longer used."""


@dataclass(frozen=True, slots=True)
class Stored:
    """The model in use as it is stored. ``readable`` where this code has written it."""

    version: int
    algorithm: str
    readable: bool
    document: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Standing:
    """How a training stands, with the model that it has left; ``version`` is None where there is none."""

    state: State
    reason: str | None
    attempt: int
    version: int | None
    algorithm: str | None
    used: bool
    samples: int | None
    conversions: int | None


class Trainings:
    """A tenant's trainings and models."""

    def __init__(self, transaction: Transaction) -> None:
        self._tx = transaction

    def request(self, training_id: UUID, until: datetime, *, may_use: bool) -> None:
        """Note a training that is asked for; again, it changes nothing."""
        about = {"training_id": training_id, "use_is_wanted": may_use, "until": until}
        self._tx.execute(QUERIES["request_training"], about)

    def why_not(self, until: datetime) -> Reason | None:
        """Why there cannot be enough to learn from, as far as counting a little tells."""
        span = {"since": until - WINDOW, "until": until - SETTLING, "most": LEAST_SAMPLES}
        row = self._tx.fetch_one(QUERIES["count_first"], span)
        if row is None or row["touches"] < LEAST_SAMPLES:
            return Reason.TOO_FEW_SAMPLES
        return None if row["conversions"] else Reason.NO_CONVERSIONS

    def claim(self, training_id: UUID, now: datetime) -> Training | None:
        """Take a training up; None where it has ended already, or another one of the tenant is at work."""
        self.lock()
        about = {"training_id": training_id, "now": now, "held_until": now + HELD_FOR}
        self._tx.execute(QUERIES["give_up_trainings"], about)
        row = self._tx.fetch_one(QUERIES["claim_training"], about)
        if row is None:
            return None
        return Training(
            row["training_id"],
            row["fence"],
            row["attempt"],
            row["until"],
            State.RUNNING,
            may_use=row["may_use"],
        )

    def find(self, training_id: UUID) -> Standing | None:
        row = self._tx.fetch_one(QUERIES["find_training"], {"training_id": training_id})
        return None if row is None else Standing(**{**row, "state": State(row["state"])})

    def hold(self, training: Training, now: datetime) -> bool:
        """Say that the container is still at work; false where another has taken the training over."""
        about = {"held_until": now + HELD_FOR, "training_id": training.id, "fence": training.fence}
        return self._tx.fetch_one(QUERIES["hold_training"], about) is not None

    def end(self, training: Training, state: State, reason: str | None, now: datetime) -> bool:
        """End a training; false where another container has taken it over."""
        about: dict[str, Any] = {"state": state, "reason": reason, "now": now}
        about |= {"training_id": training.id, "fence": training.fence}
        return self._tx.fetch_one(QUERIES["end_training"], about) is not None

    def lock(self) -> None:
        """Until the transaction ends nobody else claims a training of the tenant, or changes the model in use."""
        self._tx.execute(QUERIES["lock_trainings"])

    def find_used(self) -> Stored | None:
        row = self._tx.fetch_one(QUERIES["find_used_model"])
        if row is None:
            return None
        return Stored(row["version"], row["algorithm"], row["code"] == CODE, row["document"])

    def save_model(self, training: Training, learnt: Learnt, reason: Reason | None, now: datetime) -> int:
        """Register a model, and use it where no ``reason`` speaks against it. Returns its version."""
        if reason is None:
            self._tx.execute(QUERIES["leave_model"])
            self._tx.execute(QUERIES["clear_weights"])
            about = {
                "channel_weights": Jsonb(dict(learnt.weights)),
                "converted": learnt.conversions,
                "now": now,
            }
            self._tx.execute(QUERIES["save_weights"], about)
        version = self._insert(training, learnt, reason)
        self._tx.execute(QUERIES["forget_models"], {"last_version": version - KEPT})
        return version

    def _insert(self, training: Training, learnt: Learnt, reason: Reason | None) -> int:
        about: dict[str, Any] = {
            "training_id": training.id,
            "algorithm": learnt.algorithm,
            "code_version": CODE,
            "samples": learnt.samples,
            "converted": learnt.conversions,
            "since": learnt.since,
            "until": learnt.until,
            "channel_weights": Jsonb(dict(learnt.weights)),
            "metrics": Jsonb(dict(learnt.metrics)),
            "fitted": Jsonb(dict(learnt.document)),
            "use_is_due": reason is None,
            "reason": reason,
        }
        row = self._tx.fetch_one(QUERIES["save_model"], about)
        return 0 if row is None else int(row["version"])

    def pack_journeys(self, since: datetime, until: datetime, settings: AttributionSettings) -> bytes:
        """The journeys that ended in a span, as records of ``learning.journeys.TOUCH``."""
        days = settings.default_window
        about = {
            "since": since,
            "until": until - SETTLING,
            "window_days": days,
            "look_back": timedelta(days=days),
            "types": settings.types,
            "channels": list(CHANNEL_CODES),
            "most": MOST_JOURNEYS,
        }
        row = self._tx.fetch_one(QUERIES["pack_journeys"], about)
        return b"" if row is None or row["packed"] is None else bytes(row["packed"])
