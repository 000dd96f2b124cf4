from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from commerce.order_sync.model import OrderStatus
from commerce.order_sync.review_email import ReviewSettings, ReviewTrigger, may_insert, plan_review_email
from tests.fakes import NOON
from tests.unit.test_commission import order

DAY = timedelta(days=1)
WEEK = 7 * DAY
SENT, ARRIVED = NOON + DAY, NOON + 4 * DAY


@pytest.mark.parametrize(
    ("trigger", "changes", "state", "scheduled_at"),
    [
        ("delivered", {}, "pending", None),
        ("delivered", {"fulfilled_at": SENT}, "awaiting_delivery", None),
        ("delivered", {"fulfilled_at": SENT, "delivered_at": ARRIVED}, "scheduled", ARRIVED + WEEK),
        ("fulfilled", {}, "pending", None),
        ("fulfilled", {"fulfilled_at": SENT}, "scheduled", SENT + WEEK),
        ("immediate", {}, "scheduled", NOON + WEEK),
    ],
)
def test_row_follows_the_orders_state(
    trigger: str, changes: dict[str, Any], state: str, scheduled_at: Any
) -> None:
    settings = ReviewSettings(ReviewTrigger(trigger))
    row = plan_review_email(order(email="a@b.co", **changes), settings, reviewed=False, suppressed=False)
    assert (row.state, row.scheduled_at) == (state, scheduled_at)


@pytest.mark.parametrize(
    ("changes", "standing", "reason"),
    [
        ({"status": OrderStatus.CANCELLED}, {}, "cancelled"),
        ({"status": OrderStatus.REFUNDED}, {}, "refunded"),
        ({"email": None}, {}, "no_email"),
        ({}, {"suppressed": True}, "unsubscribed"),
        ({}, {"reviewed": True}, "reviewed"),
    ],
)
def test_row_is_skipped_with_its_reason(
    changes: dict[str, Any], standing: dict[str, bool], reason: str
) -> None:
    flags = {"reviewed": False, "suppressed": False} | standing
    row = plan_review_email(order(**{"email": "a@b.co", **changes}), ReviewSettings(), **flags)
    assert (row.state, row.skip_reason, row.scheduled_at) == ("skipped", reason, None)


@pytest.mark.parametrize(
    ("flags", "age", "may"),
    [
        ({}, DAY, True),
        ({}, 60 * DAY, True),
        ({}, 61 * DAY, False),
        ({"reviewed": True}, DAY, False),
        ({"suppressed": True}, DAY, False),
        ({"backfill": True}, DAY, False),
    ],
)
def test_first_row_is_written_only_for_live_young_unreviewed_orders(
    flags: dict[str, bool], age: timedelta, may: bool
) -> None:
    given = {"reviewed": False, "suppressed": False, "backfill": False} | flags
    assert may_insert(order(), now=NOON + age, **given) is may


def test_delay_and_trigger_are_the_tenants() -> None:
    own = ReviewSettings.of({"review_email": {"trigger": "fulfilled", "delay_days": 3}})
    assert own == ReviewSettings(ReviewTrigger.FULFILLED, 3 * DAY)
