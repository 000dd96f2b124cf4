"""A tenant's configuration of its profit and loss: what an order costs, where unit costs come from, what is shown.

A configuration is saved whole, as a new version; what it does not name has its default. Money in integer cents of the
tenant's currency, rates as decimal text between 0 and 1 (``"0.029"`` is 2.9 %), weights in avoirdupois ounces.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from tradewind.contracts.payload import StrictPayload

MOST_CENTS = 10**12
WHOLE_PERCENT = 100


def _no_float(value: object) -> object:
    if isinstance(value, float):
        raise ValueError('must be decimal text such as "0.029": a number in floating point is not exact')  # noqa: TRY004 - told as bad input
    return value


Cents = Annotated[int, Field(ge=0, le=MOST_CENTS, strict=True)]
Rate = Annotated[Decimal, BeforeValidator(_no_float), Field(ge=0, le=1, max_digits=9, decimal_places=8)]
Percent = Annotated[Decimal, BeforeValidator(_no_float), Field(ge=0, le=100, max_digits=9, decimal_places=6)]
Ounces = Annotated[
    Decimal, BeforeValidator(_no_float), Field(ge=0, le=1_000_000, max_digits=12, decimal_places=4)
]
Name = Annotated[str, StringConstraints(min_length=1, max_length=80, strip_whitespace=True)]


class _Config(StrictPayload):
    model_config = ConfigDict(frozen=True)


class ConfigKind(StrEnum):
    COSTS = "costs"
    COGS = "cogs"
    FORMULA = "formula"


class Processor(_Config):
    """A further payment processor, and its share of the volume in percent."""

    name: Name
    rate: Rate
    fixed_fee_cents: Cents
    share_percent: Percent


class PaymentProcessing(_Config):
    """The primary processor takes what the additional ones leave of the volume."""

    processor: Literal["shopify_payments", "stripe", "paypal", "custom"] = "shopify_payments"
    rate: Rate = Decimal("0.029")
    fixed_fee_cents: Cents = 30
    additional: tuple[Processor, ...] = Field(default=(), max_length=20)

    @model_validator(mode="after")
    def _shares_fit(self) -> Self:
        if sum(each.share_percent for each in self.additional) > WHOLE_PERCENT:
            raise ValueError("the additional processors' share_percent add up to more than 100; lower one")
        return self

    @property
    def shares(self) -> tuple[Processor, ...]:
        """Every processor with its share, the primary one first; the shares sum to 100."""
        rest = WHOLE_PERCENT - sum((each.share_percent for each in self.additional), Decimal(0))
        primary = Processor(
            name=self.processor, rate=self.rate, fixed_fee_cents=self.fixed_fee_cents, share_percent=rest
        )
        return (primary, *self.additional)


class WeightTier(_Config):
    """Orders above ``min_oz`` up to and with ``max_oz``; the last tier is open."""

    min_oz: Ounces
    max_oz: Ounces | None
    fee_cents: Cents


class FulfilmentModel(StrEnum):
    PER_ORDER = "per_order"
    PER_ITEM = "per_item"
    WEIGHT_BASED = "weight_based"
    MANUAL = "manual"


class Fulfilment(_Config):
    """``per_order``: pick and pack for each order; ``per_item``: that and a fee a unit; ``weight_based``: the fee
    of the order's tier; ``manual``: what is booked. Handling and packaging are per order, whatever the model.
    """

    model: FulfilmentModel = FulfilmentModel.PER_ORDER
    pick_pack_cents: Cents = 200
    per_item_cents: Cents = 0
    packaging_cents: Cents = 75
    handling_cents: Cents = 0
    weight_tiers: tuple[WeightTier, ...] = Field(default=(), max_length=50)

    @model_validator(mode="after")
    def _tiers_meet(self) -> Self:
        if self.model is FulfilmentModel.WEIGHT_BASED and not self.weight_tiers:
            raise ValueError("weight_based needs weight_tiers; name at least one, the last with max_oz null")
        below = Decimal(0)
        for at, tier in enumerate(self.weight_tiers):
            last = at == len(self.weight_tiers) - 1
            if tier.min_oz != below:
                raise ValueError(
                    f"weight_tiers.{at}.min_oz is {tier.min_oz}; the tier before ends at {below}"
                )
            if (tier.max_oz is None) != last:
                raise ValueError(f"weight_tiers.{at}.max_oz: the last tier is open (null), and no other")
            if tier.max_oz is not None:
                if tier.max_oz <= tier.min_oz:
                    raise ValueError(f"weight_tiers.{at}.max_oz is not above min_oz")
                below = tier.max_oz
        return self


class ShippingMethod(StrEnum):
    ACTUAL_EXPENSE = "actual_expense"
    ESTIMATED_PERCENTAGE = "estimated_percentage"
    FLAT_RATE = "flat_rate"


class Shipping(_Config):
    """What is booked, or a share of the orders' totals, or an amount for each order."""

    method: ShippingMethod = ShippingMethod.ACTUAL_EXPENSE
    rate: Rate = Decimal(0)
    flat_rate_cents: Cents = 0


