"""What ad platforms ought to have been told of a day's orders, beside what the ledger says they were. Pure.

What ought to have been told is decided from the orders alone, anew: of the ledger only that an order was too old is
believed, and only where its age bears that out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from analytics.ad_platforms.model import AHEAD, SkipReason, consents_of, without_purchase
from tradewind.advertising import TERMS, Consent, Destination, EventName
from tradewind.contracts.ads import ACCOUNTS
from tradewind.money import to_text
from tradewind.ports import Note

NAMED = 20
"""So many differing orders of a day and platform are named."""
PLATFORMS = {Destination.GA4: "GA4", Destination.META: "Meta", Destination.TIKTOK: "TikTok"}
_TOLD = frozenset({"sent", "acknowledged"})


class Exclusion(StrEnum):
    """Why an order is not to be told to a platform; the first of these that holds."""

    TEST_ORDER = "test_order"
    NO_VALUE = "no_value"
    UNIDENTIFIED = "unidentified"
    """Neither a visitor nor a customer is known: no conversion."""
    BACKFILLED = "backfilled"
    """Loaded from the past; nobody is to hear of it as if it were new."""
    NO_CONSENT = "no_consent"
    NOT_CONNECTED = "not_connected"
    """The account was connected after the order was placed."""
    TOO_OLD = "too_old"
    """It became known later than the platform takes it."""
    NO_PURCHASE = "no_purchase"
    """Of a refund: the platform does not know of what it takes back."""


@dataclass(frozen=True, slots=True)
class Noted:
    """An order's purchase in the ledger of a platform."""

    state: str
    reason: str | None
    value_cents: int
    noted_at: datetime


@dataclass(frozen=True, slots=True)
class DayOrder:
    """An order of the day. ``told`` is whether its conversion was published (None: it has no conversion)."""

    id: int
    placed_at: datetime
    currency: str
    net_cents: int
    total_cents: int
    test: bool
    identified: bool
    told: bool | None
    attributes: Mapping[str, str] = field(default_factory=dict)
    ledger: Mapping[Destination, Noted] = field(default_factory=dict)

    def value_at(self, destination: Destination) -> int:
        """GA4 is told the goods alone, the others what the customer was charged."""
        return self.net_cents if destination is Destination.GA4 else self.total_cents


@dataclass(frozen=True, slots=True)
class DayRefund:
    """A refund of the day, of an order of any day. Its own ledger is of refunds, its order's of purchases."""

    id: int
    refunded_at: datetime
    amount_cents: int
    net_cents: int
    order: DayOrder
    ledger: Mapping[Destination, Noted] = field(default_factory=dict)

    @property
    def currency(self) -> str:
        return self.order.currency

    def value_at(self, destination: Destination) -> int:
        """GA4 is told the goods alone, Meta what was paid back."""
        return self.net_cents if destination is Destination.GA4 else self.amount_cents


@dataclass(slots=True)
class DayCount:
    """A day's purchases or refunds at one platform; see ``ad_event_reconciliations``. ``differing`` are the first
    orders, or refunds, that differ.
    """

    destination: Destination
    event: EventName = EventName.PURCHASE
    orders: int = 0
    excluded: dict[str, int] = field(default_factory=dict)
    other_currency: int = 0
    expected: int = 0
    expected_cents: int = 0
    sent: int = 0
    sent_cents: int = 0
    acknowledged: int = 0
    acknowledged_cents: int = 0
    missing: int = 0
    unacknowledged: int = 0
    unlike: int = 0
    unexpected: int = 0
    differing: list[int] = field(default_factory=list)

    @property
    def differences(self) -> int:
        return self.missing + self.unacknowledged + self.unlike + self.unexpected

    def add(self, order: DayOrder | DayRefund, exclusion: Exclusion | None, currency: str) -> None:
        """Count an order, or a refund, whose place in the ledger is compared with what it ought to be."""
        noted, value = order.ledger.get(self.destination), order.value_at(self.destination)
        told = noted is not None and noted.state in _TOLD
        certain = noted is not None and noted.state == "acknowledged"
        counts = order.currency == currency
        self.orders += 1
        self.other_currency += not counts
        if exclusion is None:
            self.expected += 1
            self.expected_cents += value if counts else 0
        else:
            self.excluded[exclusion] = self.excluded.get(exclusion, 0) + 1
        told_cents = noted.value_cents if noted is not None and counts else 0
        self.sent += told
        self.sent_cents += told_cents if told else 0
        self.acknowledged += certain
        self.acknowledged_cents += told_cents if certain else 0
        missing = exclusion is None and not told
        unlike = exclusion is None and told and noted is not None and noted.value_cents != value
        unexpected = exclusion is not None and told
        self.missing += missing
        self.unlike += unlike
        self.unexpected += unexpected
        self.unacknowledged += told and not certain
        if (missing or unlike or unexpected or (told and not certain)) and len(self.differing) < NAMED:
            self.differing.append(order.id)


