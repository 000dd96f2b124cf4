"""Profit and loss against values by hand, on a real Postgres."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from analytics.metrics.tasks import aggregate_daily_metrics
from analytics.profit_and_loss.cost_tasks import sync_product_costs
from analytics.profit_and_loss.tasks import (
    book_expenses,
    generate_pl_statement,
    import_product_costs,
    save_pl_config,
)
from commerce.order_sync.tasks import sync_order
from commerce.product_sync.tasks import product_sync
from tests.fakes import a_refund, an_order
from tests.integration.harness import House
from tests.played import a_product
from tradewind.ports import ShopifyOrder
from tradewind.tasks.message import Source
from tradewind.tasks.worker import Dead, Done, to_plain

DAY = date(2026, 10, 12)
NOON = datetime(2026, 10, 12, 12, tzinfo=UTC)
COSTS = "product_id,variant_id,unit_cost\n71,,5.00\n72,720,12.50\n"


def order(number: int, placed: datetime = NOON, **about: Any) -> ShopifyOrder:
    """3 x 20.00 and 1 x 40.00, 10.00 off, 5.00 shipping, 7.00 tax: 102.00 charged, 90.00 net."""
    return an_order(number, placed_at=placed, updated_at=about.pop("updated_at", placed), visit=None, **about)


def take(house: House, *orders: ShopifyOrder) -> None:
    house.shopify.put(*orders)
    for each in orders:
        assert isinstance(house.run(sync_order, {"order_id": each.id}), Done)


def ask(house: House, task: Any, payload: dict[str, Any], **about: Any) -> dict[str, Any]:
    end = house.run(task, payload, source=Source.MANUAL, **about)
    assert isinstance(end, Done), end
    result: dict[str, Any] = to_plain(end.result)
    return result


def configure(house: House, kind: str, document: dict[str, Any]) -> dict[str, Any]:
    return ask(house, save_pl_config, {"kind": kind, "document": document, "changed_by": "ann"})


def statement(house: House, start: date = DAY, end: date = DAY, **about: Any) -> dict[str, Any]:
    return ask(house, generate_pl_statement, {"start": start.isoformat(), "end": end.isoformat(), **about})


def figures(made: dict[str, Any]) -> dict[str, int]:
    return {line["key"]: line["cents"] for line in made["lines"]}


@pytest.fixture
def shop(house: House) -> House:
    """Two orders of the day, one of which gave a 20.00 disc back the day after; internal costs 5.00 and 12.50."""
    configure(house, "cogs", {"source": "internal"})
    ask(house, import_product_costs, {"rows": COSTS, "valid_from": "2026-01-01T00:00:00Z"})
    back = a_refund(31, 1_940, 1_800, NOON + timedelta(days=1), 20_011)
    take(house, order(1001), order(2001, refunds=(back,), updated_at=NOON + timedelta(days=1)))
    return house


def test_statement_of_a_day_is_exact_line_by_line(shop: House) -> None:
    assert figures(statement(shop)) == {
        "gross_sales": 20_000,
        "discounts": -2_000,
        "returns": 0,
        "net_revenue": 18_000,
        "cogs": 5_500,  # 2 x (3 x 5.00 + 12.50)
        "gross_profit": 12_500,
        "payment_processing": 652,  # 102.00 x 2.9 % + 0.30 = 3.258, so 3.26 an order
        "fulfilment": 400,
        "packaging": 150,
        "shipping": 0,
        "contribution_margin": 11_298,
        "contribution_profit": 11_298,
        "operating_income": 11_298,
        "net_profit": 11_298,
    }


def test_given_back_unit_gives_its_original_cost_back_on_the_day_of_the_refund(shop: House) -> None:
    later = NOON + timedelta(hours=1)
    ask(
        shop,
        import_product_costs,
        {"rows": "product_id,unit_cost\n71,9.00\n", "valid_from": later.isoformat()},
    )
    day_after = DAY + timedelta(days=1)
    made = figures(statement(shop, day_after, day_after))
    assert (made["returns"], made["cogs"], made["net_profit"]) == (-1_800, -500, -1_300)
    assert figures(statement(shop))["cogs"] == 5_500
    take(shop, order(3001, later + timedelta(minutes=1)))
    assert figures(statement(shop))["cogs"] == 5_500 + 3 * 900 + 1_250


def test_costs_that_begin_later_than_an_order_are_what_its_units_cost(house: House) -> None:
    configure(house, "cogs", {"source": "internal"})
    ask(house, import_product_costs, {"rows": COSTS})
    take(house, order(1001))
    assert figures(statement(house))["cogs"] == 2_750


@pytest.mark.parametrize(
    ("document", "key", "cents"),
    [
        (
            {
                "payment_processing": {
                    "rate": "0.024",
                    "additional": [
                        {"name": "PayPal", "rate": "0.0349", "fixed_fee_cents": 49, "share_percent": "15"}
                    ],
                }
            },
            "payment_processing",
            2
            * 294,  # 102.00 x (0.85 x 0.024 + 0.15 x 0.0349) = 261.477; 0.85 x 30 + 0.15 x 49 = 32.85; 294.327
        ),
        ({"payment_processing": {"rate": "0", "fixed_fee_cents": 0}}, "payment_processing", 0),
        (
            {"fulfilment": {"model": "per_item", "pick_pack_cents": 100, "per_item_cents": 25}},
            "fulfilment",
            400,
        ),
        ({"fulfilment": {"handling_cents": 40}}, "fulfilment", 480),
        ({"fulfilment": {"model": "manual"}}, "fulfilment", 0),
        ({"fulfilment": {"packaging_cents": 50}}, "packaging", 100),
        ({"shipping": {"method": "flat_rate", "flat_rate_cents": 610}}, "shipping", 1_220),
        ({"shipping": {"method": "estimated_percentage", "rate": "0.0625"}}, "shipping", 1_275),
        ({"other_costs": [{"name": "Insert", "kind": "per_item", "amount_cents": 15}]}, "other_cost_0", 120),
        ({"other_costs": [{"name": "Card", "kind": "per_order", "amount_cents": 15}]}, "other_cost_0", 30),
        (
            {"other_costs": [{"name": "Licence", "kind": "percentage_of_revenue", "rate": "0.0333"}]},
            "other_cost_0",
            599,  # 18000 x 3.33 % = 599.4
        ),
    ],
)
def test_variable_costs_follow_the_configuration(shop: House, document: Any, key: str, cents: int) -> None:
    configure(shop, "costs", document)
    made = statement(shop)
    assert figures(made)[key] == cents
    assert made["versions"]["costs"] == 1
    [line] = [line for line in made["lines"] if line["key"] == key]
    assert not line["parts"] or sum(part["cents"] for part in line["parts"]) == cents


@pytest.mark.parametrize(("grams", "fee"), [(None, 150), (453, 150), (454, 200), (907, 200), (908, 300)])
def test_order_pays_the_fee_of_its_weight_tier(house: House, grams: int | None, fee: int) -> None:
    """16 oz are 453.59 g, 32 oz are 907.18 g."""
    tiers = [
        {"min_oz": 0, "max_oz": 16, "fee_cents": 150},
        {"min_oz": 16, "max_oz": 32, "fee_cents": 200},
        {"min_oz": 32, "max_oz": None, "fee_cents": 300},
    ]
    configure(house, "costs", {"fulfilment": {"model": "weight_based", "weight_tiers": tiers}})
    take(house, order(1001, weight_grams=grams))
    made = statement(house)
    assert figures(made)["fulfilment"] == fee
    assert any("no weight" in note for note in made["notes"]) is (grams is None)


@pytest.mark.parametrize(
    ("document", "cogs", "orders"),
    [
        ({"source": "internal", "internal": {"missing": "zero"}}, 1_500, 1),
        (
            {"source": "internal", "internal": {"missing": "percentage_of_price", "price_rate": "0.4"}},
            3_100,
            1,
        ),
        ({"source": "internal", "internal": {"missing": "skip_pnl"}}, 0, 0),
        ({"source": "shopify", "shopify": {"missing": "use_default", "default_cents": 700}}, 2_800, 1),
    ],
)
def test_unknown_costs_fall_back_as_configured(house: House, document: Any, cogs: int, orders: int) -> None:
    ask(house, import_product_costs, {"rows": "product_id,variant_id,unit_cost\n71,710,5\n"})
    configure(house, "cogs", document)
    take(house, order(1001))
    made = statement(house)
    assert (figures(made)["cogs"], made["orders"]) == (cogs, orders)
    assert any("no known cost" in note for note in made["notes"])


def test_goods_of_free_orders_cost_only_where_that_is_switched_on(house: House) -> None:
    configure(house, "cogs", {"source": "internal"})
    ask(house, import_product_costs, {"rows": COSTS})
    take(house, order(1001, discount_cents=10_000, shipping_cents=0, tax_cents=0, total_cents=0))
    made = figures(statement(house))
    assert (made["cogs"], made["payment_processing"], made["net_revenue"]) == (0, 0, 0)
    configure(house, "formula", {"include_free_samples": True})
    assert figures(statement(house))["cogs"] == 2_750


def test_switches_add_shipping_and_tax_to_revenue(shop: House) -> None:
    configure(shop, "formula", {"include_shipping_revenue": True, "include_tax": True})
    assert figures(statement(shop))["net_revenue"] == 18_000 + 1_000 + 1_400


def test_other_orders_do_not_count(shop: House) -> None:
    before = figures(statement(shop))
    take(
        shop,
        order(5001, cancelled_at=NOON),
        order(5002, financial_status="voided"),
        order(5003, test=True),
        order(5004, currency="GBP"),
    )
    made = statement(shop)
    assert figures(made) == before
    assert "1 orders in another currency than USD are left out" in made["notes"]


def test_booked_expenses_count_once_where_the_statement_computes_nothing(shop: House) -> None:
    ask(
        shop,
        book_expenses,
        {
            "categories": [{"category": "warehouse", "label": "Warehouse", "type": "operating"}],
            "expenses": [
                {
                    "expense_id": "e1",
                    "category": "rent",
                    "amount_cents": 1_000,
                    "incurred_on": DAY.isoformat(),
                },
                {
                    "expense_id": "e2",
                    "category": "warehouse",
                    "amount_cents": 70,
                    "incurred_on": DAY.isoformat(),
                },
                {
                    "expense_id": "e3",
                    "category": "packaging",
                    "amount_cents": 999,
                    "incurred_on": DAY.isoformat(),
                },
                {
                    "expense_id": "e4",
                    "category": "shipping",
                    "amount_cents": 800,
                    "incurred_on": DAY.isoformat(),
                },
                {
                    "expense_id": "e5",
                    "category": "influencer_fees",
                    "amount_cents": 300,
                    "incurred_on": DAY.isoformat(),
                },
                {"expense_id": "e6", "category": "rent", "amount_cents": 5, "incurred_on": "2026-10-13"},
                {
                    "expense_id": "e7",
                    "category": "rent",
                    "amount_cents": 4,
                    "incurred_on": DAY.isoformat(),
                    "counts_for_pnl": False,
                    "exclusion_reason": "private",
                },
                {
                    "expense_id": "e8",
                    "category": "miscellaneous",
                    "amount_cents": 250,
                    "income": True,
                    "incurred_on": DAY.isoformat(),
                },
            ],
        },
    )
    made = statement(shop)
    found = figures(made)
    assert (found["rent"], found["warehouse"], found["packaging"], found["shipping"]) == (1_000, 70, 150, 800)
    assert (found["contribution_margin"], found["contribution_profit"]) == (10_498, 10_198)
    assert (found["operating_income"], found["net_profit"]) == (9_128, 9_378)
    assert "999 booked as Packaging are not counted: the statement computes them" in made["notes"]
    configure(shop, "formula", {"show_other": False})
    assert figures(statement(shop))["net_profit"] == 9_128


def test_commissions_are_marketing(house: House) -> None:
    house.write("INSERT INTO creators (name, code, rate_basis_points) VALUES ('Kim', 'KIM10', 1000)")
    take(house, order(1001, discount_codes=("kim10",)))
    assert figures(statement(house))["creator_commissions"] == 900


def test_statement_tells_how_it_has_changed_and_is_kept(shop: House) -> None:
    take(shop, order(4001, NOON - timedelta(days=1)))
    made = statement(shop)
    [change] = [each for each in made["changes"] if each["key"] == "net_revenue"]
    assert (change["before_cents"], change["cents"], change["percent"]) == (9_000, 18_000, 100)
    statement(shop)
    [row] = shop.query("SELECT * FROM pnl_snapshots")
    assert (row["start_on"], row["net_revenue_cents"], row["net_profit_cents"]) == (DAY, 18_000, 11_298)
    assert row["statement"]["lines"][0]["key"] == "gross_sales"


def test_day_is_closed_with_its_profit(shop: House) -> None:
    ask(shop, aggregate_daily_metrics, {"last_day": DAY.isoformat(), "days": 1})
    [row] = shop.query("SELECT * FROM analytics_metrics")
    assert (row["gross_profit_cents"], row["contribution_margin_cents"], row["net_profit_cents"]) == (
        12_500,
        11_298,
        11_298,
    )


def test_configuration_is_versioned_and_its_changes_told(house: House) -> None:
    first = configure(house, "costs", {"fulfilment": {"packaging_cents": 50}})
    again = configure(house, "costs", {"fulfilment": {"packaging_cents": 50}})
    second = configure(house, "costs", {"fulfilment": {"packaging_cents": 60}})
    assert (first["version"], again["version"], again["changed"]) == (1, 1, [])
    assert (second["version"], second["changed"]) == (2, ["fulfilment.packaging_cents"])
    [row] = house.query("SELECT * FROM finance_config_changes WHERE version = 2")
    assert (row["field"], row["before"], row["after"]) == ("fulfilment.packaging_cents", 50, 60)
    house.write("UPDATE finance_configs SET changed_by = 'nobody'")
    house.write("UPDATE finance_config_changes SET after = '1'")
    assert house.query("SELECT count(*) AS n FROM finance_configs WHERE changed_by = 'ann'") == [{"n": 2}]
    assert house.query("SELECT count(*) AS n FROM finance_config_changes WHERE after = '1'") == [{"n": 0}]


def test_eleventh_save_of_a_minute_waits(house: House) -> None:
    for cents in range(10):
        configure(house, "costs", {"fulfilment": {"packaging_cents": cents}})
    end = house.run(
        save_pl_config,
        {"kind": "costs", "document": {}, "changed_by": "ann"},
        source=Source.MANUAL,
    )
    assert not isinstance(end, Done | Dead)
    assert house.query("SELECT max(version) AS n FROM finance_configs")[0]["n"] == 10


@pytest.mark.parametrize(
    ("kind", "document", "told"),
    [
        (
            "costs",
            {"payment_processing": {"rate": 0.029}},
            "document.payment_processing.rate: must be decimal text",
        ),
        ("costs", {"payment_processing": {"rate": "1.2"}}, "document.payment_processing.rate"),
        ("costs", {"fulfilment": {"model": "weight_based"}}, "weight_based needs weight_tiers"),
        ("costs", {"fulfilment": {"packaging_cents": -1}}, "document.fulfilment.packaging_cents"),
        ("costs", {"fulfillment": {}}, "document.fulfillment"),
        ("cogs", {"source": "erp"}, "document.source"),
        ("cogs", {"internal": {"missing": "use_default"}}, "document.internal.missing"),
        (
            "costs",
            {
                "payment_processing": {
                    "additional": [
                        {"name": name, "rate": "0.03", "fixed_fee_cents": 1, "share_percent": 60}
                        for name in ("a", "b")
                    ]
                }
            },
            "add up to more than 100",
        ),
    ],
)
def test_impossible_configuration_is_refused_by_field(
    house: House, kind: str, document: Any, told: str
) -> None:
    end = house.run(save_pl_config, {"kind": kind, "document": document, "changed_by": "ann"})
    assert isinstance(end, Dead)
    assert told in str(end.error)
    assert house.query("SELECT * FROM finance_configs") == []


def test_dry_run_of_an_import_tells_each_fault_and_writes_nothing(house: House) -> None:
    rows = "Product_ID,variant_id,unit_cost\n71,,5.00\nx,,1\n72,720,-3\n73,,1.234\n"
    told = ask(house, import_product_costs, {"rows": rows, "dry_run": True})
    assert [(each["line"], each["column"]) for each in told["faults"]] == [
        (3, "product_id"),
        (4, "unit_cost"),
        (5, "unit_cost"),
    ]
    assert (told["rows"], told["written"], told["unknown_products"]) == (1, 0, [71])
    end = house.run(import_product_costs, {"rows": rows})
    assert isinstance(end, Dead)
    assert "line 3, product_id" in str(end.error)
    assert house.query("SELECT * FROM product_costs") == []


def test_import_writes_only_what_is_new(house: House) -> None:
    assert ask(house, import_product_costs, {"rows": COSTS})["written"] == 2
    assert ask(house, import_product_costs, {"rows": COSTS})["written"] == 0
    assert ask(house, import_product_costs, {"rows": "product_id,unit_cost\n71,5.01\n"})["written"] == 1


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"category": "yachts"}, "expenses.0.category: yachts does not exist"),
        ({"income": True}, "expenses.0.income"),
        ({"amount_cents": 0}, "amount_cents"),
        ({"amount_cents": 1.5}, "amount_cents"),
    ],
)
def test_impossible_expense_is_refused_by_field(house: House, changes: dict[str, Any], told: str) -> None:
    expense = {"expense_id": "e1", "category": "rent", "amount_cents": 1, "incurred_on": "2026-10-12"}
    end = house.run(book_expenses, {"expenses": [{**expense, **changes}]})
    assert isinstance(end, Dead)
    assert told in str(end.error)
    assert house.query("SELECT * FROM operating_expenses") == []


def sell(house: House, cost: str | None, at: datetime) -> None:
    """The order's two variants at Shopify and in the catalogue; the poster has no cost."""
    product = a_product(71, at=at, variants=1)
    product["variants"][0].update({"id": 710, "product_id": 71, "inventory_item_id": 7_100, "cost": cost})
    house.shop.control("PUT", "products", document={"products": [product]})
    assert isinstance(house.run(product_sync, {"product_id": 71}), Done)