class OtherCost(_Config):
    """A further variable cost; ``rate`` is for ``percentage_of_revenue`` (of net revenue), ``amount_cents`` else."""

    name: Name
    kind: Literal["per_order", "per_item", "percentage_of_revenue"]
    amount_cents: Cents = 0
    rate: Rate = Decimal(0)
    active: bool = True


class CostConfig(_Config):
    payment_processing: PaymentProcessing = PaymentProcessing()
    fulfilment: Fulfilment = Fulfilment()
    shipping: Shipping = Shipping()
    other_costs: tuple[OtherCost, ...] = Field(default=(), max_length=50)


class Missing(StrEnum):
    """What a unit without a known cost costs. ``skip_pnl``: its whole order stays out of the statement, and is told."""

    ZERO = "zero"
    SKIP = "skip_pnl"
    DEFAULT = "use_default"
    OF_PRICE = "percentage_of_price"


class ShopifyCosts(_Config):
    """Costs that Shopify keeps with its inventory items."""

    sync_enabled: bool = True
    frequency: Literal["realtime", "hourly", "daily"] = "daily"
    cost_field: Literal["cost", "cost_per_item", "inventory_item_cost"] = "inventory_item_cost"
    missing: Literal["zero", "skip_pnl", "use_default"] = "zero"
    default_cents: Cents = 0


class InternalCosts(_Config):
    """Costs from the tenant's own books: by hand, by CSV, by an ERP."""

    missing: Literal["zero", "skip_pnl", "percentage_of_price"] = "zero"
    price_rate: Rate = Decimal(0)


class CogsConfig(_Config):
    source: Literal["shopify", "internal"] = "shopify"
    shopify: ShopifyCosts = ShopifyCosts()
    internal: InternalCosts = InternalCosts()

    @property
    def missing(self) -> Missing:
        return Missing(self.shopify.missing if self.source == "shopify" else self.internal.missing)


class FormulaConfig(_Config):
    """What the statement shows and is called, and the three switches that change its figures: shipping revenue, tax,
    and the cost of free samples.
    """

    include_shipping_revenue: bool = False
    include_tax: bool = False
    include_free_samples: bool = False
    show_gross_sales: bool = True
    show_discounts: bool = True
    show_returns: bool = True
    cogs_label: Name = "Cost of goods sold"
    show_percentages: bool = True
    hidden_variable_lines: tuple[Name, ...] = Field(default=(), max_length=20)
    group_fulfilment: bool = False
    contribution_margin_label: Name = "Contribution margin"
    highlight_negative: bool = True
    marketing_by_platform: bool = True
    operating_by_category: bool = True
    category_order: tuple[Name, ...] = Field(default=(), max_length=100)
    show_operating_income: bool = True
    show_other: bool = True
    net_profit_label: Name = "Net profit"


CONFIGS: dict[ConfigKind, type[_Config]] = {
    ConfigKind.COSTS: CostConfig,
    ConfigKind.COGS: CogsConfig,
    ConfigKind.FORMULA: FormulaConfig,
}
