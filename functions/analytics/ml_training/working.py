"""A training from its claim to its model: what a container does, with everything that it needs given to it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from analytics.ml_training.learning.journeys import Journeys, read_journeys
from analytics.ml_training.learning.training import Chosen, Learning, unfit
from analytics.ml_training.model import Learnt, Reason, State, Training, Used, judge
from analytics.ml_training.repository import Standing, Stored, Trainings
from tradewind.contracts.attribution import CHANNEL_CODES, AttributionSettings
from tradewind.errors import NotFoundError
from tradewind.tasks.container import Container, InterruptedWorkError
from tradewind.tenancy.database import DatabaseUnavailableError, FenceLostError, TenantDb

NAMES = tuple(CHANNEL_CODES)
CHECKPOINT, JOURNEYS = "checkpoint.json", "journeys.bin"


@dataclass(frozen=True, slots=True)
class Trainer:
    """Trains for one tenant, with what a container is given."""

    given: Container

    @property
    def _db(self) -> TenantDb:
        return TenantDb(self.given.session, self.given.tenant.id)

    def train(self) -> dict[str, Any]:
        """Train to the end and return how it went, or ``handed_over`` where the container's time is up.

        Raises NotFoundError for a training that nobody has asked for, InterruptedWorkError, and FenceLostError.
        """
        training_id = self.given.run
        begun = self.given.clock.now()
        with self._db.begin() as tx:
            training = Trainings(tx).claim(training_id, begun)
            standing = None if training else Trainings(tx).find(training_id)
        self.given.session.settle()
        if training is None:
            return _stands(standing, training_id)
        self.given.note("training claimed", {"attempt": training.attempt})
        try:
            return self._work(training, begun)
        except (InterruptedWorkError, FenceLostError, DatabaseUnavailableError):
            raise
        except Exception as error:
            self._give_up(training, type(error).__name__)
            raise

    def _work(self, training: Training, begun: datetime) -> dict[str, Any]:
        journeys = self._journeys(training)
        reason = unfit(journeys)
        if reason is not None:
            return self._skip(training, reason)
        learning = Learning(journeys, self._checkpoint(training))
        self.given.note(
            "training begins", {"journeys": len(journeys), "resumed": len(learning.progress.fits)}
        )
        if not self._learn(training, learning, begun):
            return {"state": "handed_over", "training": str(training.id)}
        return self._finish(training, learning)

    def _journeys(self, training: Training) -> Journeys:
        """What the first container has read is what the next ones learn from."""
        key = training.key(self.given.tenant.id, JOURNEYS)
        try:
            kept = self._kept(key)
            if kept is not None:
                return read_journeys(_opened(kept), NAMES)
        except ValueError as error:
            self.given.note("journeys are read again", {"why": str(error)})
        settings = AttributionSettings.of(self.given.tenant.settings)
        with self._db.begin() as tx:
            packed = Trainings(tx).pack_journeys(training.since, training.until, settings)
        self.given.payloads.put(key, _sealed(packed))
        return read_journeys(packed, NAMES)

    def _checkpoint(self, training: Training) -> Any:
        """What an earlier container has left; None where there is none, or a damaged one."""
        try:
            kept = self._kept(training.key(self.given.tenant.id, CHECKPOINT))
            return None if kept is None else json.loads(_opened(kept))
        except ValueError as error:
            self.given.note("checkpoint set aside", {"why": str(error)})
            return None

    def _kept(self, key: str) -> bytes | None:
        """What lies under a key, looked for by its name: who may not list everything is refused what is not there."""
        return self.given.payloads.get(key) if key in self.given.payloads.list(key) else None

    def _learn(self, training: Training, learning: Learning, begun: datetime) -> bool:
        """Do what is not done; False where the rest is for the next container."""
        saved = begun
        for unit in learning.steps():
            now = self.given.clock.now()
            self.given.note("unit done", {"unit": unit})
            ends = now - begun >= self.given.span
            stopped = self.given.stop_asked()
            if ends or stopped or now - saved >= self.given.checkpoint_every:
                self._save(training, learning)
                saved = now
            if stopped:
                raise InterruptedWorkError("the container was told to stop; its checkpoint is saved")
            if ends:
                return False
        self._save(training, learning)
        return True

    def _save(self, training: Training, learning: Learning) -> None:
        body = _sealed(json.dumps(learning.progress.document()).encode())
        self.given.payloads.put(training.key(self.given.tenant.id, CHECKPOINT), body)
        with self._db.begin() as tx:
            _fenced(training, Trainings(tx).hold(training, self.given.clock.now()))
        self.given.session.settle()
        self.given.note("checkpoint saved", {"bytes": len(body)})

    def _skip(self, training: Training, reason: Reason) -> dict[str, Any]:
        with self._db.begin() as tx:
            _fenced(training, Trainings(tx).end(training, State.SKIPPED, reason, self.given.clock.now()))
        self.given.session.settle()
        return {"state": State.SKIPPED, "reason": reason, "training": str(training.id)}

    def _give_up(self, training: Training, reason: str) -> None:
        """Another try of this training, or another training, need not wait for the claim's end."""
        self.given.session.roll_back()
        with self._db.begin() as tx:
            Trainings(tx).end(training, State.FAILED, reason, self.given.clock.now())
        self.given.session.settle()

    def _finish(self, training: Training, learning: Learning) -> dict[str, Any]:
        """Choose, judge against the model in use, register; the parts in the payload store are not needed any more."""
        chosen = learning.choose()
        learnt = _learnt(training, learning, chosen)
        while True:
            with self._db.begin() as tx:
                stored = Trainings(tx).find_used()
            self.given.session.settle()
            used = _judged(stored, learning)
            reason = judge(learnt, used) if training.may_use else Reason.NOT_ASKED
            version = self._register(training, learnt, reason, stored)
            if version is not None:
                break
        for part in (CHECKPOINT, JOURNEYS):
            self.given.payloads.delete(training.key(self.given.tenant.id, part))
        return {
            "state": State.SUCCEEDED,
            "training": str(training.id),
            "version": version,
            "algorithm": learnt.algorithm,
            "used": reason is None,
            "reason": reason,
            "samples": learnt.samples,
            "conversions": learnt.conversions,
            "log_loss": learnt.held_out,
            "base": learnt.base,
            "in_use": None if used is None else asdict(used),
        }

    def _register(
        self, training: Training, learnt: Learnt, reason: Reason | None, judged: Stored | None
    ) -> int | None:
        """Save the model, its weights and the training's end, all of it or nothing. None where meanwhile another model
        is in use than the one that this was judged against.
        """
        now = self.given.clock.now()
        with self._db.begin() as tx:
            trainings = Trainings(tx)
            trainings.lock()
            if _version(trainings.find_used()) != _version(judged):
                return None
            _fenced(training, trainings.end(training, State.SUCCEEDED, reason, now))
            version = trainings.save_model(training, learnt, reason, now)
        self.given.session.settle()
        return version


