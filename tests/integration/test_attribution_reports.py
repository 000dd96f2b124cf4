"""Sweeps over what is not attributed yet, a day's channels and coverage, and who a visitor was."""

from __future__ import annotations

import hashlib
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from analytics.attribution.reporting_tasks import (
    attribution_daily_metrics,
    attribution_data_quality_snapshot,
    attribution_order_reconciliation,
    attribution_order_reconciliation_manual,
    attribution_process_unattributed,
)
from commerce.order_sync.tasks import sync_order
from operations.touchpoints.tasks import identity_stitch, touchpoint_ingest
from tests.fakes import an_order
from tests.integration.harness import House
from tradewind.ports import ShopifyCustomer
from tradewind.tasks.message import Source
from tradewind.tasks.worker import Done, to_plain

NOW = datetime.now(UTC).replace(microsecond=0)
YESTERDAY = NOW.date() - timedelta(days=1)
ANN = hashlib.sha256(b"ann@example.com").hexdigest()


def order(house: House, number: int, placed: datetime, **changes: Any) -> None:
    told = {"visit": None, "attributes": {"visitor_id": f"visitor-{number}"}, **changes}
    house.shopify.put(an_order(number, placed_at=placed, updated_at=placed, **told))
    assert isinstance(house.run(sync_order, {"order_id": number}), Done)


def touch(house: House, visitor: str, at: datetime, **about: Any) -> None:
    told = {
        "occurred_at": at.isoformat(),
        "visitor_id": visitor,
        "utm": {"medium": "cpc", "source": "google"},
        **about,
    }
    assert isinstance(house.run(touchpoint_ingest, told, source=Source.EVENT), Done)


def run(house: House, task: Any, payload: dict[str, Any] | None = None) -> Any:
    end = house.run(task, payload or {}, source=Source.MANUAL)
    assert isinstance(end, Done)
    return to_plain(end.result)


def test_conversion_without_a_touch_is_tried_for_three_days_and_then_given_up(house: House) -> None:
    order(house, 1, NOW - timedelta(hours=2))
    order(house, 2, NOW - timedelta(hours=71))
    order(house, 3, NOW - timedelta(hours=73))
    touch(house, "visitor-1", NOW - timedelta(hours=3))
    touch(house, "visitor-3", NOW - timedelta(hours=74))
    assert run(house, attribution_process_unattributed) == {"tried": 2, "attributed": 1, "given_up": 1}
    found = house.query("SELECT shopify_order_id, status FROM attribution_conversions ORDER BY 1")
    assert [row["status"] for row in found] == ["attributed", "unattributed", "unattributed"]
    assert run(house, attribution_process_unattributed) == {"tried": 1, "attributed": 0, "given_up": 0}
    retries = house.query("SELECT shopify_order_id, tries, given_up FROM attribution_retries ORDER BY 1")
    assert [tuple(row.values()) for row in retries] == [(1, 1, False), (2, 2, False), (3, 0, True)]


def test_conversion_that_is_none_any_more_goes(house: House) -> None:
    order(house, 1, NOW - timedelta(hours=2))
    house.write("UPDATE orders SET total_cents = 0")
    assert run(house, attribution_process_unattributed) == {"tried": 1, "attributed": 0, "given_up": 0}
    assert house.query("SELECT 1 AS x FROM attribution_conversions") == []


def test_sweep_takes_its_limit_and_those_first_that_were_tried_longest_ago(house: House) -> None:
    for number in (1, 2, 3):
        order(house, number, NOW - timedelta(hours=number))
    assert run(house, attribution_process_unattributed, {"limit": 2})["tried"] == 2
    assert run(house, attribution_process_unattributed, {"limit": 2})["tried"] == 2
    tries = house.query("SELECT shopify_order_id, tries FROM attribution_retries ORDER BY 1")
    assert [row["tries"] for row in tries] == [1, 1, 2]


def test_order_that_lost_its_conversion_is_settled_again(house: House) -> None:
    order(house, 1, NOW - timedelta(hours=2))
    order(house, 2, NOW - timedelta(hours=3))
    order(house, 3, NOW - timedelta(minutes=5))
    order(house, 4, NOW - timedelta(hours=3), total_cents=0)
    touch(house, "visitor-1", NOW - timedelta(hours=3))
    house.write("DELETE FROM attribution_conversions")
    assert run(house, attribution_order_reconciliation) == {"orders": 2, "attributed": 1, "unattributed": 1}
    assert run(house, attribution_order_reconciliation) == {"orders": 0, "attributed": 0, "unattributed": 0}
    found = house.query("SELECT shopify_order_id FROM attribution_conversions ORDER BY 1")
    assert [row["shopify_order_id"] for row in found] == [1, 2]


