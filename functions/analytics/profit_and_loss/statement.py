"""From what was counted to the statement: net revenue, gross profit, contribution, operating income, net profit.

Each tier is the one above it less its own costs, and each line tells what it was made of. What the configuration
computes is not taken from the books as well: such bookings are told in the notes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from fractions import Fraction

from analytics.profit_and_loss.configs import (
    CogsConfig,
    CostConfig,
    FormulaConfig,
    FulfilmentModel,
    Missing,
    ShippingMethod,
)
from analytics.profit_and_loss.model import (
    Booked,
    CategoryType,
    Counted,
    Line,
    Statement,
    share,
    total_of,
)
from tradewind.money import split_by_weight

PLATFORMS: Mapping[str, str] = {"meta": "Meta ads", "google_ads": "Google Ads", "tiktok": "TikTok ads"}
AD_CATEGORIES: Mapping[str, str] = {"meta_ads": "meta", "google_ads": "google_ads", "tiktok_ads": "tiktok"}
"""Category of the books -> platform whose synced spend takes its place."""


@dataclass(frozen=True, slots=True)
class Rules:
    """A tenant's three configurations, as a statement is made by them."""

    costs: CostConfig = field(default_factory=CostConfig)
    cogs: CogsConfig = field(default_factory=CogsConfig)
    formula: FormulaConfig = field(default_factory=FormulaConfig)


def state(counted: Counted, rules: Rules) -> Statement:
    """The statement of a span."""
    formula = rules.formula
    sales = _sales(counted, formula)
    revenue = total_of(sales)
    computed = _computed_categories(counted, rules.costs)
    booked = [each for each in counted.booked if each.category not in computed]
    cogs = _cogs(counted, rules, _of(booked, CategoryType.COGS))
    variable = _variable(counted, rules, revenue, _of(booked, CategoryType.VARIABLE))
    marketing = _marketing(counted, formula, _of(booked, CategoryType.MARKETING))
    operating = _operating(formula, _of(booked, CategoryType.OPERATING))
    other = [_booked_line(each) for each in _of(booked, CategoryType.OTHER)] if formula.show_other else []

    gross_profit = revenue - cogs.cents
    margin = gross_profit - total_of(variable)
    contribution = margin - total_of(marketing)
    operating_income = contribution - total_of(operating)
    net_profit = operating_income - total_of(other)
    lines = (
        *sales,
        _total("net_revenue", "Net revenue", revenue, " ".join(_signed(line) for line in sales)),
        cogs,
        _total("gross_profit", "Gross profit", gross_profit, "net revenue - cost of goods sold"),
        *variable,
        _total(
            "contribution_margin",
            formula.contribution_margin_label,
            margin,
            "gross profit - the variable costs",
        ),
        *marketing,
        _total(
            "contribution_profit", "Contribution profit", contribution, "contribution margin - the marketing"
        ),
        *operating,
        replace(
            _total(
                "operating_income",
                "Operating income",
                operating_income,
                "contribution profit - the operating costs",
            ),
            shown=formula.show_operating_income,
        ),
        *other,
        _total(
            "net_profit",
            formula.net_profit_label,
            net_profit,
            "operating income - other costs + other income",
        ),
    )
    shown = tuple(_shaped(line, revenue, formula) for line in lines)
    return Statement(counted.span, counted.currency, shown, _notes(counted, rules, computed))


def _sales(counted: Counted, formula: FormulaConfig) -> list[Line]:
    lines = [
        Line(
            "gross_sales",
            "Gross sales",
            counted.gross_cents,
            f"subtotals of {counted.orders} orders before discounts",
        ),
        Line("discounts", "Discounts", -counted.discount_cents, "discounts of the same orders"),
        Line(
            "returns",
            "Returns",
            -counted.returns_cents,
            "goods given back in the period, at what was paid for them",
        ),
    ]
    if formula.include_shipping_revenue:
        lines.append(
            Line(
                "shipping_revenue",
                "Shipping revenue",
                counted.shipping_cents,
                "shipping that the orders paid",
            )
        )
    if formula.include_tax:
        lines.append(Line("tax", "Tax", counted.tax_cents, "tax that the orders paid"))
    return lines


def _signed(line: Line) -> str:
    return f"{'-' if line.key in {'discounts', 'returns'} else '+'} {line.label.lower()}"


