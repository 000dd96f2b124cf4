"""The rules of review e-mails, pure: who is asked, with which incentive, when a failure is tried again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from tradewind.ports import Email

MOST_ATTEMPTS = 5
LONGEST_WAIT = timedelta(minutes=60)
KEY_LIFE = timedelta(hours=23)
"""Resend keeps an idempotency key for 24 hours: an hour less, so that a repeated call still finds it."""
CLAIM = 50
"""Rows that a run takes at once."""


class Template(StrEnum):
    """The kinds of e-mail; each is a file in ``templates``."""

    REQUEST = "request"
    REMINDER_1 = "reminder_1"
    REMINDER_2 = "reminder_2"
    PHOTO_REQUEST = "photo_request"
    THANK_YOU = "thank_you"
    INCENTIVE = "incentive"


@dataclass(frozen=True, slots=True)
class ReviewEmailSettings:
    """A tenant's choices. ``review_url`` may hold ``{order_id}``."""

    delay: timedelta = timedelta(days=7)
    follow_up: timedelta = timedelta(days=3)
    max_sequence: int = 2
    fallback: timedelta = timedelta(days=14)
    store_name: str | None = None
    reply_to: str | None = None
    review_url: str | None = None
    color: str = "#1f3d36"
    logo_url: str | None = None
    postal_address: str | None = None

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> ReviewEmailSettings:
        """Read ``settings["review_email"]`` of a tenant."""
        own = settings.get("review_email") or {}
        return cls(
            delay=timedelta(days=own.get("delay_days", 7)),
            follow_up=timedelta(days=own.get("follow_up_days", 3)),
            max_sequence=own.get("max_sequence", 2),
            fallback=timedelta(days=own.get("fallback_days", 14)),
            store_name=own.get("store_name"),
            reply_to=own.get("reply_to"),
            review_url=own.get("review_url"),
            color=own.get("color", "#1f3d36"),
            logo_url=own.get("logo_url"),
            postal_address=own.get("postal_address"),
        )


@dataclass(frozen=True, slots=True)
class Tier:
    """What an order of at least ``from_cents`` is offered."""

    from_cents: int
    percent: int


_TIERS = (Tier(0, 10), Tier(50_00, 15), Tier(150_00, 20))


@dataclass(frozen=True, slots=True)
class IncentiveSettings:
    """A tenant's programme; off by default. Nothing in it depends on the rating: the law forbids that."""

    enabled: bool = False
    tiers: tuple[Tier, ...] = _TIERS
    from_sequence: int = 2
    photo_bonus: int = 5
    cap: int = 25
    life: timedelta = timedelta(days=30)
    prefix: str = "THANKS"

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> IncentiveSettings:
        """Read ``settings["review_incentive"]`` of a tenant; tiers as ``[[from_cents, percent], ...]``."""
        own = settings.get("review_incentive") or {}
        tiers = own.get("tiers")
        return cls(
            enabled=own.get("enabled", False),
            tiers=_TIERS if tiers is None else tuple(sorted((Tier(*pair) for pair in tiers), key=_from)),
            from_sequence=own.get("from_sequence", 2),
            photo_bonus=own.get("photo_bonus", 5),
            cap=own.get("cap", 25),
            life=timedelta(days=own.get("life_days", 30)),
            prefix=own.get("prefix", "THANKS"),
        )


def _from(tier: Tier) -> int:
    return tier.from_cents


@dataclass(frozen=True, slots=True)
class Item:
    """A line of the order, as the e-mail names it."""

    title: str
    quantity: int


@dataclass(frozen=True, slots=True)
class Incentive:
    """A discount for whoever writes a review; with a photo or video it is ``photo_percent``."""

    code: str
    percent: int
    photo_percent: int
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Candidate:
    """A row that is to be sent, with what decides on it."""

    order_id: int
    sequence: int
    email: str | None
    attempts: int
    template: Template | None
    force_incentive: bool
    order_number: str
    order_status: str
    total_cents: int
    refunded_cents: int
    first_name: str | None
    reviewed: bool
    suppression: str | None
    incentive: Incentive | None
    code_state: str | None
    items: tuple[Item, ...]


_SUPPRESSED = {"unsubscribe": "unsubscribed", "manual": "unsubscribed"}


def skip_reason(candidate: Candidate, *, force: bool = False) -> str | None:
    """Why an e-mail is not sent; None where it is. ``force`` leaves only that it has nowhere to go."""
    if not candidate.email or "@" not in candidate.email:
        return "no_email"
    if force:
        return None
    if candidate.order_status in {"cancelled", "refunded"}:
        return candidate.order_status
    if candidate.reviewed:
        return "reviewed"
    if candidate.suppression is not None:
        return _SUPPRESSED.get(candidate.suppression, "suppressed")
    return None