def test_costs_come_from_shopify_once_they_are_due(house: House) -> None:
    sell(house, "6.505", NOON)
    first = ask(house, sync_product_costs, {}, cause="first")
    assert (first["outcome"], first["items"], first["written"]) == ("read", 1, 1)
    take(house, order(1001))
    assert figures(statement(house))["cogs"] == 3 * 651
    assert ask(house, sync_product_costs, {}, cause="second")["outcome"] == "not_due"
    sell(house, "7.00", NOON + timedelta(hours=1))
    again = ask(house, sync_product_costs, {"full": True}, cause="third")
    assert (again["items"], again["written"]) == (1, 1)
    assert ask(house, sync_product_costs, {"full": True}, cause="fourth")["written"] == 0
    assert [
        row["unit_cost_cents"] for row in house.query("SELECT * FROM product_costs ORDER BY valid_from")
    ] == [
        651,
        700,
    ]


def test_costs_of_a_tenant_with_its_own_books_are_not_read(house: House) -> None:
    sell(house, "6.50", NOON)
    configure(house, "cogs", {"source": "internal"})
    assert ask(house, sync_product_costs, {"full": True})["outcome"] == "elsewhere"
    assert house.query("SELECT * FROM product_costs") == []


def test_reading_of_costs_goes_on_where_its_time_ended(house: House) -> None:
    products = [a_product(100 + at, at=NOON, variants=10) for at in range(30)]
    for product in products:
        for variant in product["variants"]:
            variant["cost"] = "1.00"
    house.shop.control("PUT", "products", document={"products": products})
    for product in products:
        assert isinstance(house.run(product_sync, {"product_id": product["id"]}), Done)
    message = house.message(sync_product_costs, {}, source=Source.MANUAL)
    house.worker(sync_product_costs).work(message, datetime.now(UTC) + timedelta(seconds=20))
    [run] = house.query("SELECT * FROM task_run WHERE task = 'analytics-sync-product-costs'")
    assert (run["state"], run["checkpoint"]["items"]) == ("retrying", 250)
    assert house.query("SELECT count(*) AS n FROM product_costs") == [{"n": 250}]
    [row] = house.query("SELECT * FROM outbox WHERE task = 'analytics-sync-product-costs'")
    house.worker(sync_product_costs).work(replace(message, hops=1, key=row["key"]), house.deadline())
    assert house.query("SELECT count(*) AS n FROM product_costs") == [{"n": 300}]