def _cogs(counted: Counted, rules: Rules, booked: Iterable[Booked]) -> Line:
    known = {"shopify": "the costs that Shopify keeps", "internal": "the tenant's own product costs"}[
        rules.cogs.source
    ]
    parts = (
        Line(
            "units_sold", "Units sold", counted.cost_cents, f"quantity x unit cost at the order, by {known}"
        ),
        Line("units_returned", "Units given back", -counted.returned_cost_cents, "at what they had cost"),
        *(_booked_line(each) for each in booked),
    )
    return Line(
        "cogs",
        rules.formula.cogs_label,
        total_of(parts),
        f"{counted.units} units sold, less those given back",
        parts,
    )


def _computed_categories(counted: Counted, costs: CostConfig) -> frozenset[str]:
    """Categories of the books that the statement computes by itself: to count both would count twice."""
    computed = {"product_cost", "payment_processing", "packaging"}
    if costs.fulfilment.model is not FulfilmentModel.MANUAL:
        computed.add("fulfilment")
    if costs.shipping.method is not ShippingMethod.ACTUAL_EXPENSE:
        computed.add("shipping")
    synced = {each.platform for each in counted.spend}
    computed.update(category for category, platform in AD_CATEGORIES.items() if platform in synced)
    if counted.commissions:
        computed.add("creator_commissions")
    return frozenset(computed)


def _of(booked: Iterable[Booked], kind: CategoryType) -> list[Booked]:
    return [each for each in booked if each.type is kind]


def _booked_line(each: Booked) -> Line:
    return Line(each.category, each.label, each.cents, f"{each.entries} booked")


def _variable(counted: Counted, rules: Rules, revenue: int, booked: Iterable[Booked]) -> list[Line]:
    costs = rules.costs
    taken = {each.category: each for each in booked}
    return [
        _processing(counted, costs),
        _fulfilment(counted, costs, taken.pop("fulfilment", None)),
        Line(
            "packaging",
            "Packaging",
            counted.orders * costs.fulfilment.packaging_cents,
            f"{counted.orders} orders x {costs.fulfilment.packaging_cents}",
        ),
        _shipping(counted, costs, taken.pop("shipping", None)),
        *_others(counted, costs, revenue),
        *(_booked_line(each) for each in taken.values()),
    ]


def _processing(counted: Counted, costs: CostConfig) -> Line:
    """Rounded order by order; what each processor takes of the sum is told by its share."""
    shares = costs.payment_processing.shares
    weights = [
        Fraction(each.share_percent)
        * (Fraction(each.rate) * counted.charged_cents + counted.paid_orders * each.fixed_fee_cents)
        for each in shares
    ]
    told = f"{counted.paid_orders} paid orders, {counted.charged_cents} charged, rounded order by order"
    if len(shares) == 1 or not any(weights):
        own = shares[0]
        told = f"{told}: {_percent(own.rate)} + {own.fixed_fee_cents} each"
        return Line("payment_processing", "Payment processing", counted.processing_cents, told)
    parts = tuple(
        Line(
            f"processor_{at}",
            each.name,
            cents,
            f"{each.share_percent.normalize():f} % of the volume at {_percent(each.rate)} + {each.fixed_fee_cents}",
        )
        for at, (each, cents) in enumerate(
            zip(shares, split_by_weight(counted.processing_cents, weights), strict=True)
        )
    )
    return Line("payment_processing", "Payment processing", counted.processing_cents, told, parts)


def _fulfilment(counted: Counted, costs: CostConfig, booked: Booked | None) -> Line:
    own, orders = costs.fulfilment, counted.orders
    parts: list[Line] = []
    if own.model in {FulfilmentModel.PER_ORDER, FulfilmentModel.PER_ITEM}:
        cents = orders * own.pick_pack_cents
        parts.append(Line("pick_pack", "Pick and pack", cents, f"{orders} orders x {own.pick_pack_cents}"))
    if own.model is FulfilmentModel.PER_ITEM:
        cents = counted.units * own.per_item_cents
        parts.append(Line("per_item", "Units", cents, f"{counted.units} units x {own.per_item_cents}"))
    if own.model is FulfilmentModel.WEIGHT_BASED:
        told = f"each order's fee by its weight, {len(own.weight_tiers)} tiers"
        parts.append(Line("by_weight", "By weight", counted.weight_fee_cents, told))
    if booked is not None:
        parts.append(_booked_line(booked))
    if own.handling_cents:
        parts.append(
            Line(
                "handling", "Handling", orders * own.handling_cents, f"{orders} orders x {own.handling_cents}"
            )
        )
    return Line("fulfilment", "Fulfilment", total_of(parts), f"model {own.model}", tuple(parts))


