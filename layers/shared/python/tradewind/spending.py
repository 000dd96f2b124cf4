"""What advertising costs, as ad platforms report it, and the port through which they are asked."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from enum import StrEnum
from typing import Protocol

from tradewind.errors import InvalidPayloadError
from tradewind.money import minor_digits


class SpendPlatform(StrEnum):
    META = "meta"
    GOOGLE_ADS = "google_ads"
    TIKTOK = "tiktok"


class TooMuchDataError(InvalidPayloadError):
    """A report over this range is too large; a shorter one may pass."""


@dataclass(frozen=True, slots=True)
class AdAccount:
    """An account whose spend is synced; ``currency`` is what it is billed in."""

    platform: SpendPlatform
    id: str
    currency: str


@dataclass(frozen=True, slots=True)
class Span:
    """Days of the account's own calendar, both included."""

    first: date
    last: date

    @property
    def days(self) -> int:
        return (self.last - self.first).days + 1


@dataclass(frozen=True, slots=True)
class CampaignDay:
    """What a campaign cost and brought on a day. Money in cents of ``currency``."""

    spent_on: date
    campaign_id: str
    campaign_name: str
    currency: str
    spend_cents: int
    impressions: int
    clicks: int
    conversions: Decimal
    conversion_value_cents: int


@dataclass(frozen=True, slots=True)
class ViewDay:
    """What a platform credits to a campaign's ads having been seen on a day, not clicked. ``value_cents`` is None
    where it tells no value.
    """

    viewed_on: date
    campaign_id: str
    campaign_name: str
    currency: str
    conversions: Decimal
    value_cents: int | None


@dataclass(frozen=True, slots=True)
class Pending:
    """A report that the platform is still making, under its ``id``."""

    id: str


class AdReports(Protocol):
    """A tenant's ad accounts' reports."""

    def fetch(self, account: AdAccount, span: Span, report: str | None) -> tuple[CampaignDay, ...] | Pending:
        """All campaigns of the days, or the report to ask for again as ``report``.

        Raises TooMuchDataError (ask for fewer days), NotFoundError (no credentials), RateLimitedError,
        QuotaExceededError, ProviderUnavailableError, CredentialsRejectedError, MisconfiguredError, InvalidPayloadError.
        """

    def fetch_views(self, account: AdAccount, span: Span) -> tuple[ViewDay, ...]:
        """The campaigns' view-through conversions of at most a week; those without one may be left out.

        Raises what ``fetch`` raises.
        """


def cents_of(amount: object, currency: str) -> int:
    """A report's decimal text in cents, rounded half up: reports may have more digits than the currency."""
    try:
        value = Decimal(str(amount or 0))
    except InvalidOperation:
        raise InvalidPayloadError("spend", f"{str(amount)[:40]!r} is no amount") from None
    if not value.is_finite():
        raise InvalidPayloadError("spend", f"{str(amount)[:40]!r} is no amount")
    return int(value.scaleb(minor_digits(currency)).to_integral_value(ROUND_HALF_UP))


def cents_of_micros(micros: object, currency: str) -> int:
    """Google's millionths of a unit in cents, rounded half up: of two-digit currencies 10,000 are one."""
    return cents_of(Decimal(str(micros or 0)).scaleb(-6), currency)


def whole(value: object) -> int:
    """A count that a report gives as text, or not at all."""
    try:
        return int(Decimal(str(value or 0)))
    except (InvalidOperation, ValueError):
        raise InvalidPayloadError("count", f"{str(value)[:40]!r} is no number") from None
