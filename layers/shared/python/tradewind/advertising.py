"""What ad platforms are told of a shop's orders and visitors, and the port through which they are told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol


class Destination(StrEnum):
    GA4 = "ga4"
    META = "meta"
    TIKTOK = "tiktok"


class EventName(StrEnum):
    """Our names; each platform has its own."""

    PURCHASE = "purchase"
    REFUND = "refund"
    ADD_TO_CART = "add_to_cart"
    VIEW_CONTENT = "view_content"
    INITIATE_CHECKOUT = "initiate_checkout"


class Consent(StrEnum):
    """What a visitor allows their data to be used for; ``limited`` is an objection to its sale or sharing alone."""

    GRANTED = "granted"
    LIMITED = "limited"
    DENIED = "denied"


@dataclass(frozen=True, slots=True)
class Consents:
    """``ads`` is advertising and its personalisation, ``analytics`` the measurement of the shop itself."""

    ads: Consent = Consent.GRANTED
    analytics: Consent = Consent.GRANTED


@dataclass(frozen=True, slots=True)
class Person:
    """Who it was, in plain text: each adapter hashes as its platform's own SDK does. ``phone`` is in E.164."""

    customer_id: int | None = None
    email: str | None = None
    phone: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    city: str | None = None
    region: str | None = None
    postal_code: str | None = None
    country: str | None = None


@dataclass(frozen=True, slots=True)
class Browser:
    """What the storefront's pixel left of the visit. Cookies are as the platforms' own scripts write them."""

    client_ip: str | None = None
    user_agent: str | None = None
    page_url: str | None = None
    ga_client_id: str | None = None
    ga_session_id: str | None = None
    fbp: str | None = None
    fbc: str | None = None
    ttp: str | None = None
    ttclid: str | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """``unit_price_cents`` is after discounts; lines that do not divide are two items."""

    id: str
    name: str
    quantity: int
    unit_price_cents: int


@dataclass(frozen=True, slots=True)
class ConversionEvent:
    """One event. ``id`` is the same whenever the event is told; ``value_cents`` is what the customer was charged,
    ``goods_cents`` what of it was for goods. Money in cents of ``currency``.
    """

    name: EventName
    id: str
    occurred_at: datetime
    currency: str
    value_cents: int
    goods_cents: int
    tax_cents: int = 0
    shipping_cents: int = 0
    order_id: int | None = None
    coupon: str | None = None
    items: tuple[Item, ...] = ()
    person: Person = field(default_factory=Person)
    browser: Browser = field(default_factory=Browser)
    consents: Consents = field(default_factory=Consents)


@dataclass(frozen=True, slots=True)
class Prepared:
    """An event in a platform's own form. ``value_cents`` is the value that the platform is told."""

    destination: Destination
    body: Mapping[str, Any]
    sha256: str
    value_cents: int


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a platform answers when it takes an event: names, numbers and codes, nothing of the person."""

    status: int
    received: int | None = None
    reference: str | None = None
    code: int | None = None
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Checked:
    """What a platform says of an event that it is to look at. ``faults`` are its objections; ``seen`` is what it can be
    asked about itself.
    """

    faults: tuple[str, ...] = ()
    reference: str | None = None
    seen: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Terms:
    """``oldest`` is the age beyond which a platform takes no event; ``dedup`` how long it knows an event's id.

    None: it never forgets.
    """

    oldest: timedelta
    dedup: timedelta | None


TERMS: Mapping[Destination, Terms] = {
    Destination.GA4: Terms(timedelta(hours=72), None),
    Destination.META: Terms(timedelta(days=7), timedelta(hours=48)),
    Destination.TIKTOK: Terms(timedelta(days=7), timedelta(hours=48)),
}
"""GA4 back-dates 72 hours. At Meta one event over seven days spoils its whole request. TikTok names no bound; Meta's is
kept for it. Meta and TikTok know an event by name and id for 48 hours, GA4 a purchase by its transaction id.
"""


class ConversionApis(Protocol):
    """A tenant's accounts at the ad platforms."""

    def connected(self) -> frozenset[Destination]:
        """Where the tenant has stored what an event needs."""

    def prepare(self, destination: Destination, event: ConversionEvent) -> Prepared:
        """The event as the platform takes it. Raises InvalidPayloadError where it would not; calls nobody."""

    def send(self, prepared: Prepared) -> Receipt:
        """Tell the platform, once.

        Raises ProviderUnavailableError, RateLimitedError, CredentialsRejectedError, MisconfiguredError or
        InvalidPayloadError (the platform refuses it).
        """

    def check(self, prepared: Prepared, test_code: str) -> Checked:
        """Have the platform look at an event: GA4 by its debug endpoint, which counts nothing, the others as a test
        event under ``test_code``, with the event's own id. Raises what ``send`` raises.
        """