def test_test_order_is_nobodys_first_purchase(house: House) -> None:
    """Order 1 was a test, 2 is what Ann bought first, 3 what she bought next; her test order is no conversion."""
    ann = ShopifyCustomer(501, "ann@example.com", "Ann", None, None, None)
    order(house, 1, NOW - timedelta(hours=9), customer=ann, test=True)
    order(house, 2, NOW - timedelta(hours=6), customer=ann)
    order(house, 3, NOW - timedelta(hours=3), customer=ann)
    found = house.query("SELECT shopify_order_id, first_purchase FROM attribution_conversions ORDER BY 1")
    assert [tuple(row.values()) for row in found] == [(2, True), (3, False)]


def test_one_order_or_a_range_is_settled_by_hand(house: House) -> None:
    order(house, 1, NOW - timedelta(days=40))
    order(house, 2, NOW - timedelta(days=3))
    house.write("DELETE FROM attribution_conversions")
    by_hand = attribution_order_reconciliation_manual
    assert run(house, by_hand, {"order_id": 1})["orders"] == 1
    since = (NOW - timedelta(days=5)).isoformat()
    assert run(house, by_hand, {"since": since}) == {"orders": 1, "attributed": 0, "unattributed": 1}
    assert run(house, by_hand, {"order_id": 77})["orders"] == 0


@pytest.mark.parametrize("payload", [{}, {"order_id": 1, "since": NOW.isoformat()}, {"order_id": 0}])
def test_hand_that_asks_for_nothing_or_for_both_is_refused(house: House, payload: dict[str, Any]) -> None:
    end = house.run(attribution_order_reconciliation_manual, payload, source=Source.MANUAL)
    assert not isinstance(end, Done)


def test_days_channels_sum_to_its_conversions_and_are_counted_anew(house: House) -> None:
    noon = datetime.combine(YESTERDAY, datetime.min.time(), UTC) + timedelta(hours=12)
    order(house, 1, noon)
    order(house, 2, noon, currency="EUR")
    order(house, 3, noon, test=True)
    order(house, 4, noon - timedelta(days=1))
    for number in (1, 2, 3, 4):
        touch(house, f"visitor-{number}", noon - timedelta(days=2))
    touch(house, "visitor-1", noon - timedelta(hours=1), utm={"medium": "email"})
    since = (noon - timedelta(days=5)).isoformat()
    assert run(house, attribution_order_reconciliation_manual, {"since": since})["attributed"] == 3
    assert run(house, attribution_daily_metrics, {"days": 1})["days"] == 1
    summary = (
        "SELECT model, channel, platform, touchpoints, conversions::float AS conversions, revenue_cents FROM"
        " attribution_channel_summary WHERE summary_on = %s AND window_days = 7 AND model IN ('linear', 'last_touch')"
        " ORDER BY 1, 2"
    )
    wanted = [
        ("last_touch", "email", "none", 1, 1.0, 10_200),
        ("last_touch", "paid", "google", 1, 0.0, 0),
        ("linear", "email", "none", 1, 0.5, 5_100),
        ("linear", "paid", "google", 1, 0.5, 5_100),
    ]
    assert [tuple(row.values()) for row in house.query(summary, YESTERDAY)] == wanted
    house.write("UPDATE attribution_channel_summary SET channel = 'social' WHERE channel = 'email'")
    run(house, attribution_daily_metrics, {"days": 1})
    assert [tuple(row.values()) for row in house.query(summary, YESTERDAY)] == wanted


def spend(house: House, platform: str, cents: int, account: str = "act_1", **about: Any) -> None:
    row = {"spent_on": YESTERDAY, "currency": "USD", "counts_for_pnl": True, **about}
    house.write(
        f"INSERT INTO ad_spend (platform, account_id, campaign_id, spend_cents, {', '.join(row)})"
        f" VALUES (%s, %s, 'c', %s, {', '.join(['%s'] * len(row))})",
        platform,
        account,
        cents,
        *row.values(),
    )