def connected_since(
    stored: Iterable[tuple[str, Sequence[str], datetime | None]],
) -> dict[Destination, datetime | None]:
    """The platforms whose needed secrets are stored, by (provider, names, since when); None: nobody knows any more."""
    found: dict[Destination, datetime | None] = {}
    for provider, names, since in stored:
        destination = Destination(provider)
        needed, _ = ACCOUNTS[destination]
        if set(needed) <= set(names):
            found[destination] = since
    return found


def exclusion_of(
    order: DayOrder, destination: Destination, since: datetime | None, settings: Mapping[str, Any]
) -> Exclusion | None:
    """Why an order is not to be told to a platform that is connected since then; None where it is."""
    consents = consents_of(order.attributes, settings)
    consent = consents.analytics if destination is Destination.GA4 else consents.ads
    noted = order.ledger.get(destination)
    holding = {
        Exclusion.TEST_ORDER: order.test,
        Exclusion.NO_VALUE: order.total_cents <= 0,
        Exclusion.UNIDENTIFIED: not order.identified,
        Exclusion.BACKFILLED: order.told is False,
        Exclusion.NO_CONSENT: consent is Consent.DENIED,
        Exclusion.NOT_CONNECTED: noted is None and since is not None and order.placed_at < since,
        Exclusion.TOO_OLD: noted is not None and _was_too_old(order.placed_at, destination, noted),
    }
    return next((each for each, holds in holding.items() if holds), None)


def exclusion_of_refund(
    refund: DayRefund, destination: Destination, since: datetime | None, settings: Mapping[str, Any]
) -> Exclusion | None:
    """The same of a refund. What its purchase was missing is told of the purchase's own day."""
    why = exclusion_of(refund.order, destination, since, settings)
    purchase, noted = refund.order.ledger.get(destination), refund.ledger.get(destination)
    if why is not None:
        return why
    if refund.amount_cents <= 0:
        return Exclusion.NO_VALUE
    if without_purchase(purchase.state if purchase else None) is not None:
        return Exclusion.NO_PURCHASE
    return (
        Exclusion.TOO_OLD
        if noted is not None and _was_too_old(refund.refunded_at, destination, noted)
        else None
    )


def _was_too_old(at: datetime, destination: Destination, noted: Noted) -> bool:
    age = noted.noted_at - at
    skipped = noted.state == "skipped" and noted.reason == SkipReason.TOO_OLD
    return skipped and age > TERMS[destination].oldest - AHEAD


def note_of(day: date, counts: Sequence[DayCount], currency: str) -> Note:
    """What the tenant's people are told of a day that differs."""
    return Note(
        f"Ad events of {day:%d %B %Y} do not add up",
        tuple(_section(each, currency) for each in counts if each.differences),
    )


def _section(count: DayCount, currency: str) -> str:
    wrong = {
        "not told": count.missing,
        "told to an unknown end": count.unacknowledged,
        "told with another value": count.unlike,
        "told without reason": count.unexpected,
    }
    named, what = ", ".join(map(str, count.differing)), f"{count.event}s"
    return (
        f"*{PLATFORMS[count.destination]}*: {count.acknowledged} of {count.expected} {what} arrived,"
        f" {to_text(count.acknowledged_cents, currency)} of {to_text(count.expected_cents, currency)} {currency}.\n"
        f"{'; '.join(f'{number} {how}' for how, number in wrong.items() if number)}."
        f" {'Orders' if count.event is EventName.PURCHASE else 'Refunds'}: {named}"
    )