def spend(house: House, platform: str, cents: int, *, currency: str = "USD", counts: bool = True) -> None:
    house.write(
        "INSERT INTO ad_spend (platform, spent_on, account_id, campaign_id, currency, spend_cents, counts_for_pnl)"
        " VALUES (%s, %s, 'a', gen_random_uuid()::text, %s, %s, %s)",
        platform,
        DAY,
        currency,
        cents,
        counts,
    )


def test_synced_spend_takes_the_place_of_what_is_booked(shop: House) -> None:
    spend(shop, "meta", 1_200)
    spend(shop, "meta", 300)
    spend(shop, "google_ads", 500)
    spend(shop, "meta", 7_000, counts=False)
    spend(shop, "tiktok", 900, currency="EUR")
    booked = {"category": "meta_ads", "amount_cents": 1_450, "incurred_on": DAY.isoformat()}
    ask(shop, book_expenses, {"expenses": [{"expense_id": "e1", **booked}]})
    made = statement(shop)
    found = figures(made)
    assert (found["meta_spend"], found["google_ads_spend"], found["tiktok_spend"]) == (1_500, 500, 0)
    assert found["contribution_profit"] == 11_298 - 2_000
    assert "1 days of TikTok ads are in another currency and left out" in made["notes"]
    assert "1450 booked as Meta ads are not counted: the statement computes them" in made["notes"]
    configure(shop, "formula", {"marketing_by_platform": False})
    assert figures(statement(shop))["ad_spend"] == 2_000
