"""A marketing-mix model of a tenant's own days, on a real Postgres."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from analytics.ml_training.learning.mix import adstock, saturate
from analytics.ml_training.mix_tasks import mmm_train
from tests.integration.harness import House
from tradewind.tasks.message import Source
from tradewind.tasks.worker import Dead, Done

LAST = date(2026, 11, 19)
DAYS = 150
MODELS = (
    "SELECT version, algorithm, used, samples, metrics, document FROM ml_models"
    " WHERE kind = 'mmm' ORDER BY version"
)


def train(house: House, **payload: Any) -> Any:
    given = {"days": DAYS, "last_day": LAST.isoformat(), **payload}
    end = house.run(mmm_train, given, source=Source.MANUAL)
    return end.result if isinstance(end, Done) else end


@pytest.fixture
def shop(house: House) -> House:
    """A shop of 100,000 cents a day and what Meta brings of it, whose day begins in New York; Google brings nothing."""
    house.write("UPDATE tenants SET zone = 'America/New_York'")
    chance = np.random.default_rng(4)
    spend = np.where(chance.random(DAYS) < 0.6, chance.uniform(2_000, 40_000, DAYS), 0).round()
    other = chance.uniform(1_000, 9_000, DAYS).round()
    revenue = (
        100_000 + 90_000 * saturate(adstock(spend, 0.5), 40_000) + chance.normal(0, 3_000, DAYS)
    ).round()
    for at in range(DAYS):
        day = LAST - timedelta(days=DAYS - 1 - at)
        placed = datetime(day.year, day.month, day.day, 23, 30, tzinfo=UTC) + timedelta(hours=4)
        house.write(
            "INSERT INTO orders (shopify_order_id, order_number, currency, gross_cents, discount_cents, net_cents,"
            " shipping_cents, tax_cents, total_cents, financial_status, status, placed_at, shopify_updated_at)"
            " VALUES (%s, '#', 'USD', %s, 0, %s, 0, 0, 1, 'paid', 'open', %s, %s)",
            at + 1, int(revenue[at]), int(revenue[at]), placed, placed,
        )  # fmt: skip
        for platform, cents in (("meta", spend[at]), ("google_ads", other[at])):
            house.write(
                "INSERT INTO ad_spend (platform, spent_on, account_id, campaign_id, currency, spend_cents)"
                " VALUES (%s, %s, 'a', 'c', 'USD', %s)",
                platform, day, int(cents),
            )  # fmt: skip
    house.write("INSERT INTO ad_spend (platform, spent_on, account_id, campaign_id, currency, spend_cents)"
                " VALUES ('tiktok', %s, 'a', 'c', 'EUR', 500)", LAST)  # fmt: skip
    house.truth = float((90_000 * saturate(adstock(spend, 0.5), 40_000)).sum())  # type: ignore[attr-defined]
    house.revenue = round(float(revenue.sum()))  # type: ignore[attr-defined]
    return house


def test_contributions_are_stored_with_their_intervals_and_the_newest_model_is_used(shop: House) -> None:
    told = train(shop)
    assert (told["reason"], told["version"], told["first_day"], told["last_day"]) == (
        None, 1, (LAST - timedelta(days=DAYS - 1)).isoformat(), LAST.isoformat(),
    )  # fmt: skip
    google, meta = told["contributions"]
    assert meta["low_cents"] < shop.truth < meta["high_cents"]  # type: ignore[attr-defined]
    assert (meta["known"], google["known"]) == (True, False)
    parts = told["base_cents"] + google["cents"] + meta["cents"]
    assert parts == shop.revenue  # type: ignore[attr-defined]
    assert told["r2"] > 0.9
    assert told["mape"] < told["held_out_mape"] * 2 < 10
    [model] = shop.query(MODELS)
    assert (model["algorithm"], model["used"], model["samples"]) == ("bayesian-ridge", True, DAYS)
    assert model["metrics"] == {name: told[name] for name in ("r2", "mape", "held_out_mape")}
    assert [each["channel"] for each in model["document"]["contributions"]] == ["google_ads", "meta"]
    assert train(shop)["version"] == 2
    assert [(row["version"], row["used"]) for row in shop.query(MODELS)] == [(1, False), (2, True)]


def test_days_without_spend_or_revenue_and_too_few_of_them_leave_no_model(house: House, shop: House) -> None:
    assert train(shop, last_day="2026-08-10")["reason"] == "too_few_days"
    shop.write("UPDATE ad_spend SET currency = 'EUR'")
    assert train(shop)["reason"] == "no_spend"
    shop.write("UPDATE orders SET test = true")
    told = train(shop)
    assert (told["reason"], told["version"], told["contributions"]) == ("no_revenue", None, [])
    assert shop.query(MODELS) == []


@pytest.mark.parametrize(
    ("payload", "told"),
    [
        ({"days": 55}, "days"),
        ({"days": 732}, "days"),
        ({"last_day": "2999-01-01"}, "last_day: 2999-01-01 is not over in UTC"),
        ({"last_day": "yesterday"}, "last_day"),
        ({"channels": ["meta"]}, "channels"),
    ],
)
def test_bad_request_is_told_by_its_field(house: House, payload: dict[str, Any], told: str) -> None:
    end = train(house, **payload)
    assert isinstance(end, Dead)
    assert told in str(end.error)
