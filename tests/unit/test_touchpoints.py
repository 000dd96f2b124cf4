"""A recorded touch: what is accepted, its channel, and when two are the same."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from tests.fakes import NOON
from tradewind.contracts.touches import Recorded, touchpoint_of
from tradewind.contracts.touchpoints import TouchpointRecorded


def recorded(**changes: Any) -> Recorded:
    told: dict[str, Any] = {
        "occurred_at": NOON,
        "visitor_id": "v-1",
        "customer_id": None,
        "session_id": "s-1",
        "touch_id": None,
        "type": "click",
        "landing_page": "/?utm_source=google&utm_medium=cpc",
        "referrer_url": None,
        "utm": {},
    }
    return Recorded(**{**told, **changes})


def test_touch_gets_its_channel_and_an_id_that_follows_from_it() -> None:
    touch = touchpoint_of(recorded())
    assert (touch.visit.channel, touch.visit.source, touch.visit.medium) == ("paid", "google", "cpc")
    assert touch.id.hex == touch.dedupe_hash[:32]
    assert touchpoint_of(recorded()) == touch


@pytest.mark.parametrize(
    "change",
    [
        {"occurred_at": NOON + timedelta(seconds=1)},
        {"visitor_id": "v-2"},
        {"customer_id": 1},
        {"session_id": None},
        {"type": "view"},
        {"landing_page": "/"},
        {"referrer_url": "https://t.co"},
        {"utm": {"campaign": "june"}},
    ],
)
def test_touch_that_differs_in_anything_is_another(change: dict[str, Any]) -> None:
    assert touchpoint_of(recorded(**change)).id != touchpoint_of(recorded()).id


def test_publishers_own_id_decides_alone() -> None:
    first, second = recorded(touch_id="t-1"), recorded(touch_id="t-1", landing_page="/other")
    assert touchpoint_of(first).id == touchpoint_of(second).id
    assert touchpoint_of(recorded(touch_id="t-2")).id != touchpoint_of(first).id


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"occurred_at": "2026-01-01T10:00:00"}, ("occurred_at",)),
        ({"occurred_at": "1999-01-01T10:00:00Z"}, ("occurred_at",)),
        ({"occurred_at": (datetime.now(UTC) + timedelta(hours=1)).isoformat()}, ("occurred_at",)),
        ({"visitor_id": ""}, ("visitor_id",)),
        ({"visitor_id": "v\x00"}, ("visitor_id",)),
        ({"visitor_id": "v\ud800"}, ("visitor_id",)),
        ({"visitor_id": None}, ()),
        ({"customer_id": "12"}, ("customer_id",)),
        ({"customer_id": 2**63}, ("customer_id",)),
        ({"type": "glance"}, ("type",)),
        ({"utm": {"term": "x"}}, ("utm", "term")),
        ({"landing": "/"}, ("landing",)),
    ],
)
def test_impossible_touch_is_refused_by_the_field_that_makes_it_so(
    change: dict[str, Any], where: tuple[str, ...]
) -> None:
    with pytest.raises(ValidationError) as caught:
        TouchpointRecorded.model_validate(
            {"occurred_at": "2026-01-01T10:00:00Z", "visitor_id": "v", **change}
        )
    assert caught.value.errors()[0]["loc"] == where