def _shipping(counted: Counted, costs: CostConfig, booked: Booked | None) -> Line:
    own = costs.shipping
    if own.method is ShippingMethod.FLAT_RATE:
        cents = counted.orders * own.flat_rate_cents
        return Line("shipping", "Shipping", cents, f"{counted.orders} orders x {own.flat_rate_cents}")
    if own.method is ShippingMethod.ESTIMATED_PERCENTAGE:
        cents = of_rate(counted.charged_cents, own.rate)
        return Line("shipping", "Shipping", cents, f"{_percent(own.rate)} of {counted.charged_cents} charged")
    if booked is not None:
        return replace(_booked_line(booked), label="Shipping")
    return Line("shipping", "Shipping", 0, "nothing is booked")


def _others(counted: Counted, costs: CostConfig, revenue: int) -> list[Line]:
    lines = []
    for at, each in enumerate(costs.other_costs):
        if not each.active:
            continue
        if each.kind == "percentage_of_revenue":
            cents, told = of_rate(revenue, each.rate), f"{_percent(each.rate)} of net revenue {revenue}"
        else:
            count = counted.orders if each.kind == "per_order" else counted.units
            cents = count * each.amount_cents
            told = f"{count} {'orders' if each.kind == 'per_order' else 'units'} x {each.amount_cents}"
        lines.append(Line(f"other_cost_{at}", each.name, cents, told))
    return lines


def _marketing(counted: Counted, formula: FormulaConfig, booked: Iterable[Booked]) -> list[Line]:
    ads = [
        Line(
            f"{each.platform}_spend",
            PLATFORMS.get(each.platform, each.platform),
            each.cents,
            "spend as synced",
        )
        for each in counted.spend
    ]
    if not formula.marketing_by_platform and ads:
        ads = [Line("ad_spend", "Advertising", total_of(ads), "spend as synced, all platforms", tuple(ads))]
    commissions = Line(
        "creator_commissions",
        "Creator commissions",
        counted.commission_cents,
        f"{counted.commissions} commissions of orders of the period",
    )
    own = [commissions] if counted.commissions else []
    return [*ads, *own, *(_booked_line(each) for each in booked)]


def _operating(formula: FormulaConfig, booked: Iterable[Booked]) -> list[Line]:
    order = {name: at for at, name in enumerate(formula.category_order)}
    lines = sorted(
        (_booked_line(each) for each in booked), key=lambda line: (order.get(line.key, len(order)), line.key)
    )
    if formula.operating_by_category or not lines:
        return lines
    return [Line("operating_costs", "Operating costs", total_of(lines), "all categories", tuple(lines))]


def _total(key: str, label: str, cents: int, source: str) -> Line:
    return Line(key, label, cents, source, total=True)


def _shaped(line: Line, revenue: int, formula: FormulaConfig) -> Line:
    """What the tenant wants to see of a line."""
    shown = line.shown and {
        "gross_sales": formula.show_gross_sales,
        "discounts": formula.show_discounts,
        "returns": formula.show_returns,
    }.get(line.key, line.key not in formula.hidden_variable_lines)
    return replace(line, shown=shown, basis_points=share(line.cents, revenue))


def _notes(counted: Counted, rules: Rules, computed: frozenset[str]) -> tuple[str, ...]:
    notes = []
    if counted.units_without_cost:
        told = f"{counted.units_without_cost} units have no known cost"
        if rules.cogs.missing is Missing.SKIP:
            told += f"; their {counted.skipped_orders} orders are left out of the statement"
        notes.append(told)
    if counted.foreign_orders:
        notes.append(
            f"{counted.foreign_orders} orders in another currency than {counted.currency} are left out"
        )
    if counted.sample_orders and not rules.formula.include_free_samples:
        notes.append(f"the goods of {counted.sample_orders} free orders are not counted as a cost")
    if counted.orders_without_weight and rules.costs.fulfilment.model is FulfilmentModel.WEIGHT_BASED:
        notes.append(
            f"{counted.orders_without_weight} orders tell no weight; they have the lightest tier's fee"
        )
    notes += [
        f"{each.foreign} days of {PLATFORMS.get(each.platform, each.platform)} are in another currency and left out"
        for each in counted.spend
        if each.foreign
    ]
    notes += [
        f"{each.cents} booked as {each.label} are not counted: the statement computes them"
        for each in counted.booked
        if each.category in computed
    ]
    return tuple(notes)


def of_rate(cents: int, rate: Decimal) -> int:
    """``rate`` of an amount, rounded half away from zero."""
    exact = Fraction(rate) * cents
    rounded = (2 * abs(exact.numerator) + exact.denominator) // (2 * exact.denominator)
    return rounded if exact >= 0 else -rounded


def _percent(rate: Decimal) -> str:
    return f"{(rate * 100).normalize():f} %"
