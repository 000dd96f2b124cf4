"""The tenant's books in Postgres."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from analytics.profit_and_loss.configs import (
    CogsConfig,
    ConfigKind,
    CostConfig,
    FormulaConfig,
    FulfilmentModel,
    WeightTier,
)
from analytics.profit_and_loss.model import (
    Booked,
    Category,
    CategoryType,
    Counted,
    Span,
    Spend,
    Statement,
    UnitCost,
    categories_of,
)
from analytics.profit_and_loss.payloads import CategoryTold, ExpenseTold
from analytics.profit_and_loss.statement import Rules
from tradewind.sql import load_queries
from tradewind.tenancy.database import Jsonb, Transaction

QUERIES = load_queries(__file__)
GRAMS_IN_OUNCE = Decimal("28.349523125")
"""Exact: an avoirdupois pound is 453.59237 g (international yard and pound agreement, 1959)."""
_COUNTS = (
    "orders",
    "units",
    "gross_cents",
    "discount_cents",
    "returns_cents",
    "shipping_cents",
    "tax_cents",
    "charged_cents",
    "paid_orders",
    "processing_cents",
    "weight_fee_cents",
    "orders_without_weight",
    "cost_cents",
    "returned_cost_cents",
    "units_without_cost",
    "sample_orders",
    "skipped_orders",
    "foreign_orders",
    "commission_cents",
    "commissions",
)


@dataclass(frozen=True, slots=True)
class Versions:
    """By which versions a statement was made; 0 is the default."""

    costs: int = 0
    cogs: int = 0
    formula: int = 0


@dataclass(frozen=True, slots=True)
class Configs:
    rules: Rules
    versions: Versions


class Books:
    """Statements, and what they are made of."""

    def __init__(self, transaction: Transaction) -> None:
        self._tx = transaction

    def configs(self) -> Configs:
        """The tenant's configurations as they stand."""
        rows = {row["kind"]: row for row in self._tx.fetch_all(QUERIES["find_configs"], {})}
        documents = {kind: row["document"] for kind, row in rows.items()}
        return Configs(
            Rules(
                CostConfig.model_validate(documents.get(ConfigKind.COSTS, {})),
                CogsConfig.model_validate(documents.get(ConfigKind.COGS, {})),
                FormulaConfig.model_validate(documents.get(ConfigKind.FORMULA, {})),
            ),
            Versions(**{kind: row["version"] for kind, row in rows.items()}),
        )

    def categories(self) -> dict[str, Category]:
        rows = self._tx.fetch_all(QUERIES["list_categories"], {})
        return categories_of(
            Category(row["category"], row["label"], CategoryType(row["type"]), row["hidden"]) for row in rows
        )

    def count(self, spans: Sequence[Span], currency: str, rules: Rules) -> list[Counted]:
        """What each span holds, in their order; one statement for all of them."""
        categories = self.categories()
        rows = self._tx.fetch_all(QUERIES["count_spans"], _parameters(spans, currency, rules))
        return [
            Counted(
                span=spans[row["number"]],
                currency=currency,
                **{name: row[name] or 0 for name in _COUNTS},
                spend=tuple(Spend(each["platform"], each["cents"], each["foreign"]) for each in row["spend"]),
                booked=tuple(
                    Booked(
                        each["category"],
                        categories[each["category"]].label,
                        categories[each["category"]].type,
                        each["cents"],
                        each["entries"],
                    )
                    for each in row["booked"]
                ),
            )
            for row in rows
        ]

    def save_snapshot(self, statement: Statement, orders: int, versions: Versions) -> None:
        row = {
            "start_on": statement.span.start.isoformat(),
            "end_on": statement.span.end.isoformat(),
            "currency": statement.currency,
            "orders": orders,
            **{f"{key}_cents": statement.cents(key) for key in HEADLINES},
            "statement": {
                "lines": [asdict(line) for line in statement.lines],
                "notes": list(statement.notes),
            },
            **{f"{kind}_version": version for kind, version in asdict(versions).items()},
        }
        self._tx.execute(QUERIES["save_snapshot"], {"snapshot": Jsonb(row)})

    def save_daily_profit(self, statements: Iterable[Statement]) -> None:
        days = [
            {
                "opened_at": each.span.opened_at.isoformat(),
                "gross_profit_cents": each.cents("gross_profit"),
                "contribution_margin_cents": each.cents("contribution_margin"),
                "net_profit_cents": each.cents("net_profit"),
            }
            for each in statements
        ]
        self._tx.execute(QUERIES["save_daily_profit"], {"days": Jsonb(days)})

    def lock_configs(self) -> None:
        self._tx.execute(QUERIES["lock_configs"], {})

    def saves_since(self, since: datetime) -> int:
        [row] = self._tx.fetch_all(QUERIES["count_saves_since"], {"since": since})
        return int(row["saves"])

    def newest(self, kind: ConfigKind) -> tuple[int, Mapping[str, Any]]:
        """Version and document of a configuration; 0 and nothing where none was saved."""
        rows = self._tx.fetch_all(QUERIES["find_configs"], {})
        return next(((row["version"], row["document"]) for row in rows if row["kind"] == kind), (0, {}))

    def add_config(
        self,
        kind: ConfigKind,
        version: int,
        document: Mapping[str, Any],
        changes: Mapping[str, tuple[Any, Any]],
        changed_by: str,
    ) -> None:
        about = {"kind": kind, "version": version}
        self._tx.execute(
            QUERIES["add_config"], {**about, "document": Jsonb(document), "changed_by": changed_by}
        )
        rows = [
            {**about, "field": field, "before": before, "after": after}
            for field, (before, after) in changes.items()
        ]
        self._tx.execute(QUERIES["add_changes"], {"changes": Jsonb(rows)})

    def save_costs(
        self, costs: Iterable[UnitCost], origin: str, source: str, currency: str, valid_from: datetime
    ) -> int:
        """How many of them say something new."""
        rows = [
            {
                "origin": origin,
                "shopify_product_id": each.product_id,
                "shopify_variant_id": each.variant_id or 0,
                "valid_from": valid_from.isoformat(),
                "unit_cost_cents": each.cents,
                "currency": currency,
                "source": source,
            }
            for each in costs
        ]
        return len(self._tx.fetch_all(QUERIES["save_costs"], {"costs": Jsonb(rows)}))

    def unknown_products(self, product_ids: Iterable[int]) -> list[int]:
        """Those of the products that the catalogue does not have."""
        asked = sorted(set(product_ids))
        rows = self._tx.fetch_all(QUERIES["list_known_products"], {"product_ids": asked})
        known = {row["shopify_product_id"] for row in rows}
        return [each for each in asked if each not in known]

    def save_expenses(self, expenses: Iterable[ExpenseTold], currency: str) -> int:
        rows = [{**each.model_dump(mode="json"), "currency": currency} for each in expenses]
        return len(self._tx.fetch_all(QUERIES["save_expenses"], {"expenses": Jsonb(rows)}))

    def save_categories(self, categories: Iterable[CategoryTold]) -> None:
        rows = [each.model_dump(mode="json") for each in categories]
        self._tx.execute(QUERIES["save_categories"], {"categories": Jsonb(rows)})


