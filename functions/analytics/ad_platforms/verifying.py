"""Whether a platform would take an order's purchase, and what it must show then. Nothing of it enters the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from analytics.ad_platforms.model import Order, SkipReason, is_known_still, skip_reason
from analytics.ad_platforms.payloads import OrderToVerify
from analytics.ad_platforms.repository import Standing
from tradewind.advertising import ConversionApis, ConversionEvent, Destination
from tradewind.errors import TerminalError

_NO_CODE = {
    Destination.META: "Events Manager, Test events, Confirm your server's events: META_CODE=TEST12345",
    Destination.TIKTOK: "TikTok Ads Manager, Events, Test events: TIKTOK_CODE=TEST12345",
}
_SPEND = {Destination.META: "meta", Destination.TIKTOK: "tiktok"}


class Verdict(StrEnum):
    """``skipped``: this order is not to be told, or must not be told again; ``refused``: something must be mended."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    SKIPPED = "skipped"
    NO_TEST_CODE = "no_test_code"
    NOT_CONNECTED = "not_connected"


@dataclass(frozen=True, slots=True)
class Verified:
    """``detail`` says why it is no more than it is, ``shows`` where a person finds the purchase now."""

    destination: str
    verdict: Verdict
    detail: str = ""
    event_id: str = ""
    value_cents: int = 0
    reference: str = ""
    seen: Mapping[str, str] | None = None
    shows: str = ""


@dataclass(frozen=True, slots=True)
class Subject:
    """An order as it would be told, and how it stands in the ledger."""

    order: Order
    event: ConversionEvent
    standing: Mapping[Destination, Standing]
    mappings: Mapping[str, int]
    now: datetime


def code_of(payload: OrderToVerify, destination: Destination, settings: Mapping[str, Any]) -> str | None:
    """The test event code to use; GA4 needs none."""
    if destination is Destination.GA4:
        return ""
    own = settings.get("ads") or {}
    codes = own.get("test_codes") or {}
    given = {Destination.META: payload.meta_test_code, Destination.TIKTOK: payload.tiktok_test_code}
    return given[destination] or codes.get(destination) or None


def verify(destination: Destination, subject: Subject, apis: ConversionApis, code: str | None) -> Verified:
    """Have one platform look at the purchase."""
    event = subject.event
    if destination not in apis.connected():
        remedy = f"make credentials TENANT=... PROVIDER={destination}"
        return Verified(destination, Verdict.NOT_CONNECTED, remedy)
    why = _hindrance(destination, subject)
    if why is not None:
        return Verified(destination, Verdict.SKIPPED, why, event.id)
    if code is None:
        return Verified(destination, Verdict.NO_TEST_CODE, _NO_CODE[destination], event.id)
    try:
        prepared = apis.prepare(destination, event)
        checked = apis.check(prepared, code)
    except TerminalError as error:
        return Verified(destination, Verdict.REFUSED, str(error), event.id)
    return Verified(
        destination,
        Verdict.REFUSED if checked.faults else Verdict.ACCEPTED,
        "; ".join(checked.faults),
        event.id,
        prepared.value_cents,
        checked.reference or "",
        checked.seen,
        "" if checked.faults else _shows(destination, subject, code),
    )


def _hindrance(destination: Destination, subject: Subject) -> str | None:
    """Why this order must not go to the platform, not even as a test."""
    reason = SkipReason.TEST_ORDER if subject.order.test else None
    reason = reason or skip_reason(destination, subject.event, subject.now)
    if reason is not None:
        return f"{reason}: choose another order"
    told = subject.standing.get(destination)
    since = told.first_told_at if told is not None else None
    if since is not None and not is_known_still(destination, since, subject.now):
        return (
            f"told at {since:%Y-%m-%d %H:%M} UTC, which the platform no longer remembers: it would count twice;"
            " choose an order of the last two days"
        )
    return None


def _shows(destination: Destination, subject: Subject, code: str) -> str:
    """What a person must find, and where."""
    told = subject.standing.get(destination)
    order = subject.event.order_id
    stands = f"told for real, {told.state} at {told.noted_at:%H:%M} UTC" if told else "not told for real yet"
    if destination is Destination.GA4:
        return (
            f"GA4 objects to nothing; its debug endpoint counts nothing. Real-Time shows purchase {order} for half an"
            f" hour once it is told for real ({stands})"
        )
    synced = subject.mappings.get(_SPEND[destination], 0)
    spend = f"{synced} ad account(s) synced" if synced else "no ad account mapped: its spend is not synced"
    where = {
        Destination.META: "Events Manager, Test events",
        Destination.TIKTOK: "TikTok Ads Manager, Events, Test events",
    }
    return (
        f"{where[destination]} shows Purchase under {code} with event id {subject.event.id}, order {order} ({stands};"
        f" {spend})"
    )