def _version(stored: Stored | None) -> int | None:
    return None if stored is None else stored.version


def _fenced(training: Training, holds: bool) -> None:
    if not holds:
        raise FenceLostError(f"training {training.id} was taken over by another container")


def _stands(standing: Standing | None, training_id: UUID) -> dict[str, Any]:
    """How a training stands that cannot be taken up."""
    if standing is None:
        raise NotFoundError("training", training_id)
    if standing.state in {State.SUCCEEDED, State.SKIPPED}:
        return {"training": str(training_id), **asdict(standing)}
    return {"training": str(training_id), "state": State.SKIPPED, "reason": Reason.ANOTHER_RUNS}


def _learnt(training: Training, learning: Learning, chosen: Chosen) -> Learnt:
    split = learning.split
    parts = (split.train, split.validation, split.held_out)
    metrics = learning.metrics(chosen)
    return Learnt(
        algorithm=chosen.algorithm,
        samples=sum(len(part) for part in parts),
        conversions=sum(part.conversions for part in parts),
        since=training.since,
        until=training.until,
        weights=chosen.model.weights(split.train),
        held_out=float(metrics["held_out"]["log_loss"]),
        base=float(metrics["held_out"]["base"]),
        metrics=metrics,
        document=chosen.model.document(),
    )


def _judged(stored: Stored | None, learning: Learning) -> Used | None:
    if stored is None:
        return None
    loss = learning.loss_of(stored.algorithm, dict(stored.document)) if stored.readable else None
    return Used(stored.version, loss)


def _sealed(body: bytes) -> bytes:
    """With its digest before it, so that what is damaged is known as such."""
    return hashlib.sha256(body).digest() + body


def _opened(sealed: bytes) -> bytes:
    """Raises ValueError for what is damaged."""
    digest, body = sealed[:32], sealed[32:]
    if hashlib.sha256(body).digest() != digest:
        raise ValueError("its digest is not that of its content")
    return body
