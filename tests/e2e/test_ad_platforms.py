"""Signed webhooks in, purchases at the ad platforms out: the day's reconciliation beside the platforms' own books, and
``make verify-ads``.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.e2e.cloud import Cloud, Tenant
from tests.e2e.orders import make_order, new_id

PLACES = {"ga4": "ga4/streams", "meta": "meta/datasets", "tiktok": "tiktok/pixels"}


def account_of(tenant: Tenant, platform: str) -> str:
    return f"G-{tenant.slug}" if platform == "ga4" else tenant.slug


@pytest.fixture
def connected(cloud: Cloud, tenant: Tenant) -> Tenant:
    """A tenant with an account at each platform, since last week."""
    own = {name: account_of(tenant, name) for name in PLACES}
    secrets = {
        "ga4": {"measurement_id": own["ga4"], "api_secret": "s3cret"},
        "meta": {"dataset_id": own["meta"], "access_token": "EAA-token"},
        "tiktok": {"pixel_id": own["tiktok"], "access_token": f"tt_{own['tiktok']}"},
    }
    for provider, credentials in secrets.items():
        asked = {"action": "store-credentials", "tenant": tenant.slug, "provider": provider}
        cloud.invoke("ingress-admin", asked | {"credentials": credentials})
    tenant.write("UPDATE credentials SET updated_at = now() - interval '7 days'")
    return tenant


def seen(tenant: Tenant, platform: str) -> dict[str, Any]:
    answer = tenant.cloud.sandbox.get(f"/{PLACES[platform]}/{account_of(tenant, platform)}")
    found: dict[str, Any] = answer.json()
    return found


def cents_at(tenant: Tenant, platform: str) -> int:
    """What a platform sums its purchases to."""
    fields = {"ga4": "params", "meta": "custom_data", "tiktok": "properties"}
    events = seen(tenant, platform)["events"]
    return sum(int(Decimal(str(each[fields[platform]]["value"])) * 100) for each in events)


def ledger(tenant: Tenant) -> list[dict[str, Any]]:
    return tenant.rows("conversion_events_sent", order="destination, subject")


def buy(tenant: Tenant, placed: datetime, **changes: Any) -> int:
    """Deliver an order's webhook, and wait for the order chain's end."""
    order = make_order(new_id(), placed, **changes)
    tenant.put(order)
    tenant.send("orders/create", order, "commerce-order-created")
    return int(order["id"])


def test_ought_sent_taken_and_counted_agree_to_the_cent(cloud: Cloud, connected: Tenant) -> None:
    """Three orders of yesterday, one of them a test order: 60.50 and 54.45 for goods, 68.50 and 62.45 charged."""
    yesterday = datetime.now(UTC).replace(hour=0, minute=5, second=0, microsecond=0) - timedelta(days=1)
    orders = [
        buy(connected, yesterday),
        buy(connected, yesterday + timedelta(hours=1), code="LESS"),
        buy(connected, yesterday + timedelta(hours=2), test=True),
    ]
    cloud.invoke("ingress-relay", {})
    connected.wait_for(
        "six acknowledged", lambda: [e["state"] for e in ledger(connected)] == ["acknowledged"] * 6
    )
    assert {entry["shopify_order_id"] for entry in ledger(connected)} == {*orders[:2]}
    payload = {"days": 1, "last_day": yesterday.date().isoformat()}
    told = cloud.invoke(
        "analytics-reconcile-ad-events", {"tenant": connected.slug, "payload": payload, "cause": "e2e"}
    )
    expected = {"ga4": 6050 + 5445, "meta": 6850 + 6245, "tiktok": 6850 + 6245}
    purchases = connected.rows("ad_event_reconciliations", "event_name = %s", "purchase")
    rows = {row["destination"]: row for row in purchases}
    for name, cents in expected.items():
        row = rows[name]
        assert (row["orders"], row["excluded"]) == (3, {"test_order": 1})
        assert (row["expected"], row["sent"], row["acknowledged"]) == (2, 2, 2)
        assert (row["expected_cents"], row["sent_cents"], row["acknowledged_cents"]) == (cents, cents, cents)
        assert (len(seen(connected, name)["events"]), cents_at(connected, name)) == (2, cents)
        assert seen(connected, name)["duplicates"] == 0
    assert {each["differences"] for each in told["days"]} == {0}
    assert told["posted"] == {}
    assert not connected.rows("attribution_conversions", "shopify_order_id = %s", orders[2])


def test_verify_ads_prints_what_each_platform_must_show(cloud: Cloud, connected: Tenant) -> None:
    placed = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
    order = buy(connected, placed)
    cloud.invoke("ingress-relay", {})
    connected.wait_for(
        "three acknowledged", lambda: [e["state"] for e in ledger(connected)] == ["acknowledged"] * 3
    )
    before = ledger(connected)
    done = cloud.command(
        "infra.smoke.ads", STAGE="local", TENANT=connected.slug, ORDER=str(order), META_CODE="TEST1",
        TIKTOK_CODE="TEST2",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == f"order {order}"
    heads = [line.split() for line in lines if line.startswith("accepted")]
    assert [head[1:4] for head in heads] == [
        ["GA4", "60.50", "USD"], ["Meta", "68.50", "USD"], ["TikTok", "68.50", "USD"],
    ]  # fmt: skip
    own_id = f"{connected.id}.{order}"
    assert f"shows Purchase under TEST1 with event id {own_id}" in done.stdout
    assert f"Real-Time shows purchase {order}" in done.stdout
    assert "told for real, acknowledged" in done.stdout
    assert [len(seen(connected, name)["tests"]) for name in PLACES] == [0, 1, 1]
    assert [len(seen(connected, name)["events"]) for name in PLACES] == [1, 1, 1]
    assert ledger(connected) == before


def test_verify_ads_says_what_is_missing(cloud: Cloud, tenant: Tenant) -> None:
    order = str(buy(tenant, datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)))
    for environment, said in (
        ({"TENANT": "", "ORDER": order}, "failed: TENANT is missing"),
        ({"TENANT": tenant.slug, "ORDER": "mug"}, "failed: ORDER is 'mug'"),
        ({"TENANT": tenant.slug, "ORDER": "4"}, "failed: TerminalError: NotFoundError: no order with id 4"),
        ({"TENANT": tenant.slug, "ORDER": order}, f"order {order}\nnot_connected GA4"),
    ):
        done = cloud.command("infra.smoke.ads", STAGE="local", **environment)
        assert (done.returncode, done.stdout.startswith(said)) == (1, True), done.stdout + done.stderr
    assert "make credentials TENANT=... PROVIDER=meta" in done.stdout
