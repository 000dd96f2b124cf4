"""Which days of which accounts are asked for, piece by piece. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from tradewind.spending import AdAccount, Span, SpendPlatform

DAILY_DAYS, TRAILING_DAYS = 3, 28
"""Each day the last three, since platforms correct them; on Mondays the trailing 28, after which Meta's are final."""
MONDAY = 0


@dataclass(frozen=True, slots=True)
class Piece:
    """Days of one account; ``report`` is the platform's own number of a report that it is making of them."""

    account: AdAccount
    span: Span
    report: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What is left to ask for, and how many rows have been written."""

    pieces: tuple[Piece, ...]
    rows: int = 0

    def to_checkpoint(self) -> dict[str, Any]:
        return {
            "rows": self.rows,
            "pieces": [
                {
                    "platform": piece.account.platform,
                    "account": piece.account.id,
                    "currency": piece.account.currency,
                    "first": piece.span.first.isoformat(),
                    "last": piece.span.last.isoformat(),
                    "report": piece.report,
                }
                for piece in self.pieces
            ],
        }

    @classmethod
    def of(cls, checkpoint: Mapping[str, Any]) -> Plan:
        pieces = tuple(
            Piece(
                AdAccount(SpendPlatform(each["platform"]), each["account"], each["currency"]),
                Span(date.fromisoformat(each["first"]), date.fromisoformat(each["last"])),
                each["report"],
            )
            for each in checkpoint["pieces"]
        )
        return cls(pieces, int(checkpoint["rows"]))

    def done(self, rows: int) -> Plan:
        """The first piece is written."""
        return Plan(self.pieces[1:], self.rows + rows)

    def pending(self, report: str) -> Plan:
        """The platform is making the first piece's report."""
        first = self.pieces[0]
        return Plan((Piece(first.account, first.span, report), *self.pieces[1:]), self.rows)

    def halved(self) -> Plan:
        """The first piece in two halves."""
        account, span = self.pieces[0].account, self.pieces[0].span
        middle = span.first + timedelta(days=span.days // 2 - 1)
        halves = Span(span.first, middle), Span(middle + timedelta(days=1), span.last)
        return Plan((*(Piece(account, half) for half in halves), *self.pieces[1:]), self.rows)


def span_of(now: datetime, zone: str, last: date | None, days: int | None) -> Span:
    """The days that a run asks for, the last complete one at the end."""
    today = now.astimezone(ZoneInfo(zone)).date()
    until = last or today - timedelta(days=1)
    usual = TRAILING_DAYS if now.weekday() == MONDAY else DAILY_DAYS
    return Span(until - timedelta(days=(days or usual) - 1), until)


def plan_of(accounts: Sequence[AdAccount], span: Span) -> Plan:
    return Plan(tuple(Piece(account, span) for account in accounts))
