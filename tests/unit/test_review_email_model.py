"""The rules of review e-mails that need no database: tiers, waits, codes, what is never repeated."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from commerce.review_email.model import (
    Batch,
    Counts,
    FrozenEmail,
    IncentiveSettings,
    ReviewEmailSettings,
    Template,
    make_code,
    next_attempt_at,
    offered_percent,
    rates_of,
    template_of,
    why_not_repeated,
    with_photo,
)
from infra.local.email_preview import _candidate
from tradewind.ports import Email

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
EMAIL = Email("a@b.co", "c@d.co", "s", "h", "t")


@pytest.mark.parametrize(("attempts", "minutes"), [(1, 2), (2, 4), (3, 8), (4, 16), (5, None), (9, None)])
def test_waits_double_and_the_fifth_failure_is_the_last(attempts: int, minutes: int | None) -> None:
    again = next_attempt_at(attempts, NOW)
    assert again == (None if minutes is None else NOW + timedelta(minutes=minutes))


@pytest.mark.parametrize(
    ("about", "own", "percent"),
    [
        ({}, {}, None),
        ({}, {"enabled": True}, 15),
        ({"sequence": 1}, {"enabled": True}, None),
        ({"sequence": 1}, {"enabled": True, "from_sequence": 1}, 15),
        ({"sequence": 1, "force_incentive": True}, {"enabled": True}, 15),
        ({"force_incentive": True}, {}, None),
        ({"refunded_cents": 1}, {"enabled": True}, None),
        ({"total_cents": 0}, {"enabled": True}, None),
        ({"total_cents": 1}, {"enabled": True}, 10),
        ({}, {"enabled": True, "tiers": [[10_000, 30], [5_000, 12]]}, 12),
        ({"total_cents": 10_000}, {"enabled": True, "tiers": [[10_000, 30], [5_000, 12]]}, 25),
        ({"total_cents": 4_999}, {"enabled": True, "tiers": [[5_000, 12]]}, None),
        ({}, {"enabled": True, "tiers": []}, None),
    ],
)
def test_offer_follows_the_tenants_table(
    about: dict[str, Any], own: dict[str, Any], percent: int | None
) -> None:
    candidate = replace(_candidate(), **{"sequence": 2, **about})
    assert offered_percent(candidate, IncentiveSettings.of({"review_incentive": own})) == percent


@pytest.mark.parametrize(("percent", "photo"), [(10, 15), (20, 25), (22, 25), (25, 25)])
def test_photo_adds_five_points_up_to_the_cap(percent: int, photo: int) -> None:
    assert with_photo(percent, IncentiveSettings()) == photo


def test_code_is_made_of_signs_that_nobody_mistakes() -> None:
    assert make_code("THANKS", bytes(range(8))) == "THANKS-23456789"
    assert make_code("T", bytes([31, 32, 255, 0, 0, 0, 0, 0])) == "T-Z2Z22222"


@pytest.mark.parametrize(
    ("sequence", "own", "template"),
    [
        (1, None, Template.REQUEST),
        (2, None, Template.REMINDER_1),
        (3, None, Template.REMINDER_2),
        (7, None, Template.REMINDER_2),
        (1, Template.PHOTO_REQUEST, Template.PHOTO_REQUEST),
    ],
)
def test_kind_is_the_rows_own_or_its_places(sequence: int, own: Template | None, template: Template) -> None:
    assert template_of(replace(_candidate(), sequence=sequence, template=own)) is template


def batch(size: int = 2, **changes: Any) -> Batch:
    emails = tuple(FrozenEmail(at, 1, 0, EMAIL, **changes) for at in range(2))
    return Batch(UUID(int=1), emails, size, NOW)


@pytest.mark.parametrize(
    ("call", "later", "why"),
    [
        (batch(), timedelta(hours=22, minutes=59), None),
        (batch(), timedelta(hours=23), "outcome unknown for longer"),
        (batch(size=3), timedelta(), "outcome unknown, and an e-mail"),
        (batch(objected=True), timedelta(), "outcome unknown, and a recipient"),
    ],
)
def test_call_is_repeated_only_where_it_cannot_double(call: Batch, later: timedelta, why: str | None) -> None:
    told = why_not_repeated(call, NOW + later)
    assert told is None if why is None else str(told).startswith(why)


def test_key_of_a_call_holds_no_clock() -> None:
    assert batch().key(UUID(int=2)) == f"review/{UUID(int=2)}/{UUID(int=1)}"


def test_rates_of_nothing_are_zero_and_openings_count_of_what_arrived() -> None:
    assert set(rates_of(Counts()).values()) == {0.0}
    rates = rates_of(Counts(sent=10, delivered=8, opened=4, clicked=1, bounced=2))
    assert (rates["delivered"], rates["opened"], rates["clicked"], rates["bounced"]) == (
        80.0,
        50.0,
        12.5,
        20.0,
    )


def test_settings_are_the_tenants_own_where_it_has_some() -> None:
    own = ReviewEmailSettings.of({"review_email": {"follow_up_days": 5, "max_sequence": 3}})
    assert (own.follow_up, own.max_sequence, own.delay) == (timedelta(days=5), 3, timedelta(days=7))
