"""What the sandbox received: a ring of the latest calls, and counts of all."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any

RING = 50_000


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a provider's API. ``account`` is the provider's own name for the customer, a shop for
    Shopify.

    ``cost`` is in the provider's points, ``duration_ms`` is without the hold of a fault, ``subject`` what it
    was about, ``remark`` what a status of 200 does not tell, such as ``throttled``.
    """

    number: int
    at: datetime
    provider: str
    account: str
    operation: str
    subject: str
    status: int
    remark: str
    fault: str | None
    cost: float
    duration_ms: float

    @property
    def is_refused(self) -> bool:
        """Whether the provider itself, not a fault, refused the call."""
        return self.fault is None and (self.status >= HTTPStatus.BAD_REQUEST or bool(self.remark))

    def document(self) -> dict[str, Any]:
        document = asdict(self)
        document["at"] = self.at.isoformat()
        document["shop"] = document.pop("account")
        return document


@dataclass(slots=True)
class Tally:
    """Counts of one provider and account."""

    calls: int = 0
    faults: int = 0
    refused: int = 0
    points: float = 0.0
    last_at: datetime | None = None


class CallLog:
    def __init__(self) -> None:
        self._ring: deque[Call] = deque(maxlen=RING)
        self._next = 1
        self.tallies: dict[tuple[str, str], Tally] = {}
        self.faults: Counter[tuple[str, str]] = Counter()
        self.operations: Counter[tuple[str, str]] = Counter()

    def next_number(self) -> int:
        self._next += 1
        return self._next - 1

    def record(self, call: Call) -> None:
        self._ring.append(call)
        tally = self.tallies.setdefault((call.provider, call.account), Tally())
        tally.calls += 1
        tally.points += call.cost
        tally.last_at = call.at
        tally.refused += call.is_refused
        self.operations[call.provider, call.operation] += 1
        if call.fault is not None:
            tally.faults += 1
            self.faults[call.provider, call.fault] += 1

    def clear(self) -> None:
        """Forget all calls; numbers go on, so that an ``after`` of before stays true."""
        self._ring.clear()
        self.tallies.clear()
        self.faults.clear()
        self.operations.clear()

    def list_after(self, after: int, limit: int, provider: str | None, account: str | None) -> Sequence[Call]:
        """The oldest ``limit`` calls that the ring still has after number ``after``."""
        found: list[Call] = []
        for call in self._ring:
            if (
                call.number <= after
                or provider not in (None, call.provider)
                or account not in (None, call.account)
            ):
                continue
            found.append(call)
            if len(found) == limit:
                break
        return found

    def latest(self, count: int) -> Sequence[Call]:
        return [self._ring[-at] for at in range(1, min(count, len(self._ring)) + 1)]