@pytest.mark.parametrize(
    ("cents", "roas", "cpa", "cac"), [(5_000, 4_080, 2_500, 5_000), (3_333, 6_121, 1_667, 3_333)]
)
def test_mapped_spend_stands_at_its_platforms_paid_channel_with_its_ratios(
    house: House, cents: int, roas: int, cpa: int, cac: int
) -> None:
    """Two orders of 102.00 from paid Google, one a new customer's. 204.00 / 33.33 = 6.1206, 33.33 / 2 = 16.665."""
    noon = datetime.combine(YESTERDAY, datetime.min.time(), UTC) + timedelta(hours=12)
    for number, at in ((1, noon), (2, noon + timedelta(hours=1))):
        touch(house, f"visitor-{number}", noon - timedelta(hours=2))
        order(house, number, at)
    for platform in ("google_ads", "meta"):
        house.write(
            "INSERT INTO ad_account_mappings (platform, account_id, currency) VALUES (%s, 'act_1', 'USD')",
            platform,
        )
    spend(house, "google_ads", cents)
    spend(house, "meta", 1_000)
    spend(house, "tiktok", 9_999)
    spend(house, "google_ads", 8_888, "not mapped")
    spend(house, "google_ads", 7_777, spent_on=YESTERDAY - timedelta(days=1))
    spend(house, "meta", 6_666, "act_2")
    assert run(house, attribution_daily_metrics, {"days": 1})["days"] == 1
    rows = house.query(
        "SELECT channel, platform, revenue_cents, conversions::float AS n, new_customers::float AS new, spend_cents,"
        " roas_thousandths, cpa_cents, cac_cents FROM attribution_channel_summary WHERE summary_on = %s"
        " AND window_days = 7 AND model = 'linear' ORDER BY 2",
        YESTERDAY,
    )
    assert [tuple(row.values()) for row in rows] == [
        ("paid", "google", 20_400, 2.0, 1.0, cents, roas, cpa, cac),
        ("paid", "meta", 0, 0.0, 0.0, 1_000, 0, None, None),
    ]


def test_channel_without_spend_has_no_ratios_and_spend_in_another_currency_is_none(house: House) -> None:
    noon = datetime.combine(YESTERDAY, datetime.min.time(), UTC) + timedelta(hours=12)
    touch(house, "visitor-1", noon - timedelta(hours=2))
    order(house, 1, noon)
    house.write(
        "INSERT INTO ad_account_mappings (platform, account_id, currency) VALUES ('google_ads', 'act_1', 'EUR')"
    )
    spend(house, "google_ads", 5_000, currency="EUR")
    run(house, attribution_daily_metrics, {"days": 1})
    rows = house.query(
        "SELECT DISTINCT channel, platform, spend_cents, roas_thousandths, cpa_cents, cac_cents"
        " FROM attribution_channel_summary"
    )
    assert [tuple(row.values()) for row in rows] == [("paid", "google", 0, None, None, None)]


def test_snapshot_tells_how_much_is_covered(house: House) -> None:
    noon = datetime.combine(YESTERDAY, datetime.min.time(), UTC) + timedelta(hours=12)
    for number in (1, 2, 3):
        order(house, number, noon)
    touch(house, "visitor-1", noon - timedelta(hours=1), utm={})
    house.run(sync_order, {"order_id": 1})
    run(house, attribution_process_unattributed)
    [day] = run(house, attribution_data_quality_snapshot, {"days": 1})["days"]
    assert day == {
        "snapshot_on": YESTERDAY.isoformat(), "orders": 3, "attributed": 1, "coverage": 0.3333, "touchpoints": 1,
        "webhooks": 0, "webhooks_failed": 0,
    }  # fmt: skip
    [row] = house.query(
        "SELECT touchpoints_without_source, conversions FROM attribution_data_quality_snapshots"
    )
    assert row == {"touchpoints_without_source": 1, "conversions": 3}
    empty = run(
        house, attribution_data_quality_snapshot, {"days": 1, "last_day": date(2026, 1, 1).isoformat()}
    )
    assert empty["days"][0]["coverage"] is None


def test_visitor_who_is_identified_brings_another_devices_touches_to_the_customers_orders(
    house: House,
) -> None:
    order(house, 1, NOW - timedelta(hours=2))
    touch(house, "phone", NOW - timedelta(hours=3))
    before = len(house.queues.sent)
    told = {"visitor_id": "phone", "email_sha256": ANN.upper()}
    assert run(house, identity_stitch, told) == {"customers": 1, "orders": 1}
    [started] = [entry for entry in house.queues.sent[before:] if "process-attribution" in entry.queue]
    assert '"order_id":1' in started.body.replace(" ", "")
    assert run(house, attribution_process_unattributed) == {"tried": 1, "attributed": 1, "given_up": 0}
    house.write("DELETE FROM attribution_conversions")
    assert run(house, attribution_order_reconciliation)["attributed"] == 1


def test_visitor_of_nobody_we_know_is_looked_for_again_later(house: House) -> None:
    order(
        house,
        1,
        NOW - timedelta(hours=2),
        customer=ShopifyCustomer(7, "bo@example.com", "B", None, None, None),
    )
    touch(house, "phone", NOW - timedelta(hours=3))
    end = house.run(identity_stitch, {"visitor_id": "phone", "email_sha256": ANN}, source=Source.EVENT)
    assert isinstance(end, Done)
    assert house.query("SELECT state FROM task_run WHERE task = 'analytics-attribution-identity-stitch'") == [
        {"state": "retrying"}
    ]
    assert house.query("SELECT 1 AS x FROM attribution_identities") == []