HEADLINES = ("net_revenue", "gross_profit", "contribution_margin", "operating_income", "net_profit")
"""Totals that have a column of their own."""


def _parameters(spans: Sequence[Span], currency: str, rules: Rules) -> dict[str, Any]:
    shares = rules.costs.payment_processing.shares
    weighted = rules.costs.fulfilment.model is FulfilmentModel.WEIGHT_BASED
    return {
        "spans": Jsonb(
            [
                {
                    "number": number,
                    "opened_at": span.opened_at.isoformat(),
                    "closes_at": span.closes_at.isoformat(),
                    "starts_on": span.start.isoformat(),
                    "ends_on": span.end.isoformat(),
                }
                for number, span in enumerate(spans)
            ]
        ),
        "currency": currency,
        "origin": rules.cogs.source,
        "missing": rules.cogs.missing,
        "default_cents": rules.cogs.shopify.default_cents,
        "price_rate": rules.cogs.internal.price_rate,
        "with_samples": rules.formula.include_free_samples,
        "fee_rate": sum((each.share_percent * each.rate for each in shares), Decimal(0)) / 100,
        "fee_cents": sum((each.share_percent * each.fixed_fee_cents for each in shares), Decimal(0)) / 100,
        "weight_tiers": Jsonb(_tiers(rules.costs.fulfilment.weight_tiers) if weighted else []),
    }


def _tiers(tiers: Iterable[WeightTier]) -> list[dict[str, Any]]:
    return [{"above_grams": str(tier.min_oz * GRAMS_IN_OUNCE), "fee_cents": tier.fee_cents} for tier in tiers]