def offered_percent(candidate: Candidate, settings: IncentiveSettings) -> int | None:
    """The tier by order value and sequence, in percent; None where nothing is offered.

    Never for an order of which anything was refunded, nor for free samples.
    """
    due = candidate.force_incentive or candidate.sequence >= settings.from_sequence
    if not settings.enabled or not due or candidate.refunded_cents > 0 or candidate.total_cents <= 0:
        return None
    reached = [tier.percent for tier in settings.tiers if candidate.total_cents >= tier.from_cents]
    return min(reached[-1], settings.cap) if reached else None


def with_photo(percent: int, settings: IncentiveSettings) -> int:
    """The discount of a review with a photo or video."""
    return min(percent + settings.photo_bonus, max(settings.cap, percent))


_SIGNS = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"


def make_code(prefix: str, randomness: bytes) -> str:
    """The prefix, a hyphen and eight signs that are not mistaken for each other; ``randomness`` has 8 bytes or more."""
    return f"{prefix}-" + "".join(_SIGNS[byte % len(_SIGNS)] for byte in randomness[:8])


def template_of(candidate: Candidate) -> Template:
    """The row's own kind, else by its sequence: a request, then reminders."""
    if candidate.template is not None:
        return candidate.template
    by_sequence = (Template.REQUEST, Template.REMINDER_1, Template.REMINDER_2)
    return by_sequence[min(candidate.sequence, len(by_sequence)) - 1]


def next_attempt_at(attempts: int, now: datetime) -> datetime | None:
    """When what has failed ``attempts`` times is tried again: after 2, 4, 8, 16 minutes; None after the fifth."""
    if attempts >= MOST_ATTEMPTS:
        return None
    return now + min(timedelta(minutes=2**attempts), LONGEST_WAIT)


@dataclass(frozen=True, slots=True)
class FrozenEmail:
    """A row whose e-mail no longer changes; ``objected`` says that its recipient wants no more since."""

    order_id: int
    sequence: int
    attempts: int
    email: Email
    state: str = "processing"
    objected: bool = False


@dataclass(frozen=True, slots=True)
class Batch:
    """E-mails of one call. ``size`` is how many it had when it was frozen; ``repeated`` says that it may have been made
    before.
    """

    id: UUID
    emails: tuple[FrozenEmail, ...]
    size: int
    frozen_at: datetime
    repeated: bool = True

    def key(self, tenant_id: UUID) -> str:
        """The idempotency key; it contains no clock."""
        return f"review/{tenant_id}/{self.id}"


def why_not_repeated(batch: Batch, now: datetime) -> str | None:
    """Why a call whose outcome is unknown is not made again; None where it is.

    It is repeated only as it was, and only while the provider still remembers it. Where somebody has objected or been
    forgotten since, or the day is over, its e-mails end as failed, with an unknown outcome: rather one e-mail too few
    than one too many. What the provider's webhooks tell of them later still counts.
    """
    if now - batch.frozen_at >= KEY_LIFE:
        return "outcome unknown for longer than the provider remembers"
    if len(batch.emails) < batch.size:
        return "outcome unknown, and an e-mail of the same call was deleted"
    if any(each.objected for each in batch.emails):
        return "outcome unknown, and a recipient of the same call has objected"
    return None


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of a period's e-mails."""

    sent: int = 0
    delivered: int = 0
    opened: int = 0
    clicked: int = 0
    bounced: int = 0
    complained: int = 0
    converted: int = 0


@dataclass(frozen=True, slots=True)
class Statistics:
    """A period's counts with their rates, in percent with two decimals; a rate of nothing is zero."""

    opened_at: datetime
    closes_at: datetime
    counts: Counts
    rates: Mapping[str, float] = field(default_factory=dict)


def rates_of(counts: Counts) -> dict[str, float]:
    """Delivered, bounced and complained of what was sent, opened, clicked and converted of what was delivered.

    Where no webhook has told of a delivery, what was sent stands for it.
    """
    reached = counts.delivered or counts.sent
    whole = {
        "delivered": counts.sent,
        "bounced": counts.sent,
        "complained": counts.sent,
        "opened": reached,
        "clicked": reached,
        "converted": reached,
    }
    return {name: _percent(getattr(counts, name), of) for name, of in whole.items()}


def _percent(part: int, of: int) -> float:
    return round(100 * part / of, 2) if of else 0.0


def batches_of(items: Sequence[Any], most: int) -> list[tuple[Any, ...]]:
    """Items cut into calls of at most ``most``."""
    return [tuple(items[start : start + most]) for start in range(0, len(items), most)]
