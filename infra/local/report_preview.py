"""``make report-preview``: the reports that a merchant gets, as HTML, text and pictures, and a page of them all."""

from __future__ import annotations

import sys
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from analytics.profit_and_loss.configs import (
    CostConfig,
    Fulfilment,
    FulfilmentModel,
    PaymentProcessing,
    Processor,
)
from analytics.profit_and_loss.model import Booked, CategoryType, Counted, Span, Spend, changes
from analytics.profit_and_loss.statement import Rules, state
from analytics.reports.charts import draw_waterfall, draw_week
from analytics.reports.content import Report, statement_report, week_report
from analytics.reports.model import Day, Source, WeekFigures, WeekReport, as_report, waterfall
from infra.local import paths
from infra.local.preview import write_email, write_index

FOLDER = paths.CHECKOUT / ".tradewind" / "report-preview"
STORE, CURRENCY = "Alder & Ash", "USD"
MONDAY = date(2026, 11, 16)
_DAY = timedelta(days=1)
_SALES = (184_220, 143_910, 201_400, 176_080, 268_950, 312_700, 254_310)
_SALES_BEFORE = (171_800, 150_220, 162_040, 180_390, 221_700, 258_100, 243_960)


def main() -> int:
    """Write the previews and say where they are."""
    names = write(FOLDER)
    sys.stdout.write(f"{len(names)} reports: {FOLDER / 'index.html'}\n")
    return 0


def write(folder: Path) -> list[str]:
    """Render every report; the names of what was written."""
    folder.mkdir(parents=True, exist_ok=True)
    reports = {"week": _week(), "profit": _statement(_october()), "loss": _statement(_november())}
    for name, report in reports.items():
        picture = f"{name}-{report.picture.name}"
        (folder / picture).write_bytes(report.picture.content)
        html = report.html.replace(f"cid:{report.picture.name}", picture)
        write_email(folder, name, html, report.text)
    subjects = {name: report.subject for name, report in reports.items()}
    write_index(folder, "Reports", subjects, width=680, height=1180)
    return list(reports)


def _week() -> Report:
    days = tuple(Day(MONDAY + _DAY * at, 20 + at, cents) for at, cents in enumerate(_SALES))
    before = tuple(Day(MONDAY + _DAY * (at - 7), 18 + at, cents) for at, cents in enumerate(_SALES_BEFORE))
    sources = (
        Source("newsletter", 1_204, 612_300),
        Source("google", 2_840, 431_950),
        Source("instagram", 1_977, 240_120),
        Source("kim (creator)", 388, 128_700),
        Source("direct", 960, 64_400),
    )
    week = WeekFigures(MONDAY, 163, sum(_SALES), 9_458, 149, 61, 5_210, 1_477_470, sources)
    former = WeekFigures(MONDAY - 7 * _DAY, 151, sum(_SALES_BEFORE), 9_193, 140, 66, 4_988, 1_322_000, ())
    chart = draw_week(MONDAY, days, before, CURRENCY)
    return week_report(WeekReport(week, former, days, before), STORE, CURRENCY, chart)


def _statement(counted: Counted) -> Report:
    rules = Rules(
        costs=CostConfig(
            payment_processing=PaymentProcessing(
                additional=(
                    Processor(
                        name="PayPal", rate=Decimal("0.0349"), fixed_fee_cents=49, share_percent=Decimal(15)
                    ),
                )
            ),
            fulfilment=Fulfilment(model=FulfilmentModel.PER_ITEM, pick_pack_cents=100, per_item_cents=25),
        )
    )
    statement = state(counted, rules)
    report = as_report(statement, counted.orders, changes(state(_october(), rules), statement))
    return statement_report(report, STORE, draw_waterfall(waterfall(report.totals), CURRENCY))


def _october() -> Counted:
    return _counted(date(2026, 10, 1), date(2026, 10, 31), gross=7_480_000, spend=1_120_000)


def _november() -> Counted:
    return _counted(date(2026, 11, 1), date(2026, 11, 30), gross=5_120_000, spend=2_260_000)


def _counted(start: date, end: date, gross: int, spend: int) -> Counted:
    opened = datetime.combine(start, datetime.min.time(), UTC)
    orders = gross // 9_500
    charged = gross * 108 // 100
    return Counted(
        Span(start, end, opened, datetime.combine(end + _DAY, datetime.min.time(), UTC)),
        CURRENCY,
        orders=orders,
        units=orders * 2,
        gross_cents=gross,
        discount_cents=gross // 12,
        returns_cents=gross // 30,
        charged_cents=charged,
        paid_orders=orders,
        processing_cents=charged * 3 // 100 + 32 * orders,
        cost_cents=gross * 31 // 100,
        returned_cost_cents=gross // 100,
        units_without_cost=12,
        commission_cents=gross // 40,
        commissions=orders // 9,
        spend=(Spend("google_ads", spend // 3), Spend("meta", spend - spend // 3)),
        booked=(
            Booked("rent", "Rent", CategoryType.OPERATING, 280_000, 1),
            Booked("salaries", "Salaries", CategoryType.OPERATING, 1_150_000, 2),
            Booked("shipping", "Shipping", CategoryType.VARIABLE, gross * 6 // 100, 4),
            Booked("software", "Software", CategoryType.OPERATING, 96_000, 5),
        ),
    )


if __name__ == "__main__":
    sys.exit(main())
