"""A recorded touch in the store."""

from __future__ import annotations

from typing import Any

from operations.touchpoints.tasks import touchpoint_ingest
from tests.integration.harness import House
from tradewind.tasks.message import Source
from tradewind.tasks.worker import Dead, Done, End

TOUCH = {
    "occurred_at": "2026-11-20T12:00:00Z",
    "visitor_id": "v-1",
    "customer_id": 7001,
    "session_id": "s-1",
    "touch_id": "t-1",
    "landing_page": "https://acme.example/?utm_source=newsletter&utm_medium=email&fbclid=",
    "utm": {"campaign": "June"},
}


def ingest(house: House, **changes: Any) -> End:
    return house.run(touchpoint_ingest, {**TOUCH, **changes}, source=Source.EVENT)


def test_touch_is_stored_with_its_channel(house: House) -> None:
    end = ingest(house)
    assert isinstance(end, Done)
    [row] = house.query("SELECT * FROM attribution_touchpoints")
    assert end.result == {"touchpoint_id": str(row["touchpoint_id"]), "channel": "email", "stored": True}
    assert {name: row[name] for name in ("visitor_id", "session_id", "shopify_customer_id", "type")} == {
        "visitor_id": "v-1", "session_id": "s-1", "shopify_customer_id": 7001, "type": "click",
    }  # fmt: skip
    assert (row["channel"], row["source"], row["medium"], row["campaign"], row["click_id"]) == (
        "email", "newsletter", "email", "june", None,
    )  # fmt: skip
    assert row["shopify_order_id"] is None


def test_touch_told_again_is_stored_once(house: House) -> None:
    ingest(house)
    again = ingest(house, landing_page="/else")
    assert isinstance(again, Done)
    assert again.result["stored"] is False
    assert len(house.query("SELECT 1 AS x FROM attribution_touchpoints")) == 1


def test_touch_of_nobody_ends_as_a_dead_letter(house: House) -> None:
    end = ingest(house, visitor_id=None, customer_id=None)
    assert isinstance(end, Dead)
    assert house.query("SELECT error_class, attempts FROM dead_letter") == [
        {"error_class": "InvalidPayloadError", "attempts": 1}
    ]
    assert house.query("SELECT 1 AS x FROM attribution_touchpoints") == []
