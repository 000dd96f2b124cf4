"""What the senders are started with."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    AliasChoices,
    AwareDatetime,
    Field,
    StringConstraints,
)

from tradewind.contracts.payload import Payload, StrictPayload
from tradewind.money import MAX_CENTS, minor_digits

Id = Annotated[int, Field(gt=0, lt=2**63)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=512, pattern=r"^[^\x00]*$")]
Cents = Annotated[int, Field(ge=0, le=MAX_CENTS)]


def known_currency(code: str) -> str:
    minor_digits(code)
    return code


class OrderToTell(StrictPayload):
    """An order whose purchase is to be told."""

    order_id: Id


class RefundToTell(Payload):
    """A refund; Shopify's webhook calls its own id ``id``."""

    refund_id: Id = Field(validation_alias=AliasChoices("refund_id", "id"))
    order_id: Id


TestCode = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class OrderToVerify(StrictPayload):
    """An order whose purchase the platforms are to look at, and the test event codes that Events Manager and TikTok Ads
    Manager show; without them the tenant's ``ads.test_codes`` count.
    """

    order_id: Id
    meta_test_code: TestCode | None = None
    tiktok_test_code: TestCode | None = None


class FunnelItem(StrictPayload):
    id: Text
    name: Text
    quantity: Annotated[int, Field(gt=0, le=100_000)] = 1
    unit_price_cents: Cents = 0


class FunnelVisitor(StrictPayload):
    """What the storefront knows of its visitor; nothing of it is kept."""

    customer_id: Id | None = None
    email: Text | None = None
    phone: Text | None = None
    client_ip: Text | None = None
    user_agent: Text | None = None
    page_url: Text | None = None
    ttp: Text | None = None
    ttclid: Text | None = None
    consent: Literal["granted", "limited", "denied"] | None = None


class TikTokEvent(StrictPayload):
    """``Purchase`` is of an order; the others tell of a visit themselves, under the publisher's own id."""

    event: Literal["Purchase", "AddToCart", "ViewContent", "InitiateCheckout"] = "Purchase"
    order_id: Id | None = None
    event_id: Text | None = None
    occurred_at: AwareDatetime | None = None
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")] | None = None
    value_cents: Cents = 0
    items: tuple[FunnelItem, ...] = Field(default=(), max_length=200)
    visitor: FunnelVisitor = Field(default_factory=FunnelVisitor)

    def moment(self, accepted_at: datetime) -> datetime:
        return self.occurred_at or accepted_at


class SpendDays(StrictPayload):
    """How many days are asked for, up to ``last_day`` (the last complete one)."""

    last_day: date | None = None
    days: Annotated[int, Field(ge=1, le=93)] | None = None


class ViewDays(StrictPayload):
    """How many days are asked for, up to ``last_day`` (the last complete one)."""

    last_day: date | None = None
    days: Annotated[int, Field(ge=1, le=7)] = 7


class AdAccountMapping(StrictPayload):
    """An account of the tenant's at a platform; ``currency`` is what it is billed in."""

    platform: Literal["meta", "google_ads", "tiktok"]
    account_id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$"), AfterValidator(known_currency)]
    active: bool = True
    counts_for_pnl: bool = True
