"""Events that our own tasks tell: written in the transaction that made them true, handed on by the relay."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pydantic import BaseModel

from tradewind.contracts.events import EVENTS, PUBLISHED
from tradewind.tenancy.database import Jsonb, Transaction

_PUBLISH = "SELECT publish_events(%(events)s)"


@dataclass(frozen=True, slots=True)
class Told:
    """One event. ``key`` tells it apart from others of its type: told twice under it, it is told once."""

    type: str
    key: str
    payload: BaseModel


def publish(tx: Transaction, correlation_id: str, events: Iterable[Told]) -> None:
    """Tell events with the effect of ``tx``. Raises ValueError for a type or a payload without a contract."""
    rows = []
    for event in events:
        contract = PUBLISHED.get(event.type) or EVENTS.get(event.type)
        if contract is None or not isinstance(event.payload, contract):
            raise ValueError(f"{event.type} has no contract that {type(event.payload).__name__} fulfils")
        rows.append(
            {
                "type": event.type,
                "key": event.key,
                "correlation_id": correlation_id,
                "payload": event.payload.model_dump(mode="json"),
            }
        )
    if rows:
        tx.fetch_one(_PUBLISH, {"events": Jsonb(rows)})
